"""The correction beside the laws and the interval around it, by hand."""

import dataclasses
import math

import numpy as np
import pytest

from hw.calibrating.residual import (
    TOLERANCE,
    WIDENING,
    correction,
    interval_ms,
    kernel,
    out_of_range,
)
from hw.families.edge_tpu.features import FEATURES
from hw.fitted import Calibration

COUNT = len(FEATURES)


def calibration(**fields):
    """Measured from 0 to 1 in each feature; errors of 5 %, no correction."""
    plain = Calibration(
        measurements="a test",
        count=10,
        mape_percent=5.0,
        within_10_percent=1.0,
        spearman=1.0,
        kendall=1.0,
        error_90=0.05,
        feature_low=(0.0,) * COUNT,
        feature_high=(1.0,) * COUNT,
        residual_scale=(1.0,) * COUNT,
        residual_length=1.0,
        residual_centres=(),
        residual_weights=(),
    )
    return dataclasses.replace(plain, **fields)


def at(**places):
    """Features that are 0.5 but where said: ``first`` and ``last`` of them."""
    row = np.full(COUNT, 0.5)
    row[0], row[-1] = places.get("first", 0.5), places.get("last", 0.5)
    return row[None]


# --- correction --------------------------------------------------------------------------------


def test_without_weights_the_laws_stand_alone():
    assert correction(np.ones((3, COUNT)), calibration()).tolist() == [0, 0, 0]
    latency, _, _ = interval_ms(np.array([2.0]), at(), calibration())
    assert latency.tolist() == [2.0]


CENTRES = calibration(
    residual_centres=((0.5,) * COUNT, (2.5, *(0.5,) * (COUNT - 1))),
    residual_weights=(0.2, -0.1),
    residual_scale=(2.0, *(1.0,) * (COUNT - 1)),
    residual_length=0.5,
)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        # A centre: its own weight, and that of the other one a scaled distance of 1 away.
        (at(), 0.2 - 0.1 * math.exp(-0.5 * 1 / 0.25)),
        (at(first=2.5), 0.2 * math.exp(-2) - 0.1),
        # Half a scaled unit from both.
        (at(first=1.5), (0.2 - 0.1) * math.exp(-0.5 * 0.25 / 0.25)),
        # Another feature, which is not scaled: a unit from the first.
        (at(last=1.5), 0.2 * math.exp(-2) - 0.1 * math.exp(-4)),
    ],
)
def test_the_correction_is_a_sum_of_kernels(row, expected):
    assert correction(row, CENTRES) == pytest.approx([expected], rel=1e-9)


def test_the_correction_multiplies_the_latency():
    latency, low, high = interval_ms(np.array([3.0]), at(), CENTRES)
    factor = math.exp(0.2 - 0.1 * math.exp(-2))
    assert latency == pytest.approx([3.0 * factor])
    assert low == pytest.approx(latency * math.exp(-0.05))
    assert high == pytest.approx(latency * math.exp(0.05))


def test_the_correction_fades_far_from_what_was_measured():
    far = [abs(correction(at(first=place), CENTRES)[0]) for place in (2.5, 4, 6, 10, 100)]
    assert far == sorted(far, reverse=True)
    assert far[-1] < 1e-12


def test_a_kernel_is_1_at_no_distance_and_symmetric():
    rows = np.random.default_rng(0).normal(size=(6, COUNT)) * 100
    near = kernel(rows, rows, 3.0)
    np.testing.assert_allclose(np.diag(near), 1.0)
    np.testing.assert_allclose(near, near.T, atol=1e-12)
    assert (near >= 0).all() and (near <= 1).all()


# --- interval ----------------------------------------------------------------------------------


def spread(row, **fields):
    """Half of the interval, as a logarithm."""
    latency, low, high = interval_ms(np.array([2.0]), row, calibration(**fields))
    up, down = math.log(high[0] / latency[0]), math.log(latency[0] / low[0])
    assert up == pytest.approx(down)
    return up


@pytest.mark.parametrize("place", [0.0, 0.5, 1.0, -0.99 * TOLERANCE, 1 + 0.99 * TOLERANCE])
def test_within_the_range_the_interval_is_that_of_left_out_networks(place):
    assert spread(at(first=place)) == pytest.approx(0.05)
    assert out_of_range(at(first=place)[0], FEATURES, calibration()) == ()


@pytest.mark.parametrize("beyond", [0.01, 0.5, 1.0, 4.0])
def test_outside_the_interval_widens_with_the_distance(beyond):
    # Derived: 2 more of itself for each unit (a factor of e) beyond the tolerance.
    expected = pytest.approx(0.05 * (1 + WIDENING * beyond))
    assert spread(at(first=1 + TOLERANCE + beyond)) == expected
    assert spread(at(last=-TOLERANCE - beyond)) == expected


def test_the_farthest_feature_decides():
    assert spread(at(first=3.1, last=-1.1)) == pytest.approx(0.05 * (1 + WIDENING * 2))


def test_what_is_out_of_range_is_named():
    row = at(first=-1.0, last=2.0)[0]
    assert out_of_range(row, FEATURES, calibration()) == (FEATURES[0], FEATURES[-1])
    assert out_of_range(row.tolist(), FEATURES, calibration(feature_low=(-2.0,) * COUNT)) == (
        FEATURES[-1],
    )
