"""From the op names of a graph to the boxes of a drawing."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from spaces.graph import Op, OpGraph, OpKind, Shape
from tasks.report_page.records import Block

_PART = re.compile(r"/(?:split|group\d+)$")
_STAGE = re.compile(r"stage\d+$")


def whole_name(op_name: str) -> str:
    """Name of the op before its group convolution was split.

    >>> whole_name("stage1/block0/expand/group3")
    'stage1/block0/expand'
    """
    return _PART.sub("", op_name)


def blocks_of(graph: OpGraph) -> tuple[Block, ...]:
    """Blocks in order of execution; a block is all ops with the same prefix.

    Graphs in which group convolutions are split into parts give the same blocks.
    """
    grouped: dict[str, list[Op]] = {}
    for op in _whole_ops(graph.ops):
        grouped.setdefault(op.name.rpartition("/")[0] or op.name, []).append(op)
    found: list[Block] = []
    for name, ops in grouped.items():
        found.append(_block(name, ops, after_stages=any(_is_staged(b.stage) for b in found)))
    return tuple(found)


def _is_staged(stage: str) -> bool:
    return _STAGE.match(stage) is not None


def _whole_ops(ops: Sequence[Op]) -> list[Op]:
    """Split group convolutions put together again, for looking at (not for running)."""
    parts: dict[str, list[Op]] = {}
    for op in ops:
        if re.search(r"/group\d+$", op.name):
            parts.setdefault(whole_name(op.name), []).append(op)
    whole: list[Op] = []
    for op in ops:
        if op.name in parts and op.kind is OpKind.CONCATENATION:
            whole.append(_join(op, parts[op.name]))
        elif whole_name(op.name) not in parts:
            whole.append(op)
    return whole


def _join(concat: Op, parts: Sequence[Op]) -> Op:
    first = parts[0]
    shape = (*first.input_shape[:-1], first.in_channels * len(parts))
    return dataclasses.replace(
        first,
        name=concat.name,
        input_shape=shape,
        output_shape=concat.output_shape,
        groups=len(parts),
    )


def _block(name: str, ops: Sequence[Op], after_stages: bool) -> Block:
    stage = name.partition("/")[0]
    if not _is_staged(stage):
        stage = "head" if after_stages or stage != "stem" else "stem"
    leaves = {op.name.rpartition("/")[2]: op for op in ops}
    kind = _kind(leaves) if _is_staged(stage) else stage
    windows = [max(op.kernel_size) for op in ops if op.weights]
    return Block(
        stage=stage,
        name=name,
        kind=kind,
        kernel=max(windows, default=1),
        expansion=_expansion(kind, ops),
        groups=max(op.groups for op in ops),
        in_channels=ops[0].in_channels,
        out_channels=ops[-1].out_channels,
        in_size=_size(ops[0].input_shape),
        out_size=_size(ops[-1].output_shape),
        macs=sum(op.macs for op in ops),
        parameters=sum(op.trainable_parameters for op in ops),
        residual=any(op.kind is OpKind.ADD for op in ops),
    )


def _kind(leaves: dict[str, Op]) -> str:
    if any(op.kind is OpKind.DEPTHWISE_CONV_2D for op in leaves.values()):
        return "ibn_dw"
    if "group_conv" in leaves:
        return "ibn_grouped"
    expand = leaves.get("expand")
    if expand is None:
        return "conv"
    if expand.groups > 1:
        return "ibn_fused_grouped"
    return "ibn_fused" if max(expand.kernel_size) > 1 else "conv"


def _expansion(kind: str, ops: Sequence[Op]) -> float | None:
    if not kind.startswith("ibn"):
        return None
    widest = next((op for op in ops if op.name.endswith("/expand")), None)
    return 1.0 if widest is None else widest.out_channels / widest.in_channels


def _size(shape: Shape) -> tuple[int, int]:
    """Height and width; tokens (1, T, C) are a column, vectors (1, C) a point."""
    if len(shape) >= 4:
        return shape[-3], shape[-2]
    return (shape[1], 1) if len(shape) == 3 else (1, 1)
