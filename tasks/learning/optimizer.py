"""How a training steps: its recipe, the optimisers on accumulated gradients, averaged weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, final

from numpy.typing import NDArray

from tasks.learning import muon

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a training needs to know besides its data.

    Attributes:
        steps: Optimizer steps.
        learning_rate: Peak; linear warm-up, then half a cosine to zero.
        warmup_steps: Length of the warm-up.
        momentum: Of Nesterov's method.
        weight_decay: L2 factor on kernels; with Adam and Muon decoupled from the gradient.
        clip_norm: Bound on the global norm of the gradient.
        label_smoothing: Mass spread over all classes.
        seed: Of everything random.
        optimizer: ``sgd`` (with Nesterov momentum), ``adam``, or ``muon`` (Adam where a variable
            is no matrix: see :mod:`tasks.learning.muon`).
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
    optimizer: Literal["sgd", "adam", "muon"] = "sgd"
    average: float = 0.0

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))


def zeros(variables: Mapping[str, Any]) -> dict[str, Any]:
    """A variable of zeros for each."""
    import tensorflow as tf

    return {n: tf.Variable(tf.zeros_like(v), trainable=False) for n, v in variables.items()}


FIRST, SECOND, SMALLEST = 0.9, 0.999, 1e-7
"""Decays of Adam's moments, and what is added to the root of the second: as Keras has them."""


@final
class Optimizer:
    """SGD with Nesterov momentum, Adam or Muon, as ops for a function that is traced.

    The updates are TensorFlow's own kernels, an op a variable. Keras spells Adam out, which takes
    seconds to trace for every network.

    Args:
        variables: By name; trained in place.
        recipe: Rates, decay and bounds.
        decayed: Names of the variables under weight decay.
        matrices: Of the variables that Muon steps where it is the optimiser; Adam has the others.
    """

    def __init__(
        self,
        variables: Mapping[str, Any],
        recipe: Recipe,
        decayed: frozenset[str],
        matrices: Mapping[str, muon.Matrices] | None = None,
    ):
        import tensorflow as tf

        self._variables = dict(variables)
        self._matrices = dict(matrices or {}) if recipe.optimizer == "muon" else {}
        self._adaptive = recipe.optimizer != "sgd"
        self._first = zeros(variables)
        others = {n: v for n, v in variables.items() if n not in self._matrices}
        self._second = zeros(others) if self._adaptive else {}
        self._taken, self._rate = (tf.Variable(0.0, trainable=False) for _ in range(2))
        self._decay = {n: recipe.weight_decay if n in decayed else 0.0 for n in variables}
        self._recipe = recipe

    def begin(self, step: int) -> None:
        """Set the rate of a step, counted from 0."""
        self._rate.assign(self._recipe.rate(step))

    def update(self, gradients: Mapping[str, Any]) -> None:
        """Take one step; None is no gradient. Meant to be traced."""
        import tensorflow as tf

        update = self._adam if self._adaptive else self._sgd
        given = []
        for name, variable in self._variables.items():
            gradient = gradients[name]
            gradient = tf.zeros_like(variable) if gradient is None else gradient
            gradient = tf.convert_to_tensor(gradient)
            given.append(gradient + self._l2(name) * variable if self._l2(name) else gradient)
        clipped, _ = tf.clip_by_global_norm(given, self._recipe.clip_norm)
        taken = self._taken.assign_add(1.0, read_value=True)
        powers = FIRST**taken, SECOND**taken
        named = dict(zip(self._variables, clipped, strict=True))
        self._muon({name: named.pop(name) for name in self._matrices})
        for name, gradient in named.items():
            update(name, gradient, *powers)

    def _l2(self, name: str) -> float:
        return 0.0 if self._adaptive else self._decay[name]

    def _decay_by_rate(self, name: str) -> None:
        """As in Loshchilov, Hutter 2017, arXiv:1711.05101."""
        variable, decay = self._variables[name], self._decay[name]
        if decay:
            variable.assign_sub(self._rate * decay * variable)

    def _muon(self, gradients: Mapping[str, Any]) -> None:
        """With Nesterov momentum."""
        kept, new = muon.MOMENTUM, 1.0 - muon.MOMENTUM
        momenta = [
            new * gradient
            + kept * self._first[name].assign(kept * self._first[name] + new * gradient)
            for name, gradient in gradients.items()
        ]
        steps = muon.directions(momenta, [self._matrices[name] for name in gradients])
        for name, step in zip(gradients, steps, strict=True):
            self._decay_by_rate(name)
            self._variables[name].assign_sub(self._rate * step)

    def _adam(self, name: str, gradient: Any, first: Any, second: Any) -> None:
        """Kingma, Ba 2014, arXiv:1412.6980."""
        import tensorflow as tf

        self._decay_by_rate(name)
        tf.raw_ops.ResourceApplyAdam(
            var=self._variables[name].handle,
            m=self._first[name].handle,
            v=self._second[name].handle,
            beta1_power=first,
            beta2_power=second,
            lr=self._rate,
            beta1=FIRST,
            beta2=SECOND,
            epsilon=SMALLEST,
            grad=gradient,
        )

    def _sgd(self, name: str, gradient: Any, *_: Any) -> None:
        import tensorflow as tf

        tf.raw_ops.ResourceApplyKerasMomentum(
            var=self._variables[name].handle,
            accum=self._first[name].handle,
            lr=self._rate,
            grad=gradient,
            momentum=self._recipe.momentum,
            use_nesterov=True,
        )

    def state(self) -> Arrays:
        """Moments and the number of steps."""
        return {f"optimizer/{i:05d}": v.numpy() for i, v in enumerate(self._kept())}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Load what :meth:`state` returned."""
        for index, variable in enumerate(self._kept()):
            variable.assign(state[f"optimizer/{index:05d}"])

    def _kept(self) -> list[Any]:
        return [self._taken, *self._first.values(), *self._second.values()]


@final
class Accumulator:
    """Steps of an optimiser by the sum of several gradients, as where weights are shared.

    Args:
        variables: Those of the optimiser.
        optimizer: What steps.
    """

    def __init__(self, variables: Mapping[str, Any], optimizer: Optimizer) -> None:
        import tensorflow as tf

        self._sums, self._optimizer = zeros(variables), optimizer
        self._step = tf.function(self._apply, autograph=False)

    def add(self, gradients: Mapping[str, Any]) -> None:
        """Accumulate, by the names of the variables."""
        import tensorflow as tf

        for name, gradient in gradients.items():
            if gradient is not None:
                self._sums[name].assign_add(tf.convert_to_tensor(gradient))

    def apply(self, step: int) -> None:
        """Take one step with what was accumulated."""
        self._optimizer.begin(step)
        self._step()

    def _apply(self) -> None:
        import tensorflow as tf

        self._optimizer.update(self._sums)
        for total in self._sums.values():
            total.assign(tf.zeros_like(total))


@final
class Average:
    """The exponential moving average of variables; with ``decay`` 0 it does nothing.

    The decay of step s is at most (1 + s) / (10 + s), as in TensorFlow's own: the average of a
    short training forgets its beginning.
    """

    def __init__(self, variables: list[Any], decay: float) -> None:
        import tensorflow as tf

        self._decay = decay
        self._variables = list(variables) if decay else []
        self._means = [tf.Variable(v, trainable=False) for v in self._variables]
        self._share = tf.Variable(0.0, trainable=False)

    def begin(self, step: int) -> None:
        """Set what the variables of a step, counted from 0, weigh in the mean."""
        self._share.assign(1.0 - min(self._decay, (1 + step) / (10 + step)))

    def update(self) -> None:
        """Take the variables into the mean. Meant to be traced."""
        for mean, variable in zip(self._means, self._variables, strict=True):
            mean.assign_add(self._share * (variable - mean))

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
