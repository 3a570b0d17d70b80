"""Which ops run on the Edge TPU, and why the others do not.

The compiler makes one subgraph: ops that it does not support stay on the host, and so does
everything that depends on them once the subgraph has begun. Ops before it (a CAST of a float
input) do not end it. With its option ``-a`` it makes several, and every supported op is mapped.
The rules are data, by compiler; reasons are the compiler's own.

Source: coral.ai, "TensorFlow models on the Edge TPU", supported operations; op tables of
edgetpu_compiler logs; compiled packages of google-coral/test_data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from spaces.graph import INPUT, BoolArray, IntArray, Op, OpBatch, OpGraph, OpKind

NOT_SUPPORTED = "Operation not supported"
SECOND_SUBGRAPH = "More than one subgraph is not supported"
DATA_TYPE = "Operation is working on an unsupported data type"
UNSPECIFIED = "Operation is otherwise supported, but not mapped due to some unspecified limitation"
RANK = "Tensor has unsupported rank (up to 3 innermost dimensions mapped)"

CORAL_KINDS = frozenset(
    OpKind(name)
    for name in (
        "ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D EXPAND_DIMS FULLY_CONNECTED "
        "L2_NORMALIZATION LOGISTIC MAXIMUM MAX_POOL_2D MEAN MINIMUM MUL PACK PAD PRELU QUANTIZE "
        "REDUCE_MAX RELU RELU6 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR RSQRT SLICE "
        "SOFTMAX SPACE_TO_DEPTH SPLIT SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM TANH "
        "TRANSPOSE_CONV UNIDIRECTIONAL_SEQUENCE_LSTM"
    ).split()
)
BINARY_KINDS = frozenset({OpKind.ADD, OpKind.SUB, OpKind.MUL})
TENSOR_KINDS = frozenset(OpKind) - {OpKind.TFLITE_DETECTION_POSTPROCESS, OpKind.OTHER}


class MappingError(ValueError):
    """Support rules of a name that does not exist."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What one compiler supports.

    Attributes:
        kinds: Supported op kinds.
        output_elements: Most elements of the output, by kind.
        upscaling: Largest factor of output over input height or width, by kind.
        innermost_dimensions: Most dimensions of a tensor, leading ones of size 1 not counted.
        operand_bytes: Most bytes of two inputs and output of an op on two tensors, which is not
            worked on in parts.
    """

    kinds: frozenset[OpKind]
    output_elements: Mapping[OpKind, int]
    upscaling: Mapping[OpKind, int]
    innermost_dimensions: int
    operand_bytes: int


RULES: dict[str, Rules] = {
    # Softmax: 16,000 elements (coral.ai). Resizes: "might not be mapped depending on size, to
    # avoid loss in precision" (coral.ai); DeepLab's 1x1 -> 33x33 is refused, and so are its large
    # outputs (google-coral/edgetpu #31), MoveNet's 24x24 -> 48x48 is mapped. Two tensors of 1.2 MB
    # and their product exceed narrow memory: EfficientNetB0 takes 38 ms on a desktop and 134 ms on
    # a Raspberry Pi (raphischer/edge-acc), which is what their processors need for it.
    "edgetpu_compiler_16": Rules(
        kinds=CORAL_KINDS,
        output_elements={
            OpKind.SOFTMAX: 16_000,
            OpKind.RESIZE_BILINEAR: 1 << 20,
            OpKind.RESIZE_NEAREST_NEIGHBOR: 1 << 20,
        },
        upscaling={OpKind.RESIZE_BILINEAR: 16, OpKind.RESIZE_NEAREST_NEIGHBOR: 16},
        innermost_dimensions=3,
        operand_bytes=3 << 20,
    ),
    "tensor": Rules(
        kinds=TENSOR_KINDS,
        output_elements={},
        upscaling={},
        innermost_dimensions=4,
        operand_bytes=1 << 40,
    ),
}


def rules_of(name: str) -> Rules:
    """The support rules of that name.

    Raises:
        MappingError: There are none.
    """
    if name not in RULES:
        raise MappingError(f"compiler rules must be one of {', '.join(RULES)}, but got {name!r}.")
    return RULES[name]


def refusal(op: Op, rules: Rules) -> str | None:
    """Why ``op`` alone cannot be mapped; None if it can."""
    if op.kind not in rules.kinds:
        return NOT_SUPPORTED
    if _rank(op) > rules.innermost_dimensions:
        return RANK
    if math.prod(op.output_shape) > rules.output_elements.get(op.kind, math.inf):
        return UNSPECIFIED
    if op.kind in BINARY_KINDS and 3 * math.prod(op.output_shape) > rules.operand_bytes:
        return UNSPECIFIED
    if op.kind in rules.upscaling and _upscaling(op) > rules.upscaling[op.kind]:
        return UNSPECIFIED
    return None


def _rank(op: Op) -> int:
    """Dimensions of the larger tensor, leading ones of size 1 left out."""
    ranks = [0]
    for shape in (op.input_shape, op.output_shape):
        sizes = list(shape)
        while sizes and sizes[0] == 1:
            sizes.pop(0)
        ranks.append(len(sizes))
    return max(ranks)


def _upscaling(op: Op) -> float:
    pairs = zip(op.input_shape[1:3], op.output_shape[1:3], strict=False)
    return max((after / max(before, 1) for before, after in pairs), default=1.0)


def native_groups(graph: OpGraph) -> dict[str, str]:
    """Grouped convolutions of a file, which the compiler does not map, with the reason.

    Those of a graph that is still to be exported are written as split ones first.
    """
    return {
        op.name: f"{NOT_SUPPORTED}: a convolution with {op.groups} groups"
        for op in graph.ops
        if op.kind is OpKind.CONV_2D and op.groups > 1
    }


@dataclass(frozen=True, slots=True)
class Mapped:
    """Where the ops of one network run.

    Attributes:
        subgraph: Of each op on the TPU, the number of its subgraph, from 0.
        host: Ops that stay on the host with the compiler's reason, in order of execution.
    """

    subgraph: Mapping[str, int]
    host: tuple[tuple[str, str], ...]

    @property
    def subgraphs(self) -> int:
        """How many there are."""
        return len(set(self.subgraph.values()))


def map_ops(
    graph: OpGraph,
    rules: Rules,
    refused: Mapping[str, str] | None = None,
    several: bool = False,
) -> Mapped:
    """Map a network.

    Args:
        graph: The network.
        rules: Of the device's compiler.
        refused: Ops that are known not to map for reasons a graph does not show: data types.
        several: Make several subgraphs, as the compiler does with ``-a``.
    """
    reasons: dict[str, str] = {}
    subgraph: dict[str, int] = {}
    crossings = {INPUT: 0}  # from the TPU to the host, on the way to an op
    for op in graph.ops:
        behind = max((crossings[name] for name in op.inputs), default=0)
        reason = (refused or {}).get(op.name) or refusal(op, rules)
        if reason is None and behind and not several:
            reason = SECOND_SUBGRAPH
        if reason is None:
            subgraph[op.name] = behind
        else:
            reasons[op.name] = reason
            behind = max((crossings[name] + (name in subgraph) for name in op.inputs), default=0)
        crossings[op.name] = behind
    return Mapped(subgraph, tuple(reasons.items()))


def on_tpu(batch: OpBatch, rules: Rules) -> BoolArray:
    """Slots that run on the TPU, ``[n_architectures, n_op_slots]``.

    A batch does not know which op reads which, so each slot is taken to depend on the one before:
    exact for chains with residual additions, which is what search spaces make.
    """
    kinds, ops = tuple(OpKind), batch.distinct
    limit = np.array([rules.output_elements.get(kind, np.iinfo(np.int64).max) for kind in kinds])
    factor = np.array([rules.upscaling.get(kind, np.iinfo(np.int64).max) for kind in kinds])
    known = np.array([kind in rules.kinds for kind in kinds])
    able = known[ops.kind] & (ops.output_hwc.prod(axis=1) <= limit[ops.kind])
    binary = np.array([kind in BINARY_KINDS for kind in kinds])[ops.kind]
    able &= ~binary | (3 * ops.output_hwc.prod(axis=1) <= rules.operand_bytes)
    able &= _ceil_ratio(ops.output_hwc[:, :2], ops.input_hwc[:, :2]) <= factor[ops.kind]
    if able.all():
        return batch.live
    supported = able[batch.index]
    begun = np.logical_or.accumulate(supported & batch.live, axis=1)
    closed = np.logical_or.accumulate(begun & batch.live & ~supported, axis=1)
    mapped: BoolArray = batch.live & supported & ~closed
    return mapped


def _ceil_ratio(after: IntArray, before: IntArray) -> IntArray:
    ratio: IntArray = (-(-after // np.maximum(before, 1))).max(axis=-1)
    return ratio
