"""The parts of a network of NAS-Bench-201: a stem, stages that repeat one cell, reductions.

A cell is a small graph of four nodes. Node 0 is its input, node 3 its output; every later node is
the sum of what comes from each earlier one over an *edge*, and the operations on the six edges
are what is searched. Only what takes part is lowered: an edge that nothing reaches, or from which
nothing reaches node 3, is left out; ``none`` contributes nothing, and ``skip_connect`` hands a
tensor on as it is. Two average pools of one tensor are two ops, though a converter may merge them:
in the latencies that others have measured they count twice.

A cell whose node 3 receives nothing puts out zeros, and its network is a constant. It is lowered
as a cell that hands its input on: the same stem, reductions and head, the cheapest there are.

Source: Dong, Yang 2020, arXiv:2001.00326; code in D-X-Y/AutoDL-Projects (xautodl/models).
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import final

from spaces.families import blocks
from spaces.graph import INPUT, Op, OpKind, Shape

NONE, SKIP_CONNECT, AVERAGE_POOL = "none", "skip_connect", "avg_pool_3x3"
CONVOLUTIONS = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}
"""Window side of the convolutions, which are ReLU, convolution, batch normalisation."""
EDGE_OPS = (NONE, SKIP_CONNECT, *CONVOLUTIONS, AVERAGE_POOL)
LAST_NODE = 3
Edge = tuple[int, int]
EDGES: tuple[Edge, ...] = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""From node, to node; in the order of the usual strings."""


def edge_name(edge: Edge) -> str:
    """The choice of an edge."""
    return f"edge{edge[0]}-{edge[1]}"


def live_edges(ops: Mapping[Edge, str]) -> dict[Edge, str]:
    """The edges that are reached from node 0, and from which node 3 is reached."""
    there = {edge: op for edge, op in ops.items() if op != NONE}
    reached, used = {0}, {LAST_NODE}
    for start, end in EDGES:
        if (start, end) in there and start in reached:
            reached.add(end)
    for start, end in reversed(EDGES):
        if (start, end) in there and end in used:
            used.add(start)
    return {edge: op for edge, op in there.items() if edge[0] in reached and edge[1] in used}


@final
class Draft:
    """Ops of a network being written, before its ReLUs are placed.

    Attributes:
        ops: So far.
        rectified: Names of the ops that read their input through a ReLU.
    """

    def __init__(self, source: str, shape: Shape) -> None:
        self.ops: list[Op] = []
        self.rectified: set[str] = set()
        self._shapes = {source: shape}

    def convolution(
        self,
        name: str,
        source: str,
        channels: int,
        kernel: int,
        strides: int = 1,
        batch_norm: bool = True,
    ) -> str:
        """A convolution; its name."""
        behind = (source, self._shapes[source])
        op = blocks.convolution(name, behind, channels, kernel, strides)
        return self.emit(op if batch_norm else dataclasses.replace(op, batch_norm=False))

    def rectified_convolution(
        self, name: str, source: str, channels: int, kernel: int, strides: int = 1
    ) -> str:
        """A ReLU, a convolution, batch normalisation; the name of the convolution."""
        self.rectified.add(name)
        return self.convolution(name, source, channels, kernel, strides)

    def average_pool(self, name: str, source: str, size: int, strides: int) -> str:
        """An average over a square window with SAME padding; its name."""
        shape = self._shapes[source]
        side = (math.ceil(shape[1] / strides), math.ceil(shape[2] / strides))
        after, window = (1, *side, shape[3]), ((size, size), (strides, strides))
        return self.emit(Op(name, OpKind.AVERAGE_POOL_2D, (source,), shape, after, *window))

    def add(self, name: str, first: str, second: str) -> str:
        """A sum; its name."""
        shape = self._shapes[first]
        return self.emit(Op(name, OpKind.ADD, (first, second), shape, shape))

    def shape(self, name: str) -> Shape:
        """Of the output of that op, or of the source."""
        return self._shapes[name]

    def emit(self, op: Op) -> str:
        """Any op; its name."""
        self.ops.append(op)
        self._shapes[op.name] = op.output_shape
        return op.name


def place_relus(ops: Sequence[Op], rectified: Iterable[str]) -> tuple[Op, ...]:
    """``ops`` with the ReLUs through which those named ``rectified`` read their input.

    As a converter leaves it: where all that read a tensor do so through a ReLU, it is fused into
    the op that makes the tensor; else one RELU op serves those that do.
    """
    through = set(rectified)
    readers: defaultdict[str, list[Op]] = defaultdict(list)
    for op in ops:
        for name in op.inputs:
            readers[name].append(op)
    fused = {n for n, found in readers.items() if all(op.name in through for op in found)}
    split = {n for n in readers if n not in fused and any(r.name in through for r in readers[n])}
    placed: list[Op] = []
    for op in ops:
        if INPUT in split and not placed:
            placed.append(_relu(INPUT, op.input_shape))
        inputs = op.inputs
        if op.name in through:
            inputs = tuple(f"{name}_relu" if name in split else name for name in inputs)
        if op.name in fused:
            op = dataclasses.replace(op, activation="relu")
        placed.append(op if inputs == op.inputs else dataclasses.replace(op, inputs=inputs))
        if op.name in split:
            placed.append(_relu(op.name, op.output_shape))
    return tuple(placed)


def _relu(source: str, shape: Shape) -> Op:
    return Op(f"{source}_relu", OpKind.RELU, (source,), shape, shape)


def draw_cell(
    draft: Draft, prefix: str, source: str, ops: Mapping[Edge, str], channels: int
) -> str:
    """Emit a cell; the name of its output, ``source`` itself where the cell has no ops."""
    live, nodes = live_edges(ops), {0: source}
    for end in range(1, LAST_NODE + 1):
        terms = []
        for start in range(end):
            op = live.get((start, end))
            name = f"{prefix}/{edge_name((start, end))}"
            if op in CONVOLUTIONS:
                side = CONVOLUTIONS[op]
                terms.append(draft.rectified_convolution(name, nodes[start], channels, side))
            elif op == AVERAGE_POOL:
                terms.append(draft.average_pool(name, nodes[start], 3, 1))
            elif op == SKIP_CONNECT:
                terms.append(nodes[start])
        for number, term in enumerate(terms[1:], 1):
            last = "" if number == len(terms) - 1 else "_partial"
            terms[0] = draft.add(f"{prefix}/node{end}{last}", terms[0], term)
        if terms:
            nodes[end] = terms[0]
    return nodes.get(LAST_NODE, source)


def draw_stem(draft: Draft, source: str, channels: int) -> str:
    """Emit the first convolution; its name."""
    return draft.convolution("stem", source, channels, 3)


def draw_reduction(draft: Draft, prefix: str, source: str, channels: int) -> str:
    """Emit a residual block that halves the resolution; the name of its output."""
    first = draft.rectified_convolution(f"{prefix}/conv_a", source, channels, 3, 2)
    second = draft.rectified_convolution(f"{prefix}/conv_b", first, channels, 3)
    pool = draft.average_pool(f"{prefix}/pool", source, 2, 2)
    shortcut = draft.convolution(f"{prefix}/shortcut", pool, channels, 1, batch_norm=False)
    return draft.add(f"{prefix}/add", second, shortcut)


def draw_last(draft: Draft, source: str) -> None:
    """Emit the batch normalisation and the ReLU in front of the head.

    Behind a convolution the first is folded into it. Else it stays: one MUL, one ADD of constants.
    """
    if draft.ops and draft.ops[-1].name == source and draft.ops[-1].kind is OpKind.CONV_2D:
        draft.ops[-1] = dataclasses.replace(draft.ops[-1], activation="relu")
        return
    shape = draft.shape(source)
    # A converter names the ADD after both; the longer name is the one that it is known by.
    draft.emit(Op("last/scale", OpKind.MUL, (source,), shape, shape, batch_norm=True))
    draft.emit(Op("last/offset", OpKind.ADD, ("last/scale",), shape, shape, activation="relu"))
