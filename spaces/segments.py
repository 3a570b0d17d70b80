"""Many graphs that are made of few pieces, written as one batch without looking at each op.

A *segment* is a piece of a network that reads nothing but what the piece before it makes last: a
stem, a block, a cell. Networks of a space are sequences of segments, and segments recur.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from spaces.graph import OP_ROW_LENGTH, IntArray, OpBatch, OpColumns, OpGraph, OpRow, op_row, uses

ABSENT = 0
"""The segment without ops, for a place that a network leaves out."""


@final
class SegmentTable:
    """Segments by number. It only grows, so numbers may be kept."""

    def __init__(self) -> None:
        self._op_numbers: dict[OpRow, int] = {}
        self._ops = _Rows(OP_ROW_LENGTH)
        # Number of the op; last reader and first input as a batch has them, minus the slot itself.
        self._slots = _Rows(3)
        # Where its slots begin, how many there are, and which of them reads its input last.
        self._segments = _Rows(3)
        self._segments.extend([(0, 0, 0)])

    def add(self, segment: OpGraph) -> int:
        """A number for ``segment``; its input is the output of the segment before it."""
        if not segment.ops:
            return ABSENT
        first, (input_last, *last) = uses(segment)
        begin = self._slots.count
        self._slots.extend(
            [
                (self._number(op_row(op)), last[slot] - slot, first[slot] - slot)
                for slot, op in enumerate(segment.ops)
            ]
        )
        self._segments.extend([(begin, len(segment.ops), input_last)])
        return self._segments.count - 1

    def _number(self, row: OpRow) -> int:
        if row not in self._op_numbers:
            self._op_numbers[row] = len(self._op_numbers)
            self._ops.extend([row])
        return self._op_numbers[row]

    def batch(self, which: IntArray) -> OpBatch:
        """Networks that are sequences of segments, ``which`` ``[n_architectures, n_places]``."""
        present = which != ABSENT
        begin, length, input_last = self._segments.table[which[present]].T  # row by row
        ends = np.cumsum(length)
        at = np.repeat(begin - (ends - length), length) + np.arange(length.sum())
        ops, last, first = self._slots.table[at].T
        last[ends - 1] = _to_next(input_last, present)

        total = self._segments.table[:, 1][which].sum(axis=1)
        slots = np.arange(total.max(initial=0))
        live = slots < total[:, None]
        index, first_input = np.zeros(live.shape, np.int64), np.zeros(live.shape, np.int64)
        last_reader = np.tile(np.arange(-1, len(slots)), (len(which), 1))
        own = np.broadcast_to(slots, live.shape)[live]
        distinct, index[live] = self._compact(ops)
        first_input[live] = own + first
        last_reader[:, 1:][live] = own + last
        filled = np.flatnonzero(total)
        last_reader[filled, 0] = input_last[_begins(present)]
        return OpBatch(distinct, index, live, last_reader, first_input)

    def _compact(self, ops: IntArray) -> tuple[OpColumns, IntArray]:
        """A table of those ops that occur in ``ops``, and ``ops`` as rows of it."""
        used = np.zeros(self._ops.count, np.bool_)
        used[ops] = True
        return OpColumns.of(self._ops.table[used]), (np.cumsum(used) - 1)[ops]


def _begins(present: IntArray) -> IntArray:
    """Where each row that is not empty begins in the flat list of what is present."""
    counts = present.sum(axis=1)
    begins: IntArray = (np.cumsum(counts) - counts)[counts > 0]
    return begins


def _to_next(input_last: IntArray, present: IntArray) -> IntArray:
    """From the last slot of each segment to the last reader of its output; 0 at a row's end."""
    distance = np.append(input_last[1:] + 1, 0)[: len(input_last)]
    distance[_begins(present) - 1] = 0  # that of the first row is the end of the last
    return distance


@final
class _Rows:
    """An integer table that grows at its end."""

    def __init__(self, width: int) -> None:
        self._data = np.empty((64, width), np.int64)
        self.count = 0

    @property
    def table(self) -> IntArray:
        """``[count, width]``."""
        return self._data[: self.count]

    def extend(self, rows: Sequence[Sequence[int]]) -> None:
        """Add rows."""
        end = self.count + len(rows)
        if end > len(self._data):
            more = np.empty((max(end, 2 * len(self._data)), self._data.shape[1]), np.int64)
            more[: self.count] = self.table
            self._data = more
        self._data[self.count : end] = rows
        self.count = end
