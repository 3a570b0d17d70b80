"""The cost model of an Ethos-U: what :mod:`hw.families.ethos_u.parts` says, as reports.

A network takes the sum of its ops: Vela's schedule runs one after the other, and so does its
estimate, which is what these laws are checked by.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import final

import numpy as np

from hw.calibrating.residual import interval_ms, out_of_range
from hw.columns import FloatArray
from hw.families.ethos_u.features import FEATURES, features
from hw.families.ethos_u.mapping import why_left
from hw.families.ethos_u.parts import Parts, Placement, parts_of, place, placed
from hw.families.ethos_u.profile import Device
from hw.report import Bound, CostReport, OpCost
from spaces.graph import OpBatch, OpGraph

BOUNDS: tuple[Bound, ...] = ("compute", "movement", "streaming")


@final
class Analytic:
    """Physical cost model of one device."""

    def __init__(self, device: Device) -> None:
        """For ``device``."""
        self.device = device

    def estimate(self, graph: OpGraph, refused: Mapping[str, str] | None = None) -> CostReport:
        """Cost of one network, grouped convolutions split."""
        known = refused or {}
        placement, (lowered,) = place([graph], self.device, [known])
        parts = parts_of(placement, self.device)
        latency, low, high = (float(column[0]) for column in self._intervals(placement, parts))
        physical = math.fsum(parts.latency_ms[0])
        per_op = _shares(lowered, placement, parts, latency / physical if physical else 1.0)
        left = [op for op, here in zip(lowered.ops, placement.here[0], strict=False) if not here]
        return CostReport(
            device=self.device.name,
            method="analytic",
            latency_ms=latency,
            latency_interval_ms=(low, high) if self.device.calibration else None,
            first_inference_ms=None,
            energy_mj=None,
            peak_memory_bytes=int(placement.peak_bytes[0]),
            weight_bytes=int(parts.weight_bytes.sum()),
            streamed_bytes=int(parts.streamed_bytes.sum()),
            macs=lowered.macs,
            host_ops=tuple(
                (op.name, known.get(op.name) or why_left(op.kind, self.device)) for op in left
            ),
            per_op=per_op,
            out_of_range=self._out_of_range(placement, parts),
        )

    def estimate_many(self, batch: OpBatch) -> Mapping[str, FloatArray]:
        """Columns by the names of :class:`CostReport`'s number fields, as :meth:`estimate`."""
        placement = placed(batch, self.device)
        parts = parts_of(placement, self.device)
        latency, low, high = self._intervals(placement, parts)
        columns = {
            "latency_ms": latency,
            "peak_memory_bytes": placement.peak_bytes.astype(np.float64),
            "weight_bytes": parts.weight_bytes.sum(axis=1),
            "streamed_bytes": parts.streamed_bytes.sum(axis=1),
            "macs": placement.macs,
        }
        if self.device.calibration is not None:
            columns |= {"latency_low_ms": low, "latency_high_ms": high}
        return columns

    def _intervals(
        self, placement: Placement, parts: Parts
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        physical = parts.latency_ms.sum(axis=1)
        if self.device.calibration is None:
            return physical, physical, physical
        return interval_ms(physical, features(placement, parts), self.device.calibration)

    def _out_of_range(self, placement: Placement, parts: Parts) -> tuple[str, ...]:
        if self.device.calibration is None:
            return ()
        known = features(placement, parts)[0].tolist()
        return out_of_range(known, FEATURES, self.device.calibration)


def _shares(
    graph: OpGraph, placement: Placement, parts: Parts, scale: float
) -> tuple[OpCost, ...]:
    """Ops, each times ``scale``; they add up to the latency."""
    spent = np.stack([parts.compute_ms[0], parts.movement_ms[0], parts.streaming_ms[0]])
    bound = spent.argmax(axis=0) if len(graph.ops) else np.zeros(0, np.int64)
    return tuple(
        OpCost(
            op.name,
            op.kind.value,
            "tpu" if placement.here[0, slot] else "host",
            float(parts.latency_ms[0, slot]) * scale,
            None,
            int(parts.streamed_bytes[0, slot]),
            BOUNDS[bound[slot]] if placement.here[0, slot] else "host",
        )
        for slot, op in enumerate(graph.ops)
    )
