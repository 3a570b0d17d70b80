"""How good estimates are, by hand: errors, ranks, quantiles, and the line to beat."""

import numpy as np
import pytest

from hw.calibrating.calibration import conformal_quantile, fit_macs_line, judge
from hw.calibrating.fitting import Measured
from hw.families.edge_tpu.placement import place


def test_scores_by_hand():
    # Errors of 0, 5, 10 and 50 %; one of six pairs is out of order: (5 - 1) / 6 and
    # 1 - 6 * 2 / (4 * 15).
    scores = judge(np.array([1.0, 2.1, 2.7, 6.0]), np.array([1.0, 2.0, 3.0, 4.0]))
    assert scores.mape_percent == pytest.approx((0 + 5 + 10 + 50) / 4)
    assert scores.within_10_percent == 0.75
    assert (scores.spearman, scores.kendall) == pytest.approx((1.0, 1.0))
    swapped = judge(np.array([1.0, 3.0, 2.0, 4.0]), np.array([1.0, 2.0, 3.0, 4.0]))
    assert (swapped.spearman, swapped.kendall) == pytest.approx((0.8, 4 / 6))


@pytest.mark.parametrize("constant", ["estimated", "measured"])
def test_what_is_constant_has_no_rank(constant):
    values = {"estimated": np.arange(1.0, 6.0), "measured": np.arange(1.0, 6.0)}
    values[constant] = np.full(5, 2.0)
    scores = judge(**values)
    assert (scores.spearman, scores.kendall) == (0.0, 0.0)


@pytest.mark.parametrize(("count", "expected"), [(9, 9), (10, 10), (19, 18), (99, 90)])
def test_the_conformal_quantile_counts_the_new_network(count, expected):
    # Derived: the ceil(0.9 * (n + 1))-th smallest, the largest where there are too few.
    errors_of = np.random.default_rng(0).permutation(np.arange(1.0, count + 1))
    assert conformal_quantile(errors_of) == expected


def test_the_line_in_macs_is_found_and_never_negative(networks, round_device):
    rng = np.random.default_rng(3)
    graphs = [networks.bottlenecks(rng) for _ in range(12)]
    placement, _ = place(graphs, round_device)
    gmacs = np.array([graph.macs for graph in graphs]) / 1e9

    def line(latency_ms):
        return fit_macs_line(Measured(round_device, placement, latency_ms, np.ones(12)))

    rising, falling = line(0.5 + 3.0 * gmacs), line(1.0 / gmacs)
    assert (rising.fixed_ms, rising.slope_ms_per_gmac) == pytest.approx((0.5, 3.0), rel=1e-3)
    assert falling.slope_ms_per_gmac == 0.0
