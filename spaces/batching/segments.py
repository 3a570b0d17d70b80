"""Many graphs that are made of few pieces, written as one batch without looking at each op.

A *segment* is a piece of a network that reads nothing but what the piece before it makes last: a
stem, a block, a cell. Networks of a space are sequences of segments, and segments recur.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from spaces.graph import (
    OP_ROW_LENGTH,
    IntArray,
    Op,
    OpBatch,
    OpColumns,
    OpGraph,
    OpRow,
    op_row,
    uses,
)

ABSENT = 0
"""The segment without ops, for a place that a network leaves out."""


@final
class SegmentTable:
    """Segments by number. It only grows, so numbers may be kept."""

    def __init__(self) -> None:
        self._op_numbers: dict[OpRow, int] = {}
        self._ops = _Rows(OP_ROW_LENGTH)
        self._slots, self._segments = _Rows(3), _Rows(3)  # as `sequences` takes them
        self._segments.extend([(0, 0, 0)])

    def add(self, segment: OpGraph) -> int:
        """A number for ``segment``; its input is the output of the segment before it."""
        first, (input_last, *last) = uses(segment)
        slots = [
            (self.number(op), last[slot] - slot, first[slot] - slot)
            for slot, op in enumerate(segment.ops)
        ]
        return int(self.add_many(slots, [len(slots)], [input_last])[0])

    def add_many(
        self,
        slots: IntArray | Sequence[Sequence[int]],
        lengths: IntArray | Sequence[int],
        input_last: IntArray | Sequence[int],
    ) -> IntArray:
        """Numbers for segments whose slots stand one behind another; see :func:`sequences`."""
        length = np.asarray(lengths, np.int64)
        ends, begin = np.cumsum(length), self._segments.count
        rows = [self._slots.count + ends - length, length, np.asarray(input_last, np.int64)]
        self._slots.extend(slots)
        self._segments.extend(np.column_stack(rows))
        return np.where(length > 0, np.arange(begin, begin + len(length)), ABSENT)

    def number(self, op: Op) -> int:
        """Row of ``op`` in the table of ops, to be used in ``slots``."""
        row = op_row(op)
        if row not in self._op_numbers:
            self._op_numbers[row] = len(self._op_numbers)
            self._ops.extend([row])
        return self._op_numbers[row]

    def ends(self, which: IntArray) -> IntArray:
        """Slot of the last op up to and with each place, ``[n_architectures, n_places]``."""
        ends: IntArray = self._segments.table[:, 1][which].cumsum(axis=1) - 1
        return ends

    def batch(self, which: IntArray) -> OpBatch:
        """Networks that are sequences of segments, ``which`` ``[n_architectures, n_places]``."""
        return sequences(which, self._segments.table, self._slots.table, self._ops.table)


def sequences(which: IntArray, segments: IntArray, slots: IntArray, ops: IntArray) -> OpBatch:
    """Networks that are sequences of segments.

    Args:
        which: Row of ``segments`` at each place, ``[n_architectures, n_places]``.
        segments: Where the segment's slots begin, how many there are, and which of them reads the
            segment's input last, ``[n_segments, 3]``; the first one is :data:`ABSENT`, all 0.
        slots: Row of ``ops``; last reader and first input as an :class:`OpBatch` has them, minus
            the slot itself, ``[n_slots, 3]``.
        ops: As :func:`spaces.graph.op_row` makes them; the batch gets those that occur.
    """
    present = which != ABSENT
    begin, length, input_last = segments[which[present]].T  # row by row
    ends = np.cumsum(length)
    at = np.repeat(begin - (ends - length), length) + np.arange(length.sum())
    numbers, last, first = slots[at].T
    last[ends - 1] = _to_next(input_last, present)

    total = segments[:, 1][which].sum(axis=1)
    columns = np.arange(total.max(initial=0))
    live = columns < total[:, None]
    index, first_input = np.zeros(live.shape, np.int64), np.zeros(live.shape, np.int64)
    last_reader = np.tile(np.arange(-1, len(columns)), (len(which), 1))
    own = np.broadcast_to(columns, live.shape)[live]
    distinct, index[live] = _compact(ops, numbers)
    first_input[live] = own + first
    last_reader[:, 1:][live] = own + last
    last_reader[np.flatnonzero(total), 0] = input_last[_begins(present)]
    return OpBatch(distinct, index, live, last_reader, first_input)


def _compact(ops: IntArray, numbers: IntArray) -> tuple[OpColumns, IntArray]:
    """A table of those ``ops`` that occur in ``numbers``, and ``numbers`` as rows of it."""
    used = np.zeros(len(ops), np.bool_)
    used[numbers] = True
    return OpColumns.of(ops[used]), (np.cumsum(used) - 1)[numbers]


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

    def extend(self, rows: IntArray | Sequence[Sequence[int]]) -> None:
        """Add rows."""
        end = self.count + len(rows)
        if end > len(self._data):
            more = np.empty((max(end, 2 * len(self._data)), self._data.shape[1]), np.int64)
            more[: self.count] = self.table
            self._data = more
        if len(rows):
            self._data[self.count : end] = rows
        self.count = end
