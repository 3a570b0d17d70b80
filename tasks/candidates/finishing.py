"""How a finalist is trained and becomes files; in processes of their own, side by side.

Trainings come in courses: one that all finalists have, and a longer one for those that turn out
best, which goes on from what the first has left.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hw.device import load_device
from hw.family import family_of
from spaces.graph import OpGraph
from spaces.sided import checked
from spaces.space import Architecture
from tasks.candidates.candidate import Candidate
from tasks.candidates.courses import Course
from tasks.candidates.finalist import Finalist
from tasks.candidates.other_devices import other_devices
from tasks.data.arrays import load_split
from tasks.learning import recipes, teacher
from tasks.learning.exported import network_of
from tasks.learning.first_weights import FirstWeights
from tasks.learning.inputs import inputs_in_batches
from tasks.learning.interpreter import runs_as_it_is, score_file
from tasks.learning.networks import sized
from tasks.learning.problem import open_problem
from tasks.learning.protocols import Problem
from tasks.learning.quantization import Network
from tasks.learning.shared_weights import load_supernet, slice_of
from tasks.learning.teacher import SETTLED, FinalistTeacher, OwnTeacher, Teacher
from tasks.run import workers
from tasks.run.manifest import DataManifest
from tasks.run.params import (
    CostParams,
    FinetuneParams,
    ProblemParams,
    RuntimeParams,
    SearchParams,
    SpaceParams,
)
from tasks.run.progress import Progress
from tasks.run.workspace import Workspace, read_json, read_npz, write_bytes, write_json, write_npz


@dataclass(frozen=True, slots=True)
class Setting:
    """All that finalists share; small, for it is sent to other processes.

    Attributes:
        first: The training that all have.
        sliced: They begin from their slice of the supernet.
        taught_by: Path of a network that they learn from; None: from labels alone.
    """

    problem: ProblemParams
    space: SpaceParams
    search: SearchParams
    cost: CostParams
    finetune: FinetuneParams
    runtime: RuntimeParams
    workspace: Workspace
    first: Course
    sliced: bool
    taught_by: Path | None = None


def begin_one(piece: tuple[Candidate, Setting], report: workers.Report) -> float:
    """The first course of a finalist, in floating point; its score on validation."""
    candidate, setting = piece
    return _trainer(setting).begin(candidate, _Reported(report))


def finish_one(piece: tuple[Candidate, Course | None, Setting], report: workers.Report) -> None:
    """One finalist, from its candidate, or from what has begun, to its folder."""
    candidate, longer, setting = piece
    _trainer(setting).finish(candidate, _Reported(report), longer)


@functools.lru_cache(maxsize=1)
def _trainer(setting: Setting) -> Trainer:
    """One for all finalists of a process."""
    return Trainer(setting)


def finished(workspace: Workspace, candidate: Candidate) -> Path:
    """Where a finalist waits until all are finished."""
    return workspace.state / "finished" / candidate.id


def begun(workspace: Workspace, candidate: Candidate) -> Path:
    """Where the first course leaves ``weights.npz`` and, last, ``score.json``.

    They stay until the stage is done: scores of all tell who trains longer.
    """
    return workspace.state / "begun" / candidate.id


def first_score(workspace: Workspace, candidate: Candidate) -> float | None:
    """The metric on validation after the first course; None: that is not done."""
    path = begun(workspace, candidate) / "score.json"
    return float(read_json(path)["score"]) if path.exists() else None


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
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

    def __init__(self, setting: Setting) -> None:
        """Load what they share; TensorFlow with it."""
        from tasks.learning.training import configure_tensorflow

        configure_tensorflow(
            workers.threads(setting.runtime.threads), setting.runtime.deterministic
        )
        workspace, finetune = setting.workspace, setting.finetune
        self._params, self._workspace, self._first = finetune, workspace, setting.first
        self._split = _splits_groups(setting.cost)
        self._problem: Problem = open_problem(setting.problem, workspace)
        name = setting.space.name
        self._space = sized(name, DataManifest.read(workspace))
        self._net = load_supernet(name, self._problem, workspace) if setting.sliced else None
        self._calibration = load_split(workspace, "train", setting.search.calibration_images)
        self._ranges = load_split(workspace, "train", finetune.calibration_images)
        self._train = load_split(workspace, "train")
        self._beginning = FirstWeights(self._train)
        self._teacher = self._teacher_of(
            setting.taught_by, workers.threads(setting.runtime.threads)
        )

    def _teacher_of(self, path: Path | None, threads: int) -> Teacher | None:
        """A person's own network, or a finalist that is finished."""
        if path is None:
            return None
        if path == teacher.own(self._params.teacher):
            return OwnTeacher(path, self._problem, threads)
        return FinalistTeacher(path, self._problem, self._space)

    def begin(self, candidate: Candidate, progress: Progress) -> float:
        """The first course in floating point; its weights and score are kept."""
        from spaces.trainable.keras_model import get_weights

        point, graph = self._network_of(candidate)
        floating = self._first.floating
        model = self._built(graph, floating, self._slice(point))
        self._fit(model, graph, f"{point.id}-float", floating, progress)
        score = self._score(model, graph)
        folder = begun(self._workspace, candidate)
        folder.mkdir(parents=True, exist_ok=True)
        write_npz(folder / "weights.npz", get_weights(model))
        write_json(folder / "score.json", {"score": score})
        return score

    def finish(
        self, candidate: Candidate, progress: Progress, longer: Course | None = None
    ) -> None:
        """Train, quantize, export and score one candidate; its folder appears when all is done.

        One that has begun is not trained again, unless there is a ``longer`` course: then it goes
        on with that, and keeps the better of what both have left.
        """
        from spaces.trainable.keras_model import set_weights

        point, graph = self._network_of(candidate)
        course = longer or self._first
        score = first_score(self._workspace, candidate)
        kept = begun(self._workspace, candidate) / "weights.npz"
        weights = self._slice(point) if score is None else read_npz(kept)
        model = self._built(graph, course.floating, weights)
        trained, epochs = 0, course.floating.epochs
        if longer is not None:
            epochs += self._first.floating.epochs
        if score is None or longer is not None:
            name = f"{point.id}-{'float' if longer is None else 'longer'}"
            self._fit(model, graph, name, course.floating, progress)
            trained = course.floating.recipe.steps
        if longer is not None and score is not None and not self._beats(model, graph, score):
            set_weights(model, weights)  # it knows its samples by heart now
            course, epochs = self._first, self._first.floating.epochs
        after = _Offset(progress, trained)
        self._export(candidate, point, model, graph, course.quantized, after, score, epochs)

    def _score(self, model: Any, graph: OpGraph) -> float:
        """The metric on validation, in floating point."""
        from tasks.learning.quantization import deployed_outputs

        held = load_split(self._workspace, "validation")
        given = inputs_in_batches(self._problem, held, graph)
        outputs = deployed_outputs(network_of(model, graph, self._problem), given)
        return float(self._problem.score(outputs, held, graph)[self._problem.metric.name])

    def _beats(self, model: Any, graph: OpGraph, score: float) -> bool:
        found, goal = self._score(model, graph), self._problem.metric.goal
        return found > score if goal == "max" else found < score

    def _network_of(self, candidate: Candidate) -> tuple[Architecture, OpGraph]:
        point = checked(self._space, candidate.architecture)
        return point, self._problem.complete(self._space.lower(point))

    def _slice(self, point: Architecture) -> Any:
        """Weights of the supernet for a network, or None."""
        if self._net is None:
            return None
        return slice_of(self._net, self._problem, point, self._calibration)

    def _built(self, graph: OpGraph, plan: recipes.Plan, weights: Any) -> Any:
        """A Keras model of given weights (None: at random)."""
        import tf_keras as keras

        from spaces.trainable.keras_model import build_model, set_weights

        if isinstance(self._teacher, OwnTeacher):
            self._teacher.settle(load_split(self._workspace, "train", SETTLED), graph)
        keras.backend.clear_session()  # names, and so bytes, must not depend on models before
        keras.utils.set_random_seed(self._params.seed)  # what is not given begins at random
        model = build_model(graph, plan.dropout, outputs=self._problem.trained)
        if weights is None:
            self._beginning.give(model, graph)
        else:
            set_weights(model, weights)
        return model

    def _export(
        self,
        candidate: Candidate,
        point: Architecture,
        model: Any,
        graph: OpGraph,
        plan: recipes.Plan,
        progress: Progress,
        equal_score: float | None,
        epochs: int,
    ) -> None:
        """Files of a trained model, their scores, and the folder."""
        from spaces.trainable.keras_model import get_weights
        from tasks.learning.quantization import export_float, export_post_training

        network = network_of(model, graph, self._problem)
        ranges = self._problem.inputs(self._ranges, graph)
        files = {
            "float": export_float(network),
            "ptq": self._deployed(export_post_training(network, ranges)),
            "qat": self._deployed(self._quantize_aware(network, ranges, point, plan, progress)),
        }
        finalist = self._finalist(candidate, graph, files)
        finalist = dataclasses.replace(finalist, equal_score=equal_score, epochs=epochs)
        self._write(finalist, point, graph, files, get_weights(model))

    def _quantize_aware(
        self,
        network: Network,
        ranges: Any,
        point: Architecture,
        plan: recipes.Plan,
        progress: Progress,
    ) -> bytes:
        from tasks.learning.quantization import export_quantize_aware, quantize_aware

        quantized = quantize_aware(network, ranges)
        self._fit(quantized.model, network.graph, f"{point.id}-qat", plan, progress)
        return export_quantize_aware(quantized)

    def _fit(
        self, model: Any, graph: OpGraph, name: str, plan: recipes.Plan, progress: Progress
    ) -> None:
        from tasks.learning.training import Batches, Checkpoint, train_model

        seed = plan.recipe.seed
        batches = Batches(self._problem, self._train, plan.batch_size, seed, plan.augment)
        checkpoint = Checkpoint(self._workspace.state / f"{name}.npz", every=200)
        parts = (model, graph, self._problem, batches, plan.recipe, checkpoint, progress)
        train_model(*parts, self._teacher)

    def _deployed(self, tflite: bytes) -> bytes:
        from tasks.learning.quantization import split_grouped_convolutions

        return split_grouped_convolutions(tflite) if self._split else tflite

    def _write(
        self,
        finalist: Finalist,
        point: Architecture,
        graph: OpGraph,
        files: dict[str, bytes],
        weights: Any,
    ) -> None:
        """Fill a folder beside the final one, then move it there."""
        final = self._workspace.state / "finished" / point.id
        partial = self._workspace.state / f"{point.id}.partial"
        shutil.rmtree(partial, ignore_errors=True)
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
        """Scores of all files on validation; the better quantized one is what int8 stands for.

        One that LiteRT does not run as it is is not: nobody could use it.
        """
        metric, held = self._problem.metric, load_split(self._workspace, "validation")
        scores = {
            kind: score_file(self._problem, content, held, graph)
            for kind, content in files.items()
        }
        sign = 1 if metric.goal == "max" else -1
        usable = [kind for kind in ("qat", "ptq") if runs_as_it_is(files[kind])]
        better = max(usable or ("qat", "ptq"), key=lambda kind: sign * scores[kind][metric.name])
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


def _splits_groups(cost: CostParams) -> bool:
    """Whether any device needs group convolutions in parts: one file is for all of them."""
    devices = (cost.device, *(one.device for one in other_devices(cost)))
    return any(family_of(one).splits_groups(one) for one in map(load_device, devices))
