"""Latency as a straight line in multiply-accumulates: the baseline every model must beat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from hw.columns import FloatArray, op_macs, slot_sum
from hw.cost_model import CostModelError
from hw.protocols import Device
from hw.report import CostReport, OpCost
from spaces.graph import OpBatch, OpGraph


@final
class MacsOnly:
    """``fixed_ms + slope * MACs`` with the two coefficients of the device's ``macs_line``.

    Of memory it knows nothing, and says so.
    """

    def __init__(self, device: Device) -> None:
        """For ``device``; one without a ``macs_line`` is refused."""
        if device.macs_line is None:
            raise CostModelError(
                f"{device.name}: must have a macs_line to be costed by macs_only, but got none. "
                "Choose analytic."
            )
        self.device, self._line = device, device.macs_line

    def estimate(self, graph: OpGraph, refused: Mapping[str, str] | None = None) -> CostReport:
        """Cost of one network; ``refused`` is ignored, as all there is to it are the MACs."""
        line = self._line
        fixed = OpCost("fixed cost", "CALL", "tpu", line.fixed_ms, None, 0, "transfer")
        shares = tuple(
            OpCost(op.name, op.kind.value, "tpu", self._slope_ms(op.macs), None, 0, "compute")
            for op in graph.ops
        )
        return CostReport(
            device=self.device.name,
            method="analytic",
            latency_ms=line.fixed_ms + self._slope_ms(graph.macs),
            latency_interval_ms=None,
            first_inference_ms=None,
            energy_mj=None,
            peak_memory_bytes=None,
            weight_bytes=sum(op.weights for op in graph.ops if op.weight_bits),
            streamed_bytes=None,
            macs=graph.macs,
            host_ops=(),
            per_op=(fixed, *shares),
        )

    def estimate_many(self, batch: OpBatch) -> Mapping[str, FloatArray]:
        """Columns ``latency_ms`` and ``macs``."""
        macs = slot_sum(op_macs(batch.distinct), batch)
        line = self._line
        return {"latency_ms": line.fixed_ms + line.slope_ms_per_gmac * macs / 1e9, "macs": macs}

    def _slope_ms(self, macs: int) -> float:
        return self._line.slope_ms_per_gmac * macs / 1e9
