"""The better half of the finalists goes on from what a training that all have had has left."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spaces.graph import OpGraph
from spaces.walk import neighbours
from tasks import finetune_qat
from tasks.candidates import finishing
from tasks.candidates.candidate import Candidate
from tasks.candidates.coster import Coster
from tasks.candidates.courses import ENOUGH_EPOCHS, Courses, as_many_as_learn, half
from tasks.candidates.workload import CORES, training_seconds
from tasks.learning import recipes
from tasks.run import workers
from tasks.run.manifest import DataManifest
from tasks.run.params import FinetuneParams, Params, SearchParams
from tasks.run.progress import SilentProgress
from tasks.run.workspace import Workspace, read_json, read_npz, write_json
from tests.prepared import prepared
from tests.samples import opened, small_space

NAME = "classification"
SPACE, PROBLEM = small_space(NAME), opened(NAME)
GRAPHS = [PROBLEM.complete(SPACE.lower(SPACE.smallest()))] * 4
PICTURES = recipes.Facts(texts=False, labelled=True, items=3000, side=32, mirrored=True)


# -- how long they are --------------------------------------------------------------------------


def _reckoned(rungs: int, graphs: Sequence[OpGraph] = GRAPHS) -> Courses:
    return Courses(PICTURES, graphs, FinetuneParams(minutes=4.0, rungs=rungs), 1.0)


def test_the_minutes_are_halved_and_the_better_half_has_twice_as_long() -> None:
    alone, both = _reckoned(1), _reckoned(2)
    assert (alone.go_on, both.go_on) == (0, 2)
    longer = both.longer(GRAPHS[0])
    whole, first, more = (one.floating.epochs for one in (alone.first, both.first, longer))
    assert first == pytest.approx(whole / 2, abs=2)
    assert more == pytest.approx(2 * first, abs=3)
    size = both.first.floating.batch_size
    seconds = training_seconds(GRAPHS, both.first.floating.recipe.steps, size)
    seconds += training_seconds(GRAPHS[:2], longer.floating.recipe.steps, size)
    assert recipes.WITH_QAT * seconds < 4.1 * 60


def test_those_that_go_on_train_as_long_as_each_other_whatever_their_size() -> None:
    large = PROBLEM.complete(SPACE.lower(SPACE.largest()))
    courses = _reckoned(2, [*GRAPHS[:2], large, large])
    size = courses.first.floating.batch_size
    took = [
        training_seconds([one], courses.longer(one).floating.recipe.steps, size)
        for one in (GRAPHS[0], large)
    ]
    assert took[0] == pytest.approx(took[1], rel=0.1)
    assert CORES * took[1] * recipes.WITH_QAT == pytest.approx(2 * 60, rel=0.15)


def test_one_that_goes_on_alone_has_no_longer_than_the_minutes() -> None:
    graph = GRAPHS[0]
    courses = _reckoned(2, [graph, graph])
    steps = courses.longer(graph).floating.recipe.steps
    seconds = CORES * training_seconds([graph], steps, courses.first.floating.batch_size)
    assert courses.go_on == 1
    assert recipes.WITH_QAT * seconds < 2.05 * 60


@pytest.mark.parametrize("epochs", [0, 7])
def test_epochs_that_are_given_are_doubled_for_the_better_half(epochs: int) -> None:
    found = Courses(PICTURES, GRAPHS, FinetuneParams(epochs=epochs, rungs=2), None)
    more = found.longer(GRAPHS[0])
    assert (found.first.floating.epochs, more.floating.epochs) == (epochs, 2 * epochs)


def test_what_goes_on_is_augmented_as_the_whole_and_in_another_order() -> None:
    before = recipes.plan(PICTURES, FinetuneParams(), 10)
    more = recipes.further_plan(PICTURES, FinetuneParams(), before, 20)
    assert (before.augment.scale, more.augment.scale) == (0.0, 0.1)
    assert more.recipe.learning_rate == before.recipe.learning_rate / 2
    assert more.recipe.seed != before.recipe.seed
    assert more.recipe.steps == 2 * before.recipe.steps


@pytest.mark.parametrize(("all_of_them", "better"), [(1, 1), (2, 1), (3, 2), (4, 2), (7, 4)])
def test_half_of_them_is_one_at_least(all_of_them: int, better: int) -> None:
    assert half(all_of_them) == better


# -- how many they are --------------------------------------------------------------------------


def _as_many(**given: Any) -> tuple[int, Courses]:
    finetune = FinetuneParams(**{"finalists": (3, 8), "rungs": 2} | given)
    return as_many_as_learn(PICTURES, lambda count: GRAPHS[:1] * count, finetune, 1.0)


def test_minutes_for_long_trainings_go_to_more_finalists_first() -> None:
    found = {minutes: _as_many(minutes=minutes) for minutes in (0.5, 2.0, 2.5, 3.0, 40.0)}
    counts = [count for count, _ in found.values()]
    assert (counts[0], counts[-1]) == (3, 8)
    assert counts == sorted(counts) and len(set(counts)) > 2
    for count, courses in found.values():
        assert (courses.go_on > 0) == (count == 3)
        assert count == 3 or courses.first.floating.epochs >= ENOUGH_EPOCHS
    one_more = Courses(PICTURES, GRAPHS[:1] * (counts[2] + 1), FinetuneParams(minutes=2.5), 1.0)
    assert one_more.first.floating.epochs < ENOUGH_EPOCHS


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ({"finalists": 3, "minutes": 2.0}, 3),
        ({"finalists": (2, 3), "epochs": 50}, 3),
        ({"minutes": 0.1}, 3),
    ],
)
def test_otherwise_there_are_as_many_as_asked(given: dict[str, Any], asked: int) -> None:
    count, courses = _as_many(**{"minutes": 40.0} | given)
    assert (count, courses.go_on) == (asked, half(asked))


def test_texts_are_seen_no_more_often_than_is_of_use_and_nobody_goes_on() -> None:
    texts = recipes.Facts(
        texts=True, labelled=True, items=12_000, side=0, mirrored=False, classes=120
    )
    finetune = FinetuneParams(finalists=(3, 8), rungs=2, minutes=600.0)
    count, courses = as_many_as_learn(texts, lambda count: GRAPHS[:1] * count, finetune, 1.0)
    assert (count, courses.go_on) == (8, 0)
    # derived: 100 texts of a class each, so 100 / sqrt(100) epochs
    assert courses.first.floating.epochs == 10 < ENOUGH_EPOCHS
    few = finetune.model_copy(update={"minutes": 0.5})
    count, courses = as_many_as_learn(texts, lambda count: GRAPHS[:1] * count, few, 1.0)
    assert (count, courses.go_on) == (3, 2)
    assert courses.first.floating.epochs < recipes.MOST_TEXT_EPOCHS
    assert courses.longer(GRAPHS[0]).floating.epochs <= recipes.MOST_TEXT_EPOCHS


# -- the stage ----------------------------------------------------------------------------------


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tensorflow: Any) -> Workspace:
    """Three candidates of a search, and no processes."""

    def in_this_process(work: Any, pieces: Sequence[Any], *_: object) -> None:
        for piece in pieces:
            work(piece, lambda done, note: None)

    monkeypatch.setattr(workers, "run_all", in_this_process)
    monkeypatch.setattr(workers, "threads", lambda of_the_run: of_the_run)
    monkeypatch.setattr(
        finishing.Trainer, "_quantize_aware", lambda self, network, ranges, *_: _ptq(network)
    )
    made = prepared(NAME, tmp_path)
    coster = Coster(SPACE.name, DataManifest.read(made), Params().cost, PROBLEM)
    points = [SPACE.smallest(), *itertools.islice(neighbours(SPACE, SPACE.smallest()), 2)]
    records = [
        Candidate(point.id, point.values, metric="top1", score=0.5, **coster.costs(point)).told()
        | {"rank": 0}
        for point in points
    ]
    write_json(made.search / "candidates.json", records)
    return made


def _ptq(network: Any) -> bytes:
    """Stands in for quantization, which takes long."""
    from tasks.learning.quantization import export_float

    return export_float(network)


def _run(workspace: Workspace, finalists: int | tuple[int, int] = 3, **more: Any) -> Any:
    given = {"epochs": 1, "qat_epochs": 1, "calibration_images": 8, "rungs": 2} | more
    p = Params(finetune=FinetuneParams(finalists=finalists, **given))
    search = SearchParams(calibration_images=8)
    parts = (p.problem, p.space, search, p.cost, p.finetune, p.select, p.runtime)
    return finetune_qat.run(*parts, workspace, SilentProgress())


def _told(workspace: Workspace) -> dict[str, Any]:
    return {
        path.parent.name: read_json(path) for path in workspace.finalists.glob("*/metrics.json")
    }


def _scores(monkeypatch: pytest.MonkeyPatch, by_id: dict[str, float]) -> dict[str, Any]:
    """Let the first training end with these scores; the answer is what it leaves."""
    begin, begun = finishing.Trainer.begin, dict[str, Any]()

    def noted(self: Any, candidate: Candidate, progress: Any) -> float:
        begin(self, candidate, progress)
        folder = finishing.begun(self._workspace, candidate)
        begun[candidate.id] = read_npz(folder / "weights.npz")
        write_json(folder / "score.json", {"score": by_id[candidate.id]})
        return by_id[candidate.id]

    monkeypatch.setattr(finishing.Trainer, "begin", noted)
    monkeypatch.setattr(finishing.Trainer, "_score", lambda *_: 1.0)  # going on wins
    return begun


def test_who_goes_on_and_is_no_better_keeps_what_it_was(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [one["id"] for one in read_json(workspace.search / "candidates.json")]
    begun = _scores(monkeypatch, dict(zip(ids, (0.3, 0.2, 0.9), strict=True)))
    monkeypatch.setattr(finishing.Trainer, "_score", lambda *_: 0.9)
    outcome, told = _run(workspace), _told(workspace)
    assert set(outcome["longer_training"]) == {ids[0], ids[2]}
    assert [told[name]["epochs"] for name in ids] == [3, 1, 1]
    for name in ids[1:]:
        weights = read_npz(workspace.finalists / name / "weights.npz")
        assert all(np.array_equal(weights[key], value) for key, value in begun[name].items())


def test_the_better_half_has_trained_longer(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [one["id"] for one in read_json(workspace.search / "candidates.json")]
    scores = dict(zip(ids, (0.3, 0.2, 0.9), strict=True))  # the smallest is the fastest
    begun = _scores(monkeypatch, scores)
    outcome = _run(workspace)
    told = _told(workspace)
    assert {name: one["epochs"] for name, one in told.items()} == {
        ids[0]: 3,
        ids[1]: 1,
        ids[2]: 3,
    }
    assert {name: one["equal_score"] for name, one in told.items()} == scores
    longer = {name: one["epochs"] for name, one in outcome["longer_training"].items()}
    assert longer == {ids[0]: 2, ids[2]: 2}
    for name, first in begun.items():
        weights = read_npz(workspace.finalists / name / "weights.npz")
        same = all(np.array_equal(weights[key], first[key]) for key in first)
        assert same == (name == ids[1])


@pytest.mark.slow
def test_more_finalists_are_trained_where_nobody_needs_to_go_on(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.candidates.courses.ENOUGH_EPOCHS", 1)
    outcome = _run(workspace, (3, 8), epochs=None, minutes=0.01)
    told = _told(workspace)
    assert set(told) == set(outcome["finalists"]) and len(told) == 3  # as many as there are
    assert {one["epochs"] for one in told.values()} == {1}
    assert outcome["longer_training"] == {}


def _begun(workspace: Workspace) -> list[Path]:
    return list((workspace.state / "begun").iterdir())


def _anew(workspace: Workspace) -> None:
    shutil.rmtree(workspace.state)


@pytest.mark.slow
def test_a_run_that_was_cut_off_ends_with_the_same_bytes(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def files() -> dict[str, bytes]:
        return {
            str(path.relative_to(workspace.finalists)): path.read_bytes()
            for path in workspace.finalists.rglob("*")
            if path.is_file()
        }

    _run(workspace, 2)
    whole = files()
    _anew(workspace)
    finish, left = finishing.Trainer.finish, [1]

    def killed(self: Any, *given: Any) -> None:
        if not left:
            raise KeyboardInterrupt
        left.pop()
        finish(self, *given)

    with monkeypatch.context() as patched:
        patched.setattr(finishing.Trainer, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            _run(workspace, 2)
    finished = {path.name for path in (workspace.state / "finished").iterdir()}
    (left_over,) = (one for one in _begun(workspace) if one.name not in finished)
    scores = {left_over.name: read_json(left_over / "score.json")["score"]}
    (left_over / "score.json").unlink()  # as if it had been killed between the two files
    begun = _scores(monkeypatch, scores)
    _run(workspace, 2)
    assert begun.keys() == scores.keys()
    assert files() == whole
