"""Results as records: what a file holds is what they were made of, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hw.report import CostReport, OpCost
from tasks.candidates.candidate import Candidate, read_candidates, write_candidates
from tasks.candidates.chosen import Selection
from tasks.candidates.finalist import Finalist, finished_folders
from tasks.candidates.finished import FinishedModel, read_front, write_front
from tasks.candidates.judgement import Agreement, Bias, Fidelity, Figures, Point, Verdict
from tasks.candidates.summary import SearchSummary
from tasks.run.manifest import DataManifest
from tasks.run.workspace import Workspace, WorkspaceError, read_json

SEEN = Candidate("abc", {"op": "x"}, metric="map50", latency_ms=2.0, macs=7, rung=1)
FINALIST = Finalist(
    id="abc",
    name=None,
    origin="baseline",
    metric="map50",
    search_score=0.25,
    scores={kind: {"map50": 0.5, "map": 0.25} for kind in ("float", "ptq", "qat", "int8")},
    quantized_by="ptq",
    file_bytes={"int8": 12},
)
REPORT = CostReport(
    device="coral_usb3",
    method="analytic",
    latency_ms=1.5,
    latency_interval_ms=(1.0, 2.0),
    first_inference_ms=None,
    energy_mj=None,
    peak_memory_bytes=10,
    weight_bytes=20,
    streamed_bytes=0,
    macs=30,
    host_ops=(("y", "why"),),
    per_op=(OpCost("x", "CONV_2D", "tpu", 1.5, None, 0, "compute"),),
    left_out=("a loop",),
)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "artifacts", tmp_path / "state", tmp_path / "store")


@pytest.mark.parametrize(
    "one",
    [
        SEEN,
        SEEN.scored({"map50": 0.5, "map": 0.25}),
        SEEN.scored({"status": "failed", "reason": "it broke"}),
        Candidate("abc", {}, metric="map50", rank=0, on_pareto=True, lower_rungs=(None, 0.25)),
    ],
)
def test_a_candidate_is_read_as_it_was_written(one: Candidate, workspace: Workspace) -> None:
    write_candidates(workspace, [one])
    assert read_candidates(workspace, "map50") == (one,)


def test_what_is_unknown_of_a_candidate_is_not_made_up(workspace: Workspace) -> None:
    told = SEEN.told()
    assert told["map50"] is None and told["energy_mj"] is None
    assert not {"rank", "on_pareto", "lower_rungs", "metric", "score"} & told.keys()
    failed = SEEN.scored({"map50": 0.5}).scored({"status": "failed", "reason": "it broke"})
    assert (failed.value("map50"), failed.is_done) == (None, False)
    assert (SEEN.value("macs"), SEEN.value("energy_mj"), SEEN.value("f1")) == (7.0, None, None)


def test_a_finalist_is_read_as_it_was_written(workspace: Workspace) -> None:
    folder = workspace.finalists / FINALIST.id
    FINALIST.write(folder)
    assert finished_folders(workspace) == [folder]
    assert Finalist.read(folder, "map50") == FINALIST
    assert read_json(folder / "metrics.json")["map_int8"] == 0.25
    assert (FINALIST.score(), FINALIST.score("ptq"), FINALIST.is_baseline) == (0.5, 0.5, True)


@pytest.mark.parametrize("rank", [0, 2])
def test_a_finished_model_is_read_as_it_was_written(rank: int, workspace: Workspace) -> None:
    model = FinishedModel(FINALIST, {"op": "x"}, 11, 2.0, REPORT, rank)
    write_front(workspace, [model])
    assert read_front(workspace, "map50") == (model,)
    (told,) = read_json(workspace.selection / "front.json")
    assert (told["on_pareto"], told["rank"]) == (rank == 0, rank)
    assert (told["latency_ms"], told["graph_latency_ms"], told["map50"]) == (1.5, 2.0, 0.5)
    assert (model.value("map50"), model.value("weight_bytes"), model.value("energy_mj")) == (
        0.5,
        20.0,
        None,
    )


MANIFEST: dict[str, Any] = {
    "problem": "classification",
    "classes": ["a", "b"],
    "input_shape": [1, 8, 8, 1],
    "splits": {"train": {"items": 3, "images_per_class": {"a": 1, "b": 2}, "carved": False}},
    "facts of this kind": [1],
}


def test_a_manifest_keeps_all_that_it_was_told(workspace: Workspace) -> None:
    DataManifest.of(MANIFEST).write(workspace.data)
    found, train = DataManifest.read(workspace), DataManifest.read(workspace).splits["train"]
    assert found.told == read_json(workspace.data / "manifest.json") == MANIFEST
    assert (found.kind, found.classes, found.input_shape) == (
        "classification",
        ("a", "b"),
        (1, 8, 8, 1),
    )
    assert (found.vocabulary_size, found.unreadable, found.things) == (None, None, "pictures")
    assert (train.items, train.counted, train.per_class) == (3, "images", {"a": 1, "b": 2})
    assert (train.boxes, train.longest_tokens, train.carved) == (None, None, False)


@pytest.mark.parametrize("key", ["problem", "classes", "input_shape", "splits"])
def test_a_manifest_that_lacks_something_names_it_and_the_cure(key: str) -> None:
    told = {name: value for name, value in MANIFEST.items() if name != key}
    with pytest.raises(WorkspaceError, match=f"but lacks {key}. Prepare the data anew"):
        DataManifest.of(told)


FIGURES = Figures(0.5, (0.25, 0.75), 0.25, None, None, 0.1, 0.2, (Bias("fused", 0.1, 0.05, 4),))
GATE = Verdict(4, False, ("a", "b"), (Point("abc", "fused", 0.5, 0.75),), FIGURES, 2, "trained")
FEW = Verdict(1, False, ("too few",), epochs=2, evaluator="trained")


@pytest.mark.parametrize(
    "one",
    [
        Fidelity("shared"),
        Fidelity("trained", {"epochs": 2}, 1.5, GATE, (Agreement(1, 4, 6, None, 0.5),)),
        Fidelity("trained", gate=FEW),
    ],
)
def test_what_scores_are_worth_is_read_as_it_was_written(
    one: Fidelity, workspace: Workspace
) -> None:
    one.write(workspace)
    assert Fidelity.read(workspace) == one
    assert read_json(workspace.search / "fidelity.json") == one.told()


def test_a_gate_without_figures_has_none_in_its_file() -> None:
    assert set(FEW.told()) == {"networks", "passed", "reasons", "points", "epochs", "evaluator"}
    told = GATE.told()
    assert told["bias"] == {"fused": {"bias": 0.1, "error": 0.05, "networks": 4}}
    assert told["tau_ceiling"] is None and "biases" not in told and "figures" not in told


def test_a_summary_is_read_as_it_was_written(workspace: Workspace) -> None:
    one = SearchSummary(
        ("abc",), {"latency_ms": 8.0, "energy_mj": None}, 4, 1, 0.5, rung_tau=(0.5,), method="x"
    )
    one.write(workspace)
    assert SearchSummary.read(workspace) == one
    assert read_json(workspace.search / "front.json")["front"] == ["abc"]
    with pytest.raises(WorkspaceError, match=r"must have front and largest, but lacks largest\."):
        SearchSummary.of({"front": []})


@pytest.mark.parametrize("metric", ["top1", "map50"])
def test_a_selection_is_read_as_it_was_written(metric: str, workspace: Workspace) -> None:
    one = Selection("abc", metric, 0.5, None, 3, 2, 0.25, 0.25, 0.0)
    assert not Selection.exists(workspace)
    one.write(workspace)
    assert Selection.exists(workspace) and Selection.read(workspace) == one
    told = read_json(workspace.selection / "metrics.json")
    assert (told[f"best_{metric}"], told["best_latency_ms"]) == (0.5, None)
    with pytest.raises(WorkspaceError, match="must name the best model, but does not"):
        Selection.of({"models": 1})
