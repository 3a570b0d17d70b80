"""What a calibration knows beside the laws: a small correction, and how far to trust it.

The correction is a kernel regression on the logarithm of measured over physical latency. It is
near 0 far from the measured networks, where the laws stand alone. The interval is conformal: the
quantile of cross-validated errors, wider the farther a network lies outside the measured range.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hw.columns import FloatArray
from hw.fitted import Calibration

TOLERANCE = 0.1
"""A feature may lie outside by this much (10 % in counts or time) and still count as in range."""
WIDENING = 2.0
"""Growth of the interval for each factor of e outside the range. Assumed: no published data
tell how fast errors grow."""


def interval_ms(
    physical_ms: FloatArray, features: FloatArray, calibration: Calibration
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Latency, and the ends of its 90 % interval, each ``[n]``, milliseconds."""
    latency = physical_ms * np.exp(correction(features, calibration))
    spread = calibration.error_90 * (1.0 + WIDENING * outside(features, calibration).max(axis=1))
    return latency, latency * np.exp(-spread), latency * np.exp(spread)


def correction(features: FloatArray, calibration: Calibration) -> FloatArray:
    """Logarithm of what the physical latency is multiplied by, ``[n]``."""
    if not calibration.residual_weights:
        return np.zeros(len(features))
    scale = np.array(calibration.residual_scale)
    centres = np.array(calibration.residual_centres)
    near = kernel(features / scale, centres / scale, calibration.residual_length)
    result: FloatArray = near @ np.array(calibration.residual_weights)
    return result


def kernel(one: FloatArray, other: FloatArray, length: float) -> FloatArray:
    """Squared exponential of distances, ``[n, m]``; rows are scaled features."""
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2.0 * one @ other.T
    result: FloatArray = np.exp(-0.5 * np.maximum(squares, 0.0) / length**2)
    return result


def outside(features: FloatArray, calibration: Calibration) -> FloatArray:
    """How far each feature lies outside the measured range, beyond the tolerance; ``[n, f]``."""
    low, high = np.array(calibration.feature_low), np.array(calibration.feature_high)
    beyond = np.maximum(low - features, features - high)
    result: FloatArray = np.maximum(beyond - TOLERANCE, 0.0)
    return result


def out_of_range(
    features: Sequence[float], names: Sequence[str], calibration: Calibration
) -> tuple[str, ...]:
    """Names of the features of one network that lie outside the measured range."""
    beyond = outside(np.array([features]), calibration)[0]
    return tuple(name for name, far in zip(names, beyond, strict=True) if far > 0)
