"""Trains the chosen architectures to the end, quantization-aware, and exports them.

All have the same training at first. Where ``finetune.rungs`` is 2, the better half goes on
for as many minutes again, unless these are better spent on more finalists: see
:func:`tasks.candidates.courses.as_many_as_learn`.

Each finalist is trained in floating point, then with fake quantization in the loop, and leaves as
TensorFlow Lite files: float, post-training quantized, quantization-aware. All are scored on
validation; the better one of the quantized two is ``int8.tflite``. The test split is not touched.

A finalist starts at random, unless its slice of the supernet is to be believed: see
:func:`begins_from_slice`.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

from spaces.graph import OpGraph
from spaces.sided import checked
from tasks.candidates import objectives
from tasks.candidates.board import Board
from tasks.candidates.candidate import Candidate, read_candidates
from tasks.candidates.courses import Course, as_many_as_learn, half
from tasks.candidates.finalists import SearchError, choose_finalists, hand_made
from tasks.candidates.finishing import Setting, begin_one, finish_one, finished, first_score
from tasks.candidates.judgement import Fidelity, fidelity_file
from tasks.candidates.machine_speed import speed_of
from tasks.candidates.workload import training_seconds
from tasks.data.arrays import load_split
from tasks.learning import recipes, teacher
from tasks.learning.networks import sized
from tasks.learning.problem import load_problem, open_problem
from tasks.learning.shared_weights import is_trained
from tasks.learning.teacher import SHARE
from tasks.run import teams, workers
from tasks.run.manifest import DataManifest
from tasks.run.params import (
    CostParams,
    FinetuneParams,
    ProblemParams,
    RuntimeParams,
    SearchParams,
    SelectParams,
    SpaceParams,
)
from tasks.run.progress import Progress
from tasks.run.workspace import Workspace, explain_full_disk

Manifest = dict[str, object]
WORTH_TELLING = 1.5
"""A machine so many times as fast as the run takes it for."""


def run(
    problem: ProblemParams,
    space: SpaceParams,
    search: SearchParams,
    cost: CostParams,
    finetune: FinetuneParams,
    select: SelectParams,
    runtime: RuntimeParams,
    workspace: Workspace,
    progress: Progress,
) -> Manifest:
    """Write ``finalists/<id>/`` for every chosen candidate, all at the end.

    Finished ones wait in the state folder, so that an interrupted run goes on after them.

    Returns:
        The finalists' ids.
    """
    metric = load_problem(problem.name).metric.name
    candidates = read_candidates(workspace, metric)

    def choose(count: int) -> list[Candidate]:
        found = choose_finalists(candidates, count, select)
        return found + hand_made(candidates, found, finetune.baselines)

    def graphs_of(count: int) -> list[OpGraph]:
        return _graphs(choose(count), problem, space, workspace)

    speed = _speed(problem, space, finetune, runtime, workspace)
    facts = recipes.facts_of(DataManifest.read(workspace))
    count, courses = as_many_as_learn(facts, graphs_of, finetune, speed)
    chosen, graphs = choose(count), graphs_of(count)
    _check_teacher(graphs, problem, finetune, runtime, workspace)
    sliced = begins_from_slice(finetune, workspace)
    parts = (problem, space, search, cost, finetune, runtime, workspace)
    setting = Setting(*parts, courses.first, sliced)
    groups = _in_turn(chosen, finetune, workspace)
    counted = _Counted(progress)
    named = dict(zip((one.id for one in chosen), graphs, strict=True))
    further = {name: courses.longer(graph) for name, graph in named.items() if courses.go_on}
    counted.start(courses.first, further, [len(together) for together, _ in groups])
    gone_on = frozenset[str]()
    began, fresh = time.monotonic(), not any(finished(workspace, one).exists() for one in chosen)
    for together, taught_by in groups:
        taught = dataclasses.replace(setting, taught_by=taught_by)
        gone_on |= _train(together, taught, further, select, counted)
    _publish(workspace, [one.id for one in chosen])
    progress.finish()
    if fresh and speed is not None:
        went = {name: further[name] for name in sorted(gone_on)}
        _tell_speed(time.monotonic() - began, named, courses.first, went, speed, courses.most)
    first = courses.first
    return {
        "finalists": [one.id for one in chosen],
        "training": first.floating.told(),
        "qat_training": first.quantized.told(),
        "longer_training": {one: further[one].floating.told() for one in sorted(gone_on)},
        "speed": speed,
        "start": "slice" if sliced else "scratch",
        "teacher": finetune.teacher,
        "teacher_share": None if finetune.teacher is None else SHARE,
    }


def _train(
    together: Sequence[Candidate],
    setting: Setting,
    further: Mapping[str, Course],
    select: SelectParams,
    counted: _Counted,
) -> frozenset[str]:
    """Train several side by side, and the better half of them by their ``further`` courses.

    Returns:
        The ids of those that have gone on; none where there are no such courses.
    """
    workspace, best = setting.workspace, frozenset[str]()
    if further:
        fresh = [one for one in together if first_score(workspace, one) is None]
        counted.run(begin_one, [(one, setting) for one in fresh])
        best = _better_half(together, setting, select)
    left = [one for one in together if not finished(workspace, one).exists()]
    left.sort(key=lambda one: one.id not in best)  # the long ones first: two are side by side
    pieces = [(one, further[one.id] if one.id in best else None, setting) for one in left]
    counted.run(finish_one, pieces)
    return best


def _better_half(
    together: Sequence[Candidate], setting: Setting, select: SelectParams
) -> frozenset[str]:
    """Who trains longer: of scores after the same training, the best and who keeps the front."""
    board = Board(objectives.parse(select.objectives, setting.problem.name))
    for one in together:
        board.add(dataclasses.replace(one, score=first_score(setting.workspace, one), rung=0))
    return frozenset(one.id for one in board.best(half(len(together))))


@final
class _Counted:
    """Progress over trainings that come one after the other in several processes."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._done = progress, 0

    def start(self, first: Course, further: Mapping[str, Course], groups: Sequence[int]) -> None:
        """Reckon the steps of all, as if those went on that have most."""
        total = sum(groups) * first.steps
        if further:
            most = sorted(one.steps for one in further.values())[::-1]
            going_on = sum(half(count) for count in groups)
            total += sum(most[:going_on]) - going_on * first.quantized.recipe.steps
        self._progress.start("finetune", total)

    def run(self, work: Callable[[Any, workers.Report], Any], pieces: Sequence[Any]) -> None:
        """Pieces side by side; their steps are added to those before."""
        before = self._done

        def advanced(done: int, note: str) -> None:
            self._done = before + done
            self._progress.advance(self._done, note)

        teams.run_all(work, pieces, advanced)


def _speed(
    problem: ProblemParams,
    space: SpaceParams,
    finetune: FinetuneParams,
    runtime: RuntimeParams,
    workspace: Workspace,
) -> float | None:
    """Of this machine in nominal ones, as the search has measured it; None: epochs are given."""
    if finetune.epochs is not None:
        return None
    known = _fidelity(workspace).speed if runtime.speed == "auto" else runtime.speed
    return float(known or speed_of(problem, space.name, runtime, workspace))


def _graphs(
    chosen: Sequence[Candidate],
    problem: ProblemParams,
    space: SpaceParams,
    workspace: Workspace,
) -> list[OpGraph]:
    """The whole network of each."""
    opened = open_problem(problem, workspace)
    sized_space = sized(space.name, DataManifest.read(workspace))
    points = [checked(sized_space, one.architecture) for one in chosen]
    return [opened.complete(sized_space.lower(point)) for point in points]


def _check_teacher(
    graphs: Sequence[OpGraph],
    problem: ProblemParams,
    finetune: FinetuneParams,
    runtime: RuntimeParams,
    workspace: Workspace,
) -> None:
    """Refuse a person's own network that cannot teach all finalists, before the first of them."""
    path = teacher.own(finetune.teacher)
    if path is not None:
        teacher.get_ready(path, runtime)
        few = load_split(workspace, "train", 2)
        teacher.check(path, open_problem(problem, workspace), few, graphs)


def _in_turn(
    chosen: Sequence[Candidate], finetune: FinetuneParams, workspace: Workspace
) -> list[tuple[list[Candidate], Path | None]]:
    """Who is trained side by side, and by whom they are taught: the path of a network."""
    if finetune.teacher != teacher.LARGEST:
        return [(list(chosen), teacher.own(finetune.teacher))]
    first = max(chosen, key=lambda one: (one.macs or 0, one.id))
    rest = [one for one in chosen if one is not first]
    return [([first], None), (rest, finished(workspace, first))]


def _tell_speed(
    took: float,
    graphs: Mapping[str, OpGraph],
    first: Course,
    gone_on: Mapping[str, Course],
    reckoned: float,
    most: int,
) -> None:
    """Say so, where this machine leaves most of the minutes that it was given unused."""
    plan = first.floating
    steps = recipes.WITH_QAT * plan.recipe.steps
    nominal = training_seconds(graphs.values(), steps, plan.batch_size)
    for name, course in gone_on.items():
        more = recipes.WITH_QAT * course.floating.recipe.steps
        nominal += training_seconds([graphs[name]], more, plan.batch_size)
    speed = nominal / took
    if speed > WORTH_TELLING * reckoned and plan.epochs < most:
        print(
            f"finetune: this machine is {speed:.1f} times as fast as the one that minutes are "
            f"counted on; runtime.speed={speed:.1f} trains so much longer in the minutes given",
            flush=True,
        )


def begins_from_slice(finetune: FinetuneParams, workspace: Workspace) -> bool:
    """Whether finalists start from the supernet: as asked, or where the gate believed it.

    Raises:
        SearchError: Slices are asked for and there is no supernet.
    """
    if finetune.start == "slice" and not is_trained(workspace):
        raise SearchError(
            "finetune.start: slice must have a trained supernet, but got supernet.steps=0. Raise "
            "it, or use auto or scratch."
        )
    believed = _fidelity(workspace).evaluator == "shared"
    return finetune.start == "slice" or (finetune.start == "auto" and believed)


def _fidelity(workspace: Workspace) -> Fidelity:
    """What the search says of its scores; nothing where there was none."""
    there = fidelity_file(workspace).exists()
    return Fidelity.read(workspace) if there else Fidelity()


def _publish(workspace: Workspace, ids: list[str]) -> None:
    """Put the finished finalists where everybody sees them, all or none."""
    fresh = workspace.finalists.with_name(".finalists.new")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        with explain_full_disk(workspace.finalists):
            for name in ids:
                (fresh / name).mkdir(parents=True)
                # Not copytree, whose errors hide the one that says that the disk is full.
                for path in (workspace.state / "finished" / name).iterdir():
                    shutil.copyfile(path, fresh / name / path.name)
        shutil.rmtree(workspace.finalists, ignore_errors=True)
        os.replace(fresh, workspace.finalists)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
