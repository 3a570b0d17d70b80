"""Writes networks as op graphs, op by op, where no space and no file has them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

from spaces.graph import INPUT, Op, OpGraph, OpKind, Shape

Padding = Literal["same", "valid"]
Window = int | tuple[int, int]


@dataclass(frozen=True, slots=True)
class Tensor:
    """What an op makes: its name and the shape of its output."""

    op: str
    shape: Shape


@final
class Builder:
    """Adds ops in order; each method takes tensors and gives the one that it makes.

    >>> net = Builder((1, 8, 8, 3))
    >>> net.dense(net.reshape(net.conv(net.input, 4, 3, 2), (1, 64)), 10).shape
    (1, 10)
    >>> net.graph().macs == 4 * 4 * 9 * 3 * 4 + 64 * 10
    True
    """

    def __init__(self, input_shape: Shape) -> None:
        self.input = Tensor(INPUT, input_shape)
        self._ops: list[Op] = []

    def graph(self) -> OpGraph:
        """All that was added so far."""
        return OpGraph(self.input.shape, tuple(self._ops))

    def conv(
        self,
        x: Tensor,
        channels: int,
        kernel: Window = 1,
        stride: int = 1,
        padding: Padding = "same",
    ) -> Tensor:
        """A convolution."""
        window = _pair(kernel)
        shape = (1, *_strided(x, window, stride, padding), channels)
        return self._add(OpKind.CONV_2D, (x,), shape, window, stride)

    def depthwise(self, x: Tensor, kernel: Window = 3, stride: int = 1) -> Tensor:
        """A depthwise convolution."""
        window = _pair(kernel)
        shape = (1, *_strided(x, window, stride, "same"), x.shape[3])
        return self._add(OpKind.DEPTHWISE_CONV_2D, (x,), shape, window, stride)

    def max_pool(
        self, x: Tensor, kernel: int, stride: int = 1, padding: Padding = "same"
    ) -> Tensor:
        """The largest of each window."""
        return self._pool(OpKind.MAX_POOL_2D, x, kernel, stride, padding)

    def average_pool(self, x: Tensor, kernel: int, stride: int = 1) -> Tensor:
        """The mean of each window."""
        return self._pool(OpKind.AVERAGE_POOL_2D, x, kernel, stride, "same")

    def global_average(self, x: Tensor) -> Tensor:
        """The mean of each channel, as a map of one element."""
        window = (x.shape[1], x.shape[2])
        return self._add(OpKind.AVERAGE_POOL_2D, (x,), (1, 1, 1, x.shape[3]), window)

    def dense(self, x: Tensor, units: int) -> Tensor:
        """A dense layer."""
        return self._add(OpKind.FULLY_CONNECTED, (x,), (1, units))

    def add(self, one: Tensor, other: Tensor) -> Tensor:
        """The sum of two maps."""
        return self._add(OpKind.ADD, (one, other), one.shape)

    def concat(self, parts: Sequence[Tensor], axis: int = 3) -> Tensor:
        """Tensors side by side."""
        shape = list(parts[0].shape)
        shape[axis] = sum(part.shape[axis] for part in parts)
        return self._add(OpKind.CONCATENATION, parts, tuple(shape))

    def op(self, kind: OpKind, inputs: Sequence[Tensor], shape: Shape) -> Tensor:
        """Any op without window, stride and weights."""
        return self._add(kind, inputs, shape)

    def reshape(self, x: Tensor, shape: Shape) -> Tensor:
        """The same elements in another shape."""
        return self._add(OpKind.RESHAPE, (x,), shape)

    def softmax(self, x: Tensor) -> Tensor:
        """Probabilities."""
        return self._add(OpKind.SOFTMAX, (x,), x.shape)

    def _pool(self, kind: OpKind, x: Tensor, kernel: int, stride: int, padding: Padding) -> Tensor:
        window = _pair(kernel)
        shape = (1, *_strided(x, window, stride, padding), x.shape[3])
        return self._add(kind, (x,), shape, window, stride)

    def _add(
        self,
        kind: OpKind,
        inputs: Sequence[Tensor],
        shape: Shape,
        window: tuple[int, int] = (1, 1),
        stride: int = 1,
    ) -> Tensor:
        name = f"op{len(self._ops) + 1}"
        names = tuple(tensor.op for tensor in inputs)
        strides = (stride, stride)
        self._ops.append(Op(name, kind, names, inputs[0].shape, shape, window, strides))
        return Tensor(name, shape)


def _pair(kernel: Window) -> tuple[int, int]:
    return (kernel, kernel) if isinstance(kernel, int) else kernel


def _strided(x: Tensor, window: tuple[int, int], stride: int, padding: Padding) -> tuple[int, int]:
    """Height and width behind a window."""
    lost = (window[0] - 1, window[1] - 1) if padding == "valid" else (0, 0)
    height, width = x.shape[1] - lost[0], x.shape[2] - lost[1]
    return math.ceil(height / stride), math.ceil(width / stride)
