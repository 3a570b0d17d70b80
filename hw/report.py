"""What a cost model or a bench says of a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Bound = Literal["compute", "movement", "streaming", "transfer", "host"]
Method = Literal["analytic", "lookup", "compiled", "measured"]


@dataclass(frozen=True, slots=True)
class OpCost:
    """One op's share of a :class:`CostReport`.

    Attributes:
        op: Name of the op in its graph.
        kind: TensorFlow Lite builtin name.
        unit: ``"tpu"`` or ``"host"``.
        latency_ms: Warm, batch 1.
        energy_mj: Modelled; None where the device file has no energy table.
        dram_bytes: Weights streamed from the host at every inference.
        bound: What the time is spent on.
    """

    op: str
    kind: str
    unit: Literal["tpu", "host"]
    latency_ms: float
    energy_mj: float | None
    dram_bytes: int
    bound: Bound


@dataclass(frozen=True, slots=True)
class CostReport:
    """Cost of one network on one device, warm and at batch 1.

    Attributes:
        device: Profile name.
        method: How the numbers came about; an estimate is never called measured.
        latency_ms: Warm inference, transfers included.
        latency_interval_ms: 90 % interval; None where the profile has no calibration.
        first_inference_ms: First inference, weights loaded; None where unknown.
        energy_mj: Modelled; None where the device file has no energy table.
        peak_memory_bytes: High-water mark of activations.
        weight_bytes: Parameters as stored on the device.
        streamed_bytes: Weights that do not fit on chip, moved at every inference.
        macs: Multiply-accumulates (1 MAC = 2 FLOPs).
        host_ops: Ops that stay on the host: (name, reason).
        per_op: Shares of the latency, in order of execution. Fixed cost and transfers are entries
            of their own, so that the shares add up to ``latency_ms``.
    """

    device: str
    method: Method
    latency_ms: float
    latency_interval_ms: tuple[float, float] | None
    first_inference_ms: float | None
    energy_mj: float | None
    peak_memory_bytes: int
    weight_bytes: int
    streamed_bytes: int
    macs: int
    host_ops: tuple[tuple[str, str], ...]
    per_op: tuple[OpCost, ...]
