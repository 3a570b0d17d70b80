"""Graphs that compute the same with other ops."""

from __future__ import annotations

import dataclasses
from collections.abc import Container

from spaces.graph.graph import OpGraph
from spaces.graph.kinds import OpKind
from spaces.graph.op import Op


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
