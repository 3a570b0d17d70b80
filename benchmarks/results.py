"""What every benchmark says in the same way: medians with their spread, the machine, JSON."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tasks.run.workspace import write_json

Result = dict[str, object]
ROOT = Path(__file__).resolve().parents[1]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest of values, and how many there are."""
    return {
        "median": statistics.median(values),
        "low": min(values),
        "high": max(values),
        "n": len(values),
    }


def said(summary: Mapping[str, float], digits: int = 2) -> str:
    """A spread in words.

    >>> said({"median": 1.0, "low": 0.5, "high": 2.0, "n": 3}, 1)
    '1.0 (0.5 to 2.0)'
    """
    median, low, high = (f"{summary[key]:.{digits}f}" for key in ("median", "low", "high"))
    return f"{median} ({low} to {high})"


def machine(packages: Iterable[str] = ()) -> Result:
    """Where and on what a benchmark runs; ``load`` is that of the last minute before it."""
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in packages},
    }


def warn_if_busy() -> None:
    """Say that something else is running: times of a busy machine are no result."""
    load, cpus = os.getloadavg()[0], len(os.sched_getaffinity(0))
    if load > 0.25 * cpus:
        print(f"note: load {load:.2f} on {cpus} cores; times of a busy machine are no result")


def save(path: Path | None, result: Result) -> None:
    """Write the result as JSON, if a path is given."""
    if path is not None:
        write_json(path, result)
        print(f"written to {path}")
