"""Every problem from prepared data to its report, by the plain functions of the stages."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spaces.space import Architecture
from tasks import finetune_qat, search_architectures, select_pareto, train_supernet, write_report
from tasks.data.arrays import load_split
from tasks.learning.interpreter import predict
from tasks.learning.networks import deployed_graph, sized
from tasks.learning.problem import load_problem, open_problem, problem_names
from tasks.learning.protocols import Problem
from tasks.run import workers
from tasks.run.manifest import DataManifest
from tasks.run.params import Params
from tasks.run.progress import SilentProgress
from tasks.run.workspace import Workspace, read_json, write_json, write_npz
from tests.samples import SMALL, VOCABULARY, opened, samples, small_space

OTHERS = tuple(name for name in problem_names() if name != "classification")
SLOW = {"segmentation", "question_answering"}
"""Pictures and texts are learned by one each of the others, too."""
SPLITS = {"train": 24, "validation": 8, "test": 6}

pytestmark = pytest.mark.usefixtures("tensorflow")


@dataclasses.dataclass(frozen=True)
class Finished:
    """A run that went to its end."""

    params: Params
    workspace: Workspace
    problem: Problem

    def json(self, *path: str) -> Any:
        return read_json(self.workspace.root.joinpath(*path))

    @property
    def manifest(self) -> DataManifest:
        return DataManifest.read(self.workspace)

    @property
    def finalist(self) -> Path:
        (folder,) = self.workspace.finalists.iterdir()
        return folder


def _params(problem: str) -> Params:
    metric, text = load_problem(problem).metric, "text" in problem or "question" in problem
    optimizer = {"optimizer": "adam", "learning_rate": 0.003} if text else {}
    return Params.model_validate(
        {
            "problem": {"name": problem},
            "space": {"name": SMALL[problem][0]},
            "supernet": {
                "steps": 3,
                "warmup_steps": 1,
                "batch_size": 8,
                "random_subnets": 1,
                **optimizer,
            },
            "search": {
                "evaluator": "shared",
                "budget": 3,
                "chunk": 2,
                "calibration_images": 8,
            },
            "finetune": {"finalists": 1, "epochs": 1, "qat_epochs": 1, "calibration_images": 8},
            "select": {"objectives": [f"{metric.name}:{metric.goal}", "latency_ms:min"]},
            "report": {"samples": 2, "other_devices": ["ethos_u55_128"]},
        }
    )


def _prepare(problem: str, workspace: Workspace) -> None:
    """What the first stage leaves, from made-up samples."""
    for seed, (split, count) in enumerate(SPLITS.items()):
        write_npz(workspace.data / f"{split}.npz", samples(problem, count, seed=seed))
    manifest = {
        "problem": problem,
        "format": "made_up",
        "source": None,
        "classes": list(opened(problem).setting.classes),
        "input_shape": list(SMALL[problem][1]),
        "synthetic": True,
        "skipped": {},
        "splits": {name: {"items": count, "sha256": str(count)} for name, count in SPLITS.items()},
    }
    if len(SMALL[problem][1]) == 2:
        types = 2 if problem == "question_answering" else 0
        manifest |= {"vocabulary_size": VOCABULARY, "token_types": types}
    write_json(workspace.data / "manifest.json", manifest)


def _in_this_process(work: Callable[[Any, Any], None], pieces: Sequence[Any], *_: object) -> None:
    for piece in pieces:
        work(piece, lambda done, note: None)


def _smallest_first(self: Any, name: str) -> dict[Architecture, tuple[str, str]]:
    """Only the lightest network is always looked at: others take long to be quantized."""
    return {self._coster.space.smallest(): ("smallest", "smallest")}


@cache
def _run(problem: str, base: Path) -> Finished:
    workspace = Workspace(base / "artifacts", base / "state", base / "store")
    _prepare(problem, workspace)
    p, silent = _params(problem), SilentProgress()
    train_supernet.run(p.problem, p.space, p.supernet, p.cost, p.runtime, workspace, silent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "run_all", _in_this_process)
        patch.setattr(workers, "threads", lambda of_the_run: of_the_run)  # one process, one count
        patch.setattr(search_architectures.Search, "_named", _smallest_first)
        search_architectures.run(
            p.problem, p.space, p.search, p.cost, p.select, p.runtime, workspace, silent
        )
        # The lightest is the finalist.
        records = read_json(workspace.search / "candidates.json")
        write_json(
            workspace.search / "candidates.json",
            [{**one, "rank": int(one["name"] != "smallest")} for one in records],
        )
        finetune_qat.run(
            p.problem,
            p.space,
            p.search,
            p.cost,
            p.finetune,
            p.select,
            p.runtime,
            workspace,
            silent,
        )
    select_pareto.run(p.problem, p.cost, p.select, workspace, silent)
    blocks = [getattr(p, name) for name in type(p).model_fields]
    write_report.run(*blocks, workspace, silent)
    return Finished(p, workspace, open_problem(p.problem, workspace))


@pytest.fixture(
    params=[
        pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW), id=name) for name in OTHERS
    ]
)
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return _run(request.param, tmp_path_factory.getbasetemp() / "end_to_end" / request.param)


def test_run_leaves_its_files(finished: Finished) -> None:
    root = finished.workspace.root
    made = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    folder = finished.finalist.relative_to(root)
    expected = {
        "float.tflite",
        "ptq.tflite",
        "qat.tflite",
        "int8.tflite",
        "weights.npz",
        "metrics.json",
    }
    assert {f"{folder}/{name}" for name in expected} <= made
    assert {"supernet/weights.npz", "search/front.json", "report/index.html"} <= made
    assert (f"{folder}/decoding.npz" in made) == (finished.problem.name == "detection")
    assert not [name for name in made if "/." in f"/{name}"]


def test_candidates_have_the_problems_metrics_and_costs(finished: Finished) -> None:
    records, metric = finished.json("search", "candidates.json"), finished.problem.metric.name
    assert len(records) == 3
    for record in records:
        assert (record["status"], record["reason"]) == ("done", None)
        assert 0 <= record[metric] <= 1
        assert record["latency_ms"] > 0 < record["parameters"]


def test_finalist_is_scored_in_every_kind_of_file(finished: Finished) -> None:
    metrics, metric = read_json(finished.finalist / "metrics.json"), finished.problem.metric.name
    assert all(0 <= metrics[f"{metric}_{kind}"] <= 1 for kind in ("float", "ptq", "int8"))
    (model,) = finished.json("selection", "front.json")
    assert model[metric] == metrics[f"{metric}_int8"]
    assert model["on_pareto"]
    # The file costs what its graph costs, the host's part included.
    assert model["latency_ms"] == pytest.approx(model["graph_latency_ms"], rel=0.1)


def test_integer_outputs_follow_the_float_ones(finished: Finished) -> None:
    arrays = load_split(finished.workspace, "test")
    graph = deployed_graph(finished.finalist, finished.manifest, finished.problem)
    inputs = finished.problem.inputs(arrays, graph)
    floating, integer = (
        predict(finished.finalist / f"{kind}.tflite", inputs, finished.problem.deployed)
        for kind in ("float", "int8")
    )
    for one, other in zip(floating, integer, strict=True):
        assert one.shape == other.shape
        if np.issubdtype(one.dtype, np.integer):
            assert (one == other).mean() > 0.6
        elif np.ptp(one) > 0.05:
            assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.6


def test_report_shows_the_problem(finished: Finished) -> None:
    page = (finished.workspace.report / "index.html").read_text()
    assert finished.problem.metric.label in page
    scores = finished.json("report", "metrics.json")
    assert (scores["split"], scores["items"]) == ("test", SPLITS["test"])
    (parity,) = (one for one in scores["parity"] if one["bench"] == "host_cpu")
    assert (parity["samples"], parity["reason"]) == (SPLITS["test"], "")
    assert "Whether benches say the same" in page
    assert "On another chip" in page and "3 candidates" in page
    if len(SMALL[finished.problem.name][1]) == 4:
        assert "data:image/png;base64," in page
    else:
        context = load_split(finished.workspace, "test")
        assert str(context.get("questions", context.get("texts"))[0]) in page


def test_space_of_the_run_is_sized_for_its_data(finished: Finished) -> None:
    space = sized(finished.params.space.name, finished.manifest)
    expected = small_space(finished.problem.name)
    assert getattr(space, "unsided", space) == expected
    assert space.choices == expected.choices


# -- interruption -------------------------------------------------------------------------------


class _InterruptedError(Exception):
    """As a killed process, at a step between two checkpoints."""


class _StopsAtTwo:
    """Cuts a stage off after its second step."""

    def start(self, name: str, total: int) -> None:
        pass

    def advance(self, done: int, note: str = "") -> None:
        if done == 2:
            raise _InterruptedError

    def finish(self) -> None:
        pass


def test_interrupted_training_ends_with_the_same_bytes(tmp_path: Path) -> None:
    weights = []
    for name in ("whole", "cut"):
        base = tmp_path / name
        workspace = Workspace(base / "artifacts", base / "state", base / "store")
        _prepare("text_classification", workspace)
        p = _params("text_classification")
        supernet = p.supernet.model_copy(update={"checkpoint_steps": 1, "dropout": 0.3})
        blocks = (p.problem, p.space, supernet, p.cost, p.runtime, workspace)
        if name == "cut":
            with pytest.raises(_InterruptedError):
                train_supernet.run(*blocks, _StopsAtTwo())
            assert list(workspace.state.glob("supernet.npz"))
        train_supernet.run(*blocks, SilentProgress())
        weights.append((workspace.supernet / "weights.npz").read_bytes())
        assert not list(workspace.state.glob("supernet.npz"))
    assert weights[0] == weights[1]
