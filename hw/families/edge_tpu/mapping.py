"""Which ops run on the Edge TPU, and why the others do not.

The compiler makes one subgraph: ops that it does not support stay on the host, and so does
everything that depends on them once the subgraph has begun. Ops before it (a CAST of a float
input) do not end it. With its option ``-a`` it makes several, and every supported op is mapped.
The rules are data, a file of ``compilers/`` each; reasons are the compiler's own.

Source: coral.ai, "TensorFlow models on the Edge TPU", supported operations; op tables of
edgetpu_compiler logs; compiled packages of google-coral/test_data.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hw.columns import KINDS, mask_of
from hw.leaves import parse_yaml
from hw.tflite.reasons import NOT_SUPPORTED, UNSPECIFIED
from spaces.graph import (
    BoolArray,
    IntArray,
    Op,
    OpBatch,
    OpGraph,
    OpKind,
    Trait,
    kinds_with,
)

SECOND_SUBGRAPH = "More than one subgraph is not supported"
RANK = "Tensor has unsupported rank (up to 3 innermost dimensions mapped)"

MEAN_KINDS = frozenset({OpKind.MEAN, OpKind.SUM})
RESIZE_KINDS = kinds_with(Trait.RESIZING)
COMPILERS = Path(__file__).parent / "compilers"


class MappingError(ValueError):
    """Support rules of a name that does not exist, or a file of them that is wrong."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What one compiler supports: a file of ``compilers/``.

    Attributes:
        kinds: Supported op kinds.
        softmax_elements: Most elements of a SOFTMAX.
        softmax_rows: Most rows of a SOFTMAX, all but the last dimension together.
        dense_rows: The same of a FULLY_CONNECTED.
        resize_elements: Most elements of a resize's output.
        resize_factor: Largest factor of a resize in height or width.
        innermost_dimensions: Most dimensions of a tensor, leading ones of size 1 not counted.
        mean_places: Most places that a MEAN or SUM takes together.
        prelu_rows: Most rows of the slopes of a PRELU.
        supposed_kinds: Those of ``kinds`` of which nothing shows that they are supported.
        versions: Builtin operators that it can read, with the highest version; empty: all.
        converter: The last that writes no others.
        refused_custom_ops: How names of custom operators begin that make it refuse a file.
        computed_sizes: What it does with an op whose result has a size that is computed at run
            time: ``"refused"``, with the whole file, or ``"mapped"``.
    """

    kinds: frozenset[OpKind]
    softmax_elements: int
    softmax_rows: int
    dense_rows: int
    resize_elements: int
    resize_factor: int
    innermost_dimensions: int
    mean_places: int
    prelu_rows: int
    supposed_kinds: frozenset[OpKind]
    versions: Mapping[str, int]
    converter: str
    refused_custom_ops: Sequence[str]
    computed_sizes: str

    def most_elements(self, kind: OpKind) -> int:
        """Of the output of an op of that kind."""
        if kind in RESIZE_KINDS:
            return self.resize_elements
        return self.softmax_elements if kind is OpKind.SOFTMAX else UNLIMITED

    def most_rows(self, kind: OpKind) -> int:
        """Of the output of an op of that kind."""
        if kind is OpKind.FULLY_CONNECTED:
            return self.dense_rows
        return self.softmax_rows if kind is OpKind.SOFTMAX else UNLIMITED

    def most_upscaling(self, kind: OpKind) -> int:
        """Of height or width by an op of that kind."""
        return self.resize_factor if kind in RESIZE_KINDS else UNLIMITED


UNLIMITED = 1 << 60


def compiler_names() -> tuple[str, ...]:
    """Names of the files in ``compilers/``, sorted."""
    return tuple(sorted(path.stem for path in COMPILERS.glob("*.yaml")))


@functools.cache
def rules_of(name: str) -> Rules:
    """The support rules of that name.

    Raises:
        MappingError: There are none, or the file does not hold what it must.
    """
    if name not in compiler_names():
        raise MappingError(
            f"compiler rules must be one of {', '.join(compiler_names())}, but got {name!r}."
        )
    path = COMPILERS / f"{name}.yaml"
    content = parse_yaml(path.read_text(encoding="utf-8"))
    names = [field.name for field in dataclasses.fields(Rules)]
    if sorted(content) != sorted(names) or not all(
        leaf.get("source") for leaf in content.values()
    ):
        raise MappingError(
            f"{path}: must have {', '.join(names)}, each with value, unit and source, but got "
            f"{', '.join(content)}."
        )
    values = {key: leaf["value"] for key, leaf in content.items()}
    sets = {key: frozenset(map(OpKind, values[key])) for key in ("kinds", "supposed_kinds")}
    return Rules(**{**values, **sets})


def refusal(op: Op, rules: Rules) -> str | None:
    """Why ``op`` alone cannot be mapped; None if it can."""
    if op.kind not in rules.kinds:
        return NOT_SUPPORTED
    if _rank(op) > rules.innermost_dimensions:
        return RANK
    if math.prod(op.output_shape) > rules.most_elements(op.kind):
        return UNSPECIFIED
    if math.prod(op.output_shape[:-1]) > rules.most_rows(op.kind):
        return UNSPECIFIED
    if op.kind in MEAN_KINDS and math.prod(op.kernel_size) > rules.mean_places:
        return UNSPECIFIED
    if op.kind is OpKind.PRELU and math.prod(op.constant) > rules.prelu_rows * op.out_channels:
        return UNSPECIFIED
    if _upscaling(op) > rules.most_upscaling(op.kind):
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
    # From the TPU to the host, on the way to an op.
    crossings = dict.fromkeys((name for name, _ in graph.inputs), 0)
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

    A batch does not know all that an op reads, so each slot is taken to depend on the one before:
    exact for chains with residual additions, which is what search spaces of classifiers make.
    :func:`is_told` says of which networks that is certain.
    """
    kinds, ops = tuple(OpKind), batch.distinct
    limit = np.array([rules.most_elements(kind) for kind in kinds])
    factor = np.array([rules.most_upscaling(kind) for kind in kinds])
    known = np.array([kind in rules.kinds for kind in kinds])
    rows = np.array([rules.most_rows(kind) for kind in kinds])
    able = known[ops.kind] & (ops.output_hwc.prod(axis=1) <= limit[ops.kind])
    able &= ops.output_hwc[:, :2].prod(axis=1) <= rows[ops.kind]
    means = mask_of(MEAN_KINDS)[ops.kind]
    able &= ~means | (ops.kernel_size.prod(axis=1) <= rules.mean_places)
    slopes = np.where(ops.kind == KINDS.index(OpKind.PRELU), ops.constant, 0)
    able &= slopes <= rules.prelu_rows * ops.output_hwc[:, 2]
    able &= _ceil_ratio(ops.output_hwc[:, :2], ops.input_hwc[:, :2]) <= factor[ops.kind]
    if able.all():
        return batch.live
    supported = able[batch.index]
    begun = np.logical_or.accumulate(supported & batch.live, axis=1)
    closed = np.logical_or.accumulate(begun & batch.live & ~supported, axis=1)
    mapped: BoolArray = batch.live & supported & ~closed
    return mapped


def is_told(batch: OpBatch, mapped: BoolArray) -> BoolArray:
    """Whether a batch tells enough of each network to place it, ``[n_architectures]``.

    Certain of what an op reads are its first input, and each tensor of which it is the last
    reader. Where ops stay on the host, all ops behind them must be known to depend on one that
    depends on the TPU, and one tensor alone may enter the subgraph.
    """
    kind = batch.distinct.kind
    # Who looks up tokens may have further inputs; who detects reads most in a second one.
    untold = (kind == KINDS.index(OpKind.GATHER)) & (batch.distinct.constant > 0)
    untold |= kind == KINDS.index(OpKind.EMBEDDING_LOOKUP)
    untold |= kind == KINDS.index(OpKind.TFLITE_DETECTION_POSTPROCESS)
    told: BoolArray = np.logical_not((untold[batch.index] & batch.live).any(axis=1))
    rows = np.flatnonzero(told & (batch.live & ~mapped).any(axis=1) & mapped.any(axis=1))
    if rows.size:
        told[rows] = _is_chain(batch.rows(rows), mapped[rows])
    return told


def _is_chain(batch: OpBatch, mapped: BoolArray) -> BoolArray:
    every, slots = np.arange(len(mapped)), mapped.shape[1]
    begin = mapped.argmax(axis=1)
    # Of each tensor: made on the TPU; made by the host of such. Column 0 is the graph's input.
    here, behind = (np.zeros((len(mapped), slots + 1), np.bool_) for _ in range(2))
    reads_here, reads_behind = np.zeros_like(here), np.zeros_like(here)
    told = np.ones(len(mapped), np.bool_)
    for slot in range(slots):
        first, live = batch.first_input[:, slot], batch.live[:, slot]
        on_host = live & ~mapped[:, slot] & (slot > begin)
        from_host = behind[every, first] | reads_behind[:, slot]
        from_tpu = here[every, first] | reads_here[:, slot]
        ends_it = mapped[:, slot - 1] & (slot > begin)  # cannot be mapped, whatever it reads
        told[on_host & ~from_host & ~(from_tpu & ends_it)] = False
        here[:, slot + 1] = mapped[:, slot]
        behind[:, slot + 1] = on_host
        last = np.clip(batch.last_reader[:, slot + 1], 0, slots)
        reads_here[every, last] |= mapped[:, slot]
        reads_behind[every, last] |= on_host
    entering = batch.last_reader[:, :-1] >= begin[:, None]
    before = np.arange(slots) <= begin[:, None]  # the tensors of inputs and slots before it
    told[(entering & before).sum(axis=1) != 1] = False
    return told


def _ceil_ratio(after: IntArray, before: IntArray) -> IntArray:
    ratio: IntArray = (-(-after // np.maximum(before, 1))).max(axis=-1)
    return ratio
