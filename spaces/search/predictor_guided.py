"""Predictor-guided search: a model of the losses says which candidate promises most.

After a random phase, or after the architectures it is given to begin with, two kinds of proposals
take turns. One is a neighbour of the least explored member of the front, as local search has it,
but the most promising of them and not any. The other is the most promising of a pool that is bred
from the front and from its own best. Promising is what is expected to add most hypervolume to the
front: objectives that are known without evaluating are computed, others are predicted by a
Gaussian process, which takes the known ones for features, too. The front is what the model
believes of the architectures that were told, so that a lucky score does not hold a place in it.

Source: the loop of predictor and true evaluations is that of White, Neiswanger and Savani 2021,
"BANANAS" (arXiv:1910.11858), and of Cummings et al. 2022, "A hardware-aware framework for
accelerating neural architecture search across modalities" (arXiv:2205.10358).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import final

import numpy as np

from spaces.search_support.archive import Archive
from spaces.search_support.dominance import is_on_front
from spaces.search_support.features import Features
from spaces.search_support.improvement import added
from spaces.search_support.proposals import Proposals
from spaces.search_support.surrogate import Surrogate
from spaces.space import Architecture, FloatArray, Known, SearchSpace, SpaceError, Trial, Value
from spaces.walk import mutate, sample, step, steps

RANDOM_TRIALS = 12
"""Proposals before the first prediction, where it is given none to begin with."""
LEAST_TOLD = 4
"""Losses that a model needs."""
POOL, BRED, NEAR = 150, 24, 24
"""Candidates kept, bred for a proposal, and neighbours looked at for one."""
STRANGERS = 0.2
"""Share of random architectures among those bred."""
QUANTILES = np.array([-1.534, -0.887, -0.489, -0.157, 0.157, 0.489, 0.887, 1.534])
"""Of a standard normal distribution: fewer of them do than of random draws."""
REFERENCE, CEILING = 1.5, 3.0
"""Losses that still add hypervolume, and losses that are still told apart, are so many times the
distance from the best to the median above the median."""
BEYOND = 0.2
"""Costs that still add hypervolume are so far beyond the greatest, in units of their range."""
COST_WEIGHT, COST_RANGE = 2.0, 2.0
"""Known losses as features: their weight beside a decision's, and where they are cut, in
deviations. They are the best predictors while examples are few."""


@final
class PredictorGuided:
    """Random or given architectures, then those that promise most.

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
        """See :class:`spaces.space.AlgorithmFactory`."""
        self._space, self._rng = space, rng
        self._proposals = Proposals(space, rng, feasible, initial)
        self._archive = Archive(objectives)
        self._model = Model(space, objectives, known)
        self._random_trials = 0 if initial else RANDOM_TRIALS
        self._open: dict[int, Trial] = {}
        self._explored: Counter[int] = Counter()
        self._steps: dict[int, list[tuple[str, Value]]] = {}
        self._pool: list[Architecture] = []

    def ask(self) -> Trial:
        """The given ones or random ones, then the most promising neighbour or bred one.

        Raises:
            Exhausted: Everything was proposed.
            Infeasible: Nothing was found that satisfies ``feasible``.
        """
        found = None
        enough = len(self._archive.told) >= LEAST_TOLD
        if enough and self._proposals.begun and self._proposals.proposed >= self._random_trials:
            self._model.learn(self._archive)
            if self._proposals.proposed % 2:
                found = self._near()
            found = found or self._bred()
        trial = self._proposals.trial(found or self._proposals.fresh())
        self._open[trial.number] = trial
        return trial

    def tell(self, trial: Trial, losses: Mapping[str, float] | None) -> None:
        """Store losses; nothing is learned from a candidate that failed.

        Raises:
            SpaceError: An objective is missing or not a finite number.
        """
        self._archive.add(trial, losses)
        self._open.pop(trial.number, None)

    def _near(self) -> Architecture | None:
        """The most promising of some neighbours of the least explored member of the front."""
        front = self._archive.front
        shuffled = [front[int(at)] for at in self._rng.permutation(len(front))]
        for member in sorted(shuffled, key=lambda one: self._explored[one.number]):
            if member.number not in self._steps:
                listed = steps(self._space, member.architecture)
                order = self._rng.permutation(len(listed))
                self._steps[member.number] = [listed[int(at)] for at in order]
            left = self._steps[member.number]
            taken = {step(self._space, member.architecture, *one): one for one in left[:NEAR]}
            new = [one for one in taken if not self._proposals.knows(one)]
            del left[:NEAR]
            found, rest = self._claimed(new, least=0.0)
            left.extend(taken[one] for one in rest)
            if found is not None:
                self._explored[member.number] += 1
                return found
        return None

    def _bred(self) -> Architecture | None:
        """The most promising of the pool, after some were bred into it."""
        parents = [trial.architecture for trial in self._archive.front]
        parents += self._pool[: len(parents)]
        bred = [self._child(parents) for _ in range(BRED)]
        new = dict.fromkeys([*self._pool, *bred])
        found, rest = self._claimed([one for one in new if not self._proposals.knows(one)])
        self._pool = rest[:POOL]
        return found

    def _child(self, parents: Sequence[Architecture]) -> Architecture:
        if self._rng.random() < STRANGERS:
            return sample(self._space, self._rng)
        parent = parents[int(self._rng.integers(len(parents)))]
        try:
            return mutate(self._space, parent, self._rng, int(self._rng.geometric(0.5)))
        except SpaceError:  # it leaves nothing to change
            return parent

    def _claimed(
        self, candidates: Sequence[Architecture], least: float | None = None
    ) -> tuple[Architecture | None, list[Architecture]]:
        """The most promising feasible one, and those that promise less, the best first.

        No one where all promise no more than ``least``.
        """
        if not candidates:
            return None, []
        waiting = [trial.architecture for _, trial in sorted(self._open.items())]
        worth = self._model.worth(candidates, waiting, self._rng)
        if least is not None and worth.max() <= least:
            return None, list(candidates)
        order = [candidates[int(at)] for at in np.argsort(-worth, kind="stable")]
        for place, candidate in enumerate(order):
            if self._proposals.claim(candidate):
                return candidate, order[place + 1 :]
        return None, []


@final
class Model:
    """What is believed of losses."""

    def __init__(
        self, space: SearchSpace, objectives: tuple[str, ...], known: Known | None
    ) -> None:
        self._features, self._objectives, self._known = Features(space), objectives, known
        self._given: frozenset[str] = frozenset()
        self._computed: dict[Architecture, tuple[FloatArray, FloatArray]] = {}
        self._surrogates: dict[int, Surrogate] = {}
        self._learned = 0
        self._front = self._reference = self._ceiling = np.zeros(0)
        self._middle = self._spread = np.zeros(0)

    def learn(self, archive: Archive) -> None:
        """From all losses told, if there are new ones."""
        told = archive.told
        if len(told) == self._learned:
            return
        self._learned = len(told)
        features, _ = self._of([trial.architecture for trial in told])
        self._middle, self._spread = _centre(features, self._features.width)
        losses = archive.table(told)
        if not len(self._reference):
            self._reference, self._ceiling = self._bounds(losses)
        believed = losses.copy()
        for at in self._unknown():
            surrogate = self._surrogates.setdefault(at, Surrogate())
            counting = np.minimum(losses[:, at], self._ceiling[at])
            surrogate.fit(self._scaled(features), counting)
            mean = surrogate.mean(self._scaled(features))
            good = losses[:, at] < self._ceiling[at]
            believed[:, at] = np.where(good, mean, losses[:, at])
        self._front = believed[is_on_front(believed)]

    def _unknown(self) -> list[int]:
        return [at for at, name in enumerate(self._objectives) if name not in self._given]

    def _bounds(self, losses: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The reference, and above which losses it does not matter how bad they are, [m] each.

        From the first losses told, once and for all. What is beyond the reference adds nothing,
        on the front or not: else the cheapest networks, which are on every front and of no use,
        would draw all proposals to them.
        """
        worst = losses.max(axis=0)
        reference = worst + BEYOND * (worst - losses.min(axis=0))
        ceiling = np.full(len(worst), np.inf)
        for at in self._unknown():
            median = np.median(losses[:, at])
            range_ = median - losses[:, at].min()
            reference[at] = median + REFERENCE * range_
            ceiling[at] = median + CEILING * range_
        return reference, ceiling

    def worth(
        self,
        candidates: Sequence[Architecture],
        waiting: Sequence[Architecture],
        rng: np.random.Generator,
    ) -> FloatArray:
        """Hypervolume that candidates promise to add to the front and to those ``waiting``, [n].

        It is -1 where a known objective is not a finite number.
        """
        front = self._front
        if waiting:
            believed = self._draws(waiting, np.zeros(1), rng)[0]
            front = np.concatenate([front, believed[np.isfinite(believed).all(axis=1)]])
        draws = self._draws(candidates, QUANTILES, rng)
        fine = np.isfinite(draws).all(axis=(0, 2))
        worth = np.full(len(candidates), -1.0)
        if fine.any():
            worth[fine] = added(front, draws[:, fine], self._reference, rng)
        return worth

    def _draws(
        self, points: Sequence[Architecture], levels: FloatArray, rng: np.random.Generator
    ) -> FloatArray:
        """Possible losses, [levels, n, m]."""
        features, costs = self._of(points)
        draws = np.repeat(costs[None], len(levels), axis=0)
        scaled = self._scaled(features)
        for at, surrogate in self._surrogates.items():
            mean, deviation = surrogate.predict(scaled)
            # In another order for each loss: their errors have nothing to do with each other.
            draws[:, :, at] = mean + rng.permutation(levels)[:, None] * deviation
        return draws

    def _of(self, points: Sequence[Architecture]) -> tuple[FloatArray, FloatArray]:
        """Features [n, d], and losses [n, m] that are NaN where they are not known."""
        new = [one for one in dict.fromkeys(points) if one not in self._computed]
        if new:
            features = self._features(new)
            costs = np.full((len(new), len(self._objectives)), np.nan)
            known = self._known(new) if self._known else {}
            self._given = frozenset(known)
            for at, name in enumerate(self._objectives):
                if name in known:
                    costs[:, at] = known[name]
                    size = np.log(np.maximum(np.abs(costs[:, at]), 1e-9))
                    features = np.column_stack([features, np.nan_to_num(size, posinf=0.0)])
            self._computed |= zip(new, zip(features, costs, strict=True), strict=True)
        rows = [self._computed[one] for one in points]
        return np.array([row for row, _ in rows]), np.array([row for _, row in rows])

    def _scaled(self, features: FloatArray) -> FloatArray:
        scaled: FloatArray = (features - self._middle) / self._spread
        costs = scaled[:, self._features.width :]
        costs[:] = COST_WEIGHT * np.clip(costs, -COST_RANGE, COST_RANGE)
        return scaled


def _centre(features: FloatArray, width: int) -> tuple[FloatArray, FloatArray]:
    """Median and deviation by which known losses are scaled; decisions stay as they are.

    The deviation is from quantiles, which a few networks of next to no cost do not move.
    """
    low, middle, high = np.quantile(features, (0.2, 0.5, 0.8), axis=0)
    spread = (high - low) / 1.68  # of a normal distribution
    middle[:width], spread[:width] = 0.0, 1.0
    return middle, np.where(spread > 0, spread, 1.0)


ALGORITHM = PredictorGuided
