"""Pareto rank and hypervolume of losses: arrays [n, m], lower is better.

A row dominates another if it is no worse in every column and better in one. Equal rows do not
dominate each other, so duplicates share their rank. Units do not matter to ranks; hypervolume is
in units of the columns. Both are computed by moocore (exact; n log n in two and three columns);
here is what it takes for granted: finite losses, and a reference that fits.
"""

from __future__ import annotations

import moocore
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
    """Whether no other row dominates a row, [n]; sooner found than all ranks.

    >>> is_on_front([[1, 2], [2, 1], [2, 2], [3, 3], [1, 2]]).tolist()
    [True, True, False, False, True]
    """
    rows = losses_of(losses)
    if not len(rows):
        return np.zeros(0, np.bool_)
    return np.asarray(moocore.is_nondominated(rows, keep_weakly=True), np.bool_)


def pareto_ranks(losses: ArrayLike) -> IntArray:
    """How many fronts must be peeled off before a row is not dominated, [n]; 0 is the best front.

    >>> pareto_ranks([[1, 2], [2, 1], [2, 2], [3, 3], [1, 2]]).tolist()
    [0, 0, 1, 2, 0]
    """
    rows = losses_of(losses)
    if not len(rows):
        return np.zeros(0, np.int64)
    return np.asarray(moocore.pareto_rank(rows), np.int64)


def hypervolume(losses: ArrayLike, reference: ArrayLike) -> float:
    """Volume that the rows dominate, up to the point ``reference`` [m]; exact.

    Rows that are not better than the reference in every column add nothing.

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
    rows = rows[(rows < corner).all(axis=1)]
    return float(moocore.hypervolume(rows, ref=corner)) if len(rows) else 0.0
