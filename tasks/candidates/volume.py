"""How good a front is, in one number by which runs can be compared.

It is the share that a front dominates of a box: from what nothing can beat (score 1, cost 0) to a
corner that nothing useful reaches (score 0, the costs of the space's largest network). The corner
depends on space, device and size of the input alone. So it is the same for other seeds, budgets
and algorithms, and 0.01 means the same in each of these runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations, islice
from typing import Any

import numpy as np

from spaces.search_support.dominance import hypervolume
from tasks.candidates.objectives import Objective, Valued, is_cost

Corner = Mapping[str, float]
_SUBSETS = 5000
"""Looked at, at most, where many networks are compared with few."""


def corner_of(objectives: Sequence[Objective], largest: Mapping[str, Any]) -> dict[str, float]:
    """Worst useful value by objective: 0 of a score, what ``largest`` takes of a cost."""
    return {
        one.name: float(largest[one.name] or 0) if is_cost(one.name) else 0.0 for one in objectives
    }


def volume(several: Sequence[Valued], objectives: Sequence[Objective], corner: Corner) -> float:
    """Share in 0..1 of the box that ``several`` dominate; those beyond the corner add nothing.

    A cost that the largest network does not have either (a model without memory) parts nobody and
    is left out.
    """
    used = [one for one in objectives if not is_cost(one.name) or corner[one.name] > 0]
    rows = [
        [
            goal.of(one) / corner[goal.name] if is_cost(goal.name) else 1 - goal.of(one)
            for goal in used
        ]
        for one in several
    ]
    table = np.asarray(rows, np.float64).reshape(len(rows), len(used))
    return float(hypervolume(table, np.ones(len(used)))) if used else 0.0


def gain(
    several: Sequence[Valued],
    others: Sequence[Valued],
    objectives: Sequence[Objective],
    corner: Corner,
) -> float | None:
    """By how much ``several`` dominate more than as many ``others``; None: one side is empty.

    A front grows with the number of networks. So each side is given the mean volume of its subsets
    that have as many members as the smaller side: five networks against one are five comparisons
    of one against one.
    """
    count = min(len(several), len(others))
    if not count:
        return None

    def mean(side: Sequence[Valued]) -> float:
        subsets = islice(combinations(side, count), _SUBSETS)
        found = [volume(subset, objectives, corner) for subset in subsets]
        return math.fsum(found) / len(found)

    return mean(several) - mean(others)
