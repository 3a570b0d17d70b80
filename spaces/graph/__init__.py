"""Operations with shapes: the one language spoken by spaces, cost models and Keras models.

An :class:`OpGraph` is what a search space produces, what a cost model reads and what a Keras model
is built from. It knows nothing of TensorFlow or of any device. Batch normalisation and activation
are attributes of the convolution they follow, because that is how TensorFlow Lite executes them:
folded into the weights, and fused into the op.
"""

from spaces.graph.batch import (
    OP_ROW_LENGTH,
    BoolArray,
    IntArray,
    OpBatch,
    OpColumns,
    OpRow,
    op_row,
    uses,
)
from spaces.graph.graph import OpGraph
from spaces.graph.kinds import WEIGHTED_KINDS, KindError, OpKind, Trait, kinds_with
from spaces.graph.op import INPUT, Activation, Op, Shape, ShapeError, check_groups, divisors
from spaces.graph.rewrite import split_grouped_convolutions

__all__ = [
    "INPUT",
    "OP_ROW_LENGTH",
    "WEIGHTED_KINDS",
    "Activation",
    "BoolArray",
    "IntArray",
    "KindError",
    "Op",
    "OpBatch",
    "OpColumns",
    "OpGraph",
    "OpKind",
    "OpRow",
    "Shape",
    "ShapeError",
    "Trait",
    "check_groups",
    "divisors",
    "kinds_with",
    "op_row",
    "split_grouped_convolutions",
    "uses",
]
