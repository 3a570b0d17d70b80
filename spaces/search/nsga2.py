"""NSGA-II: the best of all so far breed by crossing and mutation, one generation at a time.

Parents are the best candidates told when a generation begins, by Pareto rank and then by crowding
distance. Two of them, each the winner of a tournament of two, hand every decision on from one or
the other; then one decision changes on average. Children seen before are not evaluated again.

Source: Deb, Pratap, Agarwal and Meyarivan 2002, "A fast and elitist multiobjective genetic
algorithm: NSGA-II".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import final

import numpy as np

from spaces.search_support.archive import Archive
from spaces.search_support.proposals import Proposals
from spaces.search_support.selection import best_first
from spaces.space import Architecture, Choice, Known, SearchSpace, SpaceError, Trial, Value
from spaces.walk import mutate, walk

POPULATION = 20
"""Parents of a generation and its children; so many random ones, if it is given none."""
TRIES = 30
"""Pairs whose child is known or infeasible, before a random architecture."""


@final
class Nsga2:
    """Random or given architectures, then generations.

    Where several are asked before any is told, a generation may begin before the last one is told
    of in full; its parents are the best of what was told. Resume by
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
        self._random_trials = 0 if initial else POPULATION
        self._parents: list[Architecture] = []
        self._children = POPULATION

    def ask(self) -> Trial:
        """The given ones or random ones, then children.

        Raises:
            Exhausted: Everything was proposed.
            Infeasible: Nothing was found that satisfies ``feasible``.
        """
        if self._proposals.begun and self._proposals.proposed >= self._random_trials:
            if self._children == POPULATION:
                told = self._archive.told
                order = best_first(self._archive.table(told))[:POPULATION]
                self._parents = [told[int(at)].architecture for at in order]
                self._children = 0
            self._children += 1
            child = self._child()
            if child is not None:
                return self._proposals.trial(child)
        return self._proposals.trial(self._proposals.fresh())

    def tell(self, trial: Trial, losses: Mapping[str, float] | None) -> None:
        """Store losses; a candidate that failed is no parent.

        Raises:
            SpaceError: An objective is missing or not a finite number.
        """
        self._archive.add(trial, losses)

    def _child(self) -> Architecture | None:
        """A new, feasible child of two parents."""
        if not self._parents:
            return None
        for _ in range(TRIES):
            child = self._crossed(self._parent(), self._parent())
            changes = int(self._rng.poisson(1.0))
            try:
                child = mutate(self._space, child, self._rng, changes) if changes else child
            except SpaceError:  # it leaves nothing to change
                return None
            if self._proposals.claim(child):
                return child
        return None

    def _parent(self) -> Architecture:
        """The better of two; parents stand in order."""
        return self._parents[int(self._rng.integers(len(self._parents), size=2).min())]

    def _crossed(self, one: Architecture, other: Architecture) -> Architecture:
        """Each decision from one of both; a random one where neither has a legal value."""
        values = (one.values, other.values)

        def pick(choice: Choice, domain: tuple[Value, ...]) -> Value:
            first = int(self._rng.integers(2))
            for parent in (values[first], values[1 - first]):
                if parent.get(choice.name) in domain:
                    return parent[choice.name]
            return domain[int(self._rng.integers(len(domain)))]

        return walk(self._space, pick)


ALGORITHM = Nsga2
