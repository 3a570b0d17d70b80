"""The laws that published Edge TPU measurements obey, op by op.

A network takes::

    fixed + input / input rate + output / output rate + sum over TPU ops of
        start + weights / weight rate + max(compute, movement, streaming)
    + host ops

*Compute* is the lane law: a convolution takes ceil(H / rows) * ceil(W / columns) *
ceil(C_out / lanes) * ceil(k_h * k_w * C_in / input lanes) cycles; depthwise, one input lane.
*Movement* is activations in and out. *Streaming* is what does not fit in wide memory: weights
are resident in op order, the rest comes over the link at every inference, hidden behind
the op's own compute as far as that goes. All coefficients are the device's.

Source: laws fitted to the stacks of iwatake2222/EdgeTPU_Analysis and
Jorgitou98/EdgeTPU-QuantRL-Evaluation, HW-NAS-Bench and google-coral/pycoral.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from hw.columns import KINDS, FloatArray, mask_of, slot_macs
from hw.device import Device
from hw.mapping import host_ops, on_tpu, rules_of
from hw.memory import free_slots, peak_bytes, peak_bytes_many, weight_bytes
from hw.report import Bound, CostReport, OpCost
from spaces.graph import (
    INPUT,
    BoolArray,
    IntArray,
    Op,
    OpBatch,
    OpColumns,
    OpGraph,
    OpKind,
    split_grouped_convolutions,
)

MIB = 1 << 20
CONVOLUTIONS = frozenset({OpKind.CONV_2D, OpKind.DEPTHWISE_CONV_2D, OpKind.TRANSPOSE_CONV})
WEIGHTED = CONVOLUTIONS | {OpKind.FULLY_CONNECTED}
POOLS = frozenset({OpKind.AVERAGE_POOL_2D, OpKind.MAX_POOL_2D, OpKind.MEAN, OpKind.SUM})
BINARY = frozenset(
    {
        OpKind.ADD,
        OpKind.SUB,
        OpKind.MUL,
        OpKind.MAXIMUM,
        OpKind.MINIMUM,
        OpKind.SQUARED_DIFFERENCE,
    }
)
ELEMENTWISE = BINARY | {
    OpKind.GELU,
    OpKind.HARD_SWISH,
    OpKind.L2_NORMALIZATION,
    OpKind.LEAKY_RELU,
    OpKind.LOGISTIC,
    OpKind.PRELU,
    OpKind.RELU,
    OpKind.RELU6,
    OpKind.RSQRT,
    OpKind.SOFTMAX,
    OpKind.TANH,
}
HOST_VIEWS = frozenset({OpKind.RESHAPE, OpKind.SQUEEZE, OpKind.EXPAND_DIMS})
BOUNDS: tuple[Bound, ...] = ("compute", "movement", "streaming")


@dataclass(frozen=True, slots=True)
class _Slots:
    """Columns of one form of each slot: milliseconds, ``[n_architectures, n_op_slots]``.

    Attributes:
        start_ms: Start of the op.
        compute_ms: On full lanes or partly filled ones.
        movement_ms: Of activations.
        padded_bytes: Operands as laid out on chip.
    """

    start_ms: FloatArray
    compute_ms: FloatArray
    movement_ms: FloatArray
    padded_bytes: FloatArray


@dataclass(frozen=True, slots=True)
class _Costs:
    """What :meth:`Analytic._costs` finds; arrays ``[n_architectures, n_op_slots]`` or [n]."""

    slot_ms: FloatArray
    slot_streamed_bytes: FloatArray
    slot_bound: IntArray
    macs: FloatArray
    weight_bytes: FloatArray
    cached_bytes: FloatArray
    streamed_bytes: FloatArray


@final
class Analytic:
    """Physical cost model of one device."""

    def __init__(self, device: Device) -> None:
        """For ``device``; unknown compiler rules are refused here."""
        self.device = device
        self._rules = rules_of(device.compiler.rules)
        self._splits = device.compiler.grouped_convolution == "split"

    def estimate(self, graph: OpGraph, refused: Mapping[str, str] | None = None) -> CostReport:
        """Cost of one network.

        Args:
            graph: The network, grouped convolutions in either form.
            refused: Ops that stay on the host for reasons a graph does not show (data types), as
                :attr:`hw.tflite.TfliteModel.unsupported` tells them.
        """
        lowered = split_grouped_convolutions(graph) if self._splits else graph
        batch = OpBatch.of([lowered])
        reasons = host_ops(lowered, self._rules, refused)
        left = dict(reasons)
        mapped = np.array([[op.name not in left for op in lowered.ops]], dtype=np.bool_)
        free = free_slots(batch)
        peak = peak_bytes(
            lowered, {op.name: bool(free[0, slot]) for slot, op in enumerate(lowered.ops)}
        )
        costs = self._costs(batch, mapped, free, np.array([peak]))
        per_op = self._call_shares(lowered, mapped[0]) + self._op_shares(lowered, mapped, costs)
        latency = math.fsum(share.latency_ms for share in per_op)
        return CostReport(
            device=self.device.name,
            method="analytic",
            latency_ms=latency,
            latency_interval_ms=self._interval(latency),
            first_inference_ms=latency + float(self._first_extra_ms(costs, mapped)[0]),
            energy_mj=_total_energy(per_op),
            peak_memory_bytes=peak,
            weight_bytes=int(costs.weight_bytes[0]),
            streamed_bytes=int(costs.streamed_bytes[0]),
            macs=lowered.macs,
            host_ops=reasons,
            per_op=per_op,
        )

    def estimate_many(self, batch: OpBatch) -> Mapping[str, FloatArray]:
        """Columns by the names of :class:`CostReport`'s number fields.

        Equal to :meth:`estimate` for chains with residual additions (see
        :func:`hw.mapping.on_tpu` and :func:`hw.memory.peak_bytes_many`).
        """
        mapped, free = on_tpu(batch, self._rules), free_slots(batch)
        peak = peak_bytes_many(batch, free, self._splits)
        costs = self._costs(batch, mapped, free, peak)
        latency = costs.slot_ms.sum(axis=1) + self._call_ms(batch, mapped)
        columns = {
            "latency_ms": latency,
            "first_inference_ms": latency + self._first_extra_ms(costs, mapped),
            "peak_memory_bytes": peak.astype(np.float64),
            "weight_bytes": costs.weight_bytes,
            "streamed_bytes": costs.streamed_bytes,
            "macs": costs.macs.sum(axis=1),
        }
        energy = self.device.energy
        if energy is not None:
            dynamic = costs.macs.sum(axis=1) * energy.mac_pj
            dynamic += costs.slot_streamed_bytes.sum(axis=1) * energy.streamed_byte_pj
            columns["energy_mj"] = dynamic * 1e-9 + energy.idle_w * latency
        return columns

    # --- ops -----------------------------------------------------------------------------

    def _costs(self, batch: OpBatch, mapped: BoolArray, free: BoolArray, peak: IntArray) -> _Costs:
        """Time and weights of each slot."""
        groups = np.where(mapped & self._splits, np.maximum(batch.groups, 1), 1)
        one = self._parts(batch, groups)
        native = np.maximum(batch.groups // groups, 1)
        each = np.where(free | ~mapped, 0, weight_bytes(_per_part(batch, groups)) * native)
        total = each * groups
        available = self._available_bytes(mapped & ~free, groups, peak)
        start = np.cumsum(total, axis=1) - total
        resident = np.clip(available[:, None] - start, 0, total)
        body, bound, spilled = self._bodies(one, each, groups, resident)
        work = mapped & ~free
        slot = np.where(work, body, 0.0)
        slot += np.where(work & (groups > 1), self._regroup_ms(batch), 0.0)
        host = batch.live & ~mapped & ~mask_of(HOST_VIEWS)[batch.kind]
        macs = slot_macs(batch)
        slot += np.where(host, self._host_ms(batch, macs), 0.0)
        on_host = np.where(batch.live & ~mapped, weight_bytes(batch) * batch.groups, 0)
        return _Costs(
            slot_ms=slot,
            slot_streamed_bytes=np.where(work, spilled, 0.0),
            slot_bound=bound,
            macs=macs,
            weight_bytes=(total + on_host).sum(axis=1).astype(np.float64),
            cached_bytes=resident.sum(axis=1).astype(np.float64),
            streamed_bytes=(total - resident).sum(axis=1).astype(np.float64),
        )

    def _available_bytes(self, work: BoolArray, groups: IntArray, peak: IntArray) -> IntArray:
        """Wide memory that is left for weights, ``[n_architectures]``."""
        chip = self.device.chip
        calls = np.where(work, np.where(groups > 1, groups + 2, 1), 0).sum(axis=1)
        overflow = np.maximum(peak - chip.narrow_memory_bytes, 0)
        left = chip.wide_memory_bytes - calls * chip.instruction_bytes_per_op - overflow
        result: IntArray = np.maximum(left, 0)
        return result

    def _bodies(
        self, one: _Slots, each: IntArray, groups: IntArray, resident: IntArray
    ) -> tuple[FloatArray, IntArray, FloatArray]:
        """Time, bound and streamed bytes of slots of ``groups`` equal parts.

        Parts become resident in order: some are whole, at most one is cut, the others stream.
        """
        whole = np.where(each > 0, np.minimum(resident // np.maximum(each, 1), groups), groups)
        cut = np.where(whole < groups, resident - whole * each, 0)
        rest = groups - whole - (whole < groups)
        passes = self._passes(one.padded_bytes)
        first, _ = self._part_ms(one, each, np.zeros_like(each), passes)
        middle, _ = self._part_ms(one, each, each - cut, passes)
        last, bound = self._part_ms(one, each, np.where(rest > 0, each, each - cut), passes)
        _, bound = self._part_ms(one, each, np.where(whole < groups, each - cut, 0), passes)
        time = whole * first + np.where(whole < groups, middle, 0.0) + rest * last
        return time, bound, (groups * each - resident) * passes

    def _part_ms(
        self, one: _Slots, weights: IntArray, streamed: IntArray, passes: FloatArray
    ) -> tuple[FloatArray, IntArray]:
        streaming = streamed * passes / MIB * self.device.link.streaming_ms_per_mib
        load = (weights - streamed) / (self.device.chip.weight_gb_per_s * 1e6)
        bodies = np.stack([one.compute_ms, one.movement_ms, streaming])
        # A start longer than the work is the machinery of moving tiles, not arithmetic.
        moved = np.stack([one.compute_ms, one.movement_ms + one.start_ms + load, streaming])
        time: FloatArray = one.start_ms + load + bodies.max(axis=0)
        return time, moved.argmax(axis=0)

    def _passes(self, padded_bytes: FloatArray) -> FloatArray:
        """Times that spilled weights are streamed: 1, 3, 5 ... with the size of the maps."""
        tiles = np.ceil(padded_bytes / self.device.chip.tiled_map_bytes)
        result: FloatArray = 2.0 * np.maximum(tiles, 1.0) - 1.0
        return result

    def _parts(self, batch: OpBatch, groups: IntArray) -> _Slots:
        """Start, compute and movement of one of ``groups`` parts of each slot."""
        chip, kind = self.device.chip, batch.kind
        before, after = batch.input_hwc.copy(), batch.output_hwc.copy()
        before[..., 2] //= groups
        after[..., 2] //= groups
        # Padding that a strided convolution reads as part of its input costs nothing.
        reach = np.minimum(before[..., :2], after[..., :2] * batch.strides)
        windowed = mask_of(CONVOLUTIONS - {OpKind.TRANSPOSE_CONV})[kind]
        before[..., :2] = np.where(windowed[..., None], reach, before[..., :2])
        read, written = before.prod(axis=-1), after.prod(axis=-1)
        read = np.where(mask_of(BINARY)[kind], 2 * written, read)
        read = np.where(kind == KINDS.index(OpKind.CONCATENATION), written, read)
        written = np.where(kind == KINDS.index(OpKind.SPLIT), read, written)
        native = np.maximum(batch.groups // groups, 1)
        cycles = self._cycles(batch, before, after, native)
        lanes = np.stack([before, after])
        lanes[..., 2] = -(-lanes[..., 2] // chip.output_lanes) * chip.output_lanes
        return _Slots(
            start_ms=self._start_ms(batch),
            compute_ms=cycles / (chip.clock_mhz * 1e3),
            movement_ms=(read + written) / (chip.activation_gb_per_s * 1e6),
            padded_bytes=lanes.prod(axis=-1).sum(axis=0).astype(np.float64),
        )

    def _cycles(
        self, batch: OpBatch, before: IntArray, after: IntArray, groups: IntArray
    ) -> FloatArray:
        """The lane law; ``groups`` are those left in a native grouped convolution."""
        chip, kind = self.device.chip, batch.kind
        transposed = (kind == KINDS.index(OpKind.TRANSPOSE_CONV))[..., None]
        maps = np.where(transposed, before[..., :2], after[..., :2])
        rows = -(-maps[..., 0] // chip.tile_rows)
        columns = -(-maps[..., 1] // chip.tile_columns)
        window = batch.kernel_size.prod(axis=-1)
        passes = groups * -(-(after[..., 2] // groups) // chip.output_lanes)
        full = np.ceil(window * (before[..., 2] // groups) / chip.input_lanes)
        thin = window / chip.depthwise_input_lanes
        depthwise = kind == KINDS.index(OpKind.DEPTHWISE_CONV_2D)
        weighted = mask_of(WEIGHTED)[kind]
        steps = np.where(depthwise, thin, np.where(weighted, full, 0.0))
        result: FloatArray = rows * columns * passes * steps
        return result

    def _start_ms(self, batch: OpBatch) -> FloatArray:
        chip = self.device.chip
        table = np.full(len(KINDS), chip.movement_us)
        for kinds, start in (
            (WEIGHTED, chip.convolution_us),
            (POOLS, chip.pool_us),
            (ELEMENTWISE, chip.elementwise_us),
        ):
            table[mask_of(kinds)] = start
        border = np.where(mask_of(CONVOLUTIONS)[batch.kind], batch.kernel_size[..., 0] - 1, 0)
        # A recurrent op starts once for each step of its sequence.
        lstm = batch.kind == KINDS.index(OpKind.UNIDIRECTIONAL_SEQUENCE_LSTM)
        steps = np.where(lstm, batch.input_hwc[..., 1], 1)
        result: FloatArray = (table[batch.kind] + chip.window_us * border) * steps / 1e3
        return result

    def _regroup_ms(self, batch: OpBatch) -> FloatArray:
        """SPLIT before and CONCATENATION after a grouped convolution."""
        chip = self.device.chip
        moved = 2 * (batch.input_hwc.prod(axis=-1) + batch.output_hwc.prod(axis=-1))
        result: FloatArray = 2 * chip.movement_us / 1e3 + moved / (chip.activation_gb_per_s * 1e6)
        return result

    def _host_ms(self, batch: OpBatch, macs: FloatArray) -> FloatArray:
        host = self.device.host
        elements = batch.input_hwc.prod(axis=-1) + batch.output_hwc.prod(axis=-1)
        moving = np.where(macs > 0, 0.0, elements / (host.elements_per_us * 1e3))
        result: FloatArray = host.op_us / 1e3 + macs / (host.gmacs_per_s * 1e6) + moving
        return result

    # --- the call ------------------------------------------------------------------------

    def _call_ms(self, batch: OpBatch, mapped: BoolArray) -> FloatArray:
        """Fixed cost and transfers: input of the first TPU slot, output of the last."""
        rows, any_mapped = np.arange(len(mapped)), mapped.any(axis=1)
        first = mapped.argmax(axis=1)
        last = mapped.shape[1] - 1 - mapped[:, ::-1].argmax(axis=1)
        time = self.device.link.fixed_ms + self._input_ms(
            batch.input_hwc[rows, first].prod(axis=-1)
        )
        time = time + self._output_ms(batch.output_hwc[rows, last])
        result: FloatArray = np.where(any_mapped, time, 0.0)
        return result

    def _input_ms(self, elements: IntArray | int) -> FloatArray:
        return np.asarray(elements / (self.device.link.input_mb_per_s * 1e3))

    def _output_ms(self, hwc: IntArray) -> FloatArray:
        """Of maps ``[..., 3]``, channels padded as the device lays them out."""
        multiple = self.device.link.output_channel_multiple
        padded = hwc[..., 0] * hwc[..., 1] * (-(-hwc[..., 2] // multiple) * multiple)
        return np.asarray(padded / (self.device.link.output_mb_per_s * 1e3))

    def _first_extra_ms(self, costs: _Costs, mapped: BoolArray) -> FloatArray:
        link = self.device.link
        extra = link.first_inference_ms + costs.cached_bytes / MIB * link.streaming_ms_per_mib
        result: FloatArray = np.where(mapped.any(axis=1), extra, 0.0)
        return result

    def _call_shares(self, graph: OpGraph, mapped: BoolArray) -> tuple[OpCost, ...]:
        """Fixed cost and transfers between host and TPU, as entries of their own."""
        tpu = {op.name: op for op, here in zip(graph.ops, mapped, strict=True) if here}
        if not tpu:
            return ()
        shapes = {op.name: op.output_shape for op in graph.ops} | {INPUT: graph.input_shape}
        read = {name for op in tpu.values() for name in op.inputs if name not in tpu}
        arriving = sum(math.prod(shapes[name]) for name in read)
        used_inside = {name for op in tpu.values() for name in op.inputs}
        used_outside = {
            name for op in graph.ops if op.name not in tpu for name in op.inputs if name in tpu
        }
        leaving = [name for name in tpu if name in used_outside or name not in used_inside]
        maps = OpBatch.of([OpGraph((1,), tuple(_reads_input(tpu[name]) for name in leaving))])
        output = float(self._output_ms(maps.output_hwc).sum())
        return (
            self._share("fixed cost", "CALL", self.device.link.fixed_ms),
            self._share("input transfer", "TRANSFER", float(self._input_ms(arriving))),
            self._share("output transfer", "TRANSFER", output),
        )

    def _op_shares(self, graph: OpGraph, mapped: BoolArray, costs: _Costs) -> tuple[OpCost, ...]:
        shares = []
        for slot, op in enumerate(graph.ops):
            here = bool(mapped[0, slot])
            shares.append(
                self._share(
                    op.name,
                    op.kind.value,
                    float(costs.slot_ms[0, slot]),
                    "tpu" if here else "host",
                    BOUNDS[costs.slot_bound[0, slot]] if here else "host",
                    float(costs.macs[0, slot]),
                    int(costs.slot_streamed_bytes[0, slot]),
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

    def _interval(self, latency_ms: float) -> tuple[float, float] | None:
        fit = self.device.calibration
        if fit is None:
            return None
        return latency_ms * fit.interval_low, latency_ms * fit.interval_high


def _per_part(batch: OpBatch, groups: IntArray) -> OpBatch:
    """The batch with each grouped slot replaced by one of its parts."""
    before, after = batch.input_hwc.copy(), batch.output_hwc.copy()
    before[..., 2] //= groups
    after[..., 2] //= groups
    distinct = OpColumns(
        kind=batch.kind.reshape(-1),
        input_hwc=before.reshape(-1, 3),
        output_hwc=after.reshape(-1, 3),
        kernel_size=batch.kernel_size.reshape(-1, 2),
        strides=batch.strides.reshape(-1, 2),
        groups=(batch.groups // groups).reshape(-1),
    )
    index = np.arange(batch.index.size).reshape(batch.index.shape)
    return dataclasses.replace(batch, distinct=distinct, index=index)


def _reads_input(op: Op) -> Op:
    return dataclasses.replace(op, inputs=(INPUT,))


def _total_energy(per_op: tuple[OpCost, ...]) -> float | None:
    energies = [share.energy_mj for share in per_op if share.energy_mj is not None]
    return math.fsum(energies) if len(energies) == len(per_op) else None
