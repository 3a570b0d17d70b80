"""The pure training loop of a single Keras model, and what all trainings share.

Every batch, augmentation and random architecture is a function of (seed, step) alone, and a
checkpoint holds all that a step changes. An interrupted training therefore ends with the same
bytes as an undisturbed one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from spaces.graph import OpGraph
from tasks.learning.ahead import ahead
from tasks.learning.batch_statistics import BATCHES, settle
from tasks.learning.muon import Matrices, matrices_of
from tasks.learning.optimizer import Arrays, Average, Optimizer, Recipe
from tasks.learning.protocols import Criterion
from tasks.learning.teacher import SHARE, Teacher
from tasks.run.params import AugmentParams
from tasks.run.progress import Progress
from tasks.run.workspace import read_npz, write_npz

GUARD_STEPS = 100


class TrainingDivergedError(ValueError):
    """A training that does worse than guessing."""


@final
class Batches:
    """Shuffled, augmented batches, each a function of its step.

    Args:
        problem: It changes samples together with their targets.
        arrays: Of the train split, [n, ...] each; views of a file will do, of which a batch at a
            time is read.
        batch_size: At most n.
        seed: Of order and augmentation.
        augment: What is changed at random.
    """

    def __init__(
        self,
        problem: Criterion,
        arrays: Mapping[str, NDArray[Any]],
        batch_size: int,
        seed: int,
        augment: AugmentParams,
    ) -> None:
        self._problem, self._arrays, self._augment = problem, dict(arrays), augment
        self._count = len(next(iter(arrays.values())))
        self._size, self._seed = min(batch_size, self._count), seed
        self.per_epoch = self._count // self._size
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.zeros(0, np.int64))

    def at(self, step: int) -> Arrays:
        """The arrays [batch, ...] of a step."""
        epoch, index = divmod(step, self.per_epoch)
        if self._order[0] != epoch:
            order = np.random.default_rng([self._seed, 0, epoch]).permutation(self._count)
            self._order = (epoch, order)
        chosen = self._order[1][index * self._size : (index + 1) * self._size]
        batch = {name: array[chosen] for name, array in self._arrays.items()}
        rng = np.random.default_rng([self._seed, 1, step])
        return self._problem.augment(batch, self._augment, rng)


@final
class Checkpoint:
    """State of a training on disk, written every ``every`` steps and removed at the end."""

    def __init__(self, path: Path, every: int) -> None:
        self._path, self._every = path, every

    def load(self) -> tuple[int, Arrays]:
        """Steps done and their state; (0, {}) where there is none."""
        if not self._path.exists():
            return 0, {}
        arrays = read_npz(self._path)
        return int(arrays.pop("step")), arrays

    def save(self, done: int, state: Callable[[], Arrays]) -> None:
        """Write the state after ``done`` steps, if it is time to."""
        if done % self._every == 0:
            write_npz(self._path, {"step": np.asarray(done), **state()})

    def remove(self) -> None:
        """Forget the state: the training's result is safe."""
        self._path.unlink(missing_ok=True)


@final
class DivergenceGuard:
    """Stops a training that is not finite, or does worse than guessing after its start.

    ``chance_loss`` is that of knowing nothing; None: any finite loss will do.
    """

    def __init__(self, chance_loss: float | None, learning_rate: float) -> None:
        self._chance = math.inf if chance_loss is None else chance_loss
        self._rate = learning_rate
        self._recent: list[float] = []

    def check(self, step: int, loss: float) -> None:
        """Take the loss of a step.

        Raises:
            TrainingDivergedError: At once if the loss is not finite; else, from step 200 on, when
                its mean over the last 100 steps is above the loss of guessing.
        """
        self._recent = [*self._recent[-GUARD_STEPS + 1 :], loss]
        mean = sum(self._recent) / len(self._recent)
        if not math.isfinite(loss) or (step + 1 >= 2 * GUARD_STEPS and mean > self._chance):
            raise TrainingDivergedError(
                "the training loss must fall below that of guessing "
                f"({self._chance:.2f}), but got {mean:.2f} over {len(self._recent)} steps up to "
                f"step {step + 1}. Lower learning_rate (now {self._rate:g}) or lengthen "
                "warmup_steps."
            )

    @property
    def recent(self) -> list[float]:
        """Losses that the next check looks back on."""
        return list(self._recent)

    def restore(self, recent: list[float]) -> None:
        """Go on from ``recent``."""
        self._recent = list(recent)


def as_tensors(problem: Criterion, batch: Arrays, graph: OpGraph) -> tuple[Any, Any]:
    """Inputs and targets of a batch for a network, by name."""
    return _tensors(problem.inputs(batch, graph)), _tensors(problem.targets(batch, graph))


def _tensors(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    import tensorflow as tf

    return {name: tf.constant(array) for name, array in arrays.items()}


def _matrices(named: Mapping[str, Any], graph: OpGraph) -> dict[str, Matrices]:
    """Of the kernels that Muon may step, by the names of ``named`` variables of a Keras model."""
    from spaces.trainable.keras_model import layer_name

    found = {layer_name(op): matrices for op, matrices in matrices_of(graph).items()}
    layers = {name: variable.name.partition("/")[0] for name, variable in named.items()}
    return {
        name: found[layer]
        for name, layer in layers.items()
        if layer in found and "kernel" in named[name].name
    }


def train_model(
    model: Any,
    graph: OpGraph,
    problem: Criterion,
    batches: Batches,
    recipe: Recipe,
    checkpoint: Checkpoint,
    progress: Progress,
    teacher: Teacher | None = None,
) -> NDArray[np.float64]:
    """Train a Keras model of a graph in place; float or quantization-aware.

    What is left has batch statistics of its own: see :mod:`tasks.learning.batch_statistics`.

    With a ``teacher`` :data:`tasks.learning.teacher.SHARE` of the loss is the distance from its
    outputs on the same batch.

    Returns:
        Losses [steps].

    Raises:
        TrainingDivergedError: See :class:`DivergenceGuard`.
    """
    import tensorflow as tf

    named = {f"{i:05d}:{v.name}": v for i, v in enumerate(model.trainable_variables)}
    kernels = frozenset(name for name in named if "kernel" in name)
    optimizer = Optimizer(named, recipe, kernels, _matrices(named, graph))
    average = Average(model.trainable_variables, recipe.average)
    names = [name for name, _ in graph.inputs]

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def train(inputs: Any, targets: Any, known: Any) -> Any:
        with tf.GradientTape() as tape:
            outputs = model([inputs[name] for name in names], training=True)
            outputs = tuple(outputs) if isinstance(outputs, list | tuple) else (outputs,)
            loss = problem.loss(targets, outputs, recipe.label_smoothing)
            if known:
                loss = (1.0 - SHARE) * loss + SHARE * problem.distill(targets, known, outputs)
        optimizer.update(tape.gradient(loss, named))
        average.update()
        return loss

    def state() -> Arrays:
        return {
            **{f"variable/{i:05d}": v.numpy() for i, v in enumerate(model.variables)},
            **optimizer.state(),
            **average.state(),
            "losses": losses,
        }

    guard = DivergenceGuard(problem.chance_loss, recipe.learning_rate)
    losses = np.zeros(recipe.steps)
    done, saved = checkpoint.load()
    if done:
        for index, variable in enumerate(model.variables):
            variable.assign(saved[f"variable/{index:05d}"])
        optimizer.restore(saved)
        average.restore(saved)
        losses[:] = saved["losses"]
        guard.restore(losses[max(0, done - GUARD_STEPS) : done].tolist())

    def made(step: int) -> tuple[Arrays, Arrays, Arrays]:
        batch = batches.at(step)
        return batch, dict(problem.inputs(batch, graph)), dict(problem.targets(batch, graph))

    with closing(ahead(made, range(done, recipe.steps))) as coming:
        for step, (batch, inputs, targets) in enumerate(coming, done):
            known = () if teacher is None else tuple(map(tf.constant, teacher(batch, graph)))
            optimizer.begin(step)
            average.begin(step)
            losses[step] = float(train(_tensors(inputs), _tensors(targets), known))
            guard.check(step, losses[step])
            progress.advance(step + 1, f"loss {losses[step]:.3f}")
            checkpoint.save(step + 1, state)
    average.leave()
    after = (batches.at(recipe.steps + number) for number in range(BATCHES))
    more = (_tensors(problem.inputs(batch, graph)) for batch in after)
    settle(model, ([given[name] for name in names] for given in more))
    return losses


def configure_tensorflow(threads: int, deterministic: bool) -> None:
    """Fix what results depend on: thread counts and the order of reductions.

    Must run before TensorFlow does its first operation in this process; a second call with the
    same values is harmless.
    """
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    # Most graphs run for a minute. Grappler takes a second of each, and makes no step quicker.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    if deterministic:
        tf.config.experimental.enable_op_determinism()
