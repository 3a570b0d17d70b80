"""Runs as plain values, and what a place to write them down must offer."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tasks.tracking.tracking_view import view_tags

PARENT_TAG = "mlflow.parentRunId"
CANDIDATE_TAG = "candidate_id"
_EXPERIMENT_KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Opens the page of runs and charts instead of the one for language model traces.

Since its page has a switch between the two, MLflow (3.17) goes by that switch and not by this tag,
unless the address says ``workflowType``: see :func:`tasks.tracking.tracking_view.view_fragment`.
"""

BATCH = 200
"""Runs a query asks for; SQLite admits 32,766 placeholders, a URL of a server far fewer."""


@dataclass(frozen=True, slots=True)
class RunNote:
    """What a run should say; writing it twice changes nothing.

    Attributes:
        key: identity of a run that does not exist yet; the id is derived from it where possible.
        run_id: the run to change, or ``None`` for a new one.
        name: shown name of a new run.
        status: ``RUNNING``, ``FINISHED``, ``FAILED``, ``KILLED``, or ``None`` to leave it.
        params: written once; MLflow forbids another value later, so a second one is ignored.
        metrics: value, or series of values by step. Non-finite values are left out: unknown is
            absent, and MLflow would show NaN as 0.
        tags: replaced where present.
    """

    key: str
    run_id: str | None = None
    name: str = ""
    status: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Sequence[float]] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    def series(self) -> Iterator[tuple[str, list[tuple[int, float]]]]:
        """Metrics as ``(name, [(step, value), ...])``, finite values only."""
        for key, values in self.metrics.items():
            points = [(step, float(v)) for step, v in enumerate(values) if math.isfinite(v)]
            if points:
                yield key, points


class RunStore(Protocol):
    """A place for runs of one experiment."""

    @property
    def experiment_id(self) -> str:
        """Id of the experiment in MLflow."""
        ...

    def find(self, tags: Mapping[str, str]) -> dict[str, str]:
        """Active runs that carry all the tags, newest first: run id to status."""
        ...

    def children(self, parent: str) -> dict[str, str]:
        """Candidate id to run id of a parent's runs, deleted ones included."""
        ...

    def write(self, notes: Sequence[RunNote]) -> list[str]:
        """Create or change runs; gives their ids."""
        ...

    def add_artifacts(self, run_id: str, folder: str, paths: Iterable[Path]) -> None:
        """Copy files or folders into ``folder`` of a run's artifacts."""
        ...


def experiment_tags(metric: str) -> dict[str, str]:
    """Tags of an experiment: its kind, and its saved view of candidates scored by ``metric``."""
    return {**_EXPERIMENT_KIND, **view_tags(metric)}


def now_ms() -> int:
    """Milliseconds since 1970, as MLflow counts."""
    return time.time_ns() // 1_000_000


def batches(items: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut into parts that fit one query."""
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]
