"""One call of a ``.tflite`` file as an op: which shapes, window, strides and groups it has.

Source: tensorflow/lite/schema/schema.fbs; operands as in tensorflow/lite/kernels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from hw.columns import BINARY
from hw.tflite.calls import Call, Tensor
from hw.tflite.flatbuffer import FlatbufferError
from hw.tflite.schema import (
    ACTIVATION_FIELD,
    ACTIVATIONS,
    OPTIONS_TYPE,
    POOL_OPTIONS,
    STRIDED_OPTIONS,
)
from spaces.graph import Activation, Op, OpKind, Shape, Trait, kinds_with

WEIGHT_BITS = {"int4": 4, "int16": 16, "float16": 16, "float32": 32}
OPERANDS = {
    OpKind.CONV_2D: (0, 1),
    OpKind.DEPTHWISE_CONV_2D: (0, 1),
    OpKind.FULLY_CONNECTED: (0, 1),
    OpKind.TRANSPOSE_CONV: (2, 1),
}
"""Which inputs of ops with weights are data and weights; what follows both is the bias."""

CONVOLUTIONS = kinds_with(Trait.CONVOLUTION)
WINDOWED = kinds_with(Trait.WINDOWED)
OPERATING = kinds_with(Trait.OPERAND)
"""Other ops that may work on constants of 8 bits."""
REDUCTIONS = kinds_with(Trait.REDUCING)
"""Ops whose window is what their result leaves of the map."""
BYTES = frozenset({"int8", "uint8"})
LARGEST_WINDOW = 1 << 15

SIZE_OPERANDS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("FILL", "TRANSPOSE_CONV", "CONV_3D_TRANSPOSE", "SPLIT"), (0,)),
    **dict.fromkeys(
        (
            *("RESHAPE", "EXPAND_DIMS", "BROADCAST_TO", "TILE", "TRANSPOSE", "ONE_HOT"),
            *("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "PAD", "PADV2", "MIRROR_PAD"),
            *("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "REDUCE_ANY"),
            *("REDUCE_ALL", "ARG_MAX", "ARG_MIN", "TOPK_V2", "SPARSE_TO_DENSE", "SEGMENT_SUM"),
            "RFFT2D",
        ),
        (1,),
    ),
    **dict.fromkeys(("SLICE", "SPLIT_V", "SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"), (1, 2)),
    **dict.fromkeys(("SCATTER_ND", "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5"), (2,)),
    "STRIDED_SLICE": (1, 2, 3),
    "RANGE": (0, 1, 2),
}
"""Operands that say how large a result is: where one is computed, the size is open till then."""
UNSIZED = frozenset({"WHERE", "UNIQUE"})
"""Operators whose results are as long as it happens."""


def make_op(
    name: str, call: Call, tensors: Sequence[Tensor], data: Sequence[int], inputs: Sequence[str]
) -> Op:
    """The op that a call stands for.

    ``input_shape`` is that of the first tensor that is no constant; where shapes broadcast, of
    the largest. ``output_shape`` is that of the first result, so of one part of a SPLIT.

    Args:
        name: To give to it.
        call: What the file says.
        tensors: All of the file's.
        data: Numbers of the call's inputs that are no constants.
        inputs: Names of the ops that made them.

    Raises:
        FlatbufferError: Shapes or options contradict each other.
    """
    input_shape, output_shape = _shapes(call, tensors, data)
    activation, strides, kernel_size = _options(call)
    groups, bits, bias = 1, 8, False
    if call.kind in WINDOWED and not len(input_shape) == len(output_shape) == 4:
        raise FlatbufferError(
            "input and output must have 4 dimensions, but have the shapes "
            f"{list(input_shape)} and {list(output_shape)}"
        )
    if call.kind in REDUCTIONS:
        kernel_size = _reduced(input_shape, output_shape)
    if call.kind in OPERANDS:
        weights = weights_of(call, tensors)
        bits = 0 if is_fed(call, data) else WEIGHT_BITS.get(weights.type, 8)
        bias = len(call.inputs) > max(OPERANDS[call.kind]) + 1
        if call.kind is OpKind.FULLY_CONNECTED:
            input_shape = _rows(input_shape, output_shape, weights.shape)
        else:
            kernel_size = (weights.shape[1], weights.shape[2])
            groups = _groups(call.kind, input_shape[3], output_shape[3], weights.shape)
    return Op(
        name=name,
        kind=call.kind,
        inputs=tuple(dict.fromkeys(inputs)),
        input_shape=input_shape,
        output_shape=output_shape,
        kernel_size=kernel_size,
        strides=strides,
        groups=groups,
        weight_bits=bits,
        activation=activation,
        use_bias=bias,
        constant=_constant(call, tensors, data),
    )


def _constant(call: Call, tensors: Sequence[Tensor], data: Sequence[int]) -> Shape:
    """Shape of the table of a lookup, or of the constant operands of an op without weights.

    Of several it is their number of elements. What only says how is no operand: it has no 8 bits.
    """
    place = {OpKind.GATHER: 0, OpKind.EMBEDDING_LOOKUP: 1}.get(call.kind)
    if place is not None:
        numbers = call.inputs[place : place + 1]
    elif call.kind in BINARY:
        numbers = call.inputs[:2]
    elif call.kind in OPERATING:
        numbers = tuple(one for one in call.inputs if tensors[one].type in BYTES)
    else:
        numbers = ()
    shapes = [tensors[number].shape or (1,) for number in numbers if number not in data]
    return shapes[0] if len(shapes) == 1 else tuple([sum(map(math.prod, shapes))][: len(shapes)])


def size_operands(call: Call) -> tuple[int, ...]:
    """Tensor numbers of those operands of a call that say how large its result is."""
    places = SIZE_OPERANDS.get(call.operator.builtin, ())
    return tuple(call.inputs[place] for place in places if place < len(call.inputs))


def computes_sizes(call: Call, tensors: Sequence[Tensor]) -> bool:
    """Whether a size of the result is known at run time only.

    A runtime looks at what lies in the file: even what is computed of constants it does not know
    before.
    """
    if call.operator.builtin in UNSIZED:
        return True
    operands = (tensors[number] for number in size_operands(call))
    return any(not one.constant and 0 not in one.shape for one in operands)


def is_fed(call: Call, data: Sequence[int]) -> bool:
    """Whether weights or bias of an op come from an input or from another op.

    Args:
        call: Any.
        data: Numbers of the call's inputs that are no constants.
    """
    if call.kind not in OPERANDS:
        return False
    weights = OPERANDS[call.kind][1]
    parameters = (*call.inputs[weights : weights + 1], *bias_of(call))
    return any(number in data for number in parameters)


def bias_of(call: Call) -> tuple[int, ...]:
    """Tensor number of the bias of an op that has one."""
    return call.inputs[max(OPERANDS[call.kind]) + 1 :] if call.kind in OPERANDS else ()


def weights_of(call: Call, tensors: Sequence[Tensor]) -> Tensor:
    """The weights of a convolution or dense op.

    Raises:
        FlatbufferError: It has none, or they have no sane shape.
    """
    if len(call.inputs) <= max(OPERANDS[call.kind]):
        raise FlatbufferError("must have an input and weights")
    weights = tensors[call.inputs[OPERANDS[call.kind][1]]]
    rank = 4 if call.kind in CONVOLUTIONS else 2
    if len(weights.shape) != rank or min(weights.shape) < 1:
        raise FlatbufferError(f"weights must have {rank} dimensions, unlike {list(weights.shape)}")
    return weights


def _shapes(call: Call, tensors: Sequence[Tensor], data: Sequence[int]) -> tuple[Shape, Shape]:
    """Of input and output; an op that has but one of them (a stored variable) has it twice."""
    read = [tensors[number].shape for number in data]
    made = [tensors[number].shape for number in call.outputs]
    if call.kind in OPERANDS:
        weights_of(call, tensors)
        read = [tensors[call.inputs[OPERANDS[call.kind][0]]].shape]
    if call.kind in BINARY:
        read.sort(key=math.prod, reverse=True)
    return (read or made or [()])[0], (made or read or [()])[0]


def _options(call: Call) -> tuple[Activation, tuple[int, int], tuple[int, int]]:
    """Fused activation, strides and pooling window."""
    kind = OPTIONS_TYPE.get(call.kind)
    if call.options is None or kind is None or not call.options_type:
        return "none", (1, 1), (1, 1)
    if call.options_type != kind:
        raise FlatbufferError(f"options must be of type {kind}, not {call.options_type}")
    activation = ACTIVATIONS.get(call.options.number(ACTIVATION_FIELD[kind], "i8"), "none")
    strides = window = (1, 1)
    if kind in STRIDED_OPTIONS:
        strides = (call.options.number(2), call.options.number(1))
    if kind == POOL_OPTIONS:
        window = (call.options.number(4), call.options.number(3))
    if min(*strides, *window) < 1 or max(*strides, *window) > LARGEST_WINDOW:
        raise FlatbufferError(
            f"strides and window must be 1 to {LARGEST_WINDOW:,}, but are {strides} and {window}"
        )
    return activation, strides, window


def _reduced(before: Shape, after: Shape) -> tuple[int, int]:
    """Window of a reduction of places; of one of channels (1, 1), as it has none."""
    if before[-1:] != after[-1:] or len(before) < 2:
        return 1, 1
    height, width = (math.prod(before[:-2]), before[-2])
    kept = math.prod(after[:-1])
    return (height, width) if kept == 1 else (1, max(height * width // kept, 1))


def _rows(shape: Shape, made: Shape, weights: Shape) -> Shape:
    """A dense op reads its input as rows of as many numbers as its weights have columns."""
    units, columns = weights
    if math.prod(shape) % columns or made[-1:] != (units,):
        raise FlatbufferError(
            f"weights {list(weights)} must fit {list(shape)} and {list(made)}, but do not"
        )
    return shape if shape[-1:] == (columns,) else (math.prod(shape) // columns, columns)


def _groups(kind: OpKind, in_channels: int, out_channels: int, weights: Shape) -> int:
    """Groups of a native grouped convolution: input channels over those a filter sees."""
    seen = weights[3]
    if kind is OpKind.DEPTHWISE_CONV_2D:
        fits = seen == out_channels and seen % in_channels == 0
    elif kind is OpKind.TRANSPOSE_CONV:
        fits = (seen, weights[0]) == (in_channels, out_channels)
    else:
        groups = in_channels // seen
        fits = in_channels % seen == 0 and weights[0] == out_channels
        fits = fits and out_channels % groups == 0
    if not fits:
        raise FlatbufferError(
            f"weights {list(weights)} must fit {in_channels} input and {out_channels} output "
            "channels, but do not"
        )
    return groups if kind is OpKind.CONV_2D else 1
