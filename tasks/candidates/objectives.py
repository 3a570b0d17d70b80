"""Objectives by name and goal; the only place where they become losses."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tasks.candidates.other_devices import is_elsewhere
from tasks.learning.problem import load_problem, problem_names

COSTS = (
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


class Valued(Protocol):
    """What can be compared: a candidate, or a finished model."""

    @property
    def id(self) -> str:
        """Of its architecture."""

    def value(self, name: str) -> float | None:
        """A metric or a cost; None: unknown."""


@dataclass(frozen=True, slots=True)
class Objective:
    """A metric or a cost by name, and which way is better."""

    name: str
    goal: Literal["max", "min"]

    def of(self, one: Valued) -> float:
        """The value itself.

        Raises:
            ObjectiveError: There is none.
        """
        value = one.value(self.name)
        if value is None:
            raise ObjectiveError(
                f"{self.name} must have a value to be an objective, but candidate "
                f"{one.id} has none. Choose another one under select.objectives."
            )
        return float(value)

    def loss(self, one: Valued) -> float:
        """The value, lower being better.

        Raises:
            ObjectiveError: There is none.
        """
        return -self.of(one) if self.goal == "max" else self.of(one)


@functools.cache
def metrics() -> Mapping[str, str]:
    """The metric of each problem there is, by the problem's name."""
    return {name: load_problem(name).metric.name for name in problem_names()}


def is_cost(name: str) -> bool:
    """Whether an objective is a cost, and no metric: on ``cost.device`` or on another device."""
    return name in COSTS or is_elsewhere(name)


def known(problem: str | None = None, elsewhere: Sequence[str] = ()) -> tuple[str, ...]:
    """Names that may be objectives: of one problem, or of any; and costs ``elsewhere``."""
    scores = metrics().values() if problem is None else (metrics()[problem],)
    return (*dict.fromkeys(scores), *COSTS, *elsewhere)


def parse(
    texts: Sequence[str], problem: str | None = None, elsewhere: Sequence[str] | None = None
) -> tuple[Objective, ...]:
    """Objectives from ``"name:goal"``.

    Args:
        texts: What stands under ``select.objectives``.
        problem: Whose candidates are to be compared; None: of any problem.
        elsewhere: Costs on other devices than ``cost.device``; None: on any device.

    Raises:
        ObjectiveError: No candidate, or none of this problem, reports such a name.
    """
    parted = [text.partition(":") for text in texts]
    for name, _, _ in parted:
        if elsewhere is None and is_elsewhere(name):
            continue
        _check(name, texts, problem, elsewhere or ())
    return tuple(Objective(name, "max" if goal == "max" else "min") for name, _, goal in parted)


def _check(name: str, texts: Sequence[str], problem: str | None, elsewhere: Sequence[str]) -> None:
    names = known(problem, elsewhere)
    if name in names:
        return
    if is_elsewhere(name):
        device = name.partition("/")[0]
        raise ObjectiveError(
            f"an objective must be one of {', '.join(names)}, but got {name!r} in "
            f"select.objectives. Name {device} in cost.devices, or choose another one; on "
            "cost.device it is latency_ms."
        )
    owner = next((owner for owner, metric in metrics().items() if metric == name), None)
    if problem is None or owner is None:
        raise ObjectiveError(
            f"an objective must be one of {', '.join(names)}, but got {name!r} in "
            "select.objectives."
        )
    own = load_problem(problem).metric
    cured = [f"{own.name}:{own.goal}" if text.startswith(f"{name}:") else text for text in texts]
    goals = ", ".join(text.replace(":", ": ") for text in dict.fromkeys(cured))
    raise ObjectiveError(
        f"an objective of {problem} must be one of {', '.join(names)}, but got {name!r}, "
        f"which {owner} is scored by. Set select.objectives to {{{goals}}}."
    )


def losses(one: Valued, objectives: Sequence[Objective]) -> dict[str, float]:
    """Losses of one by objective name."""
    return {objective.name: objective.loss(one) for objective in objectives}


def loss_table(several: Sequence[Valued], objectives: Sequence[Objective]) -> NDArray[np.float64]:
    """Losses [n, n_objectives]."""
    rows = [[objective.loss(one) for objective in objectives] for one in several]
    return np.asarray(rows, np.float64).reshape(len(rows), len(objectives))
