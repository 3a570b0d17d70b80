"""Candidates scored by a brief training that begins from their slice of the supernet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.candidates.evaluator import Bench
from tasks.evaluators.sliced import Sliced, SliceTuner
from tasks.evaluators.trained import BriefTrainer, Trained
from tasks.learning.problem import open_problem
from tasks.learning.shared_weights import new_supernet
from tasks.run import workers
from tasks.run.params import (
    CostParams,
    ProblemParams,
    RuntimeParams,
    SearchParams,
    SelectParams,
    SpaceParams,
)
from tasks.run.progress import SilentProgress
from tasks.run.workspace import Workspace, read_json, write_npz
from tasks.search_architectures import run
from tests.prepared import prepared
from tests.samples import SMALL, small_space

SPACE = small_space("classification")
SEARCH = SearchParams(evaluator="sliced", calibration_images=8, epochs=1)


def _in_this_process(
    team: workers.Team, work: Callable[[Any, Any], Any], pieces: Sequence[Any], *_: object
) -> list[Any]:
    return [work(piece, lambda done, note: None) for piece in pieces]


def _bench(workspace: Workspace) -> Bench:
    name = SMALL["classification"][0]
    return Bench(ProblemParams(), name, SEARCH, RuntimeParams(), workspace, epochs=1)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tensorflow: Any) -> Bench:
    """Prepared data and a supernet whose weights tell it from a fresh one."""
    workspace = prepared("classification", tmp_path)
    problem = open_problem(ProblemParams(), workspace)
    net = new_supernet(SPACE.name, problem, workspace, seed=7)
    write_npz(workspace.supernet / "weights.npz", net.state())
    monkeypatch.setattr(workers.Team, "run_all", _in_this_process)
    monkeypatch.setattr(workers, "threads", lambda of_the_run: of_the_run)
    return _bench(workspace)


def test_candidate_is_trained_from_its_slice(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Any] = []
    train = BriefTrainer.score

    def watched(self: BriefTrainer, point: Any, weights: Any = None) -> Any:
        begun.append(weights)
        return train(self, point, weights)

    monkeypatch.setattr(BriefTrainer, "score", watched)
    point, evaluator = SPACE.smallest(), Sliced(bench)
    (record,) = evaluator.score_many([point])
    assert 0 <= record["top1"] <= 1
    shared = {
        name: value
        for name, value in _slice(bench, point).items()
        if not name.endswith(("moving_mean", "moving_variance"))
    }
    assert len(shared) > 10
    for name, value in shared.items():
        np.testing.assert_array_equal(begun[0][name], value)
    assert evaluator.score_many([point]) == [record]


def _slice(bench: Bench, point: Any) -> dict[str, Any]:
    """Weights of a network, cut by hand from the supernet of seed 7."""
    problem = open_problem(ProblemParams(), bench.workspace)
    net = new_supernet(SPACE.name, problem, bench.workspace, seed=7)
    nothing = {name.rpartition("/")[0]: (np.zeros(1), np.ones(1)) for name in net.parameters}
    found: dict[str, Any] = net.extract(point, nothing)
    return found


def test_failing_candidate_is_a_record(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: SliceTuner, point: Any) -> Any:
        raise ArithmeticError("outputs must be finite")

    monkeypatch.setattr(SliceTuner, "weights", fail)
    (record,) = Sliced(bench).score_many([SPACE.smallest()])
    assert record == {"status": "failed", "reason": "ArithmeticError: outputs must be finite"}


def test_scores_of_other_weights_are_not_taken(bench: Bench) -> None:
    before = Sliced(bench).context()
    assert before == Sliced(bench).context()
    assert before != Trained(bench).context()
    write_npz(bench.workspace.supernet / "weights.npz", {"w": np.zeros(1)})
    assert Sliced(bench).context() != before


def test_higher_rungs_are_sliced_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    epochs: list[int] = []

    def score_many(self: Sliced, points: Sequence[Any]) -> list[dict[str, Any]]:
        epochs.extend([self._bench.epochs] * len(points))
        return [{"top1": 1e-3 * int(point.id[:2], 16)} for point in points]

    monkeypatch.setattr(Sliced, "score_many", score_many)
    monkeypatch.setattr(Trained, "score_many", lambda *_: pytest.fail("trained from scratch"))
    workspace = bench.workspace
    run(
        ProblemParams(),
        SpaceParams(name=SPACE.name),
        SEARCH.model_copy(update={"budget": 18, "rungs": 2}),
        CostParams(),
        SelectParams(),
        RuntimeParams(),
        workspace,
        SilentProgress(),
    )
    assert sorted(epochs) == [1] * 18 + [3] * 6
    records = read_json(workspace.search / "candidates.json")
    assert {record["evaluator"] for record in records} == {"sliced"}
    assert {record["epochs"] for record in records if record["rung"]} == {3}
    found = read_json(workspace.search / "fidelity.json")
    assert found["evaluator"] == "sliced" and found["training"]["epochs"] == 3
