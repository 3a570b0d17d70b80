"""The cost model of this project: physical laws, with coefficients that can be calibrated.

A network takes::

    calls * fixed + input / input rate + output / output rate + instructions / streaming rate
    + sum over TPU ops of start + load + max(compute + movement, streaming)
    + sum over host ops

What one op takes is in :mod:`hw.families.edge_tpu.laws`, what is where in ``placement`` beside
it, what a whole network takes in ``parts``, what its ops have of that in ``shares``; all
coefficients are the device's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import numpy as np

from hw.calibrating.residual import interval_ms, out_of_range
from hw.columns import FloatArray, op_macs, slot_sum
from hw.cost_model import CostModelError
from hw.families.edge_tpu.features import FEATURES, features
from hw.families.edge_tpu.laws import check_laws
from hw.families.edge_tpu.mapping import rules_of
from hw.families.edge_tpu.parts import MIB, Parts, parts_of
from hw.families.edge_tpu.placement import Placement, place, place_many
from hw.families.edge_tpu.profile import Device
from hw.families.edge_tpu.shares import shares, total_energy_mj
from hw.report import CostReport
from spaces.graph import OpBatch, OpGraph


@final
class Analytic:
    """Physical cost model of one device."""

    def __init__(self, device: Device) -> None:
        """For ``device``; unknown compiler rules, and ops without a law, are refused here."""
        self.device = device
        check_laws(rules_of(device.compiler.rules).kinds, device.compiler.rules)

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
        per_op = shares(lowered, mapped, placement, parts, self.device, scale)
        return CostReport(
            device=self.device.name,
            method="analytic",
            latency_ms=latency,
            latency_interval_ms=(low, high) if self.device.calibration else None,
            first_inference_ms=latency + float(self._first_extra_ms(placement, parts)[0]),
            energy_mj=total_energy_mj(per_op),
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
        macs = slot_sum(op_macs(batch.distinct), batch)
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
        return parts_of(placement, self.device)

    def _check_whole(self, placement: Placement) -> None:
        some_left = (placement.batch.live & ~placement.mapped).any()
        if self.device.compiler.subgraphs == "several" and some_left:
            raise CostModelError(
                f"{self.device.name}: networks with host ops must be costed one by one where "
                "compiler.subgraphs is several, but got a batch. Set it to one."
            )

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
        known = features(placement, parts)[0].tolist()
        return out_of_range(known, FEATURES, self.device.calibration)
