"""What laws leave of measured latencies, interpolated between the networks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hw.calibrating.fitting import Measured, laws_of
from hw.calibrating.residual import kernel
from hw.columns import FloatArray
from hw.protocols import Device

LENGTH = 3.0
"""Of the kernel, in standard deviations of the features."""
RIDGE = 1.0
"""Variance of what no network tells about its neighbours, over that of what it tells.

Length and ridge were chosen once, by cross-validation on 50 NAS-Bench-201 networks of two
laboratories; choosing them anew on so few networks does worse."""
LEAST_SPREAD = 0.1
"""A feature that hardly varies does not tell networks apart."""
CENTRES = 256
"""Networks that a correction interpolates between, at most: the others are summed up by them, as
time would grow with the cube of their number, and a profile with it."""
JITTER = 1e-8
"""Of their kernel, which near ones make singular."""


@dataclass(frozen=True, slots=True)
class Correction:
    """Kernel regression on what the laws leave.

    Attributes:
        scale: By which features are divided, ``[f]``.
        centres: Features of the networks, ``[m, f]``.
        weights: Of the networks, ``[m]``.
    """

    scale: FloatArray
    centres: FloatArray
    weights: FloatArray

    @staticmethod
    def of(measured: Measured, fitted: Device) -> Correction:
        """The correction learned from networks by what the fitted laws leave of their latency."""
        laws = laws_of(fitted)
        left = np.log(measured.latency_ms / laws.latency_ms(measured.placement, fitted))
        known = laws.features(measured.placement, fitted)
        scale = np.maximum(known.std(axis=0), LEAST_SPREAD)
        if len(known) <= CENTRES:
            near = kernel(known / scale, known / scale, LENGTH)
            weights = np.linalg.solve(near + RIDGE * np.eye(len(left)), left)
            return Correction(scale, known, np.asarray(weights, np.float64))
        centres = known[spread_out(known / scale, CENTRES)]
        near = kernel(known / scale, centres / scale, LENGTH)
        among = kernel(centres / scale, centres / scale, LENGTH)
        among += JITTER * len(known) * np.eye(CENTRES)
        weights = np.linalg.solve(near.T @ near + RIDGE * among, near.T @ left)
        return Correction(scale, centres, np.asarray(weights, np.float64))

    def factor(self, known: FloatArray) -> FloatArray:
        """What the physical latency is multiplied by, ``[n]``."""
        near = kernel(known / self.scale, self.centres / self.scale, LENGTH)
        result: FloatArray = np.exp(near @ self.weights)
        return result


def spread_out(points: FloatArray, count: int) -> list[int]:
    """Rows of ``points``, each as far as can be from those before; the first is nearest the mean.

    >>> spread_out(np.array([[0.0], [4.0], [5.0], [10.0]]), 3)
    [2, 0, 3]
    """
    picked = [int(((points - points.mean(axis=0)) ** 2).sum(axis=1).argmin())]
    far = ((points - points[picked[0]]) ** 2).sum(axis=1)
    while len(picked) < count:
        picked.append(int(far.argmax()))
        far = np.minimum(far, ((points - points[picked[-1]]) ** 2).sum(axis=1))
    return picked
