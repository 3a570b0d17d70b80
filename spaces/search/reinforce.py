"""REINFORCE with the absolute reward: policies over the choices that learn from their own samples.

A policy is a table of logits, one a value of a choice. Each of a few policies has a target for
the costs, and is rewarded for a low first loss and for costs at its target, neither above nor
below: R = -loss - beta * sum |cost / target - 1|. Unlike a penalty on costs that are too high, the
absolute reward does not let a policy settle far below its target. The targets are spread over the
costs of the first, random architectures, so that the policies cover the front together.

Source: Bender et al. 2020, "Can weight sharing outperform random architecture search? An
investigation with TuNAS" (arXiv:2008.06120), equation 2. There one policy makes tens of thousands
of steps on shared weights; with some hundred evaluations it is here to compare with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import final

import numpy as np

from spaces.search_support.archive import Archive
from spaces.search_support.proposals import Proposals
from spaces.space import Architecture, Choice, FloatArray, Known, SearchSpace, Trial, Value
from spaces.walk import walk

RANDOM_TRIALS = 12
"""Proposals before the first policy, where it is given none to begin with."""
POLICIES = 4
RATE = 0.3
"""Of a policy's steps: gradient ascent on logits, for rewards in standard deviations."""
BETA = 2.0
"""Loss of reward where a cost is off by its whole target, in spreads of the first loss."""
MOMENTUM = 0.9
"""Of the moving average that a reward is compared with."""
Policy = dict[str, FloatArray]
"""Logits of the values of each choice, by its name."""
TRIES = 30
"""Samples of a policy that are known or infeasible, before a random architecture."""


@final
class Reinforce:
    """Random or given architectures, then samples of policies in turn.

    The first objective is the loss; the others are costs, each with targets. What a policy learns
    follows from the trials in the order of asking, however they were told. Resume by
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
        self._asked_by: dict[int, int] = {}
        self._policies: dict[int, tuple[tuple[int, ...], Policy, float]] = {}

    def ask(self) -> Trial:
        """The given ones or random ones, then samples of the policies.

        Raises:
            Exhausted: Everything was proposed.
            Infeasible: Nothing was found that satisfies ``feasible``.
        """
        told = self._archive.told
        if self._proposals.begun and len(told) >= max(2, self._random_trials):
            turn = self._proposals.proposed % POLICIES
            found = self._sampled(self._logits(turn, told))
            if found is not None:
                trial = self._proposals.trial(found)
                self._asked_by[trial.number] = turn
                return trial
        return self._proposals.trial(self._proposals.fresh())

    def tell(self, trial: Trial, losses: Mapping[str, float] | None) -> None:
        """Store losses; a candidate that failed teaches no policy.

        Raises:
            SpaceError: An objective is missing or not a finite number.
        """
        self._archive.add(trial, losses)

    def _sampled(self, policy: Policy) -> Architecture | None:
        """A new, feasible architecture drawn from a policy."""
        values = {choice.name: choice.values for choice in self._space.choices}

        def pick(choice: Choice, domain: tuple[Value, ...]) -> Value:
            places = [values[choice.name].index(value) for value in domain]
            odds = _softmax(policy[choice.name][places])
            return domain[int(self._rng.choice(len(domain), p=odds))]

        for _ in range(TRIES):
            candidate = walk(self._space, pick)
            if self._proposals.claim(candidate):
                return candidate
        return None

    def _logits(self, turn: int, told: Sequence[Trial]) -> Policy:
        """The policy of a turn, from all that it was told of its own samples, in their order."""
        own = [trial for trial in told if self._asked_by.get(trial.number) == turn]
        first = self._archive.table(told[:RANDOM_TRIALS])
        seen, policy, expected = self._policies.get(turn, ((), None, 0.0))
        numbers = (*(one.number for one in told[:RANDOM_TRIALS]), *(one.number for one in own))
        new = own[len(own) - (len(numbers) - len(seen)) :]
        if policy is None or numbers[: len(seen)] != seen or len(new) > len(own):
            policy, new = self._untaught(), own
        for trial, reward in zip(new, self._rewards(turn, first, new), strict=True):
            begun = trial is not own[0]
            policy = _learned(policy, self._space, trial, reward - expected if begun else 0.0)
            expected = MOMENTUM * expected + (1 - MOMENTUM) * reward if begun else reward
        self._policies[turn] = (numbers, policy, expected)
        return policy

    def _untaught(self) -> Policy:
        return {choice.name: np.zeros(len(choice.values)) for choice in self._space.choices}

    def _rewards(self, turn: int, first: FloatArray, own: Sequence[Trial]) -> list[float]:
        """What a policy with the target of a turn gets for its samples."""
        spread = float(np.ptp(first[:, 0])) or 1.0
        targets = np.quantile(first[:, 1:], (turn + 0.5) / POLICIES, axis=0)
        losses = self._archive.table(own)
        missed = np.abs(losses[:, 1:] / np.maximum(targets, 1e-12) - 1.0).sum(axis=1)
        return [float(one) for one in -losses[:, 0] / spread - BETA * missed]


def _learned(policy: Policy, space: SearchSpace, trial: Trial, advantage: float) -> Policy:
    """After one step of REINFORCE: the gradient of the log-probability of what was decided."""
    values, taught = trial.architecture.values, dict(policy)
    for choice in space.choices:
        if choice.name in values:
            chosen = np.zeros(len(choice.values))
            chosen[choice.values.index(values[choice.name])] = 1.0
            gradient = chosen - _softmax(policy[choice.name])
            taught[choice.name] = policy[choice.name] + RATE * advantage * gradient
    return taught


def _softmax(logits: FloatArray) -> FloatArray:
    odds = np.exp(logits - logits.max())
    return np.asarray(odds / odds.sum(), np.float64)


ALGORITHM = Reinforce
