"""Bytes on the chip: parameters as they are laid out, and the high-water mark of activations."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from hw.columns import KINDS, FloatArray, mask_of
from spaces.graph import INPUT, WEIGHTED_KINDS, BoolArray, IntArray, OpBatch, OpGraph, OpKind

WEIGHT_INPUTS = 4  # inputs of a lane
WEIGHT_OUTPUTS = 64  # lanes of a tile
WEIGHT_REGION_BYTES = 256
CHANNEL_BYTES = 8  # int32 bias and multiplier of an output channel

VIEWS = frozenset({OpKind.RESHAPE, OpKind.SQUEEZE, OpKind.EXPAND_DIMS, OpKind.QUANTIZE})
"""Ops that the compiler folds into their neighbours."""

WINDOWED = frozenset(
    {
        OpKind.CONV_2D,
        OpKind.DEPTHWISE_CONV_2D,
        OpKind.AVERAGE_POOL_2D,
        OpKind.MAX_POOL_2D,
    }
)
"""Ops that take a PAD before them as their own padding."""


def weight_bytes(batch: OpBatch) -> IntArray:
    """Parameter bytes of one group of each slot, ``[n_architectures, n_op_slots]``.

    Weights lie as [ceil(K / 4)][64][4] for each 64 outputs, K inputs of an output; 8 bytes an
    output come with them, and a region is a multiple of 256 bytes.

    Source: layout of a public note on the instruction set. Within 3 % of the cached bytes of
    compiled MobileNets of 2020 in google-coral/test_data, 8 % on MoveNet; within 1 % of the log of
    the 32-channel stack of Jorgitou98/EdgeTPU-QuantRL-Evaluation.
    """
    kind, groups = batch.kind, np.maximum(batch.groups, 1)
    window = batch.kernel_size.prod(axis=-1)
    outputs = _up(batch.output_hwc[..., 2] // groups, WEIGHT_OUTPUTS)
    depthwise = kind == KINDS.index(OpKind.DEPTHWISE_CONV_2D)
    inputs = np.where(depthwise, window, window * (batch.input_hwc[..., 2] // groups))
    words = np.where(depthwise, inputs, _up(inputs, WEIGHT_INPUTS))
    padded = (words + CHANNEL_BYTES) * outputs
    weighted = mask_of(WEIGHTED_KINDS)[kind]
    result: IntArray = np.where(batch.live & weighted, _up(padded, WEIGHT_REGION_BYTES), 0)
    return result


def _up(numbers: IntArray, multiple: int) -> IntArray:
    result: IntArray = -(-numbers // multiple) * multiple
    return result


def free_slots(batch: OpBatch) -> BoolArray:
    """Slots that cost nothing: views, and PADs that the next op takes as its own padding."""
    following = np.zeros_like(batch.kind)
    following[:, :-1] = batch.kind[:, 1:]
    windowed = mask_of(WINDOWED)[following]
    windowed[:, :-1] &= batch.live[:, 1:]
    windowed[:, -1:] = False
    pad = (batch.kind == KINDS.index(OpKind.PAD)) & windowed
    free: BoolArray = batch.live & (mask_of(VIEWS)[batch.kind] | pad)
    return free


def peak_bytes(graph: OpGraph, free: Mapping[str, bool]) -> int:
    """High-water mark of activations at one byte an element, in the graph's order.

    Each tensor lives from the op that makes it to the last that reads it; tensors of ``free`` ops
    are those of the op before. Parts of a SPLIT live together.
    """
    owner = {INPUT: INPUT}
    size = {INPUT: math.prod(graph.input_shape)}
    for op in graph.ops:
        if free[op.name] and op.inputs:
            owner[op.name] = owner[op.inputs[0]]
            continue
        owner[op.name] = op.name
        whole = op.input_shape if op.kind is OpKind.SPLIT else op.output_shape
        size[op.name] = math.prod(whole)
    last = {owner[name]: step for step, op in enumerate(graph.ops) for name in op.inputs}
    ends = [[] for _ in graph.ops]  # type: list[list[str]]
    for name, step in last.items():
        ends[step].append(name)
    held, peak = size[INPUT] if INPUT in last else 0, 0
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
    is_split = distinct.kind == KINDS.index(OpKind.SPLIT)
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
    result: FloatArray = flat.astype(np.float64).reshape(shape[0], -1)[:, :-1]
    return result
