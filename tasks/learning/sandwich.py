"""Training a supernet in place by the sandwich rule.

Every batch, augmentation and random architecture is a function of (seed, step) alone, and a
checkpoint holds all that a step changes: see :mod:`tasks.learning.training`.
"""

from __future__ import annotations

import functools
import zlib
from contextlib import closing
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from spaces.graph import Op, OpGraph
from spaces.space import Architecture
from spaces.trainable.reach import Reach
from tasks.learning.ahead import ahead
from tasks.learning.optimizer import Accumulator, Arrays, Optimizer, Recipe
from tasks.learning.protocols import Criterion
from tasks.learning.training import (
    GUARD_STEPS,
    Batches,
    Checkpoint,
    DivergenceGuard,
    as_tensors,
)
from tasks.run.progress import Progress


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
        problem: Criterion,
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
        self.gradients = Accumulator(net.parameters, self.optimizer)
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
        self.gradients.add(self._net.whole(tape.gradient(loss, weights)))
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
        self.gradients.apply(step)
        return float(losses[0]), float(losses[1])

    def _read(self, batch: Arrays, graph: OpGraph) -> tuple[Any, Any]:
        return as_tensors(self._problem, batch, graph)


def _drop(rate: float, seed: Any, op: Op, x: Any) -> Any:
    """Dropout, another one at each op."""
    import tensorflow as tf

    if not rate:
        return x
    own = seed + tf.constant([0, zlib.crc32(op.name.encode()) & 0xFFFF], tf.int32)
    return tf.nn.experimental.stateless_dropout(x, rate, own)


def train_supernet(
    net: Any,
    problem: Criterion,
    batches: Batches,
    recipe: Recipe,
    dropout: float,
    random_subnets: int,
    checkpoint: Checkpoint,
    progress: Progress,
    reach: Reach | None = None,
) -> NDArray[np.float64]:
    """Train a :class:`spaces.trainable.supernet.Supernet` in place; without ``reach`` all of it.

    Returns:
        Losses [steps, 2] of the largest and the smallest architecture.

    Raises:
        TrainingDivergedError: See :class:`DivergenceGuard`.
    """
    one_step = SandwichStep(net, problem, recipe, dropout, random_subnets, reach)
    guard = DivergenceGuard(problem.chance_loss, recipe.learning_rate)
    losses = np.zeros((recipe.steps, 2))
    done, state = checkpoint.load()
    if done:
        net.restore(state)
        one_step.optimizer.restore(state)
        losses[:done] = state["losses"]
        guard.restore(losses[max(0, done - GUARD_STEPS) : done, 0].tolist())
    progress.start("train_supernet", recipe.steps)
    with closing(ahead(batches.at, range(done, recipe.steps))) as coming:
        for step, batch in enumerate(coming, done):
            losses[step] = one_step(step, batch)
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
