"""Objectives by name and goal; the only place where they become losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Record = Mapping[str, Any]
KNOWN = (
    "top1",
    "latency_ms",
    "energy_mj",
    "peak_memory_bytes",
    "weight_bytes",
    "streamed_bytes",
    "macs",
    "parameters",
)


class ObjectiveError(ValueError):
    """An objective that nothing reports, or a value that is missing."""


@dataclass(frozen=True, slots=True)
class Objective:
    """One column of a candidate record, and which way is better."""

    name: str
    goal: Literal["max", "min"]

    def loss(self, record: Record) -> float:
        """The value of ``record``, lower being better.

        Raises:
            ObjectiveError: The record has no value.
        """
        value = record.get(self.name)
        if value is None:
            raise ObjectiveError(
                f"{self.name} must have a value to be an objective, but candidate "
                f"{record.get('id')} has none. Choose another one under select.objectives."
            )
        return -float(value) if self.goal == "max" else float(value)


def parse(texts: Sequence[str]) -> tuple[Objective, ...]:
    """Objectives from ``"name:goal"``.

    Raises:
        ObjectiveError: No candidate reports such a name.
    """
    objectives = []
    for text in texts:
        name, _, goal = text.partition(":")
        if name not in KNOWN:
            raise ObjectiveError(
                f"an objective must be one of {', '.join(KNOWN)}, but got {name!r} in "
                "select.objectives."
            )
        objectives.append(Objective(name, "max" if goal == "max" else "min"))
    return tuple(objectives)


def losses(record: Record, objectives: Sequence[Objective]) -> dict[str, float]:
    """Losses of one record by objective name."""
    return {objective.name: objective.loss(record) for objective in objectives}


def loss_table(records: Sequence[Record], objectives: Sequence[Objective]) -> NDArray[np.float64]:
    """Losses [n_records, n_objectives]."""
    rows = [[objective.loss(record) for objective in objectives] for record in records]
    return np.asarray(rows, np.float64).reshape(len(rows), len(objectives))
