"""One operation with its shapes, and what they say of weights and multiply-accumulates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from spaces.graph.kinds import WEIGHTED_KINDS, OpKind

Shape = tuple[int, ...]
"""Batch 1 first: NHWC ``(1, 32, 32, 3)`` of maps, ``(1, T, C)`` of token sequences, ``(1, n)``."""

Activation = Literal["none", "relu", "relu6"]


class ShapeError(ValueError):
    """Shapes, groups or names of a graph contradict each other."""


INPUT = "input"
"""The name under which ops refer to the graph's input."""


@dataclass(frozen=True, slots=True)
class Op:
    """One operation of a network at batch 1.

    Attributes:
        name: Path-like and unique in its graph, e.g. ``"stage3/block1/expand"``.
        kind: TensorFlow Lite builtin name.
        inputs: Names of the producing ops; ``"input"`` is the graph's input.
        input_shape: Shape of the first input, NHWC.
        output_shape: Shape of the output, NHWC.
        kernel_size: Height and width of the filter or pooling window.
        strides: Vertical and horizontal stride.
        groups: Number of groups of a ``CONV_2D``; 1 is the full convolution.
        weight_bits: Bits of one weight as deployed; 0: its weights are another input.
        activation: Activation fused into the op.
        batch_norm: A batch normalisation follows and is folded at export.
        use_bias: The op has a bias of its own in training (deployed convolutions always have one).
        dilation: Step between the rows and columns of a convolution's window, 1: dense.
        axes: Permutation of a ``TRANSPOSE``; axis of a ``CONCATENATION``, empty: the last.
        constant: Shape of a learned operand beside the inputs: the table (rows, n) of a
            ``GATHER``, factor or addend (broadcast) of a ``MUL`` or ``ADD`` of one input; all
            elements of the matrices of a ``UNIDIRECTIONAL_SEQUENCE_LSTM``.
        variant: Networks of a space share the weights of ops that have name and variant in
            common; set where an op of that name means something else after another decision.
    """

    name: str
    kind: OpKind
    inputs: tuple[str, ...]
    input_shape: Shape
    output_shape: Shape
    kernel_size: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    groups: int = 1
    weight_bits: int = 8
    activation: Activation = "none"
    batch_norm: bool = False
    use_bias: bool = False
    dilation: tuple[int, int] = (1, 1)
    axes: tuple[int, ...] = ()
    constant: Shape = ()
    variant: str = ""

    def __post_init__(self) -> None:
        """Refuse groups that do not divide the channels."""
        if self.kind is OpKind.CONV_2D:
            check_groups(self.name, self.in_channels, self.out_channels, self.groups)

    @property
    def in_channels(self) -> int:
        """Size of the innermost dimension of the first input."""
        return self.input_shape[-1] if self.input_shape else 1

    @property
    def out_channels(self) -> int:
        """Size of the innermost dimension of the output."""
        return self.output_shape[-1] if self.output_shape else 1

    @property
    def weights(self) -> int:
        """Number of weights, bias not counted; 0 for ops that have none."""
        if self.constant:
            return math.prod(self.constant)
        if self.kind not in WEIGHTED_KINDS:
            return 0
        window = self.kernel_size[0] * self.kernel_size[1]
        if self.kind is OpKind.DEPTHWISE_CONV_2D:
            return window * self.out_channels
        return window * (self.in_channels // self.groups) * self.out_channels

    @property
    def macs(self) -> int:
        """Multiply-accumulates at batch 1 (1 MAC = 2 FLOPs), zero padding counted, too.

        For a convolution: H' * W' * k_h * k_w * (C_in / groups) * C_out. For a matrix product of
        two activations: the innermost size of the first times all elements of the result. For a
        recurrent op: all elements of its matrices in each step of the sequence.

        >>> shape = (1, 14, 14, 64)
        >>> Op("c", OpKind.CONV_2D, ("x",), shape, shape, (3, 3), groups=4).macs
        1806336
        """
        if self.kind is OpKind.BATCH_MATMUL:
            return math.prod(self.output_shape) * self.in_channels
        if self.kind is OpKind.UNIDIRECTIONAL_SEQUENCE_LSTM and self.constant:
            return math.prod(self.input_shape[-2:-1]) * math.prod(self.constant)
        if self.kind not in WEIGHTED_KINDS:
            return 0
        if self.kind is OpKind.TRANSPOSE_CONV:
            return math.prod(self.input_shape[:-1]) * self.weights
        return math.prod(self.output_shape[:-1]) * self.weights

    @property
    def trainable_parameters(self) -> int:
        """Weights, bias, and scale and offset of a batch normalisation."""
        return self.weights + self.out_channels * (int(self.use_bias) + 2 * int(self.batch_norm))

    @property
    def total_parameters(self) -> int:
        """Trainable parameters and the moving mean and variance of a batch normalisation."""
        return self.trainable_parameters + 2 * self.out_channels * int(self.batch_norm)


def divisors(*numbers: int) -> tuple[int, ...]:
    """Common divisors in ascending order.

    >>> divisors(48, 192)
    (1, 2, 3, 4, 6, 8, 12, 16, 24, 48)
    """
    common = math.gcd(*numbers)
    return tuple(n for n in range(1, common + 1) if common % n == 0)


def check_groups(name: str, in_channels: int, out_channels: int, groups: int) -> None:
    """Check that ``groups`` divides both channel counts.

    Raises:
        ShapeError: It does not; the message lists what does.
    """
    if groups < 1 or in_channels % groups or out_channels % groups:
        choices = ", ".join(map(str, divisors(in_channels, out_channels)))
        raise ShapeError(
            f"{name}: groups must divide in_channels and out_channels, but got "
            f"in_channels={in_channels}, out_channels={out_channels}, groups={groups}. "
            f"Choose one of {choices}."
        )
