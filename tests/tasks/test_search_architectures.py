"""A search evaluates its budget once, whatever happens on the way, and keeps to its limits."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spaces.menu import load_baselines, load_trainable
from spaces.search.random_search import RandomSearch
from spaces.search_support.proposals import Infeasible
from spaces.space import Architecture, SpaceError, Trial
from spaces.walk import architecture, neighbours
from tasks import search_architectures
from tasks.candidates.candidate import read_candidates
from tasks.candidates.evaluator import EvaluatorError
from tasks.candidates.fidelity import kendall
from tasks.candidates.finalists import SearchError, choose_finalists
from tasks.candidates.judgement import Fidelity
from tasks.candidates.rungs import LEAST_CANDIDATES
from tasks.evaluators.shared import Shared
from tasks.evaluators.trained import Trained
from tasks.learning.inputs import inputs_in_batches
from tasks.pipeline.preflight import check_space
from tasks.problems.classification import Classification
from tasks.problems.detection import Options
from tasks.report import gate_of, rungs_of
from tasks.run.params import (
    CostParams,
    ProblemParams,
    RuntimeParams,
    SearchParams,
    SelectParams,
    SpaceParams,
)
from tasks.run.progress import SilentProgress
from tasks.run.workspace import Workspace, read_json, write_json, write_npz
from tasks.search_architectures import Search, run
from tests.samples import opened, samples

SPACE = load_trainable("mobilenet_edgetpu_v2_small")
MANIFEST = {
    "problem": "classification",
    "input_shape": [1, 32, 32, 3],
    "classes": ["a", "b", "c"],
    "splits": {"train": {"images": 4, "sha256": "0"}, "validation": {"images": 2, "sha256": "1"}},
}
BUDGET, CHUNK = 24, 5
ENDS = ("before", "after")


def accuracy(point: Architecture) -> float:
    """A smooth function of the architecture that rises with its weights."""
    parameters = SPACE.lower(point).total_parameters
    return parameters / (parameters + 3e5) + int(point.id[:4], 16) / 2**24


@dataclass
class Bench:
    """Stands in for the supernet, and counts what is asked of it.

    Attributes:
        scored: How often each architecture was evaluated.
        stops_after: Number of evaluations after which the process is killed; None: never.
        broken: Ids of architectures that cannot be evaluated.
    """

    scored: Counter[str] = field(default_factory=Counter)
    stops_after: int | None = None
    broken: frozenset[str] = frozenset()

    def score(self, point: Architecture) -> dict[str, float]:
        if self.stops_after is not None and sum(self.scored.values()) == self.stops_after:
            raise KeyboardInterrupt
        self.scored[point.id] += 1
        if point.id in self.broken:
            raise ArithmeticError("logits must be finite,\n but got NaN")
        return {"top1": accuracy(point)}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench()
    monkeypatch.setattr(Shared, "score", lambda self, point: made.score(point))
    return made


def _workspace(base: Path, weights: float = 0.0) -> Workspace:
    """A workspace with prepared data and a supernet, as far as a search looks at them."""
    made = Workspace(base / "artifacts", base / "state", base / "store")
    write_json(made.data / "manifest.json", MANIFEST)
    write_npz(made.supernet / "weights.npz", {"w": np.full(1, weights)})
    return made


def _blocks(
    target_ms: float | None = None, **search: Any
) -> tuple[ProblemParams, SpaceParams, SearchParams, CostParams, SelectParams, RuntimeParams]:
    values = {"budget": BUDGET, "chunk": CHUNK, "evaluator": "shared", **search}
    return (
        ProblemParams(),
        SpaceParams(name=SPACE.name),
        SearchParams(**values),
        CostParams(target_latency_ms=target_ms),
        SelectParams(),
        RuntimeParams(),
    )


def _search(workspace: Workspace, **options: Any) -> list[dict[str, Any]]:
    run(*_blocks(**options), workspace, SilentProgress())
    records: list[dict[str, Any]] = read_json(workspace.search / "candidates.json")
    return records


def _bytes(workspace: Workspace) -> tuple[bytes, bytes]:
    return tuple(  # type: ignore[return-value]
        (workspace.search / name).read_bytes() for name in ("candidates.json", "front.json")
    )


def test_budget_is_spent_on_different_architectures(bench: Bench, tmp_path: Path) -> None:
    records = _search(_workspace(tmp_path))
    assert len(records) == len({record["id"] for record in records}) == BUDGET
    assert set(bench.scored.values()) == {1}
    assert [record["trial"] for record in records] == list(range(BUDGET))
    assert [record["generation"] for record in records] == [n // CHUNK for n in range(BUDGET)]


def test_a_narrowed_space_is_all_that_is_searched(bench: Bench, tmp_path: Path) -> None:
    problem, _, *rest = _blocks()
    space = SpaceParams(name=SPACE.name, choices={"*/op": ("ibn_dw", "skip")})
    workspace = _workspace(tmp_path)
    run(problem, space, *rest, workspace, SilentProgress())
    records = read_json(workspace.search / "candidates.json")
    ops = {v for one in records for k, v in one["architecture"].items() if k.endswith("/op")}
    assert len(records) == BUDGET and ops <= {"ibn_dw", "skip"}
    assert {one["name"] for one in records if one["name"]} >= {"depthwise_s", "smallest"}
    assert hash(space) != hash(SpaceParams())  # worker processes know them again by it
    assert SpaceParams.model_validate(space.model_dump()) == space
    with pytest.raises(SpaceError, match=r"'\*/ops' must fit the name of a choice"):
        check_space(SpaceParams(name=SPACE.name, choices={"*/ops": ("skip",)}), "classification")


def test_records_say_what_was_evaluated(bench: Bench, tmp_path: Path) -> None:
    for record in _search(_workspace(tmp_path)):
        point = architecture(SPACE, record["architecture"])
        assert (record["id"], record["top1"]) == (point.id, accuracy(point))
        assert (record["status"], record["reason"]) == ("done", None)
        assert record["latency_ms"] > 0 < record["weight_bytes"]
        # derived: a head of three classes with their biases on top of the backbone
        head = 3 * (SPACE.lower(point).output.out_channels + 1)
        assert record["parameters"] == SPACE.lower(point).trainable_parameters + head


def test_ends_and_baselines_come_first_with_their_names(bench: Bench, tmp_path: Path) -> None:
    records = _search(_workspace(tmp_path))
    expected = {SPACE.largest().id: ("largest", "largest")}
    expected |= {SPACE.smallest().id: ("smallest", "smallest")}
    baselines = load_baselines(SPACE.name)  # one of them may be an end, too, and keeps its name
    expected |= {point.id: (name, "baseline") for name, point in baselines.items()}
    first = records[: len(expected)]
    assert {record["id"]: (record["name"], record["origin"]) for record in first} == expected
    rest = records[len(expected) :]
    assert {(record["name"], record["origin"]) for record in rest} == {(None, "local_search")}


def test_named_ones_leave_half_of_the_budget(bench: Bench, tmp_path: Path) -> None:
    records = _search(_workspace(tmp_path), budget=12)
    baselines = {point.id for point in load_baselines(SPACE.name).values()}
    named = [record for record in records if record["name"] is not None]
    assert {record["id"] for record in named} < baselines
    assert len(named) == 6 and len(records) == 12
    cost = {r["id"]: r["latency_ms"] for r in _search(_workspace(tmp_path / "all"), budget=24)}
    latencies = sorted(cost[one] for one in baselines)
    found = [record["latency_ms"] for record in named]
    assert (min(found), max(found)) == (latencies[0], latencies[-1])  # those of all sizes


def test_chunks_are_as_long_as_asked_for_and_the_last_is_the_rest(
    bench: Bench, tmp_path: Path
) -> None:
    session = Search(*_blocks(budget=13, chunk=5), _workspace(tmp_path))
    sizes, tenths = [], []
    for chunk in session.chunks():
        sizes.append(len(chunk.trials))
        session.tell(chunk, session.evaluate(chunk))
        tenths.append(session.crossed_a_tenth())
        assert session.percent() == pytest.approx(100 * sum(sizes) / 13)
    assert sizes == [5, 5, 3]
    assert tenths == [True, True, True]


def test_small_chunks_do_not_all_cross_a_tenth(bench: Bench, tmp_path: Path) -> None:
    session = Search(*_blocks(budget=30, chunk=1), _workspace(tmp_path))
    crossed = []
    for chunk in session.chunks():
        session.tell(chunk, session.evaluate(chunk))
        crossed.append(session.crossed_a_tenth())
    # derived: the 3rd, 6th ... of 30
    assert [n for n, one in enumerate(crossed, 1) if one] == list(range(3, 31, 3))


def test_same_seed_gives_the_same_bytes_and_another_seed_other_candidates(
    bench: Bench, tmp_path: Path
) -> None:
    one, same, other = (_workspace(tmp_path / name) for name in ("one", "same", "other"))
    _search(one)
    _search(same)
    _search(other, seed=1)
    assert _bytes(one) == _bytes(same)
    assert _bytes(one) != _bytes(other)


@pytest.mark.parametrize("algorithm", ["local_search", "predictor_guided", "random_search"])
def test_search_that_was_cut_off_ends_as_an_undisturbed_one(
    bench: Bench, tmp_path: Path, algorithm: str
) -> None:
    straight, cut = _workspace(tmp_path / "straight"), _workspace(tmp_path / "cut")
    _search(straight, algorithm=algorithm)
    bench.scored.clear()
    bench.stops_after = 13  # in the middle of a chunk
    with pytest.raises(KeyboardInterrupt):
        _search(cut, algorithm=algorithm)
    assert not (cut.search / "candidates.json").exists()
    assert sum(bench.scored.values()) == 13
    bench.stops_after = None
    _search(cut, algorithm=algorithm)
    assert _bytes(cut) == _bytes(straight)
    assert set(bench.scored.values()) == {1}
    assert len(bench.scored) == BUDGET


def test_algorithms_are_given_the_costs_that_candidates_are_recorded_with(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[dict[str, float]] = []

    class Asking(RandomSearch):
        def __init__(self, *settings: Any) -> None:
            super().__init__(*settings)
            self.known = settings[-1]

        def ask(self) -> Trial:
            trial = super().ask()
            columns = self.known([trial.architecture, SPACE.largest()])
            given.append({name: column[0] for name, column in columns.items()})
            return trial

    monkeypatch.setattr(search_architectures, "load_algorithm", lambda name: Asking)
    records = _search(_workspace(tmp_path), budget=6, chunk=3)
    assert [set(one) for one in given] == [{"latency_ms"}] * 6
    for one, record in zip(given, records, strict=True):
        assert one == pytest.approx({name: record[name] for name in one}, rel=1e-9)


def test_larger_budget_evaluates_only_what_is_new(bench: Bench, tmp_path: Path) -> None:
    workspace = _workspace(tmp_path)
    small = _search(workspace, budget=20)
    large = _search(workspace, budget=30)
    assert [record["id"] for record in large[:20]] == [record["id"] for record in small]
    assert set(bench.scored.values()) == {1}
    assert len(bench.scored) == 30


@pytest.mark.parametrize(
    "change",
    ["weights", "data", "problem", "calibration_images", "validation_images", "threads"],
)
def test_scores_of_other_weights_data_or_settings_are_not_taken(
    bench: Bench, tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = _workspace(tmp_path)
    _search(workspace, budget=6)
    blocks = list(_blocks(budget=6))
    if change == "weights":
        workspace = _workspace(tmp_path, weights=1.0)
    elif change == "data":
        splits = {**MANIFEST["splits"], "train": {"images": 4, "sha256": "2"}}  # type: ignore[dict-item]
        write_json(workspace.data / "manifest.json", {**MANIFEST, "splits": splits})
    elif change == "problem":
        monkeypatch.setattr(Classification, "options", Options)  # that of itself has none
        blocks[0] = ProblemParams(detections=7)
    elif change == "threads":
        blocks[5] = RuntimeParams(threads=1)
    else:
        blocks[2] = SearchParams(budget=6, chunk=CHUNK, evaluator="shared", **{change: 7})
    run(*blocks, workspace, SilentProgress())  # type: ignore[call-arg,arg-type]
    assert set(bench.scored.values()) == {2}


def test_failing_candidate_is_recorded_and_the_search_goes_on(
    bench: Bench, tmp_path: Path
) -> None:
    undisturbed = _search(_workspace(tmp_path / "undisturbed"))
    bench.broken = frozenset({undisturbed[3]["id"], undisturbed[14]["id"]})
    workspace = _workspace(tmp_path / "broken")
    records = _search(workspace)
    failed = {record["id"]: record for record in records if record["status"] == "failed"}
    assert undisturbed[3]["id"] in failed
    assert len(records) == BUDGET
    for record in failed.values():
        assert record["reason"] == "ArithmeticError: logits must be finite, but got NaN"
        assert (record["top1"], record["rank"], record["on_pareto"]) == (None, None, False)
        assert record["latency_ms"] > 0
    summary = read_json(workspace.search / "front.json")
    assert (summary["candidates"], summary["failed"]) == (BUDGET, len(failed))
    bench.scored.clear()
    _search(workspace)
    assert not bench.scored  # failures are remembered, too


def test_search_may_fail_altogether(bench: Bench, tmp_path: Path) -> None:
    undisturbed = _search(_workspace(tmp_path / "a"), budget=6, chunk=6)
    bench.broken = frozenset(record["id"] for record in undisturbed)
    workspace = _workspace(tmp_path / "b")
    records = _search(workspace, budget=6, chunk=6)
    assert {record["status"] for record in records} == {"failed"}
    summary = read_json(workspace.search / "front.json")
    assert (summary["front"], summary["hypervolume"], summary["failed"]) == ([], 0.0, 6)
    with pytest.raises(SearchError, match="got 6 that failed, the first with: ArithmeticError"):
        choose_finalists(read_candidates(workspace, "top1"), 2, SelectParams())


class ResourceExhaustedError(Exception):
    """Named as TensorFlow's, which is no MemoryError."""


@pytest.mark.parametrize("error", [MemoryError, ResourceExhaustedError])
def test_lack_of_memory_is_no_fault_of_the_candidate(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def score(point: Architecture) -> dict[str, float]:
        raise error

    workspace = _workspace(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(error):
        patch.setattr(bench, "score", score)
        _search(workspace)
    assert {record["status"] for record in _search(workspace)} == {"done"}


def test_front_is_what_no_candidate_beats(bench: Bench, tmp_path: Path) -> None:
    workspace = _workspace(tmp_path)
    records = _search(workspace)
    front = {record["id"] for record in records if record["on_pareto"]}
    beaten = {
        one["id"]
        for one in records
        for other in records
        if other["top1"] >= one["top1"]
        and other["latency_ms"] <= one["latency_ms"]
        and (other["top1"], other["latency_ms"]) != (one["top1"], one["latency_ms"])
    }
    assert front == {record["id"] for record in records} - beaten
    assert {record["id"] for record in records if record["rank"] == 0} == front
    summary = read_json(workspace.search / "front.json")
    assert set(summary["front"]) == front
    assert 0 < summary["hypervolume"] < 1
    largest = next(one for one in records if one["architecture"] == SPACE.largest().values)
    assert summary["largest"].items() <= largest.items()
    more = read_json(_more(tmp_path).search / "front.json")  # the same corner, a larger front
    assert more["largest"] == summary["largest"]
    assert more["hypervolume"] >= summary["hypervolume"]
    assert summary["device"] == "coral_usb3"


def _more(base: Path) -> Workspace:
    """The same search with twice the budget."""
    workspace = _workspace(base / "more")
    _search(workspace, budget=2 * BUDGET)
    return workspace


def test_note_tells_the_best_and_the_front(bench: Bench, tmp_path: Path) -> None:
    session = Search(*_blocks(budget=5), _workspace(tmp_path))
    assert session.note() == "none scored yet"
    for chunk in session.chunks():
        session.tell(chunk, session.evaluate(chunk))
    best = max(session.candidates, key=lambda one: one.score or 0.0)
    assert session.note().startswith(f"best {best.score:.3f} at {best.latency_ms:.2f} ms, ")


def test_target_latency_is_kept_by_every_candidate(bench: Bench, tmp_path: Path) -> None:
    free = _search(_workspace(tmp_path / "free"))
    target = sorted(record["latency_ms"] for record in free)[3]
    limited = _search(_workspace(tmp_path / "limited"), target_ms=target)
    assert len(limited) == BUDGET
    assert max(record["latency_ms"] for record in limited) <= target
    assert max(record["latency_ms"] for record in free) > target


def test_weight_limit_is_kept_by_every_candidate(bench: Bench, tmp_path: Path) -> None:
    blocks = list(_blocks(budget=10))
    blocks[3] = CostParams(max_weight_bytes=100_000)
    workspace = _workspace(tmp_path)
    run(*blocks, workspace, SilentProgress())  # type: ignore[call-arg,arg-type]
    records = read_json(workspace.search / "candidates.json")
    assert len(records) == 10
    assert max(record["weight_bytes"] for record in records) <= 100_000


def test_target_that_nothing_reaches_is_told_with_the_least_that_was_seen(
    bench: Bench, tmp_path: Path
) -> None:
    workspace = _workspace(tmp_path)
    with pytest.raises(
        Infeasible, match=r"latency_ms <= 0\.001, but got none .* smallest seen being latency_ms"
    ) as caught:
        _search(workspace, target_ms=0.001)
    seen = float(str(caught.value).split("smallest seen being latency_ms ")[1].split()[0][:-1])
    free = _search(_workspace(tmp_path / "free"))
    assert 0.001 < seen <= min(record["latency_ms"] for record in free) * 1.0001
    assert isinstance(caught.value, ValueError)
    assert not bench.scored.keys() - {record["id"] for record in free}
    assert not (workspace.search / "candidates.json").exists()


# -- what is looked at together -----------------------------------------------------------------


def _sizes(count: int, whole: bool) -> list[int]:
    problem, arrays = opened("classification"), samples("classification", count)
    graph = problem.complete(SPACE.for_input((1, 16, 16, 3)).lower(SPACE.smallest()))
    return [len(one["input"]) for one in inputs_in_batches(problem, arrays, graph, whole)]


def test_statistics_see_whole_batches_only() -> None:
    # derived: 256 at most; a rest would weigh as much as a whole batch
    assert _sizes(300, whole=True) == [256]
    assert _sizes(300, whole=False) == [256, 44]
    assert _sizes(7, whole=True) == _sizes(7, whole=False) == [7]


def test_records_are_plain_json(bench: Bench, tmp_path: Path) -> None:
    workspace = _workspace(tmp_path)
    _search(workspace, budget=5)
    text = (workspace.search / "candidates.json").read_text()
    assert json.loads(text) == json.loads(text, parse_constant=pytest.fail)


# -- trainings of their own, and the gate -------------------------------------------------------


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Stands in for the trainings of candidates; the epochs of each."""
    epochs: list[int] = []

    def score_many(self: Trained, points: Sequence[Architecture]) -> list[dict[str, Any]]:
        epochs.extend([self._bench.epochs] * len(points))
        return [{"top1": accuracy(point) + 1e-4 * self._bench.epochs} for point in points]

    monkeypatch.setattr(Trained, "score_many", score_many)
    return epochs


def test_best_and_their_neighbours_are_trained_longer(alone: list[int], tmp_path: Path) -> None:
    workspace = _workspace(tmp_path)
    records = _search(workspace, evaluator="trained", epochs=2, rungs=3)
    # derived: 24, then a third of them, then 6, the least; three times longer each
    assert Counter(alone) == {2: 24, 6: 8, 18: 6}
    # derived: 4 of 8 and of 6 on a higher rung come from below, and the rest is new
    assert Counter(record["rung"] for record in records) == {0: 24 - 4, 1: 8 - 4, 2: 6}
    assert len(records) == len({record["id"] for record in records}) == 24 + 4 + 2
    began = [sum(one is None for one in record.get("lower_rungs", ())) for record in records]
    assert Counter(began) == {0: 24, 1: 4, 2: 2}
    for begin, record in zip(began, records, strict=True):  # one decision away from another there
        there = [one["architecture"] for one in records if one["rung"] >= begin > 0]
        near = [neighbours(SPACE, architecture(SPACE, one)) for one in there]
        assert begin == 0 or record["id"] in {point.id for some in near for point in some}
    for record in records:
        assert len(record.get("lower_rungs", ())) == record["rung"]
        assert record["epochs"] == 2 * 3 ** record["rung"]
    highest = [record["rank"] for record in records if record["rung"] == 2]
    assert max(highest) < min(record["rank"] for record in records if record["rung"] < 2)
    assert all(record["rung"] == 2 for record in records if record["on_pareto"])
    found = read_json(workspace.search / "fidelity.json")
    assert [one["candidates"] for one in found["rungs"]] == [4, 4]
    assert found["evaluator"] == "trained" and found["training"]["epochs"] == 18
    summary = read_json(workspace.search / "front.json")
    assert summary["rung_tau"] == [one["tau"] for one in found["rungs"]]
    assert summary["gate_tau"] is summary["gate_passed"] is None
    rungs = rungs_of(Fidelity.of(found), read_candidates(workspace, "top1"))
    for rung, told in zip(rungs, found["rungs"], strict=True):
        before, after = (np.array([getattr(p, n) for p in rung.pairs]) for n in ENDS)
        assert len(rung.pairs) == told["candidates"]
        assert kendall(before, after) == pytest.approx(told["tau"])
        assert rung.before == f"trained for {2 * 3 ** (rung.number - 1)} epochs"
    alone.clear()
    assert _search(workspace, evaluator="trained", epochs=2, rungs=3) == records
    assert not alone  # all of it is remembered


def test_gate_lets_a_supernet_pass_that_orders_networks(
    bench: Bench, alone: list[int], tmp_path: Path
) -> None:
    workspace = _workspace(tmp_path)
    records = _search(workspace, evaluator="auto", epochs=2, rungs=1)
    found = read_json(workspace.search / "fidelity.json")
    assert found["gate"]["passed"] and found["evaluator"] == "shared"
    assert found["gate"]["networks"] == 8
    summary = read_json(workspace.search / "front.json")
    for name in ("tau", "tau_macs", "tau_ceiling", "passed"):
        assert summary[f"gate_{name}"] == found["gate"][name] is not None
    assert (summary["evaluator"], summary["rung_tau"]) == ("shared", [])
    drawn = gate_of(Fidelity.of(found), read_candidates(workspace, "top1"))
    assert drawn is not None and drawn.passed
    assert sum(one.networks for one in drawn.biases) == len(drawn.pairs) == 8
    assert {record["evaluator"] for record in records} == {"shared"}
    assert len(alone) == 8 + 2  # and a third of them once more


def test_gate_turns_to_trainings_where_shared_weights_favour_a_kind(
    bench: Bench, alone: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def favouring(point: Architecture) -> dict[str, float]:
        fused = sum(value == "ibn_fused" for value in point.values.values())
        return {"top1": 0.3 + 0.1 * (fused > 1)}

    monkeypatch.setattr(bench, "score", favouring)
    workspace = _workspace(tmp_path)
    records = _search(workspace, evaluator="auto", epochs=2, rungs=1)
    found = read_json(workspace.search / "fidelity.json")
    assert not found["gate"]["passed"] and found["gate"]["reasons"]
    assert {record["evaluator"] for record in records} == {"trained"}
    assert [record["top1"] for record in records] == [
        accuracy(architecture(SPACE, record["architecture"])) + 2e-4 for record in records
    ]


def test_without_a_supernet_candidates_are_trained(alone: list[int], tmp_path: Path) -> None:
    workspace = _workspace(tmp_path)
    (workspace.supernet / "weights.npz").unlink()
    records = _search(workspace, evaluator="auto", epochs=1, rungs=1)
    assert {record["evaluator"] for record in records} == {"trained"}
    with pytest.raises(EvaluatorError, match="shared must have a trained supernet"):
        _search(workspace, evaluator="shared")
    with pytest.raises(
        EvaluatorError, match=r"one of auto, shared, sliced, trained, but got 'none'"
    ):
        _search(workspace, evaluator="none")


def test_minutes_decide_on_epochs(alone: list[int], tmp_path: Path) -> None:
    _search(_workspace(tmp_path / "few"), evaluator="trained", minutes=0.7, rungs=1)
    few = set(alone)
    alone.clear()
    _search(_workspace(tmp_path / "many"), evaluator="trained", minutes=4.0, rungs=1)
    (fewer,), (more,) = few, set(alone)
    assert more > fewer


def test_fewer_candidates_where_minutes_give_each_too_few_steps(
    alone: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    looked_at = []
    for budget, minutes in ((24, 1.0), (24, 60.0), (12, 1.0)):
        options: dict[str, Any] = {"budget": budget, "minutes": minutes, "rungs": 1}
        place = _workspace(tmp_path / f"{budget}-{minutes}")
        looked_at.append(len(_search(place, evaluator="trained", **options)))
    assert looked_at == [LEAST_CANDIDATES, 24, 12]
    assert capsys.readouterr().out.count("20 candidates instead of 24, for search.minutes=1 ") == 1
