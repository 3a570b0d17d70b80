"""What each kind of op computes, as plain TensorFlow on float tensors.

The supernet runs graphs with these functions, exported files end with them, and those Keras layers
that Keras itself does not have are made of them: one meaning for each kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from spaces.graph import Op, OpKind, Shape
from spaces.heads.segmentation import nearest

Tensor = Any  # tensorflow ships no types for it
Weights = Mapping[str, Tensor]
"""Of one op: ``kernel``, ``bias`` and ``constant``, whichever it has."""


class UnsupportedOpError(ValueError):
    """A graph holds an op that cannot be computed here."""


def compute(op: Op, inputs: Sequence[Tensor], weights: Weights) -> Tensor:
    """The output of an op, before batch normalisation and activation.

    Args:
        op: Its shapes have batch 1; tensors have any batch.
        inputs: In the order of ``op.inputs``.
        weights: As :func:`weight_shapes` names them.

    Raises:
        UnsupportedOpError: There is no such kind here.
    """
    check_known(op)
    result = _KINDS[op.kind](op, inputs, weights)
    return result + weights["bias"] if "bias" in weights else result


def check_known(op: Op) -> None:
    """Refuse an op whose kind has no function here.

    Raises:
        UnsupportedOpError: It lists the kinds that have one.
    """
    if op.kind not in _KINDS:
        raise UnsupportedOpError(
            f"{op.name}: op kind must be one of {', '.join(_KINDS)}, but got {op.kind}."
        )


def activate(op: Op, x: Tensor) -> Tensor:
    """The activation that is fused into an op."""
    if op.activation == "none":
        return x
    return tf.nn.relu6(x) if op.activation == "relu6" else tf.nn.relu(x)


def weight_shapes(op: Op) -> dict[str, Shape]:
    """Shapes of an op's weights by part, in TensorFlow's layout; batch normalisation left out."""
    shapes: dict[str, Shape] = {}
    if op.constant:
        shapes["constant"] = op.constant
    elif op.kind is OpKind.CONV_2D:
        shapes["kernel"] = (*op.kernel_size, op.in_channels // op.groups, op.out_channels)
    elif op.kind is OpKind.DEPTHWISE_CONV_2D:
        shapes["kernel"] = (*op.kernel_size, op.in_channels, 1)
    elif op.kind is OpKind.FULLY_CONNECTED:
        shapes["kernel"] = (op.in_channels, op.out_channels)
    if op.use_bias:
        shapes["bias"] = (op.out_channels,)
    return shapes


def _batched(shape: Shape) -> list[int]:
    return [-1, *shape[1:]]


def _convolution(op: Op, inputs: Sequence[Tensor], weights: Weights) -> Tensor:
    return tf.nn.conv2d(inputs[0], weights["kernel"], op.strides, "SAME", dilations=op.dilation)


def _depthwise(op: Op, inputs: Sequence[Tensor], weights: Weights) -> Tensor:
    strides = (1, *op.strides, 1)
    kernel = weights["kernel"]
    return tf.nn.depthwise_conv2d(inputs[0], kernel, strides, "SAME", dilations=op.dilation)


def _dense(op: Op, inputs: Sequence[Tensor], weights: Weights) -> Tensor:
    rows = tf.reshape(inputs[0], [-1, op.in_channels])
    result = rows @ weights["kernel"]
    return result if len(op.output_shape) == 2 else tf.reshape(result, _batched(op.output_shape))


def _binary(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """Of two inputs, of one and a learned constant, or of one alone (left as it is)."""

    def apply(op: Op, inputs: Sequence[Tensor], weights: Weights) -> Tensor:
        operands = [*inputs, *([weights["constant"]] if op.constant else [])]
        return function(*operands) if len(operands) == 2 else operands[0]

    return apply


def _pool(kind: str) -> Callable[..., Tensor]:
    def apply(op: Op, inputs: Sequence[Tensor], weights: Weights) -> Tensor:
        return tf.nn.pool(inputs[0], op.kernel_size, kind, op.strides, "SAME")

    return apply


def mean_axes(op: Op) -> tuple[tuple[int, ...], bool]:
    """Axes that a ``MEAN`` averages over, and whether they stay with size 1.

    >>> mean_axes(Op("m", OpKind.MEAN, ("x",), (1, 7, 7, 64), (1, 64)))
    ((1, 2), False)
    """
    before, after = op.input_shape, op.output_shape
    if len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return tuple(axis for axis, (one, other) in pairs if one != other), True
    return tuple(range(1, 1 + len(before) - len(after))), False


def _mean(op: Op, inputs: Sequence[Tensor], weights: Weights) -> Tensor:
    axes, kept = mean_axes(op)
    return tf.reduce_mean(inputs[0], axes, keepdims=kept)


def _resize(method: str) -> Callable[..., Tensor]:
    def apply(op: Op, inputs: Sequence[Tensor], weights: Weights) -> Tensor:
        return tf.image.resize(inputs[0], op.output_shape[1:3], method)

    return apply


def _slice(op: Op, inputs: Sequence[Tensor], weights: Weights) -> Tensor:
    return tf.slice(inputs[0], [0] * len(op.output_shape), _batched(op.output_shape))


def _gather(op: Op, inputs: Sequence[Tensor], weights: Weights) -> Tensor:
    """Rows of a learned table; without one, of its input: the nearest along an axis."""
    if not op.constant:
        axis = op.axes[0]
        rows = nearest(op.input_shape[axis], op.output_shape[axis])
        return tf.gather(inputs[0], rows, axis=axis)
    return tf.gather(weights["constant"], tf.cast(inputs[0], tf.int32))


def _arg_max(op: Op, inputs: Sequence[Tensor], weights: Weights) -> Tensor:
    return tf.argmax(inputs[0], axis=-1, output_type=tf.int32)


_KINDS: dict[OpKind, Callable[[Op, Sequence[Tensor], Weights], Tensor]] = {
    OpKind.CONV_2D: _convolution,
    OpKind.DEPTHWISE_CONV_2D: _depthwise,
    OpKind.FULLY_CONNECTED: _dense,
    OpKind.ADD: _binary(tf.add),
    OpKind.SUB: _binary(tf.subtract),
    OpKind.MUL: _binary(tf.multiply),
    OpKind.MAXIMUM: _binary(tf.maximum),
    OpKind.SQUARED_DIFFERENCE: _binary(tf.math.squared_difference),
    OpKind.BATCH_MATMUL: _binary(tf.matmul),
    OpKind.AVERAGE_POOL_2D: _pool("AVG"),
    OpKind.MAX_POOL_2D: _pool("MAX"),
    OpKind.MEAN: _mean,
    OpKind.RESIZE_BILINEAR: _resize("bilinear"),
    OpKind.RESIZE_NEAREST_NEIGHBOR: _resize("nearest"),
    OpKind.CONCATENATION: lambda op, inputs, _: tf.concat(inputs, op.axes[0] if op.axes else -1),
    OpKind.SLICE: _slice,
    OpKind.RESHAPE: lambda op, inputs, _: tf.reshape(inputs[0], _batched(op.output_shape)),
    OpKind.EXPAND_DIMS: lambda op, inputs, _: tf.reshape(inputs[0], _batched(op.output_shape)),
    OpKind.SQUEEZE: lambda op, inputs, _: tf.reshape(inputs[0], _batched(op.output_shape)),
    OpKind.TRANSPOSE: lambda op, inputs, _: tf.transpose(inputs[0], op.axes),
    OpKind.SOFTMAX: lambda _, inputs, __: tf.nn.softmax(inputs[0]),
    OpKind.LOGISTIC: lambda _, inputs, __: tf.nn.sigmoid(inputs[0]),
    OpKind.RELU: lambda _, inputs, __: tf.nn.relu(inputs[0]),
    OpKind.RSQRT: lambda _, inputs, __: tf.math.rsqrt(inputs[0]),
    OpKind.GATHER: _gather,
    OpKind.ARG_MAX: _arg_max,
    OpKind.CAST: lambda _, inputs, __: tf.cast(inputs[0], tf.uint8),
}


def fan_in(op: Op, shape: Shape) -> int:
    """Inputs that each output of a kernel of ``shape`` sums."""
    if op.kind is OpKind.DEPTHWISE_CONV_2D:
        return math.prod(shape[:2])
    return math.prod(shape[:-1])
