"""The pure training loops: a supernet by the sandwich rule, and a single Keras model.

Every batch, augmentation and random architecture is a function of (seed, step) alone, and a
checkpoint holds all that a step changes. An interrupted training therefore ends with the same
bytes as an undisturbed one.
"""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from spaces.graph import Op, OpGraph
from spaces.reach import Reach
from spaces.space import Architecture
from tasks.params import AugmentParams
from tasks.problem import Problem
from tasks.progress import Progress
from tasks.teacher import SHARE, Teacher
from tasks.workspace import read_npz, write_npz

Arrays = dict[str, NDArray[Any]]
GUARD_STEPS = 100


class TrainingDivergedError(ValueError):
    """A training that does worse than guessing."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a training needs to know besides its data.

    Attributes:
        steps: Optimizer steps.
        learning_rate: Peak; linear warm-up, then half a cosine to zero.
        warmup_steps: Length of the warm-up.
        momentum: Of Nesterov's method.
        weight_decay: L2 factor on kernels; with Adam decoupled from the gradient.
        clip_norm: Bound on the global norm of the gradient.
        label_smoothing: Mass spread over all classes.
        seed: Of everything random.
        optimizer: ``sgd`` (with Nesterov momentum) or ``adam``.
        average: Decay of the running average of all weights that is what a training leaves; 0:
            the last weights. It warms up, so that a short training does not keep its beginning.
    """

    steps: int
    learning_rate: float
    warmup_steps: int
    momentum: float
    weight_decay: float
    clip_norm: float
    label_smoothing: float
    seed: int
    optimizer: Literal["sgd", "adam"] = "sgd"
    average: float = 0.0

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))


@final
class Batches:
    """Shuffled, augmented batches, each a function of its step.

    Args:
        problem: It changes samples together with their targets.
        arrays: Of the train split, [n, ...] each.
        batch_size: At most n.
        seed: Of order and augmentation.
        augment: What is changed at random.
    """

    def __init__(
        self,
        problem: Problem,
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

    ``guessing`` is the loss of knowing nothing; None: any finite loss will do.
    """

    def __init__(self, guessing: float | None, learning_rate: float) -> None:
        self._chance = math.inf if guessing is None else guessing
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


@final
class Optimizer:
    """SGD with Nesterov momentum, or Adam, on accumulated gradients, as traced functions.

    ``decayed`` names the variables under weight decay.
    """

    def __init__(self, variables: Mapping[str, Any], recipe: Recipe, decayed: frozenset[str]):
        import tensorflow as tf

        self._variables = dict(variables)
        self._sums = {
            name: tf.Variable(tf.zeros_like(v), trainable=False) for name, v in variables.items()
        }
        self._method = _method(recipe)
        self._method.build(list(self._variables.values()))
        self._decay = {n: recipe.weight_decay if n in decayed else 0.0 for n in variables}
        self._recipe = recipe
        self._step = tf.function(self._apply, autograph=False)

    def add(self, gradients: Mapping[str, Any]) -> None:
        """Accumulate, by the names of the variables."""
        import tensorflow as tf

        for name, gradient in gradients.items():
            if gradient is not None:
                self._sums[name].assign_add(tf.convert_to_tensor(gradient))

    def apply(self, step: int) -> None:
        """Take one step with what was accumulated."""
        self._method.learning_rate.assign(self._recipe.rate(step))
        self._step()

    def _apply(self) -> None:
        adam = self._recipe.optimizer == "adam"
        gradients = []
        for name, variable in self._variables.items():
            total, decay = self._sums[name], self._decay[name]
            gradients.append(total + decay * variable if decay and not adam else total + 0.0)
            if decay and adam:  # Loshchilov, Hutter 2017, arXiv:1711.05101
                variable.assign_sub(self._method.learning_rate * decay * variable)
        self._method.apply_gradients(zip(gradients, self._variables.values(), strict=True))
        for total in self._sums.values():
            total.assign(total * 0.0)

    def state(self) -> Arrays:
        """Momenta and counters."""
        return {f"optimizer/{i:05d}": v.numpy() for i, v in enumerate(self._method.variables)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Load what :meth:`state` returned."""
        for index, variable in enumerate(self._method.variables):
            variable.assign(state[f"optimizer/{index:05d}"])


@final
class Average:
    """The exponential moving average of variables; with ``decay`` 0 it does nothing.

    The decay of step s is at most (1 + s) / (10 + s), as in TensorFlow's own: the average of a
    short training forgets its beginning.
    """

    def __init__(self, variables: list[Any], decay: float) -> None:
        import tensorflow as tf

        self._decay = decay
        self._variables = [v for v in variables if v.dtype.is_floating] if decay else []
        self._means = [tf.Variable(v, trainable=False) for v in self._variables]
        self._take = tf.function(self._update, autograph=False)

    def take(self, step: int) -> None:
        """Take the variables of a step, counted from 0, into the mean."""
        import tensorflow as tf

        if self._decay:
            self._take(tf.constant(1.0 - min(self._decay, (1 + step) / (10 + step)), tf.float32))

    def _update(self, share: Any) -> None:
        for mean, variable in zip(self._means, self._variables, strict=True):
            mean.assign_add(share * (variable - mean))

    def leave(self) -> None:
        """Set the variables to their means."""
        for mean, variable in zip(self._means, self._variables, strict=True):
            variable.assign(mean)

    def state(self) -> Arrays:
        """The means."""
        return {f"average/{i:05d}": mean.numpy() for i, mean in enumerate(self._means)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Load what :meth:`state` returned."""
        for index, mean in enumerate(self._means):
            mean.assign(state[f"average/{index:05d}"])


def _method(recipe: Recipe) -> Any:
    import tf_keras as keras

    if recipe.optimizer == "adam":
        return keras.optimizers.Adam(recipe.learning_rate, global_clipnorm=recipe.clip_norm)
    return keras.optimizers.SGD(
        recipe.learning_rate, recipe.momentum, nesterov=True, global_clipnorm=recipe.clip_norm
    )


@final
class SandwichStep:
    """One step of the sandwich rule: largest, smallest and random architectures within reach.

    The largest one learns from the labels, under dropout and weight decay; the others learn from
    its outputs (in-place distillation). Source: BigNAS, arXiv:2003.11142, section 3.

    Largest and smallest are traced once; the others run op by op, since no two are alike.
    """

    def __init__(
        self,
        net: Any,
        problem: Problem,
        recipe: Recipe,
        dropout: float,
        random_subnets: int,
        reach: Reach | None = None,
    ) -> None:
        import tensorflow as tf

        self._net, self._problem, self._recipe = net, problem, recipe
        self._dropout, self._random = dropout, random_subnets
        self._reach = reach or Reach(net.space)
        self._ends = (self._reach.largest(), self._reach.smallest())
        kernels = {name for name in net.used_by(self._ends[0]) if name.endswith("kernel")}
        self.optimizer = Optimizer(net.parameters, recipe, frozenset(kernels))
        self._teach = tf.function(
            functools.partial(self.accumulate, self._ends[0]), autograph=False
        )
        self._least = tf.function(
            functools.partial(self.accumulate, self._ends[1]), autograph=False
        )

    def accumulate(
        self, architecture: Architecture, inputs: Any, targets: Any, teacher: Any, seed: Any
    ) -> tuple[Any, Any]:
        """Add one architecture's gradient; returns its loss and its outputs.

        ``teacher`` is empty for the one that learns from the labels.
        """
        import tensorflow as tf

        drop = functools.partial(_drop, self._dropout, seed) if not teacher else None
        graph = self._net.graph(architecture)
        weights = self._net.weights(graph)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(list(weights.values()))
            outputs, _ = self._net.run(graph, inputs, drop=drop, weights=weights)
            if teacher:
                loss = self._problem.distill(targets, teacher, outputs)
            else:
                loss = self._problem.loss(targets, outputs, self._recipe.label_smoothing)
        self.optimizer.add(self._net.whole(tape.gradient(loss, weights)))
        return loss, outputs

    def __call__(self, step: int, batch: Arrays) -> tuple[float, float]:
        """Train on one batch; returns the losses of the largest and the smallest."""
        import tensorflow as tf

        rng = np.random.default_rng([self._recipe.seed, 2, step])
        # The same 32 bits: TensorFlow takes signed ones only.
        seed = tf.constant(np.array([self._recipe.seed, step], np.uint32).astype(np.int32))
        sampled = [self._reach.sample(rng) for _ in range(self._random)]
        losses, teacher = [], ()
        for index, architecture in enumerate((*self._ends, *sampled)):
            inputs, targets = self._read(batch, self._net.graph(architecture))
            function = (self._teach, self._least)[index] if index < 2 else None
            run = function or functools.partial(self.accumulate, architecture)
            loss, outputs = run(inputs, targets, teacher, seed)
            losses.append(loss)
            teacher = teacher or tuple(outputs)
        self.optimizer.apply(step)
        return float(losses[0]), float(losses[1])

    def _read(self, batch: Arrays, graph: OpGraph) -> tuple[Any, Any]:
        return as_tensors(self._problem, batch, graph)


def as_tensors(problem: Problem, batch: Arrays, graph: OpGraph) -> tuple[Any, Any]:
    """Inputs and targets of a batch for a network, by name."""
    import tensorflow as tf

    inputs, targets = problem.inputs(batch, graph), problem.targets(batch, graph)
    return (
        {name: tf.constant(array) for name, array in inputs.items()},
        {name: tf.constant(array) for name, array in targets.items()},
    )


def _drop(rate: float, seed: Any, op: Op, x: Any) -> Any:
    """Dropout, another one at each op."""
    import tensorflow as tf

    if not rate:
        return x
    own = seed + tf.constant([0, zlib.crc32(op.name.encode()) & 0xFFFF], tf.int32)
    return tf.nn.experimental.stateless_dropout(x, rate, own)


def train_supernet(
    net: Any,
    problem: Problem,
    batches: Batches,
    recipe: Recipe,
    dropout: float,
    random_subnets: int,
    checkpoint: Checkpoint,
    progress: Progress,
    reach: Reach | None = None,
) -> NDArray[np.float64]:
    """Train a :class:`spaces.supernet.Supernet` in place; without ``reach`` all networks of it.

    Returns:
        Losses [steps, 2] of the largest and the smallest architecture.

    Raises:
        TrainingDivergedError: See :class:`DivergenceGuard`.
    """
    one_step = SandwichStep(net, problem, recipe, dropout, random_subnets, reach)
    guard = DivergenceGuard(problem.guessing, recipe.learning_rate)
    losses = np.zeros((recipe.steps, 2))
    done, state = checkpoint.load()
    if done:
        net.restore(state)
        one_step.optimizer.restore(state)
        losses[:done] = state["losses"]
        guard.restore(losses[max(0, done - GUARD_STEPS) : done, 0].tolist())
    progress.start("train_supernet", recipe.steps)
    for step in range(done, recipe.steps):
        losses[step] = one_step(step, batches.at(step))
        guard.check(step, losses[step, 0])
        progress.advance(step + 1, f"loss {losses[step, 0]:.3f} / {losses[step, 1]:.3f}")
        checkpoint.save(
            step + 1,
            lambda done=step + 1: {  # type: ignore[misc]
                **net.state(),
                **one_step.optimizer.state(),
                "losses": losses[:done],
            },
        )
    progress.finish()
    return losses


def train_model(
    model: Any,
    graph: OpGraph,
    problem: Problem,
    batches: Batches,
    recipe: Recipe,
    checkpoint: Checkpoint,
    progress: Progress,
    teacher: Teacher | None = None,
) -> NDArray[np.float64]:
    """Train a Keras model of a graph in place; float or quantization-aware.

    With a ``teacher`` :data:`tasks.teacher.SHARE` of the loss is the distance from its outputs on
    the same batch.

    Returns:
        Losses [steps].

    Raises:
        TrainingDivergedError: See :class:`DivergenceGuard`.
    """
    import tensorflow as tf

    named = {f"{i:05d}:{v.name}": v for i, v in enumerate(model.trainable_variables)}
    kernels = frozenset(name for name in named if "kernel" in name)
    optimizer = Optimizer(named, recipe, kernels)
    average = Average(model.variables, recipe.average)
    names = [name for name, _ in graph.inputs]

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def accumulate(inputs: Any, targets: Any, known: Any) -> Any:
        with tf.GradientTape() as tape:
            outputs = model([inputs[name] for name in names], training=True)
            outputs = tuple(outputs) if isinstance(outputs, list | tuple) else (outputs,)
            loss = problem.loss(targets, outputs, recipe.label_smoothing)
            if known:
                loss = (1.0 - SHARE) * loss + SHARE * problem.distill(targets, known, outputs)
        optimizer.add(tape.gradient(loss, named))
        return loss

    def state() -> Arrays:
        return {
            **{f"variable/{i:05d}": v.numpy() for i, v in enumerate(model.variables)},
            **optimizer.state(),
            **average.state(),
            "losses": losses,
        }

    guard = DivergenceGuard(problem.guessing, recipe.learning_rate)
    losses = np.zeros(recipe.steps)
    done, saved = checkpoint.load()
    if done:
        for index, variable in enumerate(model.variables):
            variable.assign(saved[f"variable/{index:05d}"])
        optimizer.restore(saved)
        average.restore(saved)
        losses[:] = saved["losses"]
        guard.restore(losses[max(0, done - GUARD_STEPS) : done].tolist())
    for step in range(done, recipe.steps):
        batch = batches.at(step)
        known = () if teacher is None else tuple(map(tf.constant, teacher(batch, graph)))
        losses[step] = float(accumulate(*as_tensors(problem, batch, graph), known))
        optimizer.apply(step)
        average.take(step)
        guard.check(step, losses[step])
        progress.advance(step + 1, f"loss {losses[step]:.3f}")
        checkpoint.save(step + 1, state)
    average.leave()
    return losses


def configure_tensorflow(threads: int, deterministic: bool) -> None:
    """Fix what results depend on: thread counts and the order of reductions.

    Must run before TensorFlow does its first operation in this process; a second call with the
    same values is harmless.
    """
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
