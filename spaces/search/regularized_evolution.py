"""Regularized evolution: the best of a few young candidates breeds, and the oldest leaves.

The population is the youngest candidates that were told, however good older ones were: a lucky
score does not breed for ever. Of a few drawn from it the best by Pareto rank and crowding distance
has one decision changed.

Source: Real, Aggarwal, Huang and Le 2019, "Regularized evolution for image classifier architecture
search" (arXiv:1802.01548), there for one objective.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import final

import numpy as np

from spaces.search_support.archive import Archive
from spaces.search_support.proposals import Proposals
from spaces.search_support.selection import best_first
from spaces.space import Architecture, Known, SearchSpace, SpaceError, Trial
from spaces.walk import mutate

RANDOM_TRIALS = 12
"""Proposals before the first child, where it is given none to begin with."""
POPULATION, TOURNAMENT = 50, 10
TRIES = 30
"""Children of one parent that are known or infeasible, before a random architecture."""


@final
class RegularizedEvolution:
    """Random or given architectures, then children of tournaments among the youngest.

    Resume by :func:`spaces.search_support.replay.replay`.
    """

    def __init__(
        self,
        space: SearchSpace,
        rng: np.random.Generator,
        objectives: tuple[str, ...],
        feasible: Callable[[Architecture], bool] | None = None,
        initial: Sequence[Architecture] = (),
        known: Known | None = None,
    ) -> None:
        """See :class:`spaces.space.AlgorithmFactory`; ``known`` is of no use to it."""
        self._space, self._rng = space, rng
        self._proposals = Proposals(space, rng, feasible, initial)
        self._archive = Archive(objectives)
        self._random_trials = 0 if initial else RANDOM_TRIALS

    def ask(self) -> Trial:
        """The given ones or random ones, then children.

        Raises:
            Exhausted: Everything was proposed.
            Infeasible: Nothing was found that satisfies ``feasible``.
        """
        if self._proposals.begun and self._proposals.proposed >= self._random_trials:
            child = self._child()
            if child is not None:
                return self._proposals.trial(child)
        return self._proposals.trial(self._proposals.fresh())

    def tell(self, trial: Trial, losses: Mapping[str, float] | None) -> None:
        """Store losses; a candidate that failed does not enter the population.

        Raises:
            SpaceError: An objective is missing or not a finite number.
        """
        self._archive.add(trial, losses)

    def _child(self) -> Architecture | None:
        """A new, feasible child of the parent; after some tries with more than one change."""
        young = self._archive.told[-POPULATION:]
        if not young:
            return None
        drawn = self._rng.choice(len(young), size=min(TOURNAMENT, len(young)), replace=False)
        order = best_first(self._archive.table(young))
        parent = young[next(int(at) for at in order if at in drawn)]
        for tried in range(TRIES):
            try:
                child = mutate(self._space, parent.architecture, self._rng, 1 + tried // 10)
            except SpaceError:  # it leaves nothing to change
                return None
            if self._proposals.claim(child):
                return child
        return None


ALGORITHM = RegularizedEvolution
