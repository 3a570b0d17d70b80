"""Heads that read several tensors of a network, put behind many networks at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from spaces.graph import IntArray, Op, OpBatch, OpColumns, OpRow, op_row

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Attachment:
    """Ops that stand behind a network and read *sources*: tensors of it, by number.

    Attributes:
        rows: As :class:`spaces.graph.OpColumns` takes them, ``n_ops``.
        first_input: What each op reads first, ``[n_ops]``: an op of these, or -1 minus a source.
        last_reader: The op that reads each op's output last; itself where nobody does.
        source_reader: The op that reads each source last, ``[n_sources]``; -1: none.
    """

    rows: tuple[OpRow, ...]
    first_input: IntArray
    last_reader: IntArray
    source_reader: IntArray

    @staticmethod
    def of(ops: Sequence[Op], sources: Sequence[str]) -> Attachment:
        """Of ``ops`` whose inputs are ops before them or ``sources``, by name."""
        numbers = {name: -1 - number for number, name in enumerate(sources)}
        numbers |= {op.name: number for number, op in enumerate(ops)}
        last = {**dict.fromkeys(sources, -1), **{op.name: n for n, op in enumerate(ops)}}
        for number, op in enumerate(ops):
            last.update(dict.fromkeys(op.inputs, number))
        return Attachment(
            rows=tuple(map(op_row, ops)),
            first_input=np.array([numbers[op.inputs[0]] for op in ops], np.int64),
            last_reader=np.array([last[op.name] for op in ops], np.int64),
            source_reader=np.array([last[name] for name in sources], np.int64),
        )


def attach_many(
    batch: OpBatch, sources: IntArray, heads: Sequence[Attachment], which: IntArray
) -> OpBatch:
    """Each network of a batch with the head that is meant for it.

    Args:
        batch: Networks.
        sources: Slots of the ops whose outputs are the sources, ``[n_architectures, n_sources]``.
        heads: Of so many sources.
        which: The head of each network, ``[n_architectures]``.
    """
    length = batch.live.sum(axis=1)
    behind = np.array([len(head.rows) for head in heads], np.int64)[which]
    width = int((length + behind).max(initial=0))
    numbers: dict[OpRow, int] = {}
    index, live = _widened(batch.index, width), _widened(batch.live, width)
    first_input = _widened(batch.first_input, width)
    last_reader = np.tile(np.arange(-1, width), (len(length), 1))
    last_reader[:, : batch.last_reader.shape[1]] = batch.last_reader
    for rows, head in _groups(heads, which):
        begin, at = length[rows, None], rows[:, None]
        slots = begin + np.arange(len(head.rows))
        ops = [numbers.setdefault(row, len(numbers)) for row in head.rows]
        index[at, slots], live[at, slots] = len(batch.distinct.kind) + np.array(ops), True
        outer = 1 + sources[rows][:, np.maximum(-1 - head.first_input, 0)]
        first_input[at, slots] = np.where(
            head.first_input < 0, outer, 1 + begin + head.first_input
        )
        last_reader[at, 1 + slots] = begin + head.last_reader
        read = np.flatnonzero(head.source_reader >= 0)
        last_reader[at, 1 + sources[rows][:, read]] = begin + head.source_reader[read]
    table = batch.distinct.joined(OpColumns.of(numbers))
    return OpBatch(table, index, live, last_reader, first_input)


def _groups(heads: Sequence[Attachment], which: IntArray) -> Iterator[tuple[IntArray, Attachment]]:
    """Networks of each head."""
    for number, head in enumerate(heads):
        rows = np.flatnonzero(which == number)
        if len(rows):
            yield rows, head


def _widened(array: NDArray[Scalar], width: int) -> NDArray[Scalar]:
    """``[n, narrow]`` with zeros added at the end of each row."""
    wide = np.zeros((len(array), width), array.dtype)
    wide[:, : array.shape[1]] = array
    return wide
