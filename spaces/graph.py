"""Operations with shapes: the one language spoken by spaces, cost models and Keras models.

An :class:`OpGraph` is what a search space produces, what a cost model reads and what a Keras model
is built from. It knows nothing of TensorFlow or of any device. Batch normalisation and activation
are attributes of the convolution they follow, because that is how TensorFlow Lite executes them:
folded into the weights, and fused into the op.
"""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]
"""Batch 1 first: NHWC ``(1, 32, 32, 3)`` of maps, ``(1, T, C)`` of token sequences, ``(1, n)``."""

Activation = Literal["none", "relu", "relu6"]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


class ShapeError(ValueError):
    """Shapes, groups or names of a graph contradict each other."""


class OpKind(enum.StrEnum):
    """TensorFlow Lite builtin operators by their schema names; ``OTHER`` is any not listed."""

    ADD = "ADD"
    ARG_MAX = "ARG_MAX"
    AVERAGE_POOL_2D = "AVERAGE_POOL_2D"
    BATCH_MATMUL = "BATCH_MATMUL"
    CAST = "CAST"
    CONCATENATION = "CONCATENATION"
    CONV_2D = "CONV_2D"
    DEPTHWISE_CONV_2D = "DEPTHWISE_CONV_2D"
    DEQUANTIZE = "DEQUANTIZE"
    DIV = "DIV"
    EMBEDDING_LOOKUP = "EMBEDDING_LOOKUP"
    EXPAND_DIMS = "EXPAND_DIMS"
    FULLY_CONNECTED = "FULLY_CONNECTED"
    GATHER = "GATHER"
    GATHER_ND = "GATHER_ND"
    GELU = "GELU"
    HARD_SWISH = "HARD_SWISH"
    L2_NORMALIZATION = "L2_NORMALIZATION"
    LEAKY_RELU = "LEAKY_RELU"
    LOGISTIC = "LOGISTIC"
    MAX_POOL_2D = "MAX_POOL_2D"
    MAXIMUM = "MAXIMUM"
    MEAN = "MEAN"
    MINIMUM = "MINIMUM"
    MUL = "MUL"
    PACK = "PACK"
    PAD = "PAD"
    PRELU = "PRELU"
    QUANTIZE = "QUANTIZE"
    REDUCE_MAX = "REDUCE_MAX"
    RELU = "RELU"
    RELU6 = "RELU6"
    RESHAPE = "RESHAPE"
    RESIZE_BILINEAR = "RESIZE_BILINEAR"
    RESIZE_NEAREST_NEIGHBOR = "RESIZE_NEAREST_NEIGHBOR"
    RSQRT = "RSQRT"
    SLICE = "SLICE"
    SOFTMAX = "SOFTMAX"
    SPACE_TO_DEPTH = "SPACE_TO_DEPTH"
    DEPTH_TO_SPACE = "DEPTH_TO_SPACE"
    SPLIT = "SPLIT"
    SQUARED_DIFFERENCE = "SQUARED_DIFFERENCE"
    SQUEEZE = "SQUEEZE"
    STRIDED_SLICE = "STRIDED_SLICE"
    SUB = "SUB"
    SUM = "SUM"
    TANH = "TANH"
    TRANSPOSE = "TRANSPOSE"
    TRANSPOSE_CONV = "TRANSPOSE_CONV"
    UNIDIRECTIONAL_SEQUENCE_LSTM = "UNIDIRECTIONAL_SEQUENCE_LSTM"
    UNPACK = "UNPACK"
    TFLITE_DETECTION_POSTPROCESS = "TFLITE_DETECTION_POSTPROCESS"
    OTHER = "OTHER"


WEIGHTED_KINDS = frozenset(
    {
        OpKind.CONV_2D,
        OpKind.DEPTHWISE_CONV_2D,
        OpKind.FULLY_CONNECTED,
        OpKind.TRANSPOSE_CONV,
    }
)

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


@dataclass(frozen=True, slots=True)
class OpGraph:
    """Ops in topological order.

    Attributes:
        input_shape: Shape of the graph's input, batch 1.
        ops: The operations; each one reads an input or ops before it.
        endpoints: Feature levels a head may attach to, e.g. ``(("C4", "stage4/block2/add"),)``.
        more_inputs: Names and shapes of further inputs, e.g. ``(("mask", (1, 1, 1, 64)),)``.
    """

    input_shape: Shape
    ops: tuple[Op, ...]
    endpoints: tuple[tuple[str, str], ...] = ()
    more_inputs: tuple[tuple[str, Shape], ...] = ()

    def __post_init__(self) -> None:
        """Refuse names that are used twice, or before their op."""
        seen = {name for name, _ in self.inputs}
        for op in self.ops:
            missing = [name for name in op.inputs if name not in seen]
            if missing:
                raise ShapeError(
                    f"{op.name}: inputs must name ops that stand before it, but got {missing}."
                )
            if op.name in seen:
                raise ShapeError(f"{op.name}: names must be unique, but got this one twice.")
            seen.add(op.name)

    @property
    def inputs(self) -> tuple[tuple[str, Shape], ...]:
        """Names and shapes of all inputs; the first is called :data:`INPUT`."""
        return ((INPUT, self.input_shape), *self.more_inputs)

    def endpoint(self, level: str) -> Op:
        """The op at a feature level.

        Raises:
            ShapeError: The graph has no such level; the message lists those it has.
        """
        levels = dict(self.endpoints)
        if level not in levels:
            raise ShapeError(
                f"a level must be one of {', '.join(levels) or 'none'}, but got {level!r}."
            )
        return self.op(levels[level])

    @property
    def output(self) -> Op:
        """The last op."""
        if not self.ops:
            raise ShapeError("a graph must have at least one op, but got none.")
        return self.ops[-1]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all ops at batch 1."""
        return sum(op.macs for op in self.ops)

    @property
    def trainable_parameters(self) -> int:
        """Trainable parameters of all ops."""
        return sum(op.trainable_parameters for op in self.ops)

    @property
    def total_parameters(self) -> int:
        """Trainable and moving parameters of all ops."""
        return sum(op.total_parameters for op in self.ops)

    def op(self, name: str) -> Op:
        """The op of that name.

        Raises:
            KeyError: There is none.
        """
        for op in self.ops:
            if op.name == name:
                return op
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class OpColumns:
    """Attributes of ops as columns, int64; names and inputs left out.

    Attributes:
        kind: Indexes ``tuple(OpKind)``, ``[n_ops]``.
        input_hwc: Height, width and channels of the first input, ``[n_ops, 3]``.
        output_hwc: The same of the output.
        kernel_size: Height and width of the window, ``[n_ops, 2]``.
        strides: Vertical and horizontal, ``[n_ops, 2]``.
        groups: Groups of a convolution, ``[n_ops]``.
        constant: Elements of a learned operand beside the inputs, ``[n_ops]``.
    """

    kind: IntArray
    input_hwc: IntArray
    output_hwc: IntArray
    kernel_size: IntArray
    strides: IntArray
    groups: IntArray
    constant: IntArray

    @staticmethod
    def of(rows: Iterable[OpRow] | IntArray) -> OpColumns:
        """Columns of what :func:`op_row` makes."""
        listed = rows if isinstance(rows, np.ndarray) else list(rows)
        table = np.array(listed, np.int64).reshape(-1, OP_ROW_LENGTH)
        return OpColumns(
            kind=table[:, 0],
            input_hwc=table[:, 2:5],
            output_hwc=table[:, 5:8],
            kernel_size=table[:, 8:10],
            strides=table[:, 10:12],
            groups=table[:, 1],
            constant=table[:, 12],
        )

    def joined(self, other: OpColumns) -> OpColumns:
        """These ops, and behind them those of ``other``."""
        pairs = {
            field.name: (getattr(self, field.name), getattr(other, field.name))
            for field in dataclasses.fields(self)
        }
        return OpColumns(**{name: np.concatenate(pair) for name, pair in pairs.items()})


@dataclass(frozen=True, slots=True)
class OpBatch:
    """Many graphs as a table of distinct ops, and who is where and read by whom.

    Networks of a space share most of their ops, so laws of a single op are best evaluated on
    ``distinct`` and gathered by ``index``. A *tensor* is named by its column in ``last_reader``:
    0 is the graph's input, ``1 + slot`` the output of that slot.

    Attributes:
        distinct: Ops that differ in something an :class:`OpColumns` tells.
        index: Row of ``distinct`` in each slot, ``[n_architectures, n_op_slots]``.
        live: Whether the slot holds an op; dead slots stand at the end of a row, at index 0.
        last_reader: The last slot that reads each tensor, ``[n_architectures, n_op_slots + 1]``;
            its own slot where nobody reads it, which for the graph's input is -1.
        first_input: Tensor that each slot reads first, ``[n_architectures, n_op_slots]``; -1 for
            an op without inputs, 0 in dead slots.
    """

    distinct: OpColumns
    index: IntArray
    live: BoolArray
    last_reader: IntArray
    first_input: IntArray

    @property
    def kind(self) -> IntArray:
        """Op kinds of the slots, ``[n_architectures, n_op_slots]``, as all that follow."""
        return self.distinct.kind[self.index]

    @property
    def input_hwc(self) -> IntArray:
        """Shapes of first inputs, ``[..., 3]``."""
        return self.distinct.input_hwc[self.index]

    @property
    def output_hwc(self) -> IntArray:
        """Shapes of outputs, ``[..., 3]``."""
        return self.distinct.output_hwc[self.index]

    @property
    def kernel_size(self) -> IntArray:
        """Windows, ``[..., 2]``."""
        return self.distinct.kernel_size[self.index]

    @property
    def strides(self) -> IntArray:
        """Strides, ``[..., 2]``."""
        return self.distinct.strides[self.index]

    @property
    def groups(self) -> IntArray:
        """Groups, one number a slot."""
        return self.distinct.groups[self.index]

    @property
    def constant(self) -> IntArray:
        """Elements of learned operands, one number a slot."""
        return self.distinct.constant[self.index]

    @staticmethod
    def of(graphs: Iterable[OpGraph]) -> OpBatch:
        """Columns of ``graphs``, padded with dead slots to the longest one."""
        rows = list(graphs)
        shape = (len(rows), max((len(graph.ops) for graph in rows), default=0))
        live = np.arange(shape[1]) < np.array([len(graph.ops) for graph in rows])[:, None]
        index, first_input = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        last_reader = np.tile(np.arange(-1, shape[1]), (len(rows), 1))
        numbers: dict[OpRow, int] = {}
        for at, graph in enumerate(rows):
            end = len(graph.ops)
            index[at, :end] = [numbers.setdefault(op_row(op), len(numbers)) for op in graph.ops]
            first_input[at, :end], last_reader[at, : end + 1] = uses(graph)
        return OpBatch(OpColumns.of(numbers), index, live, last_reader, first_input)

    def rows(self, which: slice | IntArray) -> OpBatch:
        """The graphs of these rows; the table of ops stays whole."""
        return OpBatch(
            self.distinct,
            self.index[which],
            self.live[which],
            self.last_reader[which],
            self.first_input[which],
        )


OpRow = tuple[int, ...]
OP_ROW_LENGTH = 13
_KIND_NUMBERS = {kind: number for number, kind in enumerate(OpKind)}


def op_row(op: Op) -> OpRow:
    """What :class:`OpColumns` holds of an op, as a row for :meth:`OpColumns.of`."""
    return (
        _KIND_NUMBERS[op.kind],
        op.groups,
        *_hwc(op.input_shape),
        *_hwc(op.output_shape),
        *op.kernel_size,
        *op.strides,
        math.prod(op.constant) if op.constant else 0,
    )


def uses(graph: OpGraph) -> tuple[list[int], list[int]]:
    """First input of each op, and last reader of each tensor, as :class:`OpBatch` has them."""
    # Further inputs stand for the first: they are as early, and none is a large map.
    tensors = {name: 0 for name, _ in graph.inputs}
    tensors |= {op.name: 1 + slot for slot, op in enumerate(graph.ops)}
    first = [tensors[op.inputs[0]] if op.inputs else -1 for op in graph.ops]
    last = list(range(-1, len(graph.ops)))
    for slot, op in enumerate(graph.ops):
        for name in op.inputs:
            last[tensors[name]] = slot
    return first, last


def _hwc(shape: Shape) -> tuple[int, int, int]:
    """Height, width and channels of a shape of any rank; leading dimensions fold into height."""
    sizes = (1, 1, 1, *shape)
    return math.prod(sizes[:-2]), sizes[-2], sizes[-1]


def split_grouped_convolutions(graph: OpGraph, kept: Container[str] = ()) -> OpGraph:
    """Rewrite each grouped convolution as SPLIT, one CONV_2D a group, CONCATENATION.

    Ops named in ``kept`` stay as they are.

    This is the form the Edge TPU compiler accepts, and in which the released GC-IBN networks run
    (arXiv:2204.14007). MACs and weights do not change.
    """
    ops: list[Op] = []
    for op in graph.ops:
        grouped = op.kind is OpKind.CONV_2D and op.groups > 1 and op.name not in kept
        ops.extend(_split(op) if grouped else [op])
    return dataclasses.replace(graph, ops=tuple(ops))


def _split(op: Op) -> list[Op]:
    part_in = (*op.input_shape[:-1], op.in_channels // op.groups)
    part_out = (*op.output_shape[:-1], op.out_channels // op.groups)
    split = Op(f"{op.name}/split", OpKind.SPLIT, op.inputs, op.input_shape, part_in)
    convolutions = [
        dataclasses.replace(
            op,
            name=f"{op.name}/group{index}",
            inputs=(split.name,),
            input_shape=part_in,
            output_shape=part_out,
            groups=1,
        )
        for index in range(op.groups)
    ]
    names = tuple(part.name for part in convolutions)
    concat = Op(op.name, OpKind.CONCATENATION, names, part_out, op.output_shape)
    return [split, *convolutions, concat]
