"""The cost model of this project: physical laws, with coefficients that can be calibrated.

A network takes::

    calls * fixed + input / input rate + output / output rate + instructions / streaming rate
    + sum over TPU ops of start + load + max(compute + movement, streaming)
    + sum over host ops

*Streaming* is what does not fit in wide memory: weights are resident in op order, the rest comes
over the link at every inference, as constant operands do. It hides behind the op's own work,
unless the op works through its map in several passes: then it fetches its weights in each of them
and waits. What one op takes is in :mod:`hw.families.edge_tpu.laws`, what is where in
:mod:`hw.families.edge_tpu.placement`; all coefficients are the device's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from hw.columns import KINDS, FloatArray, mask_of, slot_sum
from hw.cost_model import CostModelError
from hw.families.edge_tpu.features import features
from hw.families.edge_tpu.laws import OpLaws, check_laws, op_laws
from hw.families.edge_tpu.mapping import Mapped, rules_of
from hw.families.edge_tpu.placement import Placement, place, place_many
from hw.families.edge_tpu.profile import Device
from hw.families.edge_tpu.residual import interval_ms, out_of_range
from hw.report import Bound, CostReport, OpCost
from spaces.graph import (
    BoolArray,
    IntArray,
    OpBatch,
    OpColumns,
    OpGraph,
    OpKind,
    Trait,
    kinds_with,
)

MIB = 1 << 20
HOST_VIEWS = kinds_with(Trait.VIEW)
BOUNDS: tuple[Bound, ...] = ("compute", "movement", "streaming")


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


@final
class Analytic:
    """Physical cost model of one device."""

    def __init__(self, device: Device) -> None:
        """For ``device``; unknown compiler rules, and ops without a law, are refused here."""
        self.device = device
        check_laws(rules_of(device.compiler.rules).kinds, device.compiler.rules)
        self._splits = device.compiler.grouped_convolution == "split"

    def estimate(self, graph: OpGraph, refused: Mapping[str, str] | None = None) -> CostReport:
        """Cost of one network.

        Args:
            graph: The network, grouped convolutions in either form.
            refused: Ops that stay on the host for reasons a graph does not show (data types), as
                :attr:`hw.tflite.model.TfliteModel.unsupported` tells them.
        """
        placement, ((lowered, mapped),) = place([graph], self.device, [refused or {}])
        parts = self.parts(placement)
        physical = float(parts.latency_ms[0])
        latency, low, high = (float(column[0]) for column in self._intervals(placement, parts))
        scale = latency / physical if physical else 1.0
        per_op = self._shares(lowered, mapped, placement, parts, scale)
        return CostReport(
            device=self.device.name,
            method="analytic",
            latency_ms=latency,
            latency_interval_ms=(low, high) if self.device.calibration else None,
            first_inference_ms=latency + float(self._first_extra_ms(placement, parts)[0]),
            energy_mj=_total_energy(per_op),
            peak_memory_bytes=int(placement.peak_bytes[0]),
            weight_bytes=int(parts.weight_bytes[0]),
            streamed_bytes=int(parts.streamed_bytes[0]),
            macs=lowered.macs,
            host_ops=mapped.host,
            per_op=per_op,
            out_of_range=self._out_of_range(placement, parts),
        )

    def estimate_many(self, batch: OpBatch) -> Mapping[str, FloatArray]:
        """Columns by the names of :class:`CostReport`'s number fields.

        Also ``latency_low_ms`` and ``latency_high_ms``, where the profile is calibrated. Equal to
        :meth:`estimate` for networks that :func:`~hw.families.edge_tpu.placement.place_many`
        places exactly.

        Raises:
            CostModelError: A batch does not tell where ops of some network run, see
                :func:`hw.families.edge_tpu.mapping.is_told`; or some stay on the host, and the
                profile's compiler makes several subgraphs: a batch does not tell where they begin.
        """
        placement = place_many(batch, self.device)
        self._check_whole(placement)
        parts = self.parts(placement)
        latency, low, high = self._intervals(placement, parts)
        macs = slot_sum(op_laws(batch.distinct, self.device.chip, self._splits).macs, batch)
        columns = {
            "latency_ms": latency,
            "first_inference_ms": latency + self._first_extra_ms(placement, parts),
            "peak_memory_bytes": placement.peak_bytes.astype(np.float64),
            "weight_bytes": parts.weight_bytes,
            "streamed_bytes": parts.streamed_bytes,
            "macs": macs,
        }
        if self.device.calibration is not None:
            columns |= {"latency_low_ms": low, "latency_high_ms": high}
        energy = self.device.energy
        if energy is not None:
            dynamic = macs * energy.mac_pj + parts.fetched_bytes * energy.streamed_byte_pj
            columns["energy_mj"] = dynamic * 1e-9 + energy.idle_w * latency
        return columns

    def parts(self, placement: Placement) -> Parts:
        """What networks take by the laws alone, part by part."""
        link, batch = self.device.link, placement.batch
        laws = op_laws(batch.distinct, self.device.chip, self._splits)
        work = _Work(placement)
        streaming = self._streaming(work, laws)
        held = work.sum(laws.package_bytes)
        instructions = work.sum(laws.calls) * self.device.chip.instruction_bytes_per_op
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
            host_ms=self._host_slots_ms(placement, laws).sum(axis=1),
            weight_bytes=held + work.sum(laws.table_bytes) + work.sum(laws.constant_bytes),
            cached_bytes=held - streaming.spilled_bytes,
            streamed_bytes=streaming.streamed_bytes,
            fetched_bytes=streaming.fetched_bytes,
            slot_streamed_bytes=streaming.slot_bytes,
            slot_exposed_ms=streaming.slot_ms,
        )

    def _check_whole(self, placement: Placement) -> None:
        some_left = (placement.batch.live & ~placement.mapped).any()
        if self.device.compiler.subgraphs == "several" and some_left:
            raise CostModelError(
                f"{self.device.name}: networks with host ops must be costed one by one where "
                "compiler.subgraphs is several, but got a batch. Set it to one."
            )

    def available_bytes(self, placement: Placement) -> IntArray:
        """Wide memory that is left for weights, ``[n]``."""
        chip = self.device.chip
        laws = op_laws(placement.batch.distinct, chip, self._splits)
        return self._available(_Work(placement), laws)

    # --- weights -------------------------------------------------------------------------

    def _available(self, work: _Work, laws: OpLaws) -> IntArray:
        chip = self.device.chip
        overflow = np.clip(
            work.placement.peak_bytes - chip.narrow_memory_bytes, 0, chip.overflow_bytes
        )
        if laws.reserve.any():
            overflow = overflow + work.largest(laws.reserve)
        left = chip.wide_memory_bytes - overflow
        result: IntArray = np.maximum(left, 0).astype(np.int64)
        return result

    def _streaming(self, work: _Work, laws: OpLaws) -> _Streaming:
        """Weights become resident in op order until the fullest tile is full."""
        chip = self.device.chip
        # As if spread over all tiles: what an op takes of the fullest one.
        spread = laws.chip_bytes * (chip.tile_rows * chip.tile_columns) / laws.tiles
        needed = work.sum(spread)
        available = self._available(work, laws)
        count = len(needed)
        rows = np.flatnonzero((needed > available) | (work.sum(laws.constant_bytes) > 0))
        if not rows.size:
            nothing = np.zeros(count)
            return _Streaming(nothing, nothing, nothing, nothing, nothing, None, None)
        each = work.slots(spread, rows)
        before = np.cumsum(each, axis=1) - each
        kept = np.clip(available[rows, None] - before, 0.0, each)
        share = np.where(each > 0, 1.0 - kept / np.maximum(each, 1e-9), 0.0)
        whole_ms = laws.package_bytes * laws.passes / MIB * self.device.link.streaming_ms_per_mib
        passes, fetch_ms = work.slots(laws.passes, rows), work.slots(whole_ms, rows)
        spilled = share * work.slots(laws.package_bytes, rows)
        constants = work.slots(laws.constant_bytes, rows)
        parts = np.maximum(work.slots(laws.parts, rows), 1)
        part_ms = work.slots(laws.part_ms, rows)
        unhidden = _unhidden_ms(share, parts, fetch_ms, part_ms)
        exposed = np.where(passes > 1, share * fetch_ms, unhidden)
        constants_ms = constants / MIB * self.device.link.streaming_ms_per_mib
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

    # --- host ----------------------------------------------------------------------------

    def _host_slots_ms(self, placement: Placement, laws: OpLaws) -> FloatArray:
        batch, host = placement.batch, self.device.host
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

    # --- the whole -----------------------------------------------------------------------

    def _first_extra_ms(self, placement: Placement, parts: Parts) -> FloatArray:
        link = self.device.link
        extra = link.first_inference_ms + parts.cached_bytes / MIB * link.streaming_ms_per_mib
        result: FloatArray = np.where(placement.calls > 0, extra, 0.0)
        return result

    def _intervals(
        self, placement: Placement, parts: Parts
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Latency with what calibration learned beside the laws, and its 90 % interval."""
        physical = parts.latency_ms
        if self.device.calibration is None:
            return physical, physical, physical
        return interval_ms(physical, features(placement, parts), self.device.calibration)

    def _out_of_range(self, placement: Placement, parts: Parts) -> tuple[str, ...]:
        """Of the first network."""
        if self.device.calibration is None:
            return ()
        return out_of_range(features(placement, parts)[0].tolist(), self.device.calibration)

    def _shares(
        self,
        graph: OpGraph,
        mapped: Mapped,
        placement: Placement,
        parts: Parts,
        scale: float,
    ) -> tuple[OpCost, ...]:
        """Fixed cost, transfers and ops, each times ``scale``; they add up to the latency."""
        link = self.device.link
        arriving = float(placement.arriving[0]) / (link.input_mb_per_s * 1e3)
        leaving = float(placement.leaving[0]) / (link.output_mb_per_s * 1e3)
        call = (
            ("fixed cost", "CALL", float(parts.fixed_ms[0])),
            ("instructions", "TRANSFER", float(parts.instructions_ms[0])),
            ("input transfer", "TRANSFER", arriving),
            ("output transfer", "TRANSFER", leaving),
        )
        shares = [
            self._share(name, kind, time * scale)
            for name, kind, time in call
            if placement.calls[0]
        ]
        ops = _OpTable(self, placement, parts)
        for slot, op in enumerate(graph.ops):
            here = op.name in mapped.subgraph
            shares.append(
                self._share(
                    op.name,
                    op.kind.value,
                    ops.time_ms[slot] * scale,
                    "tpu" if here else "host",
                    BOUNDS[ops.bound[slot]] if here else "host",
                    ops.macs[slot],
                    int(ops.streamed_bytes[slot]),
                )
            )
        return tuple(shares)

    def _share(
        self,
        name: str,
        kind: str,
        latency_ms: float,
        unit: Literal["tpu", "host"] = "tpu",
        bound: Bound = "transfer",
        macs: float = 0.0,
        streamed_bytes: int = 0,
    ) -> OpCost:
        table = self.device.energy
        energy = None
        if table is not None:
            dynamic_pj = macs * table.mac_pj + streamed_bytes * table.streamed_byte_pj
            energy = dynamic_pj * 1e-9 + table.idle_w * latency_ms
        return OpCost(name, kind, unit, latency_ms, energy, streamed_bytes, bound)


def _pairs(ops: OpColumns) -> IntArray:
    """Anchors (1, A, n) times detections (1, D, n) of post-processing, ``[n_ops]``."""
    anchors, detections = ops.input_hwc[:, :2].prod(axis=1), ops.output_hwc[:, :2].prod(axis=1)
    result: IntArray = anchors * detections
    return result


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


class _OpTable:
    """Times, bounds and bytes of the ops of one network, by slot."""

    def __init__(self, model: Analytic, placement: Placement, parts: Parts) -> None:
        device, batch = model.device, placement.batch
        splits = device.compiler.grouped_convolution == "split"
        laws = op_laws(batch.distinct, device.chip, splits)
        index = batch.index[0]
        works = placement.mapped[0] & ~placement.free[0]
        nothing = np.zeros(len(index))
        exposed = nothing if parts.slot_exposed_ms is None else parts.slot_exposed_ms[0]
        streamed = nothing if parts.slot_streamed_bytes is None else parts.slot_streamed_bytes[0]
        on_tpu = (laws.work_ms + laws.load_ms)[index] + exposed
        host = np.broadcast_to(model._host_slots_ms(placement, laws)[0], on_tpu.shape)
        # A start longer than the work is the machinery of moving tiles, not arithmetic.
        moving = (laws.start_ms + laws.movement_ms + laws.load_ms)[index]
        bodies = np.stack([laws.compute_ms[index], moving, np.maximum(exposed, 0.0)])
        self.time_ms: list[float] = np.where(works, on_tpu, host).tolist()
        self.bound: list[int] = bodies.argmax(axis=0).tolist()
        self.macs: list[float] = laws.macs[index].tolist()
        self.streamed_bytes: list[float] = streamed.tolist()


def _total_energy(per_op: tuple[OpCost, ...]) -> float | None:
    energies = [share.energy_mj for share in per_op if share.energy_mj is not None]
    return math.fsum(energies) if len(energies) == len(per_op) else None
