"""How tensorflow-model-optimization is to quantize the layers that it does not know.

Also where ranges begin: its own begin at -6 and 6 and move by a thousandth a step, which a short
training does not live to see the end of. Importing this imports TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
from tensorflow_model_optimization.python.core.quantization.keras import quantizers


class Moved(tfmot.quantization.keras.QuantizeConfig):  # type: ignore[misc]
    """A layer that only moves values: nothing of it is quantized anew."""

    def get_weights_and_quantizers(self, layer: Any) -> list[Any]:
        """None."""
        return []

    def get_activations_and_quantizers(self, layer: Any) -> list[Any]:
        """None."""
        return []

    def set_quantize_weights(self, layer: Any, quantize_weights: Any) -> None:
        """There are none."""

    def set_quantize_activations(self, layer: Any, quantize_activations: Any) -> None:
        """There are none."""

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        """None."""
        return []

    def get_config(self) -> dict[str, Any]:
        """Nothing to be told."""
        return {}


class Arithmetic(Moved):
    """A layer that makes new values: quantized by the range of its output."""

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        """One, of the moving average of the range."""
        return [
            quantizers.MovingAverageQuantizer(
                num_bits=8, per_axis=False, symmetric=False, narrow_range=False
            )
        ]


NARROWEST = 1e-3
"""Range of an activation. XNNPACK takes no op whose output is scaled more than 256 times as finely
as its products, as that of a layer which is always zero would be."""


@contextmanager
def observed_ranges() -> Iterator[None]:
    """Within it, activations are observed and not quantized; their ranges are set at the end.

    Weights are quantized by ranges of their own, as from the first step of training on: before it
    those are -6 and 6 whatever the weights, and what is observed would be that of
    a blurred network.

    A range is the mean over the batches of the least and of the greatest value, and holds zero, as
    a moving average of it would in the end.
    """
    seen: dict[Any, list[tuple[float, float]]] = {}

    def observe(_: Any, inputs: Any, training: Any, weights: Any, **__: Any) -> Any:
        key = (weights["min_var"].ref(), weights["max_var"].ref())
        extremes = (float(tf.reduce_min(inputs)), float(tf.reduce_max(inputs)))
        seen.setdefault(key, []).append(extremes)
        return inputs

    quantize = quantizers.LastValueQuantizer.__call__

    def refresh(self: Any, inputs: Any, training: Any, weights: Any, **named: Any) -> Any:
        return quantize(self, inputs, True, weights, **named)

    with (
        mock.patch.object(quantizers.LastValueQuantizer, "__call__", refresh),
        mock.patch.object(quantizers.MovingAverageQuantizer, "__call__", observe),
        mock.patch.object(quantizers.AllValuesQuantizer, "__call__", observe),
    ):
        yield
    for (low, high), extremes in seen.items():
        least, greatest = (float(one) for one in np.mean(extremes, axis=0))
        least = min(0.0, least)
        low.deref().assign(least)
        high.deref().assign(max(1e-6, greatest, least + NARROWEST))


@contextmanager
def integers_pass() -> Iterator[None]:
    """Within it, inputs that are integers can be wrapped; see :func:`leave_alone`."""
    quantize = quantizers.AllValuesQuantizer.__call__

    def call(self: Any, inputs: Any, *rest: Any, **named: Any) -> Any:
        return inputs if inputs.dtype.is_integer else quantize(self, inputs, *rest, **named)

    with mock.patch.object(quantizers.AllValuesQuantizer, "__call__", call):
        yield


def leave_alone(model: Any, inputs: frozenset[str]) -> None:
    """Do not quantize these inputs of a model: they are numbers of rows."""
    for layer in model.layers:
        if type(layer).__name__ == "QuantizeLayer":
            before = layer.inbound_nodes[0].inbound_layers
            if getattr(before, "name", "") in inputs:
                layer.quantizer = None
