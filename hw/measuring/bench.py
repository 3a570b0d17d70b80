"""Benches by name: a compiler, a board or this processor, where the machine has it."""

from __future__ import annotations

import importlib.metadata
import os
from dataclasses import dataclass
from typing import cast

from hw.activations import peak_bytes
from hw.measuring.timing import Timing
from hw.protocols import Bench
from hw.report import CostReport
from hw.tflite.model import QUANTIZED, TfliteModel
from hw.things import class_of, names_in

BIAS_BYTES = 4  # int32, or float32


class BenchError(ValueError):
    """A bench that does not exist or is not at hand, or a file that it cannot measure."""


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """How to measure.

    Attributes:
        runs: Warm inferences to time.
        threads: Of the processor, for ops that run there.
        seed: Of the random inputs.
        timeout_s: Limit for one file.
        device: What a compiler of many chips compiles for; None: its bench's own choice.
    """

    runs: int = 100
    threads: int = 1
    seed: int = 0
    timeout_s: float = 600.0
    device: str | None = None

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        processors = os.cpu_count() or 1
        if self.runs < 1:
            raise BenchError(f"runs must be a number from 1 up, but got {self.runs}.")
        if not 1 <= self.threads <= processors:
            raise BenchError(
                f"threads must be from 1 to {processors}, the processors of this machine, "
                f"but got {self.threads}."
            )
        if not self.timeout_s > 0:
            raise BenchError(f"timeout must be a positive time, but got {self.timeout_s} s.")


def version_of(package: str) -> str:
    """Version of an installed package; empty: it is not there."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def bench_names() -> tuple[str, ...]:
    """Names of the benches that exist, sorted."""
    return names_in("hw.benches")


def load_bench(name: str, settings: BenchSettings) -> Bench:
    """The bench of module ``hw.benches.<name>``.

    Raises:
        BenchError: There is none.
    """
    if name not in bench_names():
        raise BenchError(f"bench must be one of {', '.join(bench_names())}, but got {name!r}.")
    return cast(Bench, class_of(f"hw.benches.{name}")(settings))


def measured_report(
    device: str,
    timing: Timing,
    model: TfliteModel | None,
    *,
    weight_bytes: int | None,
    streamed_bytes: int | None,
    host_ops: tuple[tuple[str, str], ...] = (),
) -> CostReport:
    """What was timed, with facts of ``model``, the file before compilation, if it is at hand."""
    return CostReport(
        device=device,
        method="measured",
        latency_ms=timing.median_ms,
        latency_interval_ms=timing.interval_ms,
        first_inference_ms=timing.first_ms,
        energy_mj=None,
        peak_memory_bytes=None if model is None else activation_bytes(model),
        weight_bytes=weight_bytes,
        streamed_bytes=streamed_bytes,
        macs=None if model is None else model.macs,
        host_ops=host_ops,
        per_op=(),
    )


def activation_bytes(model: TfliteModel) -> int | None:
    """High-water mark of activations in the file's order; None unless all of them have 8 bits."""
    if {kind for _, kind in model.data_types} - QUANTIZED:
        return None
    return peak_bytes(model.graph, {op.name: False for op in model.graph.ops})


def stored_weight_bytes(model: TfliteModel) -> int:
    """Weights and biases of convolutions and dense ops, as the file stores them."""
    return sum(
        op.weights * op.weight_bits // 8 + BIAS_BYTES * op.out_channels * op.use_bias
        for op in model.graph.ops
    )
