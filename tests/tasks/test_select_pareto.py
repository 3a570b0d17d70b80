"""What is selected: the front over exported files, within the limits on their cost."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from hw.report import CostReport
from spaces.graph import OpGraph
from spaces.heads.classification import classification
from spaces.menu import load_baselines, load_space
from tasks import select_pareto
from tasks.candidates.finished import read_front
from tasks.run.params import CostParams, ProblemParams, SelectParams
from tasks.run.progress import SilentProgress
from tasks.run.workspace import Workspace, read_json, write_json
from tasks.select_pareto import TargetMissedError, run

SPACE = load_space("mobilenet_edgetpu_v2_small")
POINT = load_baselines(SPACE.name)["fused_s"]
# id: int8 accuracy, latency of the exported file, bytes of its weights
FINALISTS = {
    "slow": (0.95, 4.0, 4000),
    "middle": (0.90, 2.0, 2000),
    "beaten": (0.80, 3.0, 1000),
    "fast": (0.70, 1.0, 500),
}
HAND_MADE = {"middle", "beaten"}


def _candidate(name: str, status: str = "done") -> dict[str, Any]:
    return {
        "id": name,
        "name": None,
        "architecture": POINT.values,
        "status": status,
        "top1": 0.5 if status == "done" else None,
        "latency_ms": 9.0,  # of the graph; never to be taken for the file's
        "macs": 7,
        "parameters": 11,
        "on_pareto": False,
    }


def _report(path: Path, _: CostParams, graph: OpGraph, deployed: Any) -> CostReport:
    assert deployed == ("probabilities",)
    assert graph == classification(SPACE.lower(POINT), classes=2)
    _, latency_ms, weight_bytes = FINALISTS[path.parent.name]
    return CostReport(
        device="coral_usb3",
        method="analytic",
        latency_ms=latency_ms,
        latency_interval_ms=None,
        first_inference_ms=None,
        energy_mj=None,
        peak_memory_bytes=100,
        weight_bytes=weight_bytes,
        streamed_bytes=0,
        macs=123,
        host_ops=(),
        per_op=(),
    )


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    made = Workspace(tmp_path / "artifacts", tmp_path / "state", tmp_path / "store")
    for name, (top1, _, _) in FINALISTS.items():
        scores = {"top1_float": 0.99, "top1_ptq": 0.1, "top1_int8": top1}
        write_json(
            made.finalists / name / "metrics.json",
            {
                "id": name,
                "name": f"the {name} one",
                "origin": "baseline" if name in HAND_MADE else "local_search",
                "supernet_top1": 0.5,
                **scores,
            },
        )
        write_json(
            made.finalists / name / "architecture.json", {"space": POINT.space, **POINT.values}
        )
    failed = _candidate("failed", status="failed")
    write_json(made.search / "candidates.json", [*map(_candidate, FINALISTS), failed])
    largest = {"latency_ms": 8.0, "weight_bytes": 8000, "macs": 1000, "b/latency_ms": 8.0}
    write_json(made.search / "front.json", {"front": [], "largest": largest})
    manifest = {
        "problem": "classification",
        "classes": ["a", "b"],
        "input_shape": [1, 32, 32, 3],
        "splits": {},
    }
    write_json(made.data / "manifest.json", manifest)
    monkeypatch.setattr(select_pareto, "estimate_file", _report)
    return made


def _models(workspace: Workspace, **limits: Any) -> list[dict[str, Any]]:
    cost = CostParams.model_validate(limits)
    run(ProblemParams(), cost, SelectParams(), workspace, SilentProgress())
    models: list[dict[str, Any]] = read_json(workspace.selection / "front.json")
    return models


def test_front_is_of_the_int8_accuracy_and_the_cost_of_the_file(workspace: Workspace) -> None:
    models = _models(workspace)
    # derived: by latency; "beaten" is slower and worse than "middle"
    assert [model["id"] for model in models] == ["fast", "middle", "beaten", "slow"]
    assert [model["on_pareto"] for model in models] == [True, True, False, True]
    assert [model["rank"] for model in models] == [0, 0, 1, 0]
    for model in models:
        assert (model["top1"], model["latency_ms"], model["weight_bytes"]) == FINALISTS[
            model["id"]
        ]
        assert (model["graph_latency_ms"], model["macs"], model["parameters"]) == (9.0, 123, 11)
        assert model["name"] == f"the {model['id']} one"
        assert model["architecture"] == POINT.values


def test_summary_names_the_best_of_all(workspace: Workspace) -> None:
    summary = run(ProblemParams(), CostParams(), SelectParams(), workspace, SilentProgress())
    assert summary == read_json(workspace.selection / "metrics.json")
    assert (summary["best"], summary["best_top1"], summary["best_latency_ms"]) == (
        "slow",
        0.95,
        4.0,
    )
    assert (summary["models"], summary["front"]) == (4, 3)
    assert summary["hypervolume"] == pytest.approx(_union(FINALISTS.values()))
    searched = [row for name, row in FINALISTS.items() if name not in HAND_MADE]
    assert summary["hypervolume_searched"] == pytest.approx(_union(searched))
    hand_made = [row for name, row in FINALISTS.items() if name in HAND_MADE]
    assert summary["hypervolume_hand_made"] == pytest.approx(_union(hand_made))
    alike = _union(searched) - _union(hand_made)  # two against two
    assert summary["hypervolume_gain"] == pytest.approx(alike)


def test_searched_and_hand_made_are_compared_after_equal_trainings(workspace: Workspace) -> None:
    equal = {name: top1 - 0.3 * (name == "slow") for name, (top1, _, _) in FINALISTS.items()}
    for name, score in equal.items():
        path = workspace.finalists / name / "metrics.json"
        write_json(path, read_json(path) | {"equal_score": score, "epochs": 9})
    summary = run(ProblemParams(), CostParams(), SelectParams(), workspace, SilentProgress())
    rows = {name: (equal[name], *row[1:]) for name, row in FINALISTS.items()}
    for of_them, part in (("hand_made", True), ("searched", False)):
        same = [row for name, row in rows.items() if (name in HAND_MADE) == part]
        assert summary[f"hypervolume_{of_them}"] == pytest.approx(_union(same))
    assert summary["hypervolume"] == pytest.approx(_union(FINALISTS.values()))
    assert read_json(workspace.selection / "front.json")[0]["epochs"] == 9


def _union(rows: Iterable[tuple[float, float, float]]) -> float:
    """Share of the box that rows dominate, by inclusion and exclusion."""
    boxes = [(top1, 1 - latency / 8) for top1, latency, _ in rows]
    total = 0.0
    for size in range(1, len(boxes) + 1):
        for some in itertools.combinations(boxes, size):
            total -= (-1) ** size * math.prod(min(sides) for sides in zip(*some, strict=True))
    return total


def test_target_is_kept_by_what_is_selected(workspace: Workspace) -> None:
    assert [one["id"] for one in _models(workspace, target_latency_ms=2.0)] == ["fast", "middle"]
    assert [one["id"] for one in _models(workspace, max_weight_bytes=1500)] == ["fast", "beaten"]
    both = _models(workspace, target_latency_ms=2.0, max_weight_bytes=1500)
    assert [one["id"] for one in both] == ["fast"]


def test_missed_target_names_the_fastest_file_and_the_cure(workspace: Workspace) -> None:
    with pytest.raises(
        TargetMissedError,
        match=r"'latency_ms': 0\.5.* takes 1\.000 ms.*cost\.target_latency_ms or finetune\.final",
    ):
        _models(workspace, target_latency_ms=0.5)
    assert not (workspace.selection / "front.json").exists()


def test_plots_hold_the_points_that_were_scored(workspace: Workspace) -> None:
    _models(workspace)
    plots = workspace.selection / "plots"
    front, candidates = read_json(plots / "front.json"), read_json(plots / "candidates.json")
    assert [(one["id"], one["latency_ms"]) for one in front] == [
        ("fast", 1.0),
        ("middle", 2.0),
        ("beaten", 3.0),
        ("slow", 4.0),
    ]
    assert {one["id"] for one in candidates} == set(FINALISTS)  # not the failed one


def test_other_objectives_give_another_front(workspace: Workspace) -> None:
    objectives = SelectParams(objectives=("top1:max", "weight_bytes:min"))
    run(ProblemParams(), CostParams(), objectives, workspace, SilentProgress())
    models = read_json(workspace.selection / "front.json")
    # derived: by weights, "beaten" lies between "fast" and "middle" in both
    assert all(model["on_pareto"] for model in models)


def test_same_input_gives_the_same_bytes(workspace: Workspace) -> None:
    def content() -> dict[str, bytes]:
        _models(workspace)
        files = sorted(workspace.selection.rglob("*.json"))
        return {str(path): path.read_bytes() for path in files}

    first = content()
    assert len(first) == 4
    assert content() == first


THERE = {"slow": 0.5, "middle": 2.0, "beaten": 3.0, "fast": None}
"""Latencies on the second device; "fast" does not run there."""


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> str:
    def latency(path: Path, device: str, method: str, *_: Any) -> float | None:
        assert (device, method) == ("boards/b.yaml", "analytic")
        return THERE[path.parent.name]

    monkeypatch.setattr(select_pareto, "latency_elsewhere", latency)
    return "b/latency_ms"


def test_files_keep_the_limits_of_every_device(workspace: Workspace, there: str) -> None:
    def kept(limit: float | None, **own: Any) -> list[str]:
        devices = {"boards/b.yaml": {"target_latency_ms": limit}}
        return [one["id"] for one in _models(workspace, devices=devices, **own)]

    assert kept(None) == ["fast", "middle", "beaten", "slow"]
    assert {
        one["id"]: one[there] for one in read_json(workspace.selection / "front.json")
    } == THERE
    assert kept(2.5) == ["middle", "slow"]
    assert kept(2.5, target_latency_ms=2.0) == ["middle"]
    with pytest.raises(
        TargetMissedError, match=r"1\.000 ms, on b 0\.500 ms\. .* or cost\.devices"
    ):
        kept(0.1)


def test_an_objective_on_another_device_changes_the_front(
    workspace: Workspace, there: str
) -> None:
    cost = CostParams.model_validate({"devices": {"boards/b.yaml": {}}})
    goals = SelectParams(objectives=("top1:max", f"{there}:min"))
    run(ProblemParams(), cost, goals, workspace, SilentProgress())
    models = read_front(workspace, "top1")
    # Derived: there "slow" is both the best and the fastest; who does not run is left out.
    assert {one.id: one.on_pareto for one in models} == {
        "middle": False,
        "beaten": False,
        "slow": True,
    }
    assert models[-1].value(there) == 0.5
