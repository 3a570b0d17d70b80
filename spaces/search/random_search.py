"""Random search without repeats: the baseline that every other algorithm must beat."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import final

import numpy as np

from spaces.search_support.archive import Archive
from spaces.search_support.proposals import Proposals
from spaces.space import Architecture, Known, SearchSpace, Trial


@final
class RandomSearch:
    """Each live choice uniform over its legal values; nothing is learnt from losses.

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
        self._proposals = Proposals(space, rng, feasible, initial)
        self._archive = Archive(objectives)

    def ask(self) -> Trial:
        """The next random architecture.

        Raises:
            Exhausted: Everything was proposed.
            Infeasible: Nothing was found that satisfies ``feasible``.
        """
        return self._proposals.trial(self._proposals.fresh())

    def tell(self, trial: Trial, losses: Mapping[str, float] | None) -> None:
        """Check the losses; they change nothing."""
        self._archive.add(trial, losses)


ALGORITHM = RandomSearch
