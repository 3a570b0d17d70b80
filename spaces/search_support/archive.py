"""What a search algorithm was told, and the Pareto front of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import final

import numpy as np

from spaces.space import FloatArray, SpaceError, Trial

Losses = tuple[float, ...]


@final
class Archive:
    """Results by trial number; the same whatever the order in which they arrive.

    Attributes:
        objectives: Names of the losses that are compared; others are ignored.
    """

    def __init__(self, objectives: tuple[str, ...]) -> None:
        """Compare by ``objectives``.

        Raises:
            SpaceError: There is none.
        """
        if not objectives:
            raise SpaceError("a search must have an objective, but got none.")
        self.objectives = objectives
        self._losses: dict[int, Losses] = {}
        self._trials: dict[int, Trial] = {}
        self._front: dict[int, Trial] = {}

    def add(self, trial: Trial, losses: Mapping[str, float] | None) -> None:
        """Store losses; None, for a candidate that failed, stores nothing.

        Raises:
            SpaceError: An objective is missing or not a finite number.
        """
        if losses is None:
            return
        row = tuple(float(losses.get(name, math.nan)) for name in self.objectives)
        if not all(map(math.isfinite, row)):
            raise SpaceError(
                f"trial {trial.number}: losses must hold a finite number for each of "
                f"{', '.join(self.objectives)}, but got {dict(losses)}. "
                "Tell None for a candidate that failed."
            )
        self._losses[trial.number], self._trials[trial.number] = row, trial
        if any(dominates(self._losses[number], row) for number in self._front):
            return
        kept = {n: one for n, one in self._front.items() if not dominates(row, self._losses[n])}
        self._front = dict(sorted({**kept, trial.number: trial}.items()))

    @property
    def front(self) -> tuple[Trial, ...]:
        """Trials that no other one dominates, in the order of asking."""
        return tuple(self._front.values())

    @property
    def told(self) -> tuple[Trial, ...]:
        """Trials that did not fail, in the order of asking."""
        return tuple(self._trials[number] for number in sorted(self._trials))

    def table(self, trials: Sequence[Trial]) -> FloatArray:
        """The losses told of trials, [n, m]."""
        rows = [self._losses[trial.number] for trial in trials]
        return np.array(rows, np.float64).reshape(len(rows), len(self.objectives))

    def losses(self, trial: Trial) -> Losses:
        """The losses told of a trial, in the order of ``objectives``."""
        return self._losses[trial.number]


def dominates(one: Losses, other: Losses) -> bool:
    """Whether ``one`` is no worse in every loss and better in one."""
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))
