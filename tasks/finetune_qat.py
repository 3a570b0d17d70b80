"""Trains the chosen architectures to the end, quantization-aware, and exports them.

Each finalist starts from its slice of the supernet, is trained in floating point, then with fake
quantization in the loop, and leaves as three TensorFlow Lite files: float, post-training quantized
and quantization-aware. All three are scored on validation; the test split is not touched here.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import shutil
import time
from pathlib import Path
from typing import Any

from hw.device import load_device
from spaces.graph import OpGraph
from spaces.space import Architecture, architecture
from tasks import workers
from tasks.arrays import load_split
from tasks.params import (
    CostParams,
    FinetuneParams,
    ProblemParams,
    RuntimeParams,
    SearchParams,
    SelectParams,
    SpaceParams,
)
from tasks.problem import Problem, open_problem
from tasks.progress import Progress
from tasks.quantization import Network
from tasks.search_architectures import choose_finalists, inputs_in_batches
from tasks.train_supernet import load_supernet
from tasks.workspace import (
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
    records = read_json(workspace.search / "candidates.json")
    chosen = choose_finalists(records, finetune.finalists, select)
    chosen += hand_made(records, chosen, finetune.baselines)
    todo = [record for record in chosen if not _finished(workspace, record).exists()]
    per_model = _steps(workspace, finetune)
    progress.start("finetune", per_model * len(chosen))
    before = per_model * (len(chosen) - len(todo))
    pieces = [
        (record, problem, space, search, cost, finetune, runtime, workspace) for record in todo
    ]
    workers.run_all(
        finish_one,
        pieces,
        workers.count(len(pieces)),
        lambda done, note: progress.advance(before + done, note),
    )
    progress.advance(per_model * len(chosen))
    _publish(workspace, [str(record["id"]) for record in chosen])
    progress.finish()
    return {"finalists": [record["id"] for record in chosen]}


def finish_one(piece: Any, report: workers.Report) -> None:
    """One finalist, from its record to its folder; runs in a process of its own."""
    record, *params = piece
    _trainer(*params).finish(record, _Reported(report))


@functools.lru_cache(maxsize=1)
def _trainer(*params: Any) -> Trainer:
    """One for all finalists of a process."""
    return Trainer(*params)


def _finished(workspace: Workspace, record: Any) -> Path:
    return workspace.state / "finished" / str(record["id"])


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


def _steps(workspace: Workspace, finetune: FinetuneParams) -> int:
    manifest = read_json(workspace.data / "manifest.json")
    count = int(manifest["splits"]["train"]["items"])
    per_epoch = count // min(finetune.batch_size, count)
    return per_epoch * (finetune.epochs + finetune.qat_epochs)


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
    ) -> None:
        from tasks.training import Batches, configure_tensorflow

        configure_tensorflow(runtime.threads, runtime.deterministic)
        self._params, self._workspace = finetune, workspace
        self._split = load_device(cost.device).compiler.grouped_convolution == "split"
        self._problem: Problem = open_problem(problem, workspace)
        self._net = load_supernet(space.name, self._problem, workspace)
        self._calibration = load_split(workspace, "train", search.calibration_images)
        self._ranges = load_split(workspace, "train", finetune.calibration_images)
        train = load_split(workspace, "train")
        self._batches = Batches(
            self._problem, train, finetune.batch_size, finetune.seed, finetune.augment
        )

    def finish(self, record: Any, progress: Progress) -> None:
        """Train, quantize, export and score one candidate; its folder appears when all is done."""
        point = architecture(self._net.space, record["architecture"])
        graph = self._net.graph(point)
        batches = inputs_in_batches(self._problem, self._calibration, graph, whole=True)
        weights = self._net.extract(point, self._net.recalibrate(point, batches))
        graph = self._problem.complete(self._net.space.lower(point))
        self.train_and_export(record, point, graph, weights, progress)

    def train_and_export(
        self,
        record: Any,
        point: Architecture,
        graph: OpGraph,
        weights: Any,
        progress: Progress,
    ) -> None:
        """The same from given weights (None: from scratch)."""
        import tf_keras as keras

        from spaces.keras_model import build_model, get_weights, set_weights
        from tasks.quantization import export_float, export_post_training

        keras.backend.clear_session()  # names, and so bytes, must not depend on models before
        keras.utils.set_random_seed(self._params.seed)  # what is not given begins at random
        model = build_model(graph, self._params.dropout, outputs=self._problem.trained)
        if weights is not None:
            set_weights(model, weights)
        steps = self._batches.per_epoch * self._params.epochs
        self._fit(model, graph, f"{point.id}-float", steps, self._params.learning_rate, progress)
        network = self._network(model, graph)
        ranges = self._problem.inputs(self._ranges, graph)
        files = {
            "float": export_float(network),
            "ptq": self._deployed(export_post_training(network, ranges)),
            "int8": self._deployed(self._quantize_aware(network, ranges, point, steps, progress)),
        }
        self._write(record, point, graph, files, get_weights(model))

    def _network(self, model: Any, graph: OpGraph) -> Network:
        return Network(model, graph, self._problem.trained, self._problem.deployed)

    def _quantize_aware(
        self, network: Network, ranges: Any, point: Architecture, before: int, progress: Progress
    ) -> bytes:
        from tasks.quantization import export_quantize_aware, quantize_aware

        quantized = quantize_aware(network, ranges)
        steps = self._batches.per_epoch * self._params.qat_epochs
        rate, after = self._params.qat_learning_rate, _Offset(progress, before)
        self._fit(quantized.model, network.graph, f"{point.id}-qat", steps, rate, after)
        return export_quantize_aware(quantized)

    def _fit(
        self, model: Any, graph: OpGraph, name: str, steps: int, rate: float, progress: Progress
    ) -> None:
        from tasks.training import Checkpoint, Recipe, train_model

        recipe = Recipe(
            steps=steps,
            learning_rate=rate,
            warmup_steps=min(20, steps // 10),
            momentum=0.9,
            weight_decay=self._params.weight_decay,
            clip_norm=1.0,
            label_smoothing=self._params.label_smoothing,
            seed=self._params.seed,
            optimizer=self._params.optimizer,
        )
        checkpoint = Checkpoint(self._workspace.state / f"{name}.npz", every=200)
        train_model(model, graph, self._problem, self._batches, recipe, checkpoint, progress)

    def _deployed(self, tflite: bytes) -> bytes:
        from tasks.quantization import split_grouped_convolutions

        return split_grouped_convolutions(tflite) if self._split else tflite

    def _write(
        self,
        record: Any,
        point: Architecture,
        graph: OpGraph,
        files: dict[str, bytes],
        weights: Any,
    ) -> None:
        """Fill a folder beside the final one, then move it there."""
        final = self._workspace.state / "finished" / point.id
        partial = self._workspace.state / f"{point.id}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        for name, content in files.items():
            write_bytes(partial / f"{name}.tflite", content)
        write_npz(partial / "weights.npz", weights)
        if decoding := self._problem.decoding(graph):
            write_npz(partial / "decoding.npz", decoding)
        write_json(partial / "architecture.json", {"space": point.space, **point.values})
        write_json(partial / "metrics.json", self._metrics(record, graph, files))
        final.parent.mkdir(parents=True, exist_ok=True)
        os.replace(partial, final)
        for checkpoint in self._workspace.state.glob(f"{point.id}-*.npz"):
            checkpoint.unlink()

    def _metrics(self, record: Any, graph: OpGraph, files: dict[str, bytes]) -> Manifest:
        metric, held = self._problem.metric.name, load_split(self._workspace, "validation")
        scores = {
            f"{name}_{kind}": value
            for kind, content in files.items()
            for name, value in score_file(self._problem, content, held, graph).items()
        }
        return {
            "id": record["id"],
            "name": record["name"],
            "origin": record["origin"],
            f"supernet_{metric}": record[metric],
            **scores,
            "bytes": {kind: len(content) for kind, content in files.items()},
        }


def score_file(
    problem: Problem, tflite: bytes | Path, arrays: Any, graph: OpGraph
) -> dict[str, float]:
    """Metrics of an exported file on a split."""
    from tasks.interpreter import predict

    outputs = predict(tflite, problem.inputs(arrays, graph), problem.deployed)
    return problem.score(outputs, arrays, graph)


def hand_made(records: Any, chosen: Any, count: int) -> list[Any]:
    """Up to ``count`` baselines beside ``chosen``, spread over latency, the best of each part.

    What they reach with equal training is what a search must beat.
    """
    known = {record["id"] for record in chosen}
    rest = [
        record
        for record in records
        if record["origin"] == "baseline"
        and record["status"] == "done"
        and record["id"] not in known
    ]
    rest.sort(key=lambda record: float(record["latency_ms"]))
    parts = [rest[len(rest) * i // count : len(rest) * (i + 1) // count] for i in range(count)]
    return [min(part, key=lambda record: (record["rank"], record["id"])) for part in parts if part]
