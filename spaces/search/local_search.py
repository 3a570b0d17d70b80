"""Pareto local search: one decision away from the front, its least explored member first.

After a random phase, or after the architectures it is given to begin with, each proposal changes
one decision of a member of the Pareto front; where pictures may have several sizes, a member is
tried at the others first. When all neighbours of the whole front are known, a
random architecture restarts the search. On tables of known truth it is hard to beat by anything
as simple below a few hundred evaluations.

Source: Paquete, Chiarandini and Stuetzle 2004, "Pareto local optimum sets in the biobjective
traveling salesman problem"; White et al. 2021, "Exploring the loss landscape in neural
architecture search" (arXiv:2005.02960), for local search on architectures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import final

import numpy as np

from spaces.search_support.archive import Archive
from spaces.search_support.proposals import Proposals
from spaces.sided import SIDE
from spaces.space import Architecture, Known, SearchSpace, Trial, Value
from spaces.walk import step, steps

RANDOM_TRIALS = 12
"""Proposals before the first neighbour, where it is given none to begin with."""
INFEASIBLE_STEPS = 100
"""Neighbours of one member refused by the constraint, before the next member is tried."""


@final
class LocalSearch:
    """Random or given architectures, then neighbours of front members.

    Several may be asked before any is told; the trajectory depends on the generator, on the
    losses, and on what was told before what was asked. Resume by
    :func:`spaces.search_support.replay.replay`.
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
        self._explored: Counter[int] = Counter()
        self._steps: dict[int, list[tuple[str, Value]]] = {}

    def ask(self) -> Trial:
        """The given ones or random ones, then neighbours of the front.

        Raises:
            Exhausted: Everything was proposed.
            Infeasible: Nothing was found that satisfies ``feasible``.
        """
        if self._proposals.begun and self._proposals.proposed >= self._random_trials:
            for member in self._least_explored_first():
                neighbour = self._neighbour(member)
                if neighbour is not None:
                    self._explored[member.number] += 1
                    return self._proposals.trial(neighbour)
        return self._proposals.trial(self._proposals.fresh())

    def tell(self, trial: Trial, losses: Mapping[str, float] | None) -> None:
        """Store losses; None says that the candidate failed, which leaves the front as it is.

        Raises:
            SpaceError: An objective is missing or not a finite number.
        """
        self._archive.add(trial, losses)

    def _least_explored_first(self) -> list[Trial]:
        front = self._archive.front
        shuffled = [front[int(index)] for index in self._rng.permutation(len(front))]
        return sorted(shuffled, key=lambda member: self._explored[member.number])

    def _neighbour(self, member: Trial) -> Architecture | None:
        """The next new, feasible neighbour in a random order that is drawn once for a member."""
        if member.number not in self._steps:
            listed = steps(self._space, member.architecture)
            drawn = [listed[int(i)] for i in self._rng.permutation(len(listed))]
            # Taken from the end: the side of its pictures changes a network as a whole, and is one
            # decision among a hundred that each change a block.
            self._steps[member.number] = sorted(drawn, key=lambda change: change[0] == SIDE)
        left = self._steps[member.number]
        for _ in range(min(INFEASIBLE_STEPS, len(left))):
            neighbour = step(self._space, member.architecture, *left.pop())
            if self._proposals.claim(neighbour):
                return neighbour
        return None


ALGORITHM = LocalSearch
