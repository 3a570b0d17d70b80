"""What a network takes, part by part: calls, transfers, work of the chip, streaming, the host.

*Streaming* is what does not fit in wide memory: weights are resident in op order, the rest comes
over the link at every inference, as constant operands do. It hides behind the op's own work,
unless the op works through its map in several passes: then it fetches its weights in each of them
and waits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hw.columns import KINDS, FloatArray, mask_of
from hw.families.edge_tpu.laws import OpLaws, op_laws
from hw.families.edge_tpu.placement import Placement
from hw.families.edge_tpu.profile import Chip, Device
from spaces.graph import BoolArray, IntArray, OpColumns, OpKind, Trait, kinds_with

MIB = 1 << 20
HOST_VIEWS = kinds_with(Trait.VIEW)


@dataclass(frozen=True, slots=True)
class Parts:
    """What networks take, part by part; ``[n]`` but where noted. They add up to the latency.

    Attributes:
        fixed_ms: Calls.
        transfer_ms: Input and output.
        instructions_ms: Sent with every inference.
        start_ms, load_ms, compute_ms, movement_ms: Of ops on the TPU.
        exposed_ms: Streaming that no work hides.
        host_ms: Of ops on the host.
        weight_bytes: Parameters as the package holds them; those of host ops are not among them.
            Tables of embeddings are, though they are neither cached nor streamed, and constant
            operands, which are streamed.
        cached_bytes: Of them, those that stay on the chip.
        streamed_bytes: Of them, those that do not.
        fetched_bytes: What is streamed at every inference, passes counted.
        slot_streamed_bytes: The same by slot, ``[n, n_op_slots]``; None where nothing is streamed.
        slot_exposed_ms: ``exposed_ms`` by slot; None likewise.
    """

    fixed_ms: FloatArray
    transfer_ms: FloatArray
    instructions_ms: FloatArray
    start_ms: FloatArray
    load_ms: FloatArray
    compute_ms: FloatArray
    movement_ms: FloatArray
    exposed_ms: FloatArray
    host_ms: FloatArray
    weight_bytes: FloatArray
    cached_bytes: FloatArray
    streamed_bytes: FloatArray
    fetched_bytes: FloatArray
    slot_streamed_bytes: FloatArray | None
    slot_exposed_ms: FloatArray | None

    @property
    def latency_ms(self) -> FloatArray:
        """The sum of all parts."""
        return (
            self.fixed_ms
            + self.transfer_ms
            + self.instructions_ms
            + self.start_ms
            + self.load_ms
            + self.compute_ms
            + self.movement_ms
            + self.exposed_ms
            + self.host_ms
        )


@dataclass(frozen=True, slots=True)
class _Streaming:
    """What comes at every inference; ``[n]``, and ``[n, n_op_slots]`` where anything does.

    ``spilled_bytes`` are weights that are not resident, ``streamed_bytes`` constant operands, too.
    """

    spilled_bytes: FloatArray
    streamed_bytes: FloatArray
    fetched_bytes: FloatArray
    unloaded_ms: FloatArray
    exposed_ms: FloatArray
    slot_bytes: FloatArray | None
    slot_ms: FloatArray | None


def parts_of(placement: Placement, device: Device) -> Parts:
    """What networks take by the laws alone, part by part."""
    link = device.link
    laws = laws_of(placement, device)
    work = _Work(placement)
    streaming = _streaming(work, laws, device)
    held = work.sum(laws.package_bytes)
    instructions = work.sum(laws.calls) * device.chip.instruction_bytes_per_op
    arriving = placement.arriving / (link.input_mb_per_s * 1e3)
    leaving = placement.leaving / (link.output_mb_per_s * 1e3)
    return Parts(
        fixed_ms=np.asarray(placement.calls * link.fixed_ms, np.float64),
        transfer_ms=arriving + leaving,
        instructions_ms=instructions / MIB * link.streaming_ms_per_mib,
        start_ms=work.sum(laws.start_ms),
        load_ms=work.sum(laws.load_ms) - streaming.unloaded_ms,
        compute_ms=work.sum(laws.compute_ms),
        movement_ms=work.sum(laws.movement_ms),
        exposed_ms=streaming.exposed_ms,
        host_ms=host_slots_ms(placement, laws, device).sum(axis=1),
        weight_bytes=held + work.sum(laws.table_bytes) + work.sum(laws.constant_bytes),
        cached_bytes=held - streaming.spilled_bytes,
        streamed_bytes=streaming.streamed_bytes,
        fetched_bytes=streaming.fetched_bytes,
        slot_streamed_bytes=streaming.slot_bytes,
        slot_exposed_ms=streaming.slot_ms,
    )


def laws_of(placement: Placement, device: Device) -> OpLaws:
    """What each distinct op takes on the chip, grouped convolutions in the form they run in."""
    splits = device.compiler.grouped_convolution == "split"
    return op_laws(placement.batch.distinct, device.chip, splits)


def available_bytes(placement: Placement, device: Device) -> IntArray:
    """Wide memory that is left for weights, ``[n]``."""
    return _available(_Work(placement), laws_of(placement, device), device.chip)


# --- weights ---------------------------------------------------------------------------------


def _available(work: _Work, laws: OpLaws, chip: Chip) -> IntArray:
    overflow = np.clip(
        work.placement.peak_bytes - chip.narrow_memory_bytes, 0, chip.overflow_bytes
    )
    if laws.reserve.any():
        overflow = overflow + work.largest(laws.reserve)
    left = chip.wide_memory_bytes - overflow
    result: IntArray = np.maximum(left, 0).astype(np.int64)
    return result


def _streaming(work: _Work, laws: OpLaws, device: Device) -> _Streaming:
    """Weights become resident in op order until the fullest tile is full."""
    chip = device.chip
    # As if spread over all tiles: what an op takes of the fullest one.
    spread = laws.chip_bytes * (chip.tile_rows * chip.tile_columns) / laws.tiles
    needed = work.sum(spread)
    available = _available(work, laws, chip)
    count = len(needed)
    rows = np.flatnonzero((needed > available) | (work.sum(laws.constant_bytes) > 0))
    if not rows.size:
        nothing = np.zeros(count)
        return _Streaming(nothing, nothing, nothing, nothing, nothing, None, None)
    each = work.slots(spread, rows)
    before = np.cumsum(each, axis=1) - each
    kept = np.clip(available[rows, None] - before, 0.0, each)
    share = np.where(each > 0, 1.0 - kept / np.maximum(each, 1e-9), 0.0)
    whole_ms = laws.package_bytes * laws.passes / MIB * device.link.streaming_ms_per_mib
    passes, fetch_ms = work.slots(laws.passes, rows), work.slots(whole_ms, rows)
    spilled = share * work.slots(laws.package_bytes, rows)
    constants = work.slots(laws.constant_bytes, rows)
    parts = np.maximum(work.slots(laws.parts, rows), 1)
    part_ms = work.slots(laws.part_ms, rows)
    unhidden = _unhidden_ms(share, parts, fetch_ms, part_ms)
    exposed = np.where(passes > 1, share * fetch_ms, unhidden)
    constants_ms = constants / MIB * device.link.streaming_ms_per_mib
    exposed += np.maximum(constants_ms - part_ms, 0.0)
    unloaded = share * work.slots(laws.load_ms, rows)

    def whole(some: FloatArray) -> FloatArray:
        full = np.zeros((count, *some.shape[1:]))
        full[rows] = some
        return full

    return _Streaming(
        spilled_bytes=whole(spilled.sum(axis=1)),
        streamed_bytes=whole((spilled + constants).sum(axis=1)),
        fetched_bytes=whole((spilled * passes + constants).sum(axis=1)),
        unloaded_ms=whole(unloaded.sum(axis=1)),
        exposed_ms=whole(exposed.sum(axis=1)),
        slot_bytes=whole(spilled * passes + constants),
        slot_ms=whole(exposed - unloaded),
    )


def _unhidden_ms(
    share: FloatArray, parts: FloatArray, fetch_ms: FloatArray, part_ms: FloatArray
) -> FloatArray:
    """What of the fetching of a ``share`` of an op's weights its work does not hide.

    Its parts follow each other, each hides its own: the last of them are fetched whole, one in
    part, and the first not at all.
    """
    gone = share * parts
    whole = np.floor(gone)
    each_ms = fetch_ms / parts
    result: FloatArray = whole * np.maximum(each_ms - part_ms, 0.0) + np.maximum(
        (gone - whole) * each_ms - part_ms, 0.0
    )
    return result


# --- host ------------------------------------------------------------------------------------


def host_slots_ms(placement: Placement, laws: OpLaws, device: Device) -> FloatArray:
    """Of ops on the host, ``[n, n_op_slots]``, or ``[n, 1]`` zeros where there are none."""
    batch, host = placement.batch, device.host
    views = mask_of(HOST_VIEWS)[batch.distinct.kind]
    here = batch.live & ~placement.mapped
    if not here.any():
        return np.zeros((len(here), 1))
    here = here & ~views[batch.index]
    detects = batch.distinct.kind == KINDS.index(OpKind.TFLITE_DETECTION_POSTPROCESS)
    pace = np.where(detects, host.scores_per_us, host.elements_per_us)[batch.index]
    ops = placement.parts + 2 * (placement.parts > 1)
    moving = placement.host_elements / (pace * 1e3)
    if detects.any():
        moving += np.where(detects, _pairs(batch.distinct), 0)[batch.index] / (
            host.pairs_per_us * 1e3
        )
    time = ops * host.op_us / 1e3 + laws.macs[batch.index] / (host.gmacs_per_s * 1e6) + moving
    result: FloatArray = np.where(here, time, 0.0)
    return result


def _pairs(ops: OpColumns) -> IntArray:
    """Anchors (1, A, n) times detections (1, D, n) of post-processing, ``[n_ops]``."""
    anchors, detections = ops.input_hwc[:, :2].prod(axis=1), ops.output_hwc[:, :2].prod(axis=1)
    result: IntArray = anchors * detections
    return result


class _Work:
    """Sums over the slots that work on the TPU, views left out."""

    def __init__(self, placement: Placement) -> None:
        self.placement = placement
        self._works: BoolArray = placement.mapped & ~placement.free

    def slots(self, of_ops: FloatArray | IntArray, rows: IntArray) -> FloatArray:
        """A column ``[n_distinct]`` by slot, for some rows."""
        index = self.placement.batch.index[rows]
        result: FloatArray = np.where(self._works[rows], of_ops[index], 0).astype(np.float64)
        return result

    def sum(self, of_ops: FloatArray | IntArray) -> FloatArray:
        """A column ``[n_distinct]`` summed over each network."""
        chosen = np.where(self._works, of_ops[self.placement.batch.index], 0)
        result: FloatArray = chosen.sum(axis=1, dtype=np.float64)
        return result

    def largest(self, of_ops: IntArray) -> IntArray:
        """The largest of a column ``[n_distinct]`` in each network."""
        chosen = np.where(self._works, of_ops[self.placement.batch.index], 0)
        result: IntArray = chosen.max(axis=1, initial=0)
        return result
