"""Pareto rank, crowding and hypervolume of losses: arrays [n, m], lower is better.

A row dominates another if it is no worse in every column and better in one. Equal rows do not
dominate each other, so duplicates share their rank. Units do not matter to ranks; crowding and
hypervolume are in units of the columns (crowding divides by their range).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spaces.graph import BoolArray, IntArray

FloatArray = NDArray[np.float64]


class LossError(ValueError):
    """Losses that cannot be compared."""


def losses_of(values: ArrayLike) -> FloatArray:
    """``values`` as an array [n, m] that can be compared.

    Raises:
        LossError: Another rank, no column, or a value that is infinite or not a number.
    """
    losses = np.asarray(values, dtype=np.float64)
    if losses.ndim != 2 or losses.shape[1] == 0:
        raise LossError(
            f"losses must be an array [n, m] with m >= 1, but got shape {losses.shape}."
        )
    rows = np.flatnonzero(~np.isfinite(losses).all(axis=1))
    if rows.size:
        raise LossError(
            f"losses must be finite numbers, but got {losses[rows[0]].tolist()} in row {rows[0]}. "
            "Leave failed candidates out."
        )
    return losses


def is_on_front(losses: ArrayLike) -> BoolArray:
    """Whether no other row dominates a row, [n]."""
    front: BoolArray = pareto_ranks(losses) == 0
    return front


def pareto_ranks(losses: ArrayLike) -> IntArray:
    """How many fronts must be peeled off before a row is not dominated, [n]; 0 is the best front.

    Takes O(n^2 m) time and memory. Source: Deb et al. 2002, NSGA-II, section III.A.

    >>> pareto_ranks([[1, 2], [2, 1], [2, 2], [3, 3], [1, 2]]).tolist()
    [0, 0, 1, 2, 0]
    """
    rows = losses_of(losses)
    no_worse: BoolArray = np.all(rows[:, None, :] <= rows[None, :, :], axis=2)
    dominates = no_worse & ~no_worse.T
    ranks: IntArray = np.full(len(rows), -1, dtype=np.int64)
    better = dominates.sum(axis=0)
    rank = 0
    while (ranks < 0).any():
        front = (ranks < 0) & (better == 0)
        ranks[front] = rank
        better = better - dominates[front].sum(axis=0)
        rank += 1
    return ranks


def crowding(losses: ArrayLike) -> FloatArray:
    """Crowding distance of the rows of one front, [n]: sum over columns of the gap around a row.

    The gap between a row's two neighbours in a column counts in units of the column's range.
    Rows at an end of a column get infinity; a column without range counts nothing. Of equal rows
    all but one are crowded at distance 0.

    Source: Deb et al. 2002, NSGA-II, section III.B.

    >>> crowding([[0, 4], [1, 2], [4, 0]]).tolist()
    [inf, 2.0, inf]
    """
    rows = losses_of(losses)
    unique, first = np.unique(rows, axis=0, return_index=True)
    distance = np.zeros(len(rows))
    distance[first] = _crowding_of_unique(unique)
    return distance


def _crowding_of_unique(rows: FloatArray) -> FloatArray:
    distance = np.zeros(len(rows))
    for column in rows.T:
        order = np.argsort(column, kind="stable")
        extent = column[order[-1]] - column[order[0]] if len(order) else 0.0
        if extent <= 0.0:
            continue
        distance[order[[0, -1]]] = np.inf
        distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / extent
    return np.full(len(rows), np.inf) if len(rows) == 1 else distance


def hypervolume(losses: ArrayLike, reference: ArrayLike) -> float:
    """Volume that the rows dominate, up to the point ``reference`` [m]; exact.

    Rows that are not better than the reference in every column add nothing. In two columns this
    is a sum of rectangles; each further column is cut into slices between the rows, so the time
    grows as n^(m-1) log n.

    Raises:
        LossError: ``reference`` does not fit the columns, or is not finite.

    >>> hypervolume([[1, 2], [2, 1]], [3, 3])
    3.0
    """
    rows = losses_of(losses)
    corner = np.asarray(reference, dtype=np.float64)
    if corner.shape != rows.shape[1:] or not np.isfinite(corner).all():
        raise LossError(
            f"reference must be {rows.shape[1]} finite numbers, one for each column, "
            f"but got {np.array2string(corner)}."
        )
    return _volume(rows[(rows < corner).all(axis=1)], corner)


def _volume(rows: FloatArray, corner: FloatArray) -> float:
    if not len(rows):
        return 0.0
    if len(corner) == 1:
        return float(corner[0] - rows.min())
    rows = rows[np.argsort(rows[:, -1], kind="stable")]
    if len(corner) == 2:
        return _area(rows, corner)
    levels = np.append(rows[:, -1], corner[-1])
    return sum(
        float(levels[n + 1] - levels[n]) * _volume(_front(rows[: n + 1, :-1]), corner[:-1])
        for n in range(len(rows))
        if levels[n + 1] > levels[n]
    )


def _front(rows: FloatArray) -> FloatArray:
    unique = np.unique(rows, axis=0)
    return unique[is_on_front(unique)]


def _area(rows: FloatArray, corner: FloatArray) -> float:
    """Of rows sorted by the second column: below each one, what the rows before left open."""
    reach = np.minimum.accumulate(rows[:, 0])
    levels = np.append(rows[:, 1], corner[1])
    return float(np.sum((corner[0] - reach) * np.diff(levels)))
