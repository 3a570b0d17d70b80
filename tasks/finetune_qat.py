"""Trains the chosen architectures to the end, quantization-aware, and exports them.

Each finalist is trained in floating point, then with fake quantization in the loop, and leaves as
TensorFlow Lite files: float, post-training quantized, quantization-aware. All are scored on
validation; the better one of the quantized two is ``int8.tflite``. The test split is not touched.

A finalist starts at random, unless its slice of the supernet is to be believed: see
:func:`begins_from_slice`.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hw.device import load_device
from hw.family import family_of
from spaces.graph import OpGraph
from spaces.space import Architecture, architecture
from tasks.candidates.candidate import Candidate, read_candidates
from tasks.candidates.finalist import Finalist
from tasks.candidates.finalists import SearchError, choose_finalists, hand_made
from tasks.candidates.machine_speed import speed_of
from tasks.candidates.workload import epochs_within, step_seconds, training_seconds
from tasks.data.arrays import load_split
from tasks.learning import recipes, teacher
from tasks.learning.interpreter import score_file
from tasks.learning.networks import sized
from tasks.learning.problem import load_problem, open_problem
from tasks.learning.protocols import Problem
from tasks.learning.quantization import Network
from tasks.learning.shared_weights import is_trained, load_supernet, slice_of
from tasks.learning.teacher import SETTLED, SHARE, FinalistTeacher, OwnTeacher, Teacher
from tasks.learning.word_vectors import WordVectors
from tasks.run import workers
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
from tasks.run.workspace import (
    Workspace,
    explain_full_disk,
    read_json,
    write_bytes,
    write_json,
    write_npz,
)

Manifest = dict[str, object]


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
    chosen = choose_finalists(candidates, finetune.finalists, select)
    chosen += hand_made(candidates, chosen, finetune.baselines)
    graphs = _graphs(chosen, problem, space, workspace)
    _check_teacher(graphs, problem, finetune, runtime, workspace)
    speed = _speed(problem, space, finetune, runtime, workspace)
    plans = _plans(graphs, finetune, speed, workspace)
    per_model = sum(plan.recipe.steps for plan in plans)
    progress.start("finetune", per_model * len(chosen))
    sliced = begins_from_slice(finetune, workspace)
    shared = (problem, space, search, cost, finetune, runtime, workspace, plans, sliced)
    began, fresh = time.monotonic(), not any(_finished(workspace, one).exists() for one in chosen)
    for together, taught_by in _in_turn(chosen, finetune, workspace):
        todo = [one for one in together if not _finished(workspace, one).exists()]
        before = per_model * sum(_finished(workspace, one).exists() for one in chosen)
        workers.run_all(
            finish_one,
            [(one, *shared, taught_by) for one in todo],
            workers.count(len(todo)),
            functools.partial(_advanced, progress, before),
        )
    progress.advance(per_model * len(chosen))
    _publish(workspace, [one.id for one in chosen])
    progress.finish()
    if fresh and speed is not None:
        _tell_speed(time.monotonic() - began, graphs, plans, speed)
    floating, quantized = plans
    return {
        "finalists": [one.id for one in chosen],
        "training": floating.told(),
        "qat_training": quantized.told(),
        "speed": speed,
        "start": "slice" if sliced else "scratch",
        "teacher": finetune.teacher,
        "teacher_share": None if finetune.teacher is None else SHARE,
    }


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
    known = _fidelity(workspace).get("speed") if runtime.speed == "auto" else runtime.speed
    return float(known or speed_of(problem, space.name, runtime, workspace))


Plans = tuple[recipes.Plan, recipes.Plan]
"""In floating point, and quantization-aware after that."""
WORTH_TELLING = 1.5
"""A machine so many times as fast as the run takes it for."""


def _graphs(
    chosen: Sequence[Candidate],
    problem: ProblemParams,
    space: SpaceParams,
    workspace: Workspace,
) -> list[OpGraph]:
    """The whole network of each."""
    opened = open_problem(problem, workspace)
    sized_space = sized(space.name, DataManifest.read(workspace))
    points = [architecture(sized_space, one.architecture) for one in chosen]
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
    return [([first], None), (rest, _finished(workspace, first))]


def _plans(
    graphs: Sequence[OpGraph],
    finetune: FinetuneParams,
    speed: float | None,
    workspace: Workspace,
) -> Plans:
    """The same trainings for all: as many epochs as fit into the minutes, unless set."""
    facts = recipes.facts_of(DataManifest.read(workspace))
    epochs = finetune.epochs
    if epochs is None:
        size = finetune.batch_size or recipes.batch_size(facts)
        share = finetune.minutes / recipes.WITH_QAT
        if finetune.teacher == teacher.LARGEST:
            steps = [step_seconds(graph, size) for graph in graphs]
            asked = recipes.TEACHER_STEP * max(steps) * (len(steps) - 1)
            share *= sum(steps) / (sum(steps) + asked)
        per_epoch = max(1, facts.items // size)
        epochs = epochs_within(share, graphs, per_epoch, size, recipes.MOST_EPOCHS, speed or 1.0)
    floating = recipes.plan(facts, finetune, epochs)
    return floating, recipes.quantized_plan(facts, finetune, floating)


def _tell_speed(took: float, graphs: Sequence[OpGraph], plans: Plans, reckoned: float) -> None:
    """Say so, where this machine leaves most of the minutes that it was given unused."""
    plan = plans[0]
    nominal = training_seconds(graphs, recipes.WITH_QAT * plan.recipe.steps, plan.batch_size)
    speed = nominal / took
    if speed > WORTH_TELLING * reckoned and plan.epochs < recipes.MOST_EPOCHS:
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
    believed = _fidelity(workspace).get("evaluator") == "shared"
    return finetune.start == "slice" or (finetune.start == "auto" and believed)


def _fidelity(workspace: Workspace) -> Mapping[str, Any]:
    """What the search says of its scores; nothing where there was none."""
    path = workspace.search / "fidelity.json"
    return read_json(path) if path.exists() else {}


def _advanced(progress: Progress, before: int, done: int, note: str) -> None:
    progress.advance(before + done, note)


def finish_one(piece: Any, report: workers.Report) -> None:
    """One finalist, from its candidate to its folder; runs in a process of its own."""
    candidate, *params = piece
    _trainer(*params).finish(candidate, _Reported(report))


@functools.lru_cache(maxsize=1)
def _trainer(*params: Any) -> Trainer:
    """One for all finalists of a process."""
    return Trainer(*params)


def _finished(workspace: Workspace, candidate: Candidate) -> Path:
    return workspace.state / "finished" / candidate.id


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


@dataclasses.dataclass(frozen=True, slots=True)
class _Reported:
    """Progress told to another process, a few times a second."""

    report: workers.Report
    last: list[float] = dataclasses.field(default_factory=lambda: [0.0])

    def start(self, name: str, total: int) -> None:
        """The whole has started already."""

    def advance(self, done: int, note: str = "") -> None:
        """Report, unless that was just done."""
        if time.monotonic() - self.last[0] > 0.3:
            self.last[0] = time.monotonic()
            self.report(done, note)

    def finish(self) -> None:
        """The whole goes on."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Offset:
    """A part of a longer progress."""

    progress: Progress
    before: int

    def start(self, name: str, total: int) -> None:
        """The whole has started already."""

    def advance(self, done: int, note: str = "") -> None:
        """Count on from where this part began."""
        self.progress.advance(self.before + done, note)

    def finish(self) -> None:
        """The whole goes on."""


class Trainer:
    """Everything finalists share: data, supernet and parameters."""

    def __init__(
        self,
        problem: ProblemParams,
        space: SpaceParams,
        search: SearchParams,
        cost: CostParams,
        finetune: FinetuneParams,
        runtime: RuntimeParams,
        workspace: Workspace,
        plans: Plans,
        sliced: bool,
        taught_by: Path | None = None,
    ) -> None:
        from tasks.learning.training import Batches, configure_tensorflow

        configure_tensorflow(workers.threads(runtime.threads), runtime.deterministic)
        self._params, self._workspace, self._plans = finetune, workspace, plans
        device = load_device(cost.device)
        self._split = family_of(device).splits_groups(device)
        self._problem: Problem = open_problem(problem, workspace)
        self._space = sized(space.name, DataManifest.read(workspace))
        self._net = load_supernet(space.name, self._problem, workspace) if sliced else None
        self._calibration = load_split(workspace, "train", search.calibration_images)
        self._ranges = load_split(workspace, "train", finetune.calibration_images)
        train, floating = load_split(workspace, "train"), plans[0]
        self._words = WordVectors(train)
        self._batches = Batches(
            self._problem, train, floating.batch_size, finetune.seed, floating.augment
        )
        self._teacher = self._teacher_of(taught_by, workers.threads(runtime.threads))

    def _teacher_of(self, path: Path | None, threads: int) -> Teacher | None:
        """A person's own network, or a finalist that is finished."""
        if path is None:
            return None
        if path == teacher.own(self._params.teacher):
            return OwnTeacher(path, self._problem, threads)
        return FinalistTeacher(path, self._problem, self._space)

    def finish(self, candidate: Candidate, progress: Progress) -> None:
        """Train, quantize, export and score one candidate; its folder appears when all is done."""
        point = architecture(self._space, candidate.architecture)
        graph = self._problem.complete(self._space.lower(point))
        self.train_and_export(candidate, point, graph, self._slice(point), progress)

    def _slice(self, point: Architecture) -> Any:
        """Weights of the supernet for a network, or None."""
        if self._net is None:
            return None
        return slice_of(self._net, self._problem, point, self._calibration)

    def train_and_export(
        self,
        candidate: Candidate,
        point: Architecture,
        graph: OpGraph,
        weights: Any,
        progress: Progress,
    ) -> None:
        """The same from given weights (None: from scratch)."""
        import tf_keras as keras

        from spaces.trainable.keras_model import build_model, get_weights, set_weights
        from tasks.learning.quantization import export_float, export_post_training

        if isinstance(self._teacher, OwnTeacher):
            self._teacher.settle(load_split(self._workspace, "train", SETTLED), graph)
        keras.backend.clear_session()  # names, and so bytes, must not depend on models before
        keras.utils.set_random_seed(self._params.seed)  # what is not given begins at random
        floating = self._plans[0]
        model = build_model(graph, floating.dropout, outputs=self._problem.trained)
        if weights is None:
            self._words.give(model, graph)
        else:
            set_weights(model, weights)
        self._fit(model, graph, f"{point.id}-float", floating, progress)
        network = self._network(model, graph)
        ranges = self._problem.inputs(self._ranges, graph)
        files = {
            "float": export_float(network),
            "ptq": self._deployed(export_post_training(network, ranges)),
            "qat": self._deployed(self._quantize_aware(network, ranges, point, progress)),
        }
        self._write(candidate, point, graph, files, get_weights(model))

    def _network(self, model: Any, graph: OpGraph) -> Network:
        return Network(model, graph, self._problem.trained, self._problem.deployed)

    def _quantize_aware(
        self, network: Network, ranges: Any, point: Architecture, progress: Progress
    ) -> bytes:
        from tasks.learning.quantization import export_quantize_aware, quantize_aware

        quantized, (before, plan) = quantize_aware(network, ranges), self._plans
        after = _Offset(progress, before.recipe.steps)
        self._fit(quantized.model, network.graph, f"{point.id}-qat", plan, after)
        return export_quantize_aware(quantized)

    def _fit(
        self, model: Any, graph: OpGraph, name: str, plan: recipes.Plan, progress: Progress
    ) -> None:
        from tasks.learning.training import Checkpoint, train_model

        checkpoint = Checkpoint(self._workspace.state / f"{name}.npz", every=200)
        parts = (model, graph, self._problem, self._batches, plan.recipe, checkpoint, progress)
        train_model(*parts, self._teacher)

    def _deployed(self, tflite: bytes) -> bytes:
        from tasks.learning.quantization import split_grouped_convolutions

        return split_grouped_convolutions(tflite) if self._split else tflite

    def _write(
        self,
        candidate: Candidate,
        point: Architecture,
        graph: OpGraph,
        files: dict[str, bytes],
        weights: Any,
    ) -> None:
        """Fill a folder beside the final one, then move it there."""
        final = self._workspace.state / "finished" / point.id
        partial = self._workspace.state / f"{point.id}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        finalist = self._finalist(candidate, graph, files)
        chosen = {**files, "int8": files[str(finalist.quantized_by)]}
        for name, content in chosen.items():
            write_bytes(partial / f"{name}.tflite", content)
        write_npz(partial / "weights.npz", weights)
        if decoding := self._problem.decoding(graph):
            write_npz(partial / "decoding.npz", decoding)
        write_json(partial / "architecture.json", {"space": point.space, **point.values})
        finalist.write(partial)
        final.parent.mkdir(parents=True, exist_ok=True)
        os.replace(partial, final)
        for checkpoint in self._workspace.state.glob(f"{point.id}-*.npz"):
            checkpoint.unlink()

    def _finalist(self, candidate: Candidate, graph: OpGraph, files: dict[str, bytes]) -> Finalist:
        """Scores of all files on validation; the better quantized one is what int8 stands for."""
        metric, held = self._problem.metric, load_split(self._workspace, "validation")
        scores = {
            kind: score_file(self._problem, content, held, graph)
            for kind, content in files.items()
        }
        sign = 1 if metric.goal == "max" else -1
        better = max(("qat", "ptq"), key=lambda kind: sign * scores[kind][metric.name])
        scores["int8"] = scores[better]
        return Finalist(
            id=candidate.id,
            name=candidate.name,
            origin=candidate.origin,
            metric=metric.name,
            search_score=candidate.score,
            scores=scores,
            quantized_by=better,
            file_bytes={kind: len(content) for kind, content in files.items()}
            | {"int8": len(files[better])},
        )
