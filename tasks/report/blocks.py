"""From the op names of a graph to the boxes of a drawing.

Names are paths. A box is all ops below the first two parts of a path where the second one is
numbered (``stage2/block1``, ``bifpn/cell0``), below the first part otherwise. Where that gives too
many boxes for one drawing, stages of a kind (``node0``, ``node1``, ...) become a box each.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from spaces.graph import Op, OpGraph, OpKind, Shape, Trait, kinds_with
from tasks.report.records import Block

MOST_BOXES = 40
"""In a drawing: beyond, nobody reads them."""

_PART = re.compile(r"/(?:split|group\d+)$")
_NUMBERED = re.compile(r"[A-Za-z]+\d+$")
_RESAMPLING = kinds_with(Trait.RESIZING) | kinds_with(Trait.POOLING, Trait.WINDOWED)


def whole_name(op_name: str) -> str:
    """Name of the op before its group convolution was split.

    >>> whole_name("stage1/block0/expand/group3")
    'stage1/block0/expand'
    """
    return _PART.sub("", op_name)


def blocks_of(graph: OpGraph) -> tuple[Block, ...]:
    """Blocks in order of execution.

    Graphs in which group convolutions are split into parts give the same blocks.
    """
    ops = _whole_ops(graph.ops)
    readers = _readers(ops)
    rank = 3 if len(graph.input_shape) == 2 else 4
    found: list[Block] = []
    for name, inside in _grouped(ops).items():
        after_stages = any(block.stage not in ("stem", "head") for block in found)
        levels = _levels(inside, readers) if rank == 4 else ()
        found.append(_block(name, inside, levels, rank, after_stages))
    return tuple(found)


def _grouped(ops: Sequence[Op]) -> dict[str, list[Op]]:
    """Ops by the name of their box, of which there are at most :data:`MOST_BOXES`."""
    fine = {op.name: _box_name(op.name) for op in ops}
    sizes = Counter(_family(name) for name in set(fine.values()) if "/" in name)
    for family, _ in sizes.most_common():
        if len(set(fine.values())) <= MOST_BOXES:
            break
        for op_name, name in fine.items():
            if _family(name) == family:
                fine[op_name] = name.partition("/")[0]
    grouped: dict[str, list[Op]] = {}
    for op in ops:
        grouped.setdefault(fine[op.name], []).append(op)
    return _bundled(grouped)


def _bundled(grouped: dict[str, list[Op]]) -> dict[str, list[Op]]:
    """Neighbours in one box where there are too many all the same."""
    size = math.ceil(len(grouped) / MOST_BOXES)
    if size < 2:
        return grouped
    names = list(grouped)
    bundles = [names[start : start + size] for start in range(0, len(names), size)]
    return {
        f"{bundle[0]} to {bundle[-1]}": [op for name in bundle for op in grouped[name]]
        for bundle in bundles
    }


def _box_name(op_name: str) -> str:
    """See the head of this file; an op without a path is a box of its own."""
    parts = op_name.split("/")
    if len(parts) > 2 and _NUMBERED.match(parts[1]):
        return "/".join(parts[:2])
    return parts[0]


def _family(name: str) -> str:
    """The stage without its numbers: what stages of a kind have in common."""
    return re.sub(r"\d+", "", name.partition("/")[0])


def _readers(ops: Sequence[Op]) -> dict[str, list[str]]:
    readers: dict[str, list[str]] = {op.name: [] for op in ops}
    for op in ops:
        for name in op.inputs:
            if name in readers:
                readers[name].append(op.name)
    return readers


def _whole_ops(ops: Sequence[Op]) -> list[Op]:
    """Split group convolutions put together again, for looking at (not for running)."""
    parts: dict[str, list[Op]] = {}
    sources = {op.name: op.inputs for op in ops if op.kind is OpKind.SPLIT}
    for op in ops:
        if re.search(r"/group\d+$", op.name):
            parts.setdefault(whole_name(op.name), []).append(op)
    whole: list[Op] = []
    for op in ops:
        if op.name in parts and op.kind is OpKind.CONCATENATION:
            whole.append(_join(op, parts[op.name], sources))
        elif whole_name(op.name) not in parts:
            whole.append(op)
    return whole


def _join(concat: Op, parts: Sequence[Op], sources: Mapping[str, tuple[str, ...]]) -> Op:
    first = parts[0]
    shape = (*first.input_shape[:-1], first.in_channels * len(parts))
    return dataclasses.replace(
        first,
        name=concat.name,
        inputs=sources.get(first.inputs[0], first.inputs),
        input_shape=shape,
        output_shape=concat.output_shape,
        groups=len(parts),
    )


def _block(
    name: str,
    ops: Sequence[Op],
    levels: tuple[tuple[int, int], ...],
    rank: int,
    after_stages: bool,
) -> Block:
    """One box; ``rank`` is that of the tensors whose size is drawn, 3 of tokens, 4 of maps."""
    stage = _stage(name, ops, after_stages)
    kind = _main_kind(stage, ops, len(levels) > 1)
    out_size = levels[0] if levels else _size([op.output_shape for op in ops], rank)
    out_channels = ops[-1].out_channels
    if kind == "labels" and len(ops[-1].output_shape) == 3:  # a map of numbers: (1, H, W)
        _, height, width = ops[-1].output_shape
        out_size, out_channels = (height, width), 1
    return Block(
        stage=stage,
        name=name,
        kind=kind,
        kernel=max(
            (max(op.kernel_size) for op in ops if Trait.WINDOWED in op.kind.traits), default=0
        ),
        expansion=_expansion(kind, ops),
        groups=max(op.groups for op in ops),
        in_channels=ops[0].in_channels,
        out_channels=out_channels,
        in_size=out_size if kind == "embedding" else _size((ops[0].input_shape,), rank),
        out_size=out_size,
        macs=sum(op.macs for op in ops),
        parameters=sum(op.trainable_parameters for op in ops),
        residual=kind not in ("pyramid", "embedding") and any(_is_sum(op) for op in ops),
        levels=levels if len(levels) > 1 else (),
        ops=tuple(op.name for op in ops),
    )


def _stage(name: str, ops: Sequence[Op], after_stages: bool) -> str:
    """The first part of the path; ops without one are stem before all stages, head after them."""
    if "/" in ops[0].name:
        return name.partition("/")[0]
    return "stem" if name == "stem" or not after_stages else "head"


def _levels(
    ops: Sequence[Op], readers: Mapping[str, Sequence[str]]
) -> tuple[tuple[int, int], ...]:
    """Sizes of the maps that are read elsewhere, or by nobody, the finest first."""
    inside = {op.name for op in ops}
    ends = [op for op in ops if not readers[op.name] or set(readers[op.name]) - inside]
    sizes = {(op.output_shape[1], op.output_shape[2]) for op in ends if len(op.output_shape) == 4}
    return tuple(sorted(sizes, reverse=True))


def _main_kind(stage: str, ops: Sequence[Op], has_levels: bool) -> str:
    """The kind of the block; of several blocks in one box, the one with most arithmetic."""
    if stage in ("stem", "head"):
        return stage
    macs: Counter[str] = Counter()
    parts: dict[str, list[Op]] = {}
    for op in ops:
        parts.setdefault(_box_name(op.name), []).append(op)
    for inside in parts.values():
        macs[_kind(inside, has_levels)] += sum(op.macs for op in inside)
    if len(parts) > 1 and {"attention", "ffn"} <= macs.keys():
        return "transformer"
    return macs.most_common(1)[0][0]


def _kind(ops: Sequence[Op], has_levels: bool) -> str:
    kinds = {op.kind for op in ops}
    leaves = {op.name.rpartition("/")[2]: op for op in ops}
    if OpKind.ARG_MAX in kinds:
        return "labels"
    if any(op.kind is OpKind.GATHER and op.constant for op in ops):
        return "embedding"
    if OpKind.BATCH_MATMUL in kinds:
        return "attention"
    if kinds & _RESAMPLING and (has_levels or any(map(_is_sum, ops))):
        return "pyramid"
    if not kinds & {OpKind.CONV_2D, OpKind.DEPTHWISE_CONV_2D}:
        return "ffn" if OpKind.FULLY_CONNECTED in kinds else _plain_kind(ops)
    return _convolution_kind(leaves)


def _plain_kind(ops: Sequence[Op]) -> str:
    """Of a block without weights, what it is most of: ``softmax``, ``resize_bilinear``, ..."""
    return Counter(op.kind.value.lower() for op in ops).most_common(1)[0][0]


def _convolution_kind(leaves: Mapping[str, Op]) -> str:
    names = list(leaves)
    depthwise = [n for n, op in leaves.items() if op.kind is OpKind.DEPTHWISE_CONV_2D]
    expand = leaves.get("expand")
    if depthwise and expand is not None:
        if "start_depthwise" in leaves:
            return "ibn_extra_dw" if len(depthwise) > 1 else "ibn_conv_next"
        first = names.index(depthwise[0]) < names.index("expand")
        return "ibn_dw_first" if first else "ibn_dw"
    if depthwise:
        return "ibn_dw" if "project" in leaves else "separable"
    if "group_conv" in leaves:
        return "ibn_grouped"
    if "compress" in leaves:
        return "tucker"
    if expand is None:
        return "conv"
    if expand.groups > 1:
        return "ibn_fused_grouped"
    if max(expand.kernel_size) > 1:
        return "ibn_fused" if leaves["project"].activation == "none" else "conv_pair"
    return "ibn_ffn"


def _is_sum(op: Op) -> bool:
    return op.kind is OpKind.ADD and len(op.inputs) == 2


def _expansion(kind: str, ops: Sequence[Op]) -> float | None:
    widest = [op for op in ops if op.name.endswith("/expand")]
    is_single = len({_box_name(op.name) for op in ops}) == 1
    if not is_single or not kind.startswith(("ibn", "ffn")):
        return None
    if not widest:
        return 1.0 if kind.startswith("ibn") else None
    return widest[0].out_channels / widest[0].in_channels


def _size(shapes: Sequence[Shape], rank: int) -> tuple[int, int]:
    """Height and width of the last map, or length and 1 of the last sequence; else a point."""
    fitting = [shape for shape in shapes if len(shape) == rank]
    if not fitting:
        return (1, 1)
    return (fitting[-1][1], 1) if rank == 3 else (fitting[-1][1], fitting[-1][2])
