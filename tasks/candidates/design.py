"""Which networks of a space to measure: those that tell most of all others.

A calibration interpolates between measured networks in what the device's family knows them by
(counts of ops of each kind, time in each part). So networks are picked one after the other, each
time the one that leaves least unknown of all networks of a large random sample: the variance that
remains in a Gaussian process with the calibration's own kernel and a straight line in each
feature, summed over the sample (an I-optimal design). It spreads over kinds, widths and depths as
the space does, and over resolutions where the space decides them.

The smallest and the largest network come first: nothing then lies outside of what was measured.
A design of 60 is the beginning of that of 120, so that measuring more keeps what was measured.

Source: sequential I-optimal ("active learning Cohn") design for Gaussian processes, D. Cohn,
Neural network exploration using optimal experiment design, 1996.
"""

from __future__ import annotations

import numpy as np

from hw.calibrating.correction import LEAST_SPREAD, LENGTH, RIDGE
from hw.calibrating.fitting import laws_of
from hw.calibrating.residual import kernel
from hw.columns import FloatArray
from hw.protocols import Device
from spaces.space import Architecture, SearchSpace, SpaceError
from spaces.walk import sample
from tasks.learning.protocols import Problem

POOL = 500
"""Networks that a design is chosen from, and for."""
NOISE = 0.1
"""Variance of a measurement, over that of what networks differ in."""


class DesignError(ValueError):
    """A number of networks that a space has not, or that is none."""


def chosen(
    space: SearchSpace, problem: Problem, device: Device, count: int, seed: int
) -> tuple[Architecture, ...]:
    """``count`` networks of ``space`` with heads of ``problem``, those that tell most first.

    Raises:
        DesignError: The space has not so many, or ``count`` is none.
        CalibrationError: Nothing of the device can be fitted.
    """
    if count < 1:
        raise DesignError(f"networks must be a number from 1 up, but got {count}.")
    pool = pooled(space, max(POOL, 2 * count), seed)
    if len(pool) < count:
        raise DesignError(
            f"networks must be at most {len(pool)}, as many as {space.name} has, but got {count}."
        )
    graphs = [problem.complete(space.lower(point)) for point in pool]
    laws = laws_of(device)
    known = laws.features(laws.place(graphs, device, [{}] * len(graphs)), device)
    extremes = range(min(2, count, len(pool)))
    return tuple(pool[at] for at in order(known, count, tuple(extremes)))


def pooled(space: SearchSpace, count: int, seed: int) -> list[Architecture]:
    """The smallest and the largest of a space, and random ones; no two alike."""
    ends: list[Architecture] = []
    for name in ("smallest", "largest"):
        if hasattr(space, name):
            ends.append(getattr(space, name)())
    rng, found = np.random.default_rng(seed), dict.fromkeys(ends)
    for _ in range(4 * count):
        if len(found) >= count:
            break
        found[sample(space, rng)] = None
    if not found:
        raise SpaceError(f"{space.name}: must have an architecture, but got none.")
    return list(found)


def order(known: FloatArray, count: int, first: tuple[int, ...]) -> list[int]:
    """Rows of ``known``, ``[n, f]``, that tell most of all rows, ``first`` ones given.

    >>> order(np.array([[0.0], [0.1], [5.0], [9.9], [10.0]]), 2, (0,))
    [0, 4]
    """
    scaled = (known - known.mean(axis=0)) / np.maximum(known.std(axis=0), LEAST_SPREAD)
    linear = scaled @ scaled.T / scaled.shape[1]
    covariance = 1.0 + linear + kernel(scaled, scaled, LENGTH) / RIDGE
    picked: list[int] = []
    left = np.ones(len(known), np.bool_)
    while len(picked) < count:
        if len(picked) < len(first):
            at = first[len(picked)]
        else:
            gained = (covariance**2).sum(axis=0) / (np.diag(covariance) + NOISE)
            at = int(np.where(left, gained, -np.inf).argmax())
        column = covariance[:, at].copy()
        covariance -= np.outer(column, column) / (column[at] + NOISE)
        left[at] = False
        picked.append(at)
    return picked
