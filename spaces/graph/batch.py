"""Ops of many networks as columns of numbers, on which laws are evaluated at once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spaces.graph.graph import OpGraph
from spaces.graph.kinds import OpKind
from spaces.graph.op import Op, Shape

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class OpColumns:
    """Attributes of ops as columns, int64; names and inputs left out.

    Attributes:
        kind: Indexes ``tuple(OpKind)``, ``[n_ops]``.
        input_hwc: Height, width and channels of the first input, ``[n_ops, 3]``.
        output_hwc: The same of the output.
        kernel_size: Height and width of the window, ``[n_ops, 2]``.
        strides: Vertical and horizontal, ``[n_ops, 2]``.
        groups: Groups of a convolution, ``[n_ops]``.
        constant: Elements of a learned operand beside the inputs, ``[n_ops]``.
        activation: 1 where an activation is fused into the op, else 0, ``[n_ops]``.
    """

    kind: IntArray
    input_hwc: IntArray
    output_hwc: IntArray
    kernel_size: IntArray
    strides: IntArray
    groups: IntArray
    constant: IntArray
    activation: IntArray

    @staticmethod
    def of(rows: Iterable[OpRow] | IntArray) -> OpColumns:
        """Columns of what :func:`op_row` makes."""
        listed = rows if isinstance(rows, np.ndarray) else list(rows)
        table = np.array(listed, np.int64).reshape(-1, OP_ROW_LENGTH)
        return OpColumns(
            kind=table[:, 0],
            input_hwc=table[:, 2:5],
            output_hwc=table[:, 5:8],
            kernel_size=table[:, 8:10],
            strides=table[:, 10:12],
            groups=table[:, 1],
            constant=table[:, 12],
            activation=table[:, 13],
        )

    def joined(self, other: OpColumns) -> OpColumns:
        """These ops, and behind them those of ``other``."""
        pairs = {
            field.name: (getattr(self, field.name), getattr(other, field.name))
            for field in dataclasses.fields(self)
        }
        return OpColumns(**{name: np.concatenate(pair) for name, pair in pairs.items()})


@dataclass(frozen=True, slots=True)
class OpBatch:
    """Many graphs as a table of distinct ops, and who is where and read by whom.

    Networks of a space share most of their ops, so laws of a single op are best evaluated on
    ``distinct`` and gathered by ``index``. A *tensor* is named by its column in ``last_reader``:
    0 is the graph's input, ``1 + slot`` the output of that slot.

    Attributes:
        distinct: Ops that differ in something an :class:`OpColumns` tells.
        index: Row of ``distinct`` in each slot, ``[n_architectures, n_op_slots]``.
        live: Whether the slot holds an op; dead slots stand at the end of a row, at index 0.
        last_reader: The last slot that reads each tensor, ``[n_architectures, n_op_slots + 1]``;
            its own slot where nobody reads it, which for the graph's input is -1.
        first_input: Tensor that each slot reads first, ``[n_architectures, n_op_slots]``; -1 for
            an op without inputs, 0 in dead slots.
    """

    distinct: OpColumns
    index: IntArray
    live: BoolArray
    last_reader: IntArray
    first_input: IntArray

    @property
    def kind(self) -> IntArray:
        """Op kinds of the slots, ``[n_architectures, n_op_slots]``, as all that follow."""
        return self.distinct.kind[self.index]

    @property
    def input_hwc(self) -> IntArray:
        """Shapes of first inputs, ``[..., 3]``."""
        return self.distinct.input_hwc[self.index]

    @property
    def output_hwc(self) -> IntArray:
        """Shapes of outputs, ``[..., 3]``."""
        return self.distinct.output_hwc[self.index]

    @property
    def kernel_size(self) -> IntArray:
        """Windows, ``[..., 2]``."""
        return self.distinct.kernel_size[self.index]

    @property
    def strides(self) -> IntArray:
        """Strides, ``[..., 2]``."""
        return self.distinct.strides[self.index]

    @property
    def groups(self) -> IntArray:
        """Groups, one number a slot."""
        return self.distinct.groups[self.index]

    @property
    def constant(self) -> IntArray:
        """Elements of learned operands, one number a slot."""
        return self.distinct.constant[self.index]

    @property
    def activation(self) -> IntArray:
        """Whether an activation is fused, one number a slot."""
        return self.distinct.activation[self.index]

    @staticmethod
    def of(graphs: Iterable[OpGraph]) -> OpBatch:
        """Columns of ``graphs``, padded with dead slots to the longest one."""
        rows = list(graphs)
        shape = (len(rows), max((len(graph.ops) for graph in rows), default=0))
        live = np.arange(shape[1]) < np.array([len(graph.ops) for graph in rows])[:, None]
        index, first_input = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        last_reader = np.tile(np.arange(-1, shape[1]), (len(rows), 1))
        numbers: dict[OpRow, int] = {}
        for at, graph in enumerate(rows):
            end = len(graph.ops)
            index[at, :end] = [numbers.setdefault(op_row(op), len(numbers)) for op in graph.ops]
            first_input[at, :end], last_reader[at, : end + 1] = uses(graph)
        return OpBatch(OpColumns.of(numbers), index, live, last_reader, first_input)

    @staticmethod
    def joined(parts: Iterable[tuple[OpBatch, Sequence[int]]]) -> OpBatch:
        """Batches as one, each graph in the row that is given for it; an op may be there twice.

        The rows of all parts together are 0, 1, 2, ...
        """
        found = list(parts)
        places = np.concatenate([rows for _, rows in found])
        length = max(batch.live.shape[1] for batch, _ in found)
        padded, distinct = [], found[0][0].distinct
        for number, (batch, _) in enumerate(found):
            offset = 0 if not number else len(distinct.kind)
            distinct = distinct.joined(batch.distinct) if number else distinct
            padded.append(batch.padded(length, offset))
        back = np.argsort(places)
        columns = (np.concatenate(column)[back] for column in zip(*padded, strict=True))
        return OpBatch(distinct, *columns)

    def padded(self, length: int, offset: int) -> tuple[IntArray, BoolArray, IntArray, IntArray]:
        """``index``, ``live``, ``last_reader`` and ``first_input`` with so many slots.

        ``offset``: where the table of ops begins in a longer one.
        """
        count, width = self.live.shape
        more = ((0, 0), (0, length - width))
        unread = np.tile(np.arange(width, length), (count, 1))
        return (
            np.pad(np.where(self.live, self.index + offset, 0), more),
            np.pad(self.live, more),
            np.concatenate([self.last_reader, unread], axis=1),
            np.pad(self.first_input, more),
        )

    def rows(self, which: slice | IntArray) -> OpBatch:
        """The graphs of these rows; the table of ops stays whole."""
        return OpBatch(
            self.distinct,
            self.index[which],
            self.live[which],
            self.last_reader[which],
            self.first_input[which],
        )


OpRow = tuple[int, ...]
OP_ROW_LENGTH = 14
_KIND_NUMBERS = {kind: number for number, kind in enumerate(OpKind)}


def op_row(op: Op) -> OpRow:
    """What :class:`OpColumns` holds of an op, as a row for :meth:`OpColumns.of`."""
    return (
        _KIND_NUMBERS[op.kind],
        op.groups,
        *_hwc(op.input_shape),
        *_hwc(op.output_shape),
        *op.kernel_size,
        *op.strides,
        math.prod(op.constant) if op.constant else 0,
        int(op.activation != "none"),
    )


def uses(graph: OpGraph) -> tuple[list[int], list[int]]:
    """First input of each op, and last reader of each tensor, as :class:`OpBatch` has them."""
    # Further inputs stand for the first: they are as early, and none is a large map.
    tensors = {name: 0 for name, _ in graph.inputs}
    tensors |= {op.name: 1 + slot for slot, op in enumerate(graph.ops)}
    first = [tensors[op.inputs[0]] if op.inputs else -1 for op in graph.ops]
    last = list(range(-1, len(graph.ops)))
    for slot, op in enumerate(graph.ops):
        for name in op.inputs:
            last[tensors[name]] = slot
    return first, last


def _hwc(shape: Shape) -> tuple[int, int, int]:
    """Height, width and channels of a shape of any rank; leading dimensions fold into height."""
    sizes = (1, 1, 1, *shape)
    return math.prod(sizes[:-2]), sizes[-2], sizes[-1]
