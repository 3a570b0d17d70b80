"""How many candidates are trained on each rung of a search, and for how long.

Successive halving (Jamieson, Talwalkar 2015, arXiv:1502.07943): all alike and short at first, then
the better part for longer. Every rung has the same share of the minutes. Half of what is trained
on a higher rung is new there: neighbours of the best, for what few short trainings showed of a
large space is a place to begin rather than its front.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spaces.graph import OpGraph
from spaces.walk import sample
from tasks.candidates.coster import Coster
from tasks.candidates.workload import epochs_within
from tasks.learning import recipes
from tasks.run.params import SearchParams

LONGER = 3
"""Times as long on each rung, for one of so many candidates."""
LEAST_TRAINED = 6
"""On a higher rung."""
MOST_EPOCHS = 60
"""Of a candidate on its first rung."""
LEAST_STEPS, LEAST_CANDIDATES = 100, 20
"""Where the minutes do not give each candidate of the budget so many steps on the first rung,
fewer candidates are looked at, down to so many. Scores of fewer steps say who begins fast
(docs/learning.md)."""
DRAWN = 24
"""Random architectures that tell what one of the space takes."""


@dataclass(frozen=True, slots=True)
class Rungs:
    """The plan of a search whose candidates are trained.

    Attributes:
        params: Its budget, minutes and rungs.
        facts: Of the data.
        speed: Of this machine, in nominal ones; None where epochs are given.
    """

    params: SearchParams
    facts: recipes.Facts
    speed: float | None = None

    def first(self, coster: Coster) -> tuple[int, int]:
        """How many candidates, and their passes over train: all have the same."""
        params, most = self.params, self.params.budget
        if params.epochs is not None or params.evaluator == "shared":
            return most, params.epochs or 1
        rng = np.random.default_rng([params.seed, 11])
        drawn = [coster.graph(sample(coster.space, rng)) for _ in range(DRAWN)]
        useful = min(MOST_EPOCHS, self._useful)
        least = min(useful, math.ceil(LEAST_STEPS / self._steps_per_epoch))
        for count in range(most, 0, -1):
            epochs = self._affordable(len(drawn) / count, drawn, useful)
            if epochs >= least or count <= LEAST_CANDIDATES:
                break
        return count, epochs

    def trained(self, rung: int, candidates: int) -> int:
        """How many a higher rung trains after ``candidates`` of those below."""
        share: int = -(-candidates // LONGER**rung)
        return min(candidates, max(LEAST_TRAINED, share))

    def promoted(self, rung: int, candidates: int) -> int:
        """How many of them come from below, half or one more; the rest is new.

        An even number, where there are as many: two are trained side by side.
        """
        return min(candidates, -(-self.trained(rung, candidates) // 4) * 2)

    def longer(self, rung: int, graphs: Sequence[OpGraph], candidates: int) -> int:
        """Passes over train on a higher rung, where ``graphs`` are promoted."""
        times: int = LONGER**rung
        if self.params.epochs is not None:
            return self.params.epochs * times
        share = len(graphs) / self.trained(rung, candidates)
        return self._affordable(share, graphs, min(self._useful, MOST_EPOCHS * times))

    def _affordable(self, share: float, graphs: Sequence[OpGraph], most: int) -> int:
        """Epochs that fit into a ``share`` of a rung's minutes."""
        minutes = share * self.params.minutes / self.params.rungs
        size = recipes.batch_size(self.facts)
        speed = self.speed or 1.0
        return epochs_within(minutes, graphs, self._steps_per_epoch, size, most, speed)

    @property
    def _useful(self) -> int:
        """Epochs beyond which a network learns no more."""
        return recipes.most_epochs(self.facts, recipes.batch_size(self.facts))

    @property
    def _steps_per_epoch(self) -> int:
        return self.facts.items // recipes.batch_size(self.facts)
