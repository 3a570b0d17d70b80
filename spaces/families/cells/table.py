"""Networks of cells lowered many at once: each cell is drawn once, whatever its kernels.

Which ops a cell has and who reads whom depends on what an edge is (nothing, a skip, a
convolution, a pool) and not on the window of its convolutions. So the few thousand such *forms*
are drawn op by op, and kernels and stages are filled in by arithmetic.

Whether a ReLU is fused into the last op of a cell, the cell behind it decides: each segment has a
twin with one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from spaces.batching.segments import ABSENT, SegmentTable
from spaces.families.cells.cell import (
    CONVOLUTIONS,
    EDGE_OPS,
    EDGES,
    LAST_NODE,
    NONE,
    Draft,
    draw_cell,
    draw_last,
    draw_reduction,
    draw_stem,
    edge_name,
    place_relus,
)
from spaces.graph import INPUT, BoolArray, IntArray, Op, OpBatch, OpGraph, OpKind, Shape, uses

_WEIGHTLESS = (OpKind.RELU, OpKind.AVERAGE_POOL_2D, OpKind.ADD)
_PLAIN = len(_WEIGHTLESS) + len(CONVOLUTIONS)
_WINDOWS = np.array([[*CONVOLUTIONS].index(op) if op in CONVOLUTIONS else 0 for op in EDGE_OPS])
_ANY_WINDOW = EDGE_OPS.index(next(iter(CONVOLUTIONS)))
_FORMS = np.array([_ANY_WINDOW if op in CONVOLUTIONS else n for n, op in enumerate(EDGE_OPS)])
_EDGE_NUMBERS = {edge_name(edge): number for number, edge in enumerate(EDGES)}


@dataclass(frozen=True, slots=True)
class _Form:
    """A cell whose convolutions may have any window.

    Attributes:
        what: Of each op: its kind's place in ``_WEIGHTLESS``, or behind those its edge.
        rectified: Of each op: 1 where a ReLU is fused into it.
        slots: Last reader and first input, minus the slot itself, ``[n_ops, 2]``.
        input_last: Slot that reads the cell's input last.
        rectifies: All that read the cell's input do so through a ReLU.
        ends_in_convolution: So that a batch normalisation behind it is folded into it.
    """

    what: IntArray
    rectified: IntArray
    slots: IntArray
    input_last: int
    rectifies: bool
    ends_in_convolution: bool


@final
class CellTable:
    """What was lowered so far of one space's cells."""

    def __init__(self, input_shape: Shape, widths: Sequence[int], n_cells: int) -> None:
        self._n_cells, self._segments = n_cells, SegmentTable()
        self._twins, self._rectifies = np.zeros(1, np.int64), np.zeros(1, np.bool_)
        draft = Draft(INPUT, input_shape)
        shape = draft.shape(draw_stem(draft, INPUT, widths[0]))
        self._stem = self._add(draft, input_shape)
        self._reductions, self._stage_ops = [ABSENT], [self._ops_of_stage(shape)]
        for channels in widths[1:]:
            draft = Draft(INPUT, shape)
            after = draft.shape(draw_reduction(draft, "reduction", INPUT, channels))
            self._reductions.append(self._add(draft, shape))
            self._stage_ops.append(self._ops_of_stage(after))
            shape = after
        draft = Draft(INPUT, shape)
        draw_last(draft, INPUT)
        self._last = self._add(draft, shape)
        self._forms: dict[tuple[int, ...], _Form] = {}
        size = len(EDGE_OPS) ** len(EDGES)
        self._known = np.full((size, len(widths)), -1)  # segments by the number of a cell
        self._ends_in_convolution = np.zeros(size, np.bool_)

    def _add(self, draft: Draft, shape: Shape) -> int:
        ops = place_relus(draft.ops, draft.rectified)
        twin = (*ops[:-1], dataclasses.replace(ops[-1], activation="relu"))
        number, other = (self._segments.add(OpGraph(shape, one)) for one in (ops, twin))
        self._pair(np.array([number]), np.array([other]), np.array([_rectifies(draft)]))
        return number

    def _pair(self, numbers: IntArray, twins: IntArray, rectifies: BoolArray) -> None:
        """Note twins, and whether all read the input of such a segment through a ReLU."""
        more = max(int(twins.max(initial=0)) + 1 - len(self._twins), 0)
        self._twins = np.pad(self._twins, (0, more))
        self._rectifies = np.pad(self._rectifies, (0, more))
        self._twins[numbers], self._rectifies[numbers] = twins, rectifies & (numbers != ABSENT)
        self._twins[ABSENT] = ABSENT

    def _ops_of_stage(self, shape: Shape) -> list[int]:
        """Numbers of all ops that a cell may have: weightless ones, then convolutions.

        Behind them the same again, each with a ReLU fused into it.
        """
        draft = Draft(INPUT, shape)
        draft.average_pool("pool", INPUT, 3, 1)
        draft.add("add", INPUT, INPUT)
        for side in CONVOLUTIONS.values():
            draft.convolution(f"conv{side}", INPUT, shape[-1], side)
        relu = Op("relu", OpKind.RELU, (INPUT,), shape, shape)
        plain = (relu, *draft.ops)
        rectified = (dataclasses.replace(op, activation="relu") for op in plain)
        return [self._segments.number(op) for op in (*plain, *rectified)]

    def batch(self, codes: IntArray) -> OpBatch:
        """Networks by their edges, places in ``EDGE_OPS`` ``[n_architectures, n_edges]``."""
        numbers = codes @ len(EDGE_OPS) ** np.arange(len(EDGES))
        new, first = np.unique(numbers, return_index=True)
        missing = self._known[new, 0] < 0
        if missing.any():
            self._lower(new[missing], codes[first[missing]])
        which = [np.full(len(numbers), self._stem)]
        for stage, reduction in enumerate(self._reductions):
            which.append(np.full(len(numbers), reduction))
            which += [self._known[numbers, stage]] * self._n_cells
        which.append(np.where(self._ends_in_convolution[numbers], ABSENT, self._last))
        found = self._rectified(np.stack(which, axis=1), self._ends_in_convolution[numbers])
        return self._segments.batch(found)

    def _rectified(self, which: IntArray, last: BoolArray) -> IntArray:
        """Segments with their twins where those behind them want it, and ``last`` at the end."""
        wanted = last
        found = which.copy()
        for place in range(which.shape[1] - 1, -1, -1):
            here = which[:, place]
            found[:, place] = np.where(wanted, self._twins[here], here)
            wanted = np.where(here == ABSENT, wanted, self._rectifies[here])
        return found

    def _lower(self, numbers: IntArray, codes: IntArray) -> None:
        """Add cells of these numbers and edges."""
        live = np.where(_live(codes), codes, EDGE_OPS.index(NONE))
        rows, which = np.unique(_FORMS[live], axis=0, return_inverse=True)
        forms = [self._form(tuple(row)) for row in rows.tolist()]
        length = np.array([len(form.what) for form in forms])[which]
        what = np.concatenate([forms[form].what for form in which])
        slots = np.concatenate([forms[form].slots for form in which])
        cell, edge = np.repeat(np.arange(len(live)), length), what - len(_WEIGHTLESS)
        window = _WINDOWS[live[cell, np.maximum(edge, 0)]]
        ops = np.where(edge < 0, what, len(_WEIGHTLESS) + window)
        ops += _PLAIN * np.concatenate([forms[form].rectified for form in which])
        input_last = np.array([form.input_last for form in forms])[which]
        twins = ops.copy()
        twins[np.cumsum(length)[length > 0] - 1] += _PLAIN
        rectifies = np.array([form.rectifies for form in forms])[which]
        for stage, table in enumerate(self._stage_ops):
            plain, paired = (
                self._segments.add_many(
                    np.column_stack([np.array(table)[one], slots]), length, input_last
                )
                for one in (ops, twins)
            )
            self._known[numbers, stage] = plain
            self._pair(plain, paired, rectifies)
        ends = np.array([form.ends_in_convolution for form in forms])
        stem_is_last = (length == 0) & (len(self._stage_ops) == 1)
        self._ends_in_convolution[numbers] = ends[which] | stem_is_last

    def _form(self, edges: tuple[int, ...]) -> _Form:
        if edges not in self._forms:
            self._forms[edges] = _drawn(edges)
        return self._forms[edges]


def _drawn(edges: tuple[int, ...]) -> _Form:
    shape: Shape = (1, 8, 8, 8)
    draft = Draft(INPUT, shape)
    ops = {edge: EDGE_OPS[code] for edge, code in zip(EDGES, edges, strict=True)}
    draw_cell(draft, "cell", INPUT, ops, shape[-1])
    graph = OpGraph(shape, place_relus(draft.ops, draft.rectified))
    first, (input_last, *last) = uses(graph)
    slots = np.column_stack([last, first]).reshape(-1, 2) - np.arange(len(first))[:, None]
    ends = bool(graph.ops) and graph.output.kind is OpKind.CONV_2D
    what = np.array([*map(_what, graph.ops)], np.int64)
    rectified = np.array([op.activation != "none" for op in graph.ops], np.int64)
    return _Form(what, rectified, slots, input_last, _rectifies(draft), ends)


def _rectifies(draft: Draft) -> bool:
    readers = [op.name for op in draft.ops if INPUT in op.inputs]
    return bool(readers) and all(name in draft.rectified for name in readers)


def _what(op: Op) -> int:
    if op.kind in _WEIGHTLESS:
        return _WEIGHTLESS.index(op.kind)
    return len(_WEIGHTLESS) + _EDGE_NUMBERS[op.name.rpartition("/")[2]]


def _live(codes: IntArray) -> BoolArray:
    """The same as :func:`spaces.families.cells.cell.live_edges`, ``[n_cells, n_edges]``."""
    there = codes != EDGE_OPS.index(NONE)
    reached, used = np.zeros((2, LAST_NODE + 1, len(codes)), np.bool_)
    reached[0] = used[LAST_NODE] = True
    for number, (start, end) in enumerate(EDGES):
        reached[end] |= there[:, number] & reached[start]
    for number, (start, end) in reversed([*enumerate(EDGES)]):
        used[start] |= there[:, number] & used[end]
    starts, ends = np.array(EDGES).T
    live: BoolArray = there & reached[starts].T & used[ends].T
    return live
