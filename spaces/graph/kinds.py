"""The kinds of ops, and what is true of each: the one table from which sets of kinds are made.

A new kind is a row of :class:`OpKind`. Cost models, readers and reports ask for traits by
:func:`kinds_with`, so that a kind like one that is there is known to all of them. Kinds by name
stand only where something holds of that kind alone: what it computes, a law of its own.
"""

from __future__ import annotations

import enum
from typing import Never, Self


class KindError(ValueError):
    """A name of no kind of op."""


class Trait(enum.Enum):
    """What kinds of ops may have in common."""

    BINARY = enum.auto()
    """Takes two tensors, element by element; the smaller one is repeated."""
    CONVOLUTION = enum.auto()
    """Moves a filter over a map."""
    FOLDED = enum.auto()
    """Changes numbers in a way that the op before or behind can do on the fly."""
    HOST = enum.auto()
    """No accelerator runs it; its result may be of any length."""
    JOINING = enum.auto()
    """All its inputs together are its output."""
    LOOKUP = enum.auto()
    """Reads rows of a table by their numbers."""
    MOVING = enum.auto()
    """Brings elements to other places, or to another data type, one by one."""
    NUMBERING = enum.auto()
    """Reads or makes numbers of things, which are wider than 8 bits by nature."""
    OPERAND = enum.auto()
    """May work on constants of 8 bits that are no weights; so may each ``BINARY``."""
    POOLING = enum.auto()
    """Makes one number of many places, each channel by itself."""
    PRODUCT = enum.auto()
    """Multiplies matrices: rows of its input have no neighbours."""
    RANGED = enum.auto()
    """Its output is quantized as its input is, between whose values it stays, or by a fixed range:
    quantization-aware training observes none."""
    RECURRENT = enum.auto()
    """Works through a sequence step by step, and multiplies with its matrices in each."""
    REDUCING = enum.auto()
    """Has no window of its own: it is what the output leaves of the map."""
    RESIZING = enum.auto()
    """Makes a map of another height and width."""
    SPLITTING = enum.auto()
    """All its outputs together are its input; an op knows the shape of one of them."""
    UNARY = enum.auto()
    """Takes one tensor, element after element."""
    VIEW = enum.auto()
    """Another shape of the same elements in the same order."""
    WEIGHTED = enum.auto()
    """Has weights that are learned, in a kernel."""
    WINDOWED = enum.auto()
    """Has a window and strides, and works on maps NHWC."""


class OpKind(enum.StrEnum):
    """TensorFlow Lite builtin operators by their schema names; ``OTHER`` is any not listed.

    A row is a name and its traits.

    >>> OpKind("MEAN").value, Trait.POOLING in OpKind.MEAN.traits
    ('MEAN', True)
    """

    traits: frozenset[Trait]

    def __new__(cls, name: str, *traits: Trait) -> Self:
        """A kind whose value is its name."""
        kind = str.__new__(cls, name)
        kind._value_ = name
        kind.traits = frozenset(traits)
        return kind

    @classmethod
    def _missing_(cls, value: object) -> Never:
        raise KindError(
            f"an op kind must be one of {', '.join(cls)}, but got {value!r}. A new one is a row "
            "of spaces/graph/kinds.py."
        )

    ADD = "ADD", Trait.BINARY
    ARG_MAX = "ARG_MAX", Trait.MOVING, Trait.NUMBERING
    AVERAGE_POOL_2D = "AVERAGE_POOL_2D", Trait.POOLING, Trait.WINDOWED
    BATCH_MATMUL = "BATCH_MATMUL", Trait.PRODUCT, Trait.OPERAND
    CAST = "CAST", Trait.MOVING, Trait.NUMBERING
    CONCATENATION = "CONCATENATION", Trait.JOINING, Trait.OPERAND
    CONV_2D = "CONV_2D", Trait.CONVOLUTION, Trait.WEIGHTED, Trait.WINDOWED
    DEPTHWISE_CONV_2D = "DEPTHWISE_CONV_2D", Trait.CONVOLUTION, Trait.WEIGHTED, Trait.WINDOWED
    DEQUANTIZE = "DEQUANTIZE", Trait.MOVING
    DIV = "DIV", Trait.BINARY
    EMBEDDING_LOOKUP = "EMBEDDING_LOOKUP", Trait.LOOKUP, Trait.NUMBERING
    EXPAND_DIMS = "EXPAND_DIMS", Trait.VIEW
    FULLY_CONNECTED = "FULLY_CONNECTED", Trait.PRODUCT, Trait.WEIGHTED
    GATHER = "GATHER", Trait.LOOKUP, Trait.NUMBERING
    GATHER_ND = "GATHER_ND", Trait.MOVING, Trait.NUMBERING
    GELU = "GELU", Trait.UNARY
    HARD_SWISH = "HARD_SWISH", Trait.UNARY
    L2_NORMALIZATION = "L2_NORMALIZATION", Trait.UNARY
    LEAKY_RELU = "LEAKY_RELU", Trait.UNARY
    LOGISTIC = "LOGISTIC", Trait.UNARY, Trait.RANGED
    MAX_POOL_2D = "MAX_POOL_2D", Trait.POOLING, Trait.WINDOWED
    MAXIMUM = "MAXIMUM", Trait.BINARY
    MEAN = "MEAN", Trait.POOLING, Trait.REDUCING
    MINIMUM = "MINIMUM", Trait.BINARY
    MUL = "MUL", Trait.BINARY
    PACK = "PACK", Trait.JOINING, Trait.OPERAND
    PAD = "PAD", Trait.MOVING
    PRELU = "PRELU", Trait.UNARY, Trait.OPERAND
    QUANTIZE = "QUANTIZE", Trait.FOLDED
    REDUCE_MAX = "REDUCE_MAX", Trait.POOLING, Trait.REDUCING
    RELU = "RELU", Trait.UNARY, Trait.FOLDED
    RELU6 = "RELU6", Trait.UNARY, Trait.FOLDED
    RESHAPE = "RESHAPE", Trait.VIEW, Trait.RANGED
    RESIZE_BILINEAR = "RESIZE_BILINEAR", Trait.MOVING, Trait.RESIZING, Trait.RANGED
    RESIZE_NEAREST_NEIGHBOR = "RESIZE_NEAREST_NEIGHBOR", Trait.MOVING, Trait.RESIZING, Trait.RANGED
    RSQRT = "RSQRT", Trait.UNARY
    SLICE = "SLICE", Trait.MOVING, Trait.RANGED
    SOFTMAX = "SOFTMAX", Trait.UNARY, Trait.RANGED
    SPACE_TO_DEPTH = "SPACE_TO_DEPTH", Trait.MOVING
    DEPTH_TO_SPACE = "DEPTH_TO_SPACE", Trait.MOVING
    SPLIT = "SPLIT", Trait.SPLITTING
    SQUARED_DIFFERENCE = "SQUARED_DIFFERENCE", Trait.BINARY
    SQUEEZE = "SQUEEZE", Trait.VIEW
    STRIDED_SLICE = "STRIDED_SLICE", Trait.MOVING
    SUB = "SUB", Trait.BINARY
    SUM = "SUM", Trait.POOLING, Trait.REDUCING
    TANH = "TANH", Trait.UNARY
    TRANSPOSE = "TRANSPOSE", Trait.MOVING, Trait.RANGED
    TRANSPOSE_CONV = "TRANSPOSE_CONV", Trait.CONVOLUTION, Trait.WEIGHTED, Trait.WINDOWED
    UNIDIRECTIONAL_SEQUENCE_LSTM = "UNIDIRECTIONAL_SEQUENCE_LSTM", Trait.RECURRENT, Trait.OPERAND
    UNPACK = "UNPACK", Trait.SPLITTING
    TFLITE_DETECTION_POSTPROCESS = "TFLITE_DETECTION_POSTPROCESS", Trait.HOST
    OTHER = "OTHER", Trait.HOST


def kinds_with(*traits: Trait) -> frozenset[OpKind]:
    """Kinds that have all of these traits.

    >>> sorted(kinds_with(Trait.POOLING, Trait.WINDOWED))
    [<OpKind.AVERAGE_POOL_2D: 'AVERAGE_POOL_2D'>, <OpKind.MAX_POOL_2D: 'MAX_POOL_2D'>]
    """
    return frozenset(kind for kind in OpKind if kind.traits.issuperset(traits))


WEIGHTED_KINDS = kinds_with(Trait.WEIGHTED)
