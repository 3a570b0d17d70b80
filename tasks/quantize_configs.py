"""How tensorflow-model-optimization is to quantize the layers that it does not know.

Importing this imports TensorFlow.
"""

from __future__ import annotations

from typing import Any

import tensorflow_model_optimization as tfmot
from tensorflow_model_optimization.python.core.quantization.keras import quantizers

from spaces.graph import OpKind

MOVING = frozenset(
    {
        OpKind.RESIZE_BILINEAR,  # between values that are there, which TensorFlow Lite keeps to
        OpKind.RESIZE_NEAREST_NEIGHBOR,
        OpKind.SLICE,
        OpKind.TRANSPOSE,
        OpKind.RESHAPE,
        OpKind.SOFTMAX,  # its range is fixed
        OpKind.LOGISTIC,
    }
)
"""Kinds of ops that make no values out of the range of what they read, or of a fixed one."""


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
