"""What a cost model or a bench says of a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Bound = Literal["compute", "movement", "streaming", "transfer", "host"]
Method = Literal["analytic", "lookup", "compiled", "measured"]


class ReportError(ValueError):
    """A report that does not tell what is asked of it."""


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
        device: Profile name; of a bench, its name and what it ran on.
        method: How the numbers came about; an estimate is never called measured.
        latency_ms: Warm inference, transfers included; of a bench, the median of its runs. None
            where nothing ran, or a compiler tells no time; some estimate one.
        latency_interval_ms: 90 % interval; None where the profile has no calibration. Of a bench,
            5 % and 95 % quantile of its runs: how repeatable they were, not how far another
            machine is away. None where they were too few.
        first_inference_ms: First inference, weights loaded; None where unknown.
        energy_mj: Modelled; None where the device file has no energy table.
        peak_memory_bytes: High-water mark of activations; None where it cannot be told.
        weight_bytes: Parameters as stored on the device, those of host ops left out; None where it
            cannot be told.
        streamed_bytes: Weights that do not fit on chip, moved at every inference; None likewise.
        macs: Multiply-accumulates (1 MAC = 2 FLOPs); None where only the compiled file is at hand.
        host_ops: Ops that stay on the host: (name, reason).
        per_op: Shares of the latency, in order of execution. Fixed cost and transfers are entries
            of their own, so that the shares add up to ``latency_ms``. Empty where only the whole
            is known.
        out_of_range: What of the network lies outside the range that the profile was calibrated
            on; the interval is wider then.
        left_out: What of the file the figures do not count: the body of a loop, branches, other
            signatures. They are too low then, and the interval is that of the rest.
        supposed: What is taken for granted though nothing shows it, and would change the latency
            much; the interval reaches to what it would be.
    """

    device: str
    method: Method
    latency_ms: float | None
    latency_interval_ms: tuple[float, float] | None
    first_inference_ms: float | None
    energy_mj: float | None
    peak_memory_bytes: int | None
    weight_bytes: int | None
    streamed_bytes: int | None
    macs: int | None
    host_ops: tuple[tuple[str, str], ...]
    per_op: tuple[OpCost, ...]
    out_of_range: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    supposed: tuple[str, ...] = ()

    @property
    def known_latency_ms(self) -> float:
        """The latency of a report that must have one, as that of every cost model does.

        Raises:
            ReportError: It has none.
        """
        if self.latency_ms is None:
            raise ReportError(
                f"{self.device}: a report must have a latency here, but got one that is "
                f"{self.method} and tells none. Estimate or measure it."
            )
        return self.latency_ms
