"""Bytes on the chip: parameters as they are laid out, and the high-water mark of activations."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from hw.columns import KINDS, mask_of
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
    """The same for chains with residual additions, ``[n_architectures]``.

    A batch does not say what an ADD reads: it is taken to read the slot before it and the last
    earlier tensor of its own shape, which is what inverted bottlenecks do. With ``splits`` a
    grouped convolution is SPLIT, one convolution a group, CONCATENATION.
    """
    before, after = batch.input_hwc.prod(axis=-1), batch.output_hwc.prod(axis=-1)
    held, kept = _held_for_additions(batch, after)
    operands = before + after
    if splits:
        # Parts are copies: they live beside what they are parts of, and beside each other.
        copied = np.maximum(2 * np.maximum(before, after), operands)
        copied = np.where(kept, before + np.maximum(operands, 2 * after), copied)
        operands = np.where(batch.groups > 1, copied, operands)
    counted = batch.live & ~free
    peaks: IntArray = np.where(counted, operands + held, 0).max(axis=1, initial=0)
    return peaks


def _held_for_additions(batch: OpBatch, after: IntArray) -> tuple[IntArray, BoolArray]:
    """Bytes of tensors that wait for a later ADD, and slots that read a tensor that waits."""
    held, kept = np.zeros_like(after), np.zeros_like(batch.live)
    is_add = batch.live & (batch.kind == KINDS.index(OpKind.ADD))
    slots = np.arange(after.shape[1])
    for slot in np.flatnonzero(is_add.any(axis=0)):
        rows = np.flatnonzero(is_add[:, slot])
        source = _last_of_shape(batch, rows, int(slot))
        waiting = (slots > source[:, None] + 1) & (slots <= slot)
        held[rows] += np.where(waiting, after[rows, slot][:, None], 0)
        kept[rows] |= (slots == source[:, None] + 1) & (slots < slot)
    return held, kept


def _last_of_shape(batch: OpBatch, rows: IntArray, slot: int) -> IntArray:
    """Last slot, not counting the one before ``slot``, with its shape; -1: the network's input."""
    earlier = max(slot - 1, 0)
    same = (batch.output_hwc[rows, :earlier] == batch.output_hwc[rows, slot][:, None]).all(axis=-1)
    same &= batch.live[rows, :earlier]
    numbered: IntArray = np.where(same, np.arange(earlier), -1).max(axis=1, initial=-1)
    return numbered
