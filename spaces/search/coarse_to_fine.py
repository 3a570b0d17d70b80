"""Coarse to fine: widths and depths first, then kinds of ops, windows and expansions.

Pareto local search in two stages. At first a proposal changes how wide or how deep a member of the
front is, with everything else as it stands there; when a few such changes in a row leave the front
as it is, anything may be changed. How large a network is says most about what it costs and how
well it does, so that part of the space is settled before the rest is looked at.

Source: Qin et al. 2024, "MobileNetV4: universal models for the mobile ecosystem"
(arXiv:2404.10518), section 5, whose coarse search is for filter sizes and whose fine search is for
blocks; there by weight sharing, for one latency at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import final

import numpy as np

from spaces.search_support.archive import Archive
from spaces.search_support.proposals import Proposals
from spaces.space import Architecture, Known, SearchSpace, Trial, Value
from spaces.walk import step, steps

RANDOM_TRIALS = 12
"""Proposals before the first neighbour, where it is given none to begin with."""
PATIENCE = 8
"""Coarse changes in a row that leave the front as it is, before fine ones are made."""
INFEASIBLE_STEPS = 100
"""Neighbours of one member refused by the constraint, before the next member is tried."""
SIZES = ("channels", "width", "filters", "layers", "depth", "repeats", "side")
"""How names of choices end, or begin after their last slash, that say how large a network is."""
ABSENT = "skip"
"""A value that takes a block out of the network: a matter of depth, whichever choice has it."""


@final
class CoarseToFine:
    """Random or given architectures, then neighbours of the front in size, then in all.

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
        self._explored: Counter[int] = Counter()
        self._steps: dict[tuple[int, bool], list[tuple[str, Value]]] = {}
        self._coarse: set[int] = set()

    def ask(self) -> Trial:
        """The given ones or random ones, then neighbours of the front.

        Raises:
            Exhausted: Everything was proposed.
            Infeasible: Nothing was found that satisfies ``feasible``.
        """
        if self._proposals.begun and self._proposals.proposed >= self._random_trials:
            for coarse in (True, False) if self._still_coarse() else (False,):
                found = self._near_front(coarse)
                if found is not None:
                    return found
        return self._proposals.trial(self._proposals.fresh())

    def tell(self, trial: Trial, losses: Mapping[str, float] | None) -> None:
        """Store losses; None says that the candidate failed, which leaves the front as it is.

        Raises:
            SpaceError: An objective is missing or not a finite number.
        """
        self._archive.add(trial, losses)

    def _still_coarse(self) -> bool:
        """Whether one of the last coarse changes is on the front, or few were told."""
        told = [one.number for one in self._archive.told if one.number in self._coarse]
        front = {one.number for one in self._archive.front}
        return len(told) < PATIENCE or bool(front.intersection(told[-PATIENCE:]))

    def _near_front(self, coarse: bool) -> Trial | None:
        """A neighbour of the least explored member that has one left."""
        front = self._archive.front
        shuffled = [front[int(index)] for index in self._rng.permutation(len(front))]
        for member in sorted(shuffled, key=lambda one: self._explored[one.number]):
            neighbour = self._neighbour(member, coarse)
            if neighbour is not None:
                self._explored[member.number] += 1
                trial = self._proposals.trial(neighbour)
                if coarse:
                    self._coarse.add(trial.number)
                return trial
        return None

    def _neighbour(self, member: Trial, coarse: bool) -> Architecture | None:
        """The next new, feasible neighbour in a random order that is drawn once for a member."""
        key = (member.number, coarse)
        if key not in self._steps:
            listed = steps(self._space, member.architecture)
            kept = [one for one in listed if not coarse or is_size(member.architecture, *one)]
            self._steps[key] = [kept[int(i)] for i in self._rng.permutation(len(kept))]
        left = self._steps[key]
        for _ in range(min(INFEASIBLE_STEPS, len(left))):
            neighbour = step(self._space, member.architecture, *left.pop())
            if self._proposals.claim(neighbour):
                return neighbour
        return None


def is_size(point: Architecture, name: str, value: Value) -> bool:
    """Whether setting a choice of ``point`` to ``value`` changes how wide or deep it is."""
    last = name.rpartition("/")[2]
    sized = last.endswith(SIZES) and last != "channels_per_group"
    return sized or ABSENT in (value, point.values.get(name))


ALGORITHM = CoarseToFine
