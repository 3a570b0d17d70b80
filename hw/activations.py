"""The high-water mark of activations: what a network holds at once, weights apart."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from hw.columns import SPLITTING, FloatArray, mask_of
from spaces.graph import BoolArray, IntArray, OpBatch, OpGraph


def peak_bytes(graph: OpGraph, free: Mapping[str, bool]) -> int:
    """High-water mark of activations at one byte an element, in the graph's order.

    Each tensor lives from the op that makes it to the last that reads it; tensors of ``free`` ops
    are those of the op before. Parts of a SPLIT live together.
    """
    size = {name: math.prod(shape) for name, shape in graph.inputs}
    owner = {name: name for name in size}
    for op in graph.ops:
        if free[op.name] and op.inputs:
            owner[op.name] = owner[op.inputs[0]]
            continue
        owner[op.name] = op.name
        whole = op.input_shape if op.kind in SPLITTING else op.output_shape
        size[op.name] = math.prod(whole)
    last = {owner[name]: step for step, op in enumerate(graph.ops) for name in op.inputs}
    ends = [[] for _ in graph.ops]  # type: list[list[str]]
    for name, step in last.items():
        ends[step].append(name)
    held, peak = sum(size[name] for name, _ in graph.inputs if name in last), 0
    for step, op in enumerate(graph.ops):
        held += size[op.name] if owner[op.name] == op.name else 0
        peak = max(peak, held)
        held -= sum(size[name] for name in ends[step])
    return peak


def peak_bytes_many(batch: OpBatch, free: BoolArray, splits: bool) -> IntArray:
    """The same for each graph of a batch, ``[n_architectures]``.

    With ``splits`` a grouped convolution is SPLIT, one convolution a group, CONCATENATION, as
    :func:`spaces.graph.split_grouped_convolutions` writes it. The size of the graph's input is
    that of the first op that reads it first.
    """
    merged = free & (batch.first_input >= 0)
    sizes, last = _tensor_bytes(batch, merged), _last_of_owners(batch, merged)
    released = _released(sizes, last)
    made = sizes[:, 1:]
    entering = sizes[:, :1] + np.cumsum(made - released, axis=1) - (made - released)
    peaks = entering + made
    if splits:
        before = batch.distinct.input_hwc.prod(axis=-1)[batch.index]
        # Parts are copies: they live beside what they are parts of, and beside each other.
        parts = entering - released + made + np.maximum(before, made)
        parts = np.maximum(parts, entering + before)
        grouped = batch.live & (batch.distinct.groups > 1)[batch.index]
        peaks = np.where(grouped, parts, peaks)
    result: IntArray = peaks.max(axis=1, initial=0).astype(np.int64)
    return result


def _tensor_bytes(batch: OpBatch, merged: BoolArray) -> FloatArray:
    """Size of the graph's input and of what each slot makes; 0 where it makes nothing new."""
    distinct = batch.distinct
    is_split = mask_of(SPLITTING)[distinct.kind]
    whole = np.where(is_split[:, None], distinct.input_hwc, distinct.output_hwc).prod(axis=-1)
    sizes = np.zeros(batch.last_reader.shape)
    sizes[:, 1:] = np.where(batch.live & ~merged, whole[batch.index], 0)
    if batch.index.shape[1]:
        reads = batch.live & (batch.first_input == 0)
        reader = np.where(reads.any(axis=1), reads.argmax(axis=1), batch.last_reader[:, 0])
        ops = batch.index[np.arange(len(reader)), reader]
        sizes[:, 0] = np.where(reader >= 0, distinct.input_hwc.prod(axis=-1)[ops], 0)
    return sizes


def _last_of_owners(batch: OpBatch, merged: BoolArray) -> IntArray:
    """Last reader of each tensor or of one merged into it; -1 where nobody reads it."""
    slots = np.arange(-1, batch.index.shape[1])
    last: IntArray = np.where(batch.last_reader == slots, -1, batch.last_reader)
    for slot in np.flatnonzero(merged.any(axis=0))[::-1]:  # readers stand behind what they read
        rows = np.flatnonzero(merged[:, slot])
        source = batch.first_input[rows, slot]
        last[rows, source] = np.maximum(last[rows, source], last[rows, slot + 1])
    return last


def _released(sizes: FloatArray, last: IntArray) -> FloatArray:
    """Bytes that are free again after each slot, ``[n_architectures, n_op_slots]``."""
    shape = (len(last), last.shape[1] - 1)
    # What is never released goes to a column of its own, behind the slots.
    ends = np.where(last >= 0, last, shape[1]) + np.arange(shape[0])[:, None] * (shape[1] + 1)
    flat = np.bincount(ends.reshape(-1), sizes.reshape(-1), shape[0] * (shape[1] + 1))
    result: FloatArray = flat.astype(np.float64).reshape(shape[0], shape[1] + 1)[:, :-1]
    return result
