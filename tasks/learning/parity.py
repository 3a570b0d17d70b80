"""Whether benches say the same: their outputs beside LiteRT's on samples of the prepared data.

What a file means is told by LiteRT's own kernels, without any delegate. A bench takes others:
XNNPACK's on a processor, a chip's. Its outputs may differ by steps of quantization, and what
matters is whether labels and the metric do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hw.measuring.bench import BenchError, BenchSettings, bench_names, load_bench
from hw.measuring.running import plain_outputs
from hw.protocols import RunningBench
from hw.tflite.model import TfliteError
from spaces.graph import OpGraph
from tasks.learning.interpreter import Signature, dequantize, quantize, signature_of
from tasks.learning.protocols import Arrays, Outputs, Problem

SAMPLES: Final = 64
"""Compared at most."""
SURE: Final = 0.5
"""Least score of an anchor that has a label."""
NONE: Final = -1
"""The label of an anchor that has none."""


@dataclass(frozen=True, slots=True)
class Parity:
    """One bench beside LiteRT's own kernels.

    Attributes:
        bench: Its name.
        samples: How many were compared.
        largest: Largest difference of real outputs, by name; none of whole numbers.
        mean: Mean of the differences, likewise.
        steps: Largest difference in steps of quantization, likewise.
        equal_labels: Share of equal labels: of samples, pixels, anchors with a label in one of
            both, or first and last tokens. None where outputs have none that is known.
        metric: Of the bench's outputs on these samples.
        reference: Of LiteRT's.
        reason: Why there is nothing to tell; else empty.
    """

    bench: str
    samples: int
    largest: Mapping[str, float] = dataclasses.field(default_factory=dict)
    mean: Mapping[str, float] = dataclasses.field(default_factory=dict)
    steps: Mapping[str, float] = dataclasses.field(default_factory=dict)
    equal_labels: float | None = None
    metric: float | None = None
    reference: float | None = None
    reason: str = ""


def running_benches() -> dict[str, RunningBench]:
    """The benches of this machine that run a file, by name."""
    benches = {name: load_bench(name, BenchSettings()) for name in bench_names()}
    return {
        name: bench
        for name, bench in benches.items()
        if isinstance(bench, RunningBench) and bench.missing() is None
    }


def compared(
    problem: Problem,
    tflite: Path,
    arrays: Arrays,
    graph: OpGraph,
    benches: Mapping[str, RunningBench],
) -> tuple[Parity, ...]:
    """Each bench's row; one that cannot run the file is a row with its reason.

    Args:
        problem: That tells the metric.
        tflite: The file.
        arrays: A split, or part of it; the first :data:`SAMPLES` are compared.
        graph: Of the file.
        benches: By name.
    """
    few = {name: array[:SAMPLES] for name, array in arrays.items()}
    count = len(next(iter(few.values())))
    signature = signature_of(tflite)
    inputs = problem.inputs(few, graph)
    samples = [quantize(inputs[name], one) for name, one in signature.inputs.items()]
    try:
        expected = plain_outputs(tflite, samples, BenchSettings())
    except (BenchError, TfliteError) as error:
        return tuple(Parity(name, count, reason=str(error)) for name in benches)
    rows = []
    for name, bench in benches.items():
        try:
            got = bench.outputs(tflite, samples)
        except (BenchError, TfliteError) as error:
            rows.append(Parity(name, count, reason=str(error)))
            continue
        told = _row(name, count, signature, expected, got)
        scores = [
            problem.score(_deployed(problem, signature, outputs), few, graph)[problem.metric.name]
            for outputs in (got, expected)
        ]
        rows.append(dataclasses.replace(told, metric=scores[0], reference=scores[1]))
    return tuple(rows)


def _deployed(problem: Problem, signature: Signature, outputs: Sequence[NDArray[Any]]) -> Outputs:
    """Real outputs in the order that the problem reads them in."""
    named = dict(zip(signature.outputs, outputs, strict=True))
    return tuple(dequantize(named[name], signature.outputs[name]) for name in problem.deployed)


def _row(
    bench: str,
    count: int,
    signature: Signature,
    expected: Sequence[NDArray[Any]],
    got: Sequence[NDArray[Any]],
) -> Parity:
    largest, mean, steps, alike = {}, {}, {}, []
    for (name, details), one, other in zip(signature.outputs.items(), expected, got, strict=True):
        real, real_other = dequantize(one, details), dequantize(other, details)
        if name in LABELS:
            alike.append(_equal(*map(LABELS[name], (real, real_other))))
        if real.dtype.kind == "f":
            off = np.abs(real.astype(np.float64) - real_other)
            largest[name], mean[name] = float(off.max()), float(off.mean())
            if scale := float(details["quantization"][0]):
                steps[name] = float(round(largest[name] / scale))
    return Parity(bench, count, largest, mean, steps, min(alike) if alike else None)


def _equal(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Share of equal labels among those that one of both has."""
    there = (one != NONE) | (other != NONE)
    return float((one == other)[there].mean()) if there.any() else 1.0


def _sure(scores: NDArray[Any]) -> NDArray[Any]:
    """The class of each anchor whose score is enough."""
    found: NDArray[Any] = np.where(scores.max(axis=-1) >= SURE, scores.argmax(axis=-1), NONE)
    return found


LABELS: Final[Mapping[str, Callable[[NDArray[Any]], NDArray[Any]]]] = {
    "labels": lambda values: values.astype(np.int64),
    "probabilities": lambda values: values.argmax(axis=-1),
    "scores": _sure,
    "span_logits": lambda values: values.argmax(axis=1),
}
"""How outputs become labels, by their names."""
