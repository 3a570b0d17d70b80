"""All candidates of a search and their order.

A candidate keeps its place when a higher rung scores it anew. Scores of different rungs come from
trainings of different lengths and are never compared: whoever reached a higher rung ranks above.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, final

import numpy as np

from spaces.search_support.dominance import is_on_front, pareto_ranks
from tasks.candidates import fidelity
from tasks.candidates.candidate import Candidate
from tasks.candidates.finalists import choose_finalists
from tasks.candidates.judgement import Agreement
from tasks.candidates.objectives import Objective, loss_table
from tasks.run.params import SelectParams


@final
class Board:
    """Candidates, in the order in which they were first told."""

    def __init__(self, objectives: Sequence[Objective]) -> None:
        """An empty one."""
        self._objectives = objectives
        self._places: dict[str, int] = {}
        self.candidates: list[Candidate] = []

    def add(self, one: Candidate) -> None:
        """A new one; or in the place of that of a lower rung, unless it failed only now."""
        at = self._places.get(one.id)
        if at is None:
            self._places[one.id] = len(self.candidates)
            lower: tuple[float | None, ...] = (None,) * _rung(one)
            self.candidates.append(replace(one, lower_rungs=lower))
        elif one.is_done:
            before = self.candidates[at]
            lower = (*before.lower_rungs, before.score)
            self.candidates[at] = replace(one, lower_rungs=lower)

    @property
    def good(self) -> list[Candidate]:
        """Those that have a score."""
        return [one for one in self.candidates if one.is_done]

    @property
    def failed(self) -> int:
        """How many have none."""
        return len(self.candidates) - len(self.good)

    @property
    def highest(self) -> list[Candidate]:
        """Those on the highest rung so far."""
        good = self.good
        top = max((_rung(one) for one in good), default=0)
        return [one for one in good if _rung(one) == top]

    @property
    def front(self) -> list[Candidate]:
        """Those of the highest rung that none of it dominates."""
        highest = self.highest
        there = is_on_front(loss_table(highest, self._objectives))
        return [one for one, is_there in zip(highest, there, strict=True) if is_there]

    def best(self, count: int) -> list[Candidate]:
        """Of the highest rung, those that keep most of the front's hypervolume."""
        pool = self.highest
        if not pool:
            return []
        ranks = self._ranks(pool)
        ranked = [replace(one, rank=int(rank)) for one, rank in zip(pool, ranks, strict=True)]
        goals = [f"{goal.name}:{goal.goal}" for goal in self._objectives]
        return choose_finalists(ranked, count, SelectParams(objectives=tuple(goals)))

    def rank(self) -> None:
        """Give each its ``rank``, and say who is ``on_pareto``."""
        good, above, found = self.good, 0, dict[str, int]()
        for rung in sorted({_rung(one) for one in good}, reverse=True):
            part = [one for one in good if _rung(one) == rung]
            ranks = self._ranks(part) + above
            found |= {one.id: int(rank) for one, rank in zip(part, ranks, strict=True)}
            above = int(ranks.max()) + 1
        self.candidates = [
            replace(one, rank=found.get(one.id), on_pareto=found.get(one.id) == 0)
            for one in self.candidates
        ]

    def agreement(self, rung: int, epochs: int) -> Agreement:
        """How the rung before had ordered those that were promoted to this one."""
        pairs = [
            (one.lower_rungs[-1], one.score, one.macs)
            for one in self.good
            if one.rung == rung and one.lower_rungs[-1] is not None
        ]
        before, after, macs = np.array(pairs, float).reshape(-1, 3).T
        enough = len(pairs) > 2
        return Agreement(
            rung=rung,
            candidates=len(pairs),
            epochs=epochs,
            tau=fidelity.kendall(before, after) if enough else None,
            tau_macs=fidelity.kendall(macs, after) if enough else None,
        )

    def note(self) -> str:
        """The highest rung in a few words."""
        if not self.highest:
            return "none scored yet"
        best = max(self.highest, key=lambda one: one.score or 0.0)
        lost = f", {self.failed} failed" if self.failed else ""
        return (
            f"best {best.score:.3f} at {best.latency_ms:.2f} ms, "
            f"{len(self.front)} on the front{lost}"
        )

    def _ranks(self, candidates: Sequence[Candidate]) -> Any:
        return pareto_ranks(loss_table(candidates, self._objectives))


def _rung(one: Candidate) -> int:
    """The rung that scored it; the first where nobody said it."""
    return one.rung or 0
