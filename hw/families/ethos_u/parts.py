"""What networks take: ops one after the other, weights fetched while the op before works."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hw.activations import peak_bytes, peak_bytes_many
from hw.columns import FloatArray, mask_of, op_macs, slot_sum
from hw.families.ethos_u.laws import (
    PLACED,
    VIEWS,
    WORD,
    Blocks,
    Work,
    blocks_of,
    outer_latency,
    work_of,
)
from hw.families.ethos_u.mapping import mapped
from hw.families.ethos_u.profile import Device
from spaces.graph import BoolArray, IntArray, OpBatch, OpGraph, split_grouped_convolutions

SHARE_OF_READS = 0.8
"""Of what could be under way at a time, as Vela has it, and once more of what that gives."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Networks with their ops on accelerator or host; arrays are ``[n, n_op_slots]``, or ``[n]``.

    Attributes:
        batch: The ops, grouped convolutions as they are.
        here: Slots that run on the accelerator.
        peak_bytes: High-water mark of activations, ``[n]``.
        blocks: How the batch's distinct ops are cut.
    """

    batch: OpBatch
    here: BoolArray
    peak_bytes: IntArray
    blocks: Blocks

    @property
    def macs(self) -> FloatArray:
        """Multiply-accumulates of each network, ``[n]``."""
        return slot_sum(op_macs(self.batch.distinct), self.batch)

    def rows(self, which: IntArray) -> Placement:
        """Some of the networks."""
        return Placement(
            self.batch.rows(which), self.here[which], self.peak_bytes[which], self.blocks
        )


def placed(batch: OpBatch, device: Device) -> Placement:
    """Networks of a batch, each op by its kind."""
    views = mask_of(VIEWS)[batch.kind] & batch.live & (batch.first_input >= 0)
    return Placement(
        batch=batch,
        here=mapped(batch, device),
        peak_bytes=peak_bytes_many(batch, views, True),
        blocks=blocks_of(batch.distinct, device.chip),
    )


def place(
    graphs: Sequence[OpGraph], device: Device, refused: Sequence[Mapping[str, str]]
) -> tuple[Placement, tuple[OpGraph, ...]]:
    """Any networks, and each as it runs: grouped convolutions split.

    ``refused`` names of each the ops that stay on the host for reasons a graph does not show.
    """
    lowered = tuple(map(split_grouped_convolutions, graphs, refused))
    found = placed(OpBatch.of(lowered), device)
    here = found.here.copy()
    peaks = []
    for row, (graph, known) in enumerate(zip(lowered, refused, strict=True)):
        unknown = np.array([op.name not in known for op in graph.ops], np.bool_)
        here[row, : len(graph.ops)] &= unknown
        peaks.append(peak_bytes(graph, {op.name: op.kind in VIEWS for op in graph.ops}))
    return dataclasses.replace(found, here=here, peak_bytes=np.array(peaks, np.int64)), lowered


@dataclass(frozen=True, slots=True)
class Parts:
    """Where the time goes, ``[n, n_op_slots]``.

    Attributes:
        compute_ms: The stages of each op.
        movement_ms: Its maps.
        streaming_ms: Its weights, as far as the op before does not hide them.
        latency_ms: Each op's own.
        weight_bytes: Encoded, with scales.
        streamed_bytes: From the outer memory at each inference.
    """

    compute_ms: FloatArray
    movement_ms: FloatArray
    streaming_ms: FloatArray
    latency_ms: FloatArray
    weight_bytes: FloatArray
    streamed_bytes: FloatArray


def parts_of(placement: Placement, device: Device) -> Parts:
    """What each op of each network takes."""
    batch, here = placement.batch, placement.here
    work = work_of(batch.distinct, device, placement.blocks)
    slots = {
        item.name: np.where(here, getattr(work, item.name)[batch.index], 0.0)
        for item in dataclasses.fields(Work)
    }
    sram, outer = _rates(device, "sram"), _rates(device, "outer")
    inner = _maps_inside(placement, device)
    read = slots["read_bytes"] * np.where(inner, 1.0, _of_bursts(batch, device))
    maps = (read + slots["written_bytes"]) / np.where(inner, sram.maps, outer.maps)
    weights, scales = slots["weight_bytes"], slots["scale_bytes"]
    outside = device.memory.weights == "outer"
    store = outer if outside else sram
    # Weights that are read more than once come to SRAM first, while the op before works.
    again = (slots["fetches"] > 1) & (weights > 0) & outside
    once = np.where(again, 0.0, weights)
    direct = np.maximum(once / store.weights, scales / store.scales)
    direct = np.maximum(direct, (once + scales) / store.bandwidth)
    copied = np.where(again, weights / store.copies + outer_latency(device), 0.0)
    maps = maps + np.where(again, weights * slots["fetches"] / sram.weights, 0.0)
    busy = np.maximum(np.maximum(slots["npu_cycles"], maps), direct)
    idle = np.maximum(busy - direct, 0.0)  # of the outer memory
    before = _of_the_op_before(idle, mask_of(VIEWS | PLACED)[batch.kind])
    more = np.maximum(slots["parts"] - 1, 0.0)
    cycles = _with_copies(busy, copied, before) + more * _with_copies(busy, copied, idle)
    late = np.maximum(copied - before, 0.0) + more * np.maximum(copied - idle, 0.0)
    parts, milli = 1.0 + more, 1.0 / (device.system.clock_mhz * 1e3)
    total = parts * (weights + scales)
    return Parts(
        compute_ms=parts * slots["npu_cycles"] * milli,
        movement_ms=parts * maps * milli,
        streaming_ms=(parts * direct + late) * milli,
        latency_ms=cycles * milli + _host_ms(placement, device),
        weight_bytes=total,
        streamed_bytes=total if outside else np.zeros_like(total),
    )


def _of_bursts(batch: OpBatch, device: Device) -> FloatArray:
    """Bytes that are brought for one of a map in words, where it is the picture itself.

    Its few channels lie together: each 16 bytes that are asked for bring a whole burst.
    """
    channels = batch.input_hwc[..., 2]
    entering = (batch.first_input == 0) & (channels < WORD)
    brought = channels * device.system.outer_burst / WORD**2
    result: FloatArray = np.where(entering, np.maximum(brought, 1.0), 1.0)
    return result


def _of_the_op_before(values: FloatArray, free: BoolArray) -> FloatArray:
    """``values`` of the last slot before each that is not ``free``; 0 where there is none."""
    slots = np.arange(values.shape[1])
    last = np.maximum.accumulate(np.where(free, -1, slots), axis=1)[:, :-1]
    before = np.zeros_like(values)
    found = np.take_along_axis(values, np.maximum(last, 0), axis=1)
    before[:, 1:] = np.where(last < 0, 0.0, found)
    return before


def _with_copies(busy: FloatArray, copied: FloatArray, hidden: FloatArray) -> FloatArray:
    """Cycles of ops whose weights are copied, so many of the cycles under the op before.

    The first of two halves must have come before an op begins, the other comes while it works.
    """
    late = np.maximum(copied - hidden, 0.0)
    result: FloatArray = np.maximum(busy, late) + np.minimum(late, copied / 2) / 2
    return result


def _host_ms(placement: Placement, device: Device) -> FloatArray:
    """Of slots on the host: by multiply-accumulates, or by elements where there are none."""
    batch, host = placement.batch, device.host
    ops = batch.distinct
    elements = (ops.input_hwc.prod(axis=1) + ops.output_hwc.prod(axis=1)).astype(np.float64)
    macs = op_macs(ops)
    each = np.where(
        macs > 0, macs / (host.gmacs_per_s * 1e6), elements / (host.elements_per_us * 1e3)
    )
    result: FloatArray = np.where(batch.live & ~placement.here, each[batch.index], 0.0)
    return result


@dataclass(frozen=True, slots=True)
class _Rates:
    """Bytes in a cycle of one memory."""

    bandwidth: float
    maps: float
    weights: float
    scales: float
    copies: float


def _rates(device: Device, which: str) -> _Rates:
    system, chip = device.system, device.chip
    scale, ports = getattr(system, f"{which}_scale"), getattr(system, f"{which}_ports")
    burst, latency = getattr(system, f"{which}_burst"), getattr(system, f"{which}_latency")
    reads = SHARE_OF_READS * ports * getattr(system, f"{which}_reads")
    most = chip.port_bytes * ports * scale

    def rate(words: int) -> float:
        if not words:
            return float(most)
        under_way = min(words / (burst / WORD), reads)
        return float(min(most, SHARE_OF_READS * burst * under_way / latency))

    return _Rates(
        most,
        rate(chip.input_words),
        rate(chip.weight_words),
        rate(chip.scale_words),
        rate(chip.copy_words),
    )


def _maps_inside(placement: Placement, device: Device) -> BoolArray:
    """Slots whose maps lie in SRAM: all, or those that fit into what may be used of it."""
    batch = placement.batch
    if device.memory.maps == "sram":
        return np.ones(batch.live.shape, np.bool_)
    held = batch.input_hwc.prod(axis=-1) + batch.output_hwc.prod(axis=-1)
    entering = batch.first_input == 0
    result: BoolArray = (held <= device.memory.cache_bytes) & ~entering
    return result
