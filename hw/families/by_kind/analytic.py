"""The cost model of a device whose laws nobody told: rates by kind of op, as reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import numpy as np

from hw.activations import peak_bytes, peak_bytes_many
from hw.calibrating.residual import interval_ms, out_of_range
from hw.columns import FloatArray, mask_of
from hw.families.by_kind.parts import (
    FEATURES,
    VIEWS,
    Counted,
    counted,
    features,
    latency_ms,
    numbers_of,
    rates_of,
)
from hw.families.by_kind.profile import Device
from hw.report import Bound, CostReport, OpCost
from spaces.graph import OpBatch, OpGraph

BOUNDS: tuple[Bound, ...] = ("movement", "compute", "movement", "streaming")
"""What start, multiply-accumulates, elements and weights are called in a report."""
CALL = "call"


@final
class Analytic:
    """Rates by kind of op, and what a calibration learned beside them."""

    def __init__(self, device: Device) -> None:
        """For ``device``."""
        self.device = device

    def estimate(self, graph: OpGraph, refused: Mapping[str, str] | None = None) -> CostReport:
        """Cost of one network; all of it runs on the device."""
        batch = OpBatch.of([graph])
        networks = counted(batch)
        latency, low, high = (float(column[0]) for column in self._intervals(networks))
        calibration = self.device.calibration
        known = features(networks, self.device)[0].tolist()
        views = {op.name: op.kind in VIEWS for op in graph.ops}
        return CostReport(
            device=self.device.name,
            method="analytic",
            latency_ms=latency,
            latency_interval_ms=(low, high) if calibration else None,
            first_inference_ms=None,
            energy_mj=None,
            peak_memory_bytes=peak_bytes(graph, views),
            weight_bytes=int(networks.weights[0]),
            streamed_bytes=0,
            macs=graph.macs,
            host_ops=(),
            per_op=self._shares(graph, batch, latency),
            out_of_range=out_of_range(known, FEATURES, calibration) if calibration else (),
        )

    def estimate_many(self, batch: OpBatch) -> Mapping[str, FloatArray]:
        """Columns by the names of :class:`CostReport`'s number fields, as :meth:`estimate`."""
        networks = counted(batch)
        latency, low, high = self._intervals(networks)
        views = mask_of(VIEWS)[batch.kind] & batch.live
        columns = {
            "latency_ms": latency,
            "peak_memory_bytes": peak_bytes_many(batch, views, False).astype(np.float64),
            "weight_bytes": np.floor(networks.weights),
            "streamed_bytes": np.zeros(len(latency)),
            "macs": networks.macs,
        }
        if self.device.calibration is not None:
            columns |= {"latency_low_ms": low, "latency_high_ms": high}
        return columns

    def _intervals(self, networks: Counted) -> tuple[FloatArray, FloatArray, FloatArray]:
        physical = latency_ms(networks, self.device)
        if self.device.calibration is None:
            return physical, physical, physical
        return interval_ms(physical, features(networks, self.device), self.device.calibration)

    def _shares(self, graph: OpGraph, batch: OpBatch, latency: float) -> tuple[OpCost, ...]:
        """The call and each op; they add up to the latency."""
        numbers = numbers_of(batch.distinct)
        start, mac, element, weight = rates_of(self.device)
        which = numbers.classes
        spent = np.stack(
            [
                start[which],
                numbers.macs * mac[which],
                numbers.elements * element[which],
                numbers.weights * weight,
            ]
        )
        spent = np.where(numbers.free, 0.0, spent)[:, batch.index[0]]
        physical = self.device.call.fixed_ms + float(spent[:, : len(graph.ops)].sum())
        scale = latency / physical if physical else 1.0
        call = OpCost(CALL, "CALL", "tpu", self.device.call.fixed_ms * scale, None, 0, "transfer")
        ops = (
            OpCost(
                op.name,
                op.kind.value,
                "tpu",
                float(spent[:, slot].sum()) * scale,
                None,
                0,
                BOUNDS[int(spent[:, slot].argmax())],
            )
            for slot, op in enumerate(graph.ops)
        )
        return (call, *ops)
