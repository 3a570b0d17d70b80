"""The pure training loops: a supernet by the sandwich rule, and a single Keras model.

Every batch, augmentation and random architecture is a function of (seed, step) alone, and a
checkpoint holds all that a step changes. An interrupted training therefore ends with the same
bytes as an undisturbed one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from spaces.ibn import IbnSpace, largest, smallest
from spaces.space import sample
from tasks.progress import Progress
from tasks.quantization import normalise
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
        weight_decay: L2 factor on kernels.
        clip_norm: Bound on the global norm of the gradient.
        label_smoothing: Mass spread over all classes.
        seed: Of everything random.
    """

    steps: int
    learning_rate: float
    warmup_steps: int
    momentum: float
    weight_decay: float
    clip_norm: float
    label_smoothing: float
    seed: int

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
        images: uint8 [n, H, W, C].
        labels: int32 [n].
        batch_size: At most n.
        seed: Of order and augmentation.
        flip: Mirror half of the images.
        crop: Shift each image by up to this many pixels both ways, zeros moving in.
    """

    def __init__(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[np.int32],
        batch_size: int,
        seed: int,
        flip: bool,
        crop: int,
    ) -> None:
        self._images, self._labels = images, labels
        self._size, self._seed = min(batch_size, len(images)), seed
        self._flip, self._crop = flip, crop
        self.per_epoch = len(images) // self._size
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.zeros(0, np.int64))

    def at(self, step: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Images [batch, H, W, C] in [-1, 1] and labels [batch] of a step."""
        epoch, index = divmod(step, self.per_epoch)
        if self._order[0] != epoch:
            order = np.random.default_rng([self._seed, 0, epoch]).permutation(len(self._images))
            self._order = (epoch, order)
        chosen = self._order[1][index * self._size : (index + 1) * self._size]
        images = self._augment(self._images[chosen], np.random.default_rng([self._seed, 1, step]))
        return normalise(images), self._labels[chosen]

    def _augment(self, images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        count, height, width, _ = images.shape
        if self._crop:
            pad = ((0, 0), (self._crop, self._crop), (self._crop, self._crop), (0, 0))
            windows = sliding_window_view(np.pad(images, pad), (height, width), axis=(1, 2))
            shifts = rng.integers(0, 2 * self._crop + 1, (2, count))
            shifted = windows[np.arange(count), shifts[0], shifts[1]]
            images = np.ascontiguousarray(np.moveaxis(shifted, 1, -1))
        if self._flip:
            mirrored = np.less(rng.random(count), 0.5)
            images = np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
        return images


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
    """Stops a training that is not finite, or does worse than guessing after its start."""

    def __init__(self, classes: int, learning_rate: float) -> None:
        self._chance = math.log(classes)
        self._rate = learning_rate
        self._recent: list[float] = []

    def check(self, step: int, loss: float) -> None:
        """Take the loss of a step.

        Raises:
            TrainingDivergedError: At once if the loss is not finite; else, from step 200 on, when
                its mean over the last 100 steps is above the loss of guessing, ln(classes).
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


def smooth(labels: NDArray[np.int32], classes: int, amount: float) -> NDArray[np.float32]:
    """One-hot targets [batch, classes] with ``amount`` of the mass spread over all classes."""
    targets = np.full((len(labels), classes), amount / classes, np.float32)
    targets[np.arange(len(labels)), labels] += np.float32(1.0 - amount)
    return targets


@final
class Optimizer:
    """SGD with Nesterov momentum on accumulated gradients, as traced functions.

    ``decayed`` names the variables under weight decay.
    """

    def __init__(self, variables: Mapping[str, Any], recipe: Recipe, decayed: frozenset[str]):
        import tensorflow as tf
        import tf_keras as keras

        self._variables = list(variables.values())
        self._sums = [tf.Variable(tf.zeros_like(v), trainable=False) for v in self._variables]
        self._sgd = keras.optimizers.SGD(
            recipe.learning_rate, recipe.momentum, nesterov=True, global_clipnorm=recipe.clip_norm
        )
        self._sgd.build(self._variables)
        self._decay = [recipe.weight_decay if name in decayed else 0.0 for name in variables]
        self._recipe = recipe
        self._step = tf.function(self._apply)

    def add(self, gradients: list[Any]) -> None:
        """Accumulate (inside a traced function)."""
        for total, gradient in zip(self._sums, gradients, strict=True):
            if gradient is not None:
                total.assign_add(gradient)

    def apply(self, step: int) -> None:
        """Take one step with what was accumulated."""
        self._sgd.learning_rate.assign(self._recipe.rate(step))
        self._step()

    def _apply(self) -> None:
        gradients = [
            total + decay * variable if decay else total.read_value()
            for total, variable, decay in zip(
                self._sums, self._variables, self._decay, strict=True
            )
        ]
        self._sgd.apply_gradients(zip(gradients, self._variables, strict=True))
        for total in self._sums:
            total.assign(total * 0.0)

    def state(self) -> Arrays:
        """Momenta and counters."""
        return {f"optimizer/{i:05d}": v.numpy() for i, v in enumerate(self._sgd.variables)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Load what :meth:`state` returned."""
        for index, variable in enumerate(self._sgd.variables):
            variable.assign(state[f"optimizer/{index:05d}"])


@final
class SandwichStep:
    """One step of the sandwich rule: largest, smallest and random architectures.

    The largest one learns from the labels, under dropout and weight decay; the others learn from
    its predictions (in-place distillation). Source: BigNAS, arXiv:2003.11142, section 3.
    """

    def __init__(self, net: Any, recipe: Recipe, dropout: float, random_subnets: int) -> None:
        import tensorflow as tf

        self._net, self._recipe = net, recipe
        self._dropout, self._random = dropout, random_subnets
        self._ends = (largest(net.space), smallest(net.space))
        kernels = {name for name in net.used_by(self._ends[0]) if name.endswith("kernel")}
        self.optimizer = Optimizer(net.parameters, recipe, frozenset(kernels))
        images = tf.TensorSpec([None, *net.space.input_shape[1:]], tf.float32)
        targets = tf.TensorSpec([None, net.classes], tf.float32)
        encoded = tf.TensorSpec([None, 5], tf.int32)
        scalar, pair = tf.TensorSpec([], tf.float32), tf.TensorSpec([2], tf.int32)
        self.accumulate = tf.function(
            self._accumulate, input_signature=[encoded, images, targets, scalar, pair]
        )

    def _accumulate(
        self, encoded: Any, images: Any, targets: Any, dropout: Any, seed: Any
    ) -> tuple[Any, Any]:
        """Add one architecture's gradient; returns its loss and its class probabilities."""
        import tensorflow as tf

        with tf.GradientTape() as tape:
            logits, _ = self._net.logits(encoded, images, None, dropout, seed)
            losses = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, list(self._net.parameters.values()))
        self.optimizer.add(gradients)
        return loss, tf.nn.softmax(logits)

    def __call__(
        self, step: int, images: NDArray[np.float32], labels: NDArray[np.int32]
    ) -> tuple[float, float]:
        """Train on one batch; returns the losses of the largest and the smallest."""
        import tensorflow as tf

        from spaces.supernet import encode

        space: IbnSpace = self._net.space
        rng = np.random.default_rng([self._recipe.seed, 2, step])
        batch = tf.constant(images)
        # The same 32 bits: TensorFlow takes signed ones only.
        seed = tf.constant(np.array([self._recipe.seed, step], np.uint32).astype(np.int32))
        targets = tf.constant(smooth(labels, self._net.classes, self._recipe.label_smoothing))
        losses = []
        for index in range(2 + self._random):
            architecture = self._ends[index] if index < 2 else sample(space, rng)
            encoded = tf.constant(encode(space, architecture))
            rate = tf.constant(0.0 if index else self._dropout, tf.float32)
            loss, probabilities = self.accumulate(encoded, batch, targets, rate, seed)
            losses.append(loss)
            targets = targets if index else probabilities
        self.optimizer.apply(step)
        return float(losses[0]), float(losses[1])


def train_supernet(
    net: Any,
    batches: Batches,
    recipe: Recipe,
    dropout: float,
    random_subnets: int,
    checkpoint: Checkpoint,
    progress: Progress,
) -> NDArray[np.float64]:
    """Train a :class:`spaces.supernet.Supernet` in place.

    Returns:
        Losses [steps, 2] of the largest and the smallest architecture.

    Raises:
        TrainingDivergedError: See :class:`DivergenceGuard`.
    """
    one_step = SandwichStep(net, recipe, dropout, random_subnets)
    guard = DivergenceGuard(net.classes, recipe.learning_rate)
    losses = np.zeros((recipe.steps, 2))
    done, state = checkpoint.load()
    if done:
        net.restore(state)
        one_step.optimizer.restore(state)
        losses[:done] = state["losses"]
        guard.restore(losses[max(0, done - GUARD_STEPS) : done, 0].tolist())
    progress.start("train_supernet", recipe.steps)
    for step in range(done, recipe.steps):
        losses[step] = one_step(step, *batches.at(step))
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
    batches: Batches,
    recipe: Recipe,
    classes: int,
    checkpoint: Checkpoint,
    progress: Progress,
) -> NDArray[np.float64]:
    """Train a Keras model of logits [batch, classes] in place; float or quantization-aware.

    Returns:
        Losses [steps].

    Raises:
        TrainingDivergedError: See :class:`DivergenceGuard`.
    """
    import tensorflow as tf

    named = {f"{i:05d}:{v.name}": v for i, v in enumerate(model.trainable_variables)}
    kernels = frozenset(name for name in named if "kernel" in name)
    optimizer = Optimizer(named, recipe, kernels)

    @tf.function  # type: ignore[untyped-decorator]
    def accumulate(images: Any, targets: Any) -> Any:
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, logits))
        optimizer.add(tape.gradient(loss, model.trainable_variables))
        return loss

    def state() -> Arrays:
        return {
            **{f"variable/{i:05d}": v.numpy() for i, v in enumerate(model.variables)},
            **optimizer.state(),
            "losses": losses,
        }

    guard = DivergenceGuard(classes, recipe.learning_rate)
    losses = np.zeros(recipe.steps)
    done, saved = checkpoint.load()
    if done:
        for index, variable in enumerate(model.variables):
            variable.assign(saved[f"variable/{index:05d}"])
        optimizer.restore(saved)
        losses[:] = saved["losses"]
        guard.restore(losses[max(0, done - GUARD_STEPS) : done].tolist())
    for step in range(done, recipe.steps):
        images, labels = batches.at(step)
        targets = smooth(labels, classes, recipe.label_smoothing)
        losses[step] = float(accumulate(tf.constant(images), tf.constant(targets)))
        optimizer.apply(step)
        guard.check(step, losses[step])
        progress.advance(step + 1, f"loss {losses[step]:.3f}")
        checkpoint.save(step + 1, state)
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
