"""Which networks of a space are trained together: those that can be chosen in earnest.

The largest network of a space of real size has every window, width and expansion at its greatest:
ten times the multiply-adds of the largest published one. No search ends there, but as a teacher it
would take most of the time and the memory of every step. So networks above limits are neither
sampled nor teachers; the teacher is found by shrinking the largest until it is within them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import final

import numpy as np

from spaces.graph import ShapeError
from spaces.search_support.proposals import CostLimits
from spaces.space import Architecture, Choice, SpaceError, TrainableSpace, Value
from spaces.walk import neighbours, sample, walk

FAMILY_FACTOR = 3
"""Networks may have so many times the MACs and the parameters of the largest published ones."""
TRIES = 20
"""Random networks drawn before the smallest is taken instead."""
_REMEMBERED = 10_000  # costs of networks
MACS, PARAMETERS = "macs", "parameters"
Costs = Callable[[Architecture], Mapping[str, float]]


@final
class Reach:
    """The networks of a space within limits."""

    def __init__(
        self,
        space: TrainableSpace,
        costs: Costs | None = None,
        limits: Mapping[str, float] | None = None,
    ) -> None:
        """Without ``costs`` and ``limits`` all networks are within.

        Args:
            space: Sized for the data.
            costs: Of one network by name, ``macs`` and all of ``limits`` among them.
            limits: Largest allowed values by name.
        """
        self.space = space
        self._costs = functools.lru_cache(_REMEMBERED)(costs) if costs else None
        self._limits = CostLimits(limits, self._costs) if self._costs and limits else None
        self._largest: Architecture | None = None

    @property
    def limits(self) -> dict[str, float]:
        """Largest allowed values by name; empty: none."""
        return dict(self._limits.limits) if self._limits else {}

    def allows(self, point: Architecture) -> bool:
        """Whether a network is within the limits."""
        return self._excess(point) == 0

    def largest(self) -> Architecture:
        """The space's largest network, or what is left of it within the limits.

        Each time the decision is changed that takes away most of the excess; where one change is
        enough, the one that leaves most MACs. If nothing helps it is the smallest network. Then
        it grows again, as long as one change gives it more MACs within the limits.
        """
        if self._largest is None:
            whole = self.space.largest()
            self._largest = whole if self.allows(whole) else self._grown(self._shrunk(whole))
        return self._largest

    def smallest(self) -> Architecture:
        """The space's smallest network, which is trained in any case."""
        return self.space.smallest()

    def sample(self, rng: np.random.Generator) -> Architecture:
        """A random network within the limits: each live choice uniform over its legal values.

        What is too large is drawn anew, and each time more decisions are those of the smallest
        network, in the end all of them.
        """
        least = self.space.smallest().values
        for tried in range(TRIES):
            point = self._drawn(rng, least, tried / TRIES)
            if self.allows(point):
                return point
        return self.space.smallest()

    def _drawn(
        self, rng: np.random.Generator, least: Mapping[str, Value], share: float
    ) -> Architecture:
        """A random network with a share of its decisions as in ``least``."""
        if not share:
            return sample(self.space, rng)

        def pick(choice: Choice, domain: tuple[Value, ...]) -> Value:
            if rng.random() < share and least.get(choice.name) in domain:
                return least[choice.name]
            return domain[int(rng.integers(len(domain)))]

        return walk(self.space, pick)

    def _shrunk(self, point: Architecture) -> Architecture:
        """A network within the limits that is reached by changing decisions one by one."""
        excess = self._excess(point)
        while excess > 0:
            left = {one: self._excess(one) for one in neighbours(self.space, point)}
            enough = [one for one in left if not left[one]]
            if enough:
                return max(enough, key=self._macs)
            point = min(left, key=lambda one: left[one], default=point)
            if left.get(point, math.inf) >= excess:
                return self.space.smallest()
            excess = left[point]
        return point

    def _grown(self, point: Architecture) -> Architecture:
        """A network within the limits such that no single change gives more MACs within them."""
        while True:
            within = [one for one in neighbours(self.space, point) if self.allows(one)]
            largest = max(within, key=self._macs, default=point)
            if self._macs(largest) <= self._macs(point):
                return point
            point = largest

    def _excess(self, point: Architecture) -> float:
        return self._limits.excess(point) if self._limits else 0.0

    def _macs(self, point: Architecture) -> float:
        return self._costs(point)[MACS] if self._costs else math.nan


def family_limits(
    baselines: Iterable[Architecture], sizes: Callable[[Architecture], Mapping[str, float]]
) -> dict[str, float]:
    """How large networks of a space may be that are not much larger than its published ones.

    Args:
        baselines: Published or hand-made networks; those that do not fit the input do not count.
            Without any there are no limits.
        sizes: ``macs`` and ``parameters`` of a network among others.
    """
    found = []
    for point in baselines:
        try:
            found.append(sizes(point))
        except (ShapeError, SpaceError):
            continue
    names = (MACS, PARAMETERS) if found else ()
    return {name: FAMILY_FACTOR * max(one[name] for one in found) for name in names}
