"""What every search algorithm shares: new architectures only, feasible ones only, numbered.

A limit on a cost that is known before evaluating (latency by the cost model) is a hard
constraint: an architecture above it is never proposed. Where random sampling finds nothing below
the limit, a descent on the excess does, so that a tight limit costs tries and not the search.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import final

import numpy as np

from spaces.space import Architecture, Exhausted, SearchSpace, SpaceError, Trial
from spaces.walk import architecture, every, mutate, sample

SAMPLES, LEAST_SAMPLES = 200, 8
"""Infeasible random architectures for one proposal, at first and at least."""
DESCENTS = 800
"""Mutations of the least infeasible one, before giving up."""
REPEATS = 100
"""Random architectures seen before, after which the rest of the space is enumerated."""
LEFT_OVER = 20_000
"""Architectures enumerated for one proposal."""


class Infeasible(SpaceError):  # noqa: N818 - a plain word for a plain outcome
    """No architecture was found that satisfies the constraint."""


@final
class CostLimits:
    """Upper limits on costs that are known without evaluating; says whether one is feasible.

    Attributes:
        limits: Largest allowed value by name of the cost, e.g. ``{"latency_ms": 2.0}``.
        smallest: Smallest value seen by name of the cost, feasible or not.
    """

    def __init__(
        self,
        limits: Mapping[str, float],
        costs: Callable[[Architecture], Mapping[str, float]],
    ) -> None:
        """Limit the values that ``costs`` returns under the names of ``limits``.

        Raises:
            SpaceError: A limit is not a positive number.
        """
        for name, limit in limits.items():
            if not 0 < limit < math.inf:
                raise SpaceError(f"{name}: a limit must be a positive number, but got {limit}.")
        self.limits = dict(limits)
        self.smallest = dict.fromkeys(limits, math.inf)
        self._costs = costs

    def __call__(self, candidate: Architecture) -> bool:
        """Whether every cost is at or below its limit."""
        return self.excess(candidate) == 0

    def excess(self, candidate: Architecture) -> float:
        """Sum over costs of the part above the limit, relative to the limit; 0: feasible."""
        costs = self._costs(candidate)
        total = 0.0
        for name, limit in self.limits.items():
            cost = costs[name]
            if cost < self.smallest[name]:
                self.smallest[name] = cost
            if not cost <= limit:
                total += math.inf if math.isnan(cost) else cost / limit - 1
        return total

    def unmet(self) -> list[str]:
        """Costs of which no candidate kept to the limit; all, where each was kept by some."""
        missed = [name for name, limit in self.limits.items() if self.smallest[name] > limit]
        return missed or list(self.limits)

    def told(self, names: Iterable[str]) -> str:
        """Some of the limits as a condition."""
        return " and ".join(f"{name} <= {self.limits[name]:g}" for name in names)

    def __str__(self) -> str:
        """The limits as a condition."""
        return self.told(self.limits)


@final
class Proposals:
    """The stream of new, feasible architectures of one search.

    Its order depends on the generator alone. Architectures found infeasible are remembered, too:
    ``feasible`` is called once for each.
    """

    def __init__(
        self,
        space: SearchSpace,
        rng: np.random.Generator,
        feasible: Callable[[Architecture], bool] | None = None,
        initial: Sequence[Architecture] = (),
    ) -> None:
        """Propose architectures of ``space``, those in ``initial`` first.

        Raises:
            SpaceError: One of ``initial`` is not in the space.
        """
        self._space, self._rng, self._feasible = space, rng, feasible
        self._initial = deque(architecture(space, one.values) for one in initial)
        self._known: set[Architecture] = set()
        self._proposed = 0
        self._samples = SAMPLES
        self._nearest: tuple[float, Architecture] | None = None
        self._rest: Iterator[Architecture] | None = None

    @property
    def proposed(self) -> int:
        """Number of trials so far."""
        return self._proposed

    @property
    def begun(self) -> bool:
        """Whether all architectures that were given to begin with are proposed."""
        return not self._initial

    def knows(self, candidate: Architecture) -> bool:
        """Whether ``candidate`` was claimed before, with or without success."""
        return candidate in self._known

    def trial(self, candidate: Architecture) -> Trial:
        """``candidate`` with the next number; it must have been claimed."""
        self._proposed += 1
        return Trial(self._proposed - 1, candidate)

    def claim(self, candidate: Architecture) -> bool:
        """Whether ``candidate`` is new and feasible; from now on it is not new."""
        if candidate in self._known:
            return False
        self._known.add(candidate)
        excess = self._excess(candidate)
        if excess < math.inf and (self._nearest is None or excess <= self._nearest[0]):
            self._nearest = (excess, candidate)
        return excess == 0

    def _excess(self, candidate: Architecture) -> float:
        """How far from feasible, 0 if it is; infinite where a constraint says no more than no."""
        if self._feasible is None:
            return 0.0
        if isinstance(self._feasible, CostLimits):
            return self._feasible.excess(candidate)
        return 0.0 if self._feasible(candidate) else math.inf

    def fresh(self) -> Architecture:
        """The next initial architecture, then random ones, then what is left of a small space.

        Raises:
            Exhausted: Nothing new was found.
            Infeasible: Nothing feasible was ever found.
        """
        while self._initial:
            first = self._initial.popleft()
            if self.claim(first):
                return first
        found = self._sampled() or self._descended() or self._left_over()
        if found is None:
            raise self._end()
        return found

    def _sampled(self) -> Architecture | None:
        """A random architecture; each failure halves the tries of the next time."""
        known, repeats = len(self._known), 0
        while repeats < REPEATS and len(self._known) < known + self._samples:
            before = len(self._known)
            candidate = sample(self._space, self._rng)
            if self.claim(candidate):
                return candidate
            repeats += len(self._known) == before
        self._samples = max(self._samples // 2, LEAST_SAMPLES)
        return None

    def _descended(self) -> Architecture | None:
        """Mutations of the latest feasible or least infeasible architecture."""
        for _ in range(DESCENTS if self._feasible else 0):
            if self._nearest is None:
                return None
            try:
                candidate = mutate(self._space, self._nearest[1], self._rng)
            except SpaceError:  # it leaves nothing to change
                return None
            if self.claim(candidate):
                return candidate
        return None

    def _left_over(self) -> Architecture | None:
        known = len(self._known)
        self._rest = self._rest or every(self._space)
        for candidate in itertools.islice(self._rest, LEFT_OVER):
            if self.claim(candidate):
                return candidate
            if len(self._known) >= known + DESCENTS:
                return None
        return None

    def _end(self) -> Exception:
        if self._proposed or self._feasible is None:
            return Exhausted(
                f"{self._space.name}: nothing new was found after {self._proposed} proposals."
            )
        target, smallest = "the constraint", ""
        if isinstance(self._feasible, CostLimits):
            unmet = self._feasible.unmet()
            target = self._feasible.told(unmet)
            seen = (f"{name} {self._feasible.smallest[name]:g}" for name in unmet)
            smallest = f", the smallest seen being {' and '.join(seen)}"
        return Infeasible(
            f"{self._space.name}: an architecture must satisfy {target}, but got none in "
            f"{len(self._known)} tries{smallest}. Raise the limit, or offer smaller choices."
        )
