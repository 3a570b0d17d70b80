"""How far a metric on so many samples may be from what it is on all that there could be."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from spaces.graph import OpGraph
from tasks.learning.protocols import Arrays, Outputs, Problem

Z: Final = 1.959964  # of the normal distribution, 95 %
RESAMPLES: Final = 200
MOST_SECONDS: Final = 20.0
"""Of a processor, for all of them; a metric that takes longer has no interval."""
SHARES: Final = frozenset({"top1", "accuracy", "exact_match"})
"""Metrics that are shares of samples, each right or wrong on its own."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % interval: ``wilson``, or ``bootstrap`` over samples (percentiles)."""

    low: float
    high: float
    kind: str


def wilson(share: float, count: int) -> Interval:
    """Of a share of ``count`` independent samples. Source: Wilson 1927.

    >>> one = wilson(1.0, 100)
    >>> round(one.low, 4), one.high
    (0.963, 1.0)
    """
    centre = (share + Z * Z / (2 * count)) / (1 + Z * Z / count)
    spread = share * (1 - share) / count + (Z / (2 * count)) ** 2
    half = Z * math.sqrt(spread) / (1 + Z * Z / count)
    return Interval(max(0.0, centre - half), min(1.0, centre + half), "wilson")


def bootstrap(
    problem: Problem, outputs: Outputs, arrays: Arrays, graph: OpGraph
) -> dict[str, Interval]:
    """Of every metric of a problem, by samples drawn anew from those there are.

    Returns:
        Intervals by metric; none where scoring takes too long, or a metric is undefined on some
        draw.
    """
    count, began = len(next(iter(arrays.values()))), time.process_time()
    problem.score(outputs, arrays, graph)
    if (time.process_time() - began) * RESAMPLES > MOST_SECONDS:
        return {}
    rng, found = np.random.default_rng(0), dict[str, list[float]]()
    for _ in range(RESAMPLES):
        rows = rng.integers(0, count, count)
        drawn = _Drawn(arrays, rows)
        try:
            scores = problem.score(tuple(one[rows] for one in outputs), drawn, graph)
        except ValueError:  # for instance no box at all
            return {}
        for name, value in scores.items():
            found.setdefault(name, []).append(value)
    return {
        name: _percentiles(values) for name, values in found.items() if np.isfinite(values).all()
    }


@final
class _Drawn(Mapping[str, Any]):
    """Some rows of arrays; only what is asked for is copied, which pictures are not."""

    def __init__(self, arrays: Arrays, rows: NDArray[Any]) -> None:
        self._arrays, self._rows = arrays, rows

    def __getitem__(self, name: str) -> Any:
        return self._arrays[name][self._rows]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


def _percentiles(values: list[float]) -> Interval:
    low, high = np.quantile(values, (0.025, 0.975))
    return Interval(float(low), float(high), "bootstrap")
