"""How a training steps: its recipe, the optimisers on accumulated gradients, averaged weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, final

from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


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
