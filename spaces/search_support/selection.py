"""Who survives and who breeds: by Pareto rank, then by the room around a point on its front.

Source: Deb, Pratap, Agarwal and Meyarivan 2002, "A fast and elitist multiobjective genetic
algorithm: NSGA-II".
"""

from __future__ import annotations

import numpy as np

from spaces.graph import IntArray
from spaces.search_support.dominance import pareto_ranks
from spaces.space import FloatArray


def best_first(losses: FloatArray) -> IntArray:
    """Rows of ``losses`` [n, m] from the best to the worst, [n]; of equals the earlier first."""
    ranks = pareto_ranks(losses)
    room = np.empty(len(losses))
    for rank in np.unique(ranks):
        members = np.flatnonzero(ranks == rank)
        room[members] = crowding(losses[members])
    order: IntArray = np.lexsort((-room, ranks))
    return order


def crowding(losses: FloatArray) -> FloatArray:
    """The crowding distance of points [n, m] of one front, [n]: infinite at its ends.

    >>> crowding(np.array([[0.0, 4.0], [1.0, 3.0], [4.0, 0.0]])).tolist()
    [inf, 2.0, inf]
    """
    room = np.zeros(len(losses))
    for column in losses.T:
        order = np.argsort(column, kind="stable")
        ends = column[order[-1]] - column[order[0]]
        room[order[[0, -1]]] = np.inf
        if ends > 0:
            room[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / ends
    return room
