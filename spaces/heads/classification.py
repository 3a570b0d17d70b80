"""Heads that complete a backbone, as ops: what a device runs after the searched network."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from spaces.graph import (
    IntArray,
    Op,
    OpBatch,
    OpColumns,
    OpGraph,
    OpKind,
    OpRow,
    Shape,
    ShapeError,
    op_row,
)

Scalar = TypeVar("Scalar", bound=np.generic)


def classification(backbone: OpGraph, classes: int) -> OpGraph:
    """``backbone`` with global average pooling, a dense layer with bias, and a softmax.

    Adds the ops ``"pool"`` (MEAN, (1, C); of a map of one place a RESHAPE, for no file has a mean
    of one), ``"logits"`` (FULLY_CONNECTED, (1, classes)) and ``"probabilities"`` (SOFTMAX); the
    endpoints stay. The dense layer has C * classes weights and as many MACs, and ``classes``
    biases.

    Raises:
        ShapeError: Fewer than two classes, or a backbone that does not end in a feature map.
    """
    end = backbone.output
    if classes < 2:
        raise ShapeError(f"classes must be at least 2, but got {classes}.")
    if len(end.output_shape) != 4:
        raise ShapeError(
            f"{end.name}: a backbone must end in a feature map (1, H, W, C), "
            f"but got shape {end.output_shape}."
        )
    head = _head(end.name, end.output_shape, classes)
    return dataclasses.replace(backbone, ops=(*backbone.ops, *head))


def classification_many(batch: OpBatch, classes: int) -> OpBatch:
    """:func:`classification` of each graph of a batch; each must end in a feature map.

    Raises:
        ShapeError: Fewer than two classes, or a graph without ops.
    """
    if classes < 2:
        raise ShapeError(f"classes must be at least 2, but got {classes}.")
    length = batch.live.sum(axis=1)
    if not length.all():
        raise ShapeError("a graph must have at least one op, but got none.")
    heads, table = _heads(batch, length - 1, classes)
    rows, slots = np.arange(len(length))[:, None], length[:, None] + np.arange(_HEAD_OPS)
    width = batch.live.shape[1] + _HEAD_OPS
    index, live = _widened(batch.index, width), _widened(batch.live, width)
    first_input = _widened(batch.first_input, width)
    last_reader = np.tile(np.arange(-1, width), (len(length), 1))
    last_reader[:, : batch.last_reader.shape[1]] = batch.last_reader
    index[rows, slots], live[rows, slots] = len(batch.distinct.kind) + heads, True
    # Each op reads the slot before it: the tensor that bears the number of the slot itself.
    first_input[rows, slots] = last_reader[rows, slots] = slots
    return OpBatch(batch.distinct.joined(table), index, live, last_reader, first_input)


def _heads(batch: OpBatch, ends: IntArray, classes: int) -> tuple[IntArray, OpColumns]:
    """Ops behind the slots ``ends``: rows ``[n_architectures, 3]`` of a table, and the table."""
    last, which = np.unique(batch.index[np.arange(len(ends)), ends], return_inverse=True)
    numbers: dict[OpRow, int] = {}
    heads = [
        [numbers.setdefault(op_row(op), len(numbers)) for op in _head("end", (1, *hwc), classes)]
        for hwc in batch.distinct.output_hwc[last].tolist()
    ]
    return np.array(heads, np.int64).reshape(-1, _HEAD_OPS)[which], OpColumns.of(numbers)


_HEAD_OPS = 3


def _head(end: str, shape: Shape, classes: int) -> tuple[Op, ...]:
    """The ops behind an op ``end`` whose output has ``shape``."""
    _, height, width, channels = shape
    pooled, scores = (1, channels), (1, classes)
    window = (height, width)
    pool = OpKind.RESHAPE if window == (1, 1) else OpKind.MEAN
    return (
        Op("pool", pool, (end,), shape, pooled, window),
        Op("logits", OpKind.FULLY_CONNECTED, ("pool",), pooled, scores, use_bias=True),
        Op("probabilities", OpKind.SOFTMAX, ("logits",), scores, scores),
    )


def _widened(array: NDArray[Scalar], width: int) -> NDArray[Scalar]:
    """``[n, narrow]`` with zeros added at the end of each row."""
    wide = np.zeros((len(array), width), array.dtype)
    wide[:, : array.shape[1]] = array
    return wide
