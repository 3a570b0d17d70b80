"""Calibration on synthetic truth: what a fit must find, and what it must leave alone.

The truth is a device with other coefficients than the profile one starts from; networks are
"measured" by its laws, with noise.
"""

import dataclasses

import numpy as np
import pytest
import yaml

from hw.calibrating.calibration import calibrate, with_sources
from hw.calibrating.fitting import CalibrationError, Measured, fit, scaled
from hw.calibrating.residual import interval_ms
from hw.columns import KINDS
from hw.device import dump_device, parse_device
from hw.families.edge_tpu.analytic import Analytic
from hw.families.edge_tpu.coefficients import COEFFICIENTS
from hw.families.edge_tpu.features import features
from hw.families.edge_tpu.placement import place
from spaces.graph import Op, OpBatch, OpGraph, OpKind

TRUTH = {
    "chip.clock_mhz": -0.2,
    "chip.depthwise_factor": 0.7,
    "chip.convolution_us": 0.9,
    "chip.activation_gb_per_s": -0.8,
    "chip.elementwise_us": 0.5,
    "link.fixed_ms": -0.6,
    "link.input_mb_per_s": 0.4,
}
UNTOUCHED = (
    "chip.overflow_gb_per_s",
    "host.gmacs_per_s",
    "host.elements_per_us",
    "host.scores_per_us",
    "host.op_us",
)
"""Of coefficients that networks which fit in narrow memory and map whole do not use."""


@pytest.fixture(scope="module", autouse=True)
def fewer_folds():
    """A sixth of the fits that scores are made of: they say the same of made-up networks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hw.calibrating.calibration.FOLDS", 5)
        patch.setattr("hw.calibrating.calibration.REPEATS", 1)
        yield


@pytest.fixture(scope="module")
def truth(round_device):
    return scaled(round_device, TRUTH)


def bottlenecks(networks, seed, count, **more):
    rng = np.random.default_rng(seed)
    return [networks.bottlenecks(rng, 32, pools=4, **more) for _ in range(count)]


def cells(networks, seed, count):
    """Convolutions, then pools and additions over one small map."""
    rng, graphs, shape = np.random.default_rng(seed), [], (1, 16, 16, 64)
    for _ in range(count):
        ops = list(networks.stack(64, 3, int(rng.integers(1, 8)), side=16).ops)
        for _ in range(rng.integers(8)):
            inputs = (ops[-1].name,)
            name, window = f"pool{len(ops)}", (3, 3)
            ops.append(Op(name, OpKind.AVERAGE_POOL_2D, inputs, shape, shape, window))
        for _ in range(rng.integers(8)):
            inputs = (ops[-1].name, ops[0].name)
            ops.append(Op(f"add{len(ops)}", OpKind.ADD, inputs, shape, shape))
        graphs.append(OpGraph(shape, tuple(ops)))
    return graphs


def measure(graphs, truth, start, noise=0.01, seed=0, effect=None):
    """What the truth takes for ``graphs``; ``effect`` multiplies it by a function of pools."""
    placement, _ = place(graphs, start)
    latency = Analytic(truth).parts(placement).latency_ms
    latency = latency * np.exp(noise * np.random.default_rng(seed).normal(size=len(latency)))
    if effect is not None:
        latency = latency * effect(pools(placement.batch))
    return Measured(start, placement, latency, np.ones(len(latency)))


def pools(batch):
    is_pool = batch.distinct.kind == KINDS.index(OpKind.AVERAGE_POOL_2D)
    return (is_pool[batch.index] & batch.live).sum(axis=1)


def errors(device, measured):
    """Relative errors of the laws alone."""
    estimated = Analytic(device).parts(measured.placement).latency_ms
    return np.abs(estimated / measured.latency_ms - 1)


def intervals(device, measured):
    parts = Analytic(device).parts(measured.placement)
    known = features(measured.placement, parts)
    return interval_ms(parts.latency_ms, known, device.calibration)


def moved(fitted, start, path):
    """Logarithm of what a coefficient was multiplied by."""
    section, name = path.split(".")
    one, other = (getattr(getattr(device, section), name) for device in (fitted, start))
    return float(np.log(one / other))


# --- coefficients ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def held_out(networks, truth, round_device):
    return measure(bottlenecks(networks, 2, 60), truth, round_device, noise=0)


@pytest.fixture(scope="module")
def training(networks, truth, round_device):
    return measure(bottlenecks(networks, 1, 40), truth, round_device)


@pytest.fixture(scope="module")
def fitted(training):
    return fit([training])[0]


def test_a_fit_tells_networks_that_it_has_not_seen(fitted, held_out, round_device):
    assert errors(round_device, held_out).mean() > 0.15
    assert errors(fitted, held_out).mean() < 0.02
    assert errors(fitted, held_out).max() < 0.05


@pytest.mark.parametrize("count", [10, 20])
def test_few_networks_are_enough_to_move(training, held_out, round_device, count):
    few = fit([training.rows(np.arange(count))])[0]
    assert errors(few, held_out).mean() < 0.2 * errors(round_device, held_out).mean()


def test_coefficients_that_matter_are_found(fitted, round_device):
    assert moved(fitted, round_device, "link.fixed_ms") == pytest.approx(-0.6, abs=0.05)
    for path in ("chip.depthwise_factor", "chip.activation_gb_per_s"):
        assert moved(fitted, round_device, path) == pytest.approx(TRUTH[path], abs=0.25)


@pytest.mark.parametrize("path", UNTOUCHED)
def test_coefficients_that_no_measurement_touches_stay(fitted, round_device, path):
    assert moved(fitted, round_device, path) == pytest.approx(0, abs=1e-4)


def test_what_is_not_a_coefficient_stays(fitted, round_device):
    def rest(device):
        return {
            f"{section}.{field.name}": getattr(getattr(device, section), field.name)
            for section in ("chip", "link", "host", "energy", "macs_line", "compiler")
            for field in dataclasses.fields(getattr(device, section))
            if f"{section}.{field.name}" not in COEFFICIENTS
        }

    assert rest(fitted) == rest(round_device)
    assert fitted.calibration is None


def test_without_difference_nothing_moves(networks, round_device):
    same = measure(bottlenecks(networks, 1, 20), round_device, round_device, noise=0)
    unmoved = fit([same])[0]
    assert max(abs(moved(unmoved, round_device, path)) for path in COEFFICIENTS) < 1e-6


@pytest.mark.parametrize("seed", [0, 1])
def test_a_tenth_of_outliers_by_a_factor_of_2_does_little_harm(training, held_out, seed):
    latency, rng = training.latency_ms.copy(), np.random.default_rng(seed)
    wrong = rng.choice(len(latency), len(latency) // 10, replace=False)
    latency[wrong] *= 2.0
    robust = fit([dataclasses.replace(training, latency_ms=latency)])[0]
    assert errors(robust, held_out).mean() < 0.02


def test_measurements_of_no_weight_do_not_count(training, held_out):
    weight, latency = np.ones(len(training)), training.latency_ms.copy()
    weight[::4], latency[::4] = 0.0, 100.0
    kept = np.flatnonzero(weight)
    one = fit([dataclasses.replace(training, latency_ms=latency, weight=weight)])[0]
    other = fit([training.rows(kept)])[0]
    estimates = [Analytic(device).parts(held_out.placement).latency_ms for device in (one, other)]
    np.testing.assert_allclose(*estimates, rtol=1e-4)


def test_a_fit_is_deterministic(training, fitted):
    assert fit([training])[0] == fitted


def test_two_devices_share_a_chip_and_have_links_of_their_own(networks, round_device):
    chip = {"chip.clock_mhz": -0.15, "chip.depthwise_factor": 0.5, "chip.convolution_us": 0.6}
    links = [
        {"link.fixed_ms": -0.8, "link.input_mb_per_s": 0.5},
        {"link.fixed_ms": 0.5, "link.input_mb_per_s": -0.6},
    ]
    groups = [
        measure(
            bottlenecks(networks, seed, 25, sides=(64, 160, 224)),
            scaled(round_device, chip | link),
            round_device,
            seed=seed,
        )
        for seed, link in enumerate(links)
    ]
    one, other = fit(groups)
    assert one.chip == other.chip != round_device.chip
    for device, link in zip((one, other), links, strict=True):
        for path, log in link.items():
            assert moved(device, round_device, path) == pytest.approx(log, abs=0.1), path
    tests = [
        measure(
            bottlenecks(networks, 9, 30, sides=(64, 160, 224)),
            scaled(round_device, chip | link),
            round_device,
            noise=0,
        )
        for link in links
    ]
    for device, test in zip((one, other), tests, strict=True):
        assert errors(device, test).mean() < 0.02


def test_scaling_multiplies_by_exp(round_device):
    device = scaled(round_device, {"link.fixed_ms": np.log(2.0), "host.op_us": np.log(0.5)})
    assert device.link.fixed_ms == pytest.approx(0.5)
    assert device.host.op_us == pytest.approx(2.0)
    assert device.chip == round_device.chip
    assert scaled(round_device, {}) == round_device


def test_every_coefficient_is_a_leaf_with_a_positive_spread(round_device):
    for path, spread in COEFFICIENTS.items():
        section, name = path.split(".")
        assert getattr(getattr(round_device, section), name) > 0
        assert 0 < spread <= 2


# --- refusals ----------------------------------------------------------------------------------


def test_fewer_than_ten_measurements_are_refused(training, round_device):
    words = "must be at least 10, but got 9. Measure more networks"
    with pytest.raises(CalibrationError, match=words):
        calibrate(round_device, training.rows(np.arange(9)), "nine")


@pytest.mark.parametrize("wrong", [float("nan"), -1.0, 0.0, float("inf"), float("-inf")])
def test_what_is_no_latency_is_refused(training, round_device, wrong):
    latency = training.latency_ms.copy()
    latency[7] = wrong
    broken = dataclasses.replace(training, latency_ms=latency)
    with pytest.raises(CalibrationError, match="must be a positive number, but got") as caught:
        calibrate(round_device, broken, "wrong")
    assert str(wrong) in str(caught.value) and "\n" not in str(caught.value)


# --- the profile -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def calibrated(round_device, networks, truth):
    """Of 40 networks with 3 % noise that the laws explain."""
    measured = measure(bottlenecks(networks, 1, 40), truth, round_device, noise=0.03)
    return calibrate(round_device, measured, "forty networks")


def slowing(count):
    """An effect beside the laws: each pool makes all of the network 15 % slower."""
    return np.exp(0.15 * count)


@pytest.fixture(scope="module")
def corrected(round_device, networks, truth):
    """Of 50 networks with an effect beside the laws."""
    measured = measure(cells(networks, 1, 50), truth, round_device, effect=slowing)
    return calibrate(round_device, measured, "fifty cells")


def test_scores_are_of_networks_left_out(calibrated, held_out):
    # Derived: noise of 3 % alone makes a mean absolute error of 0.03 * sqrt(2 / pi) = 2.4 %.
    assert 2.0 < calibrated.scores.mape_percent < 4.0
    assert calibrated.scores.within_10_percent >= 0.95
    assert calibrated.scores.spearman > 0.98
    assert calibrated.macs_only.mape_percent > 3 * calibrated.scores.mape_percent
    assert errors(calibrated.device, held_out).mean() < 0.03


def test_the_profile_says_what_it_was_calibrated_on(calibrated, round_device):
    told, scores = calibrated.device.calibration, calibrated.scores
    assert (told.measurements, told.count) == ("forty networks", 40)
    assert told.mape_percent == scores.mape_percent
    assert (told.spearman, told.kendall) == (scores.spearman, scores.kendall)
    before, after = dict(round_device.sources), dict(calibrated.device.sources)
    source = "fitted: python -m flows calibrate, forty networks"
    assert after["chip.depthwise_factor"] == after["macs_line.fixed_ms"] == source
    assert after["calibration.error_90"] == source
    for path in (*UNTOUCHED, "chip.tile_rows"):
        assert after[path] == before[path]
        section, name = path.split(".")
        assert getattr(getattr(calibrated.device, section), name) == getattr(
            getattr(round_device, section), name
        )


def test_a_coefficient_that_hardly_moved_keeps_value_and_source(round_device):
    near = scaled(round_device, {"link.fixed_ms": 0.004, "link.output_mb_per_s": 0.006})
    kept = with_sources(near, round_device, "fitted: now")
    assert kept.link.fixed_ms == round_device.link.fixed_ms
    assert kept.link.output_mb_per_s == 125.8  # 125 * exp(0.006), four digits
    sources, before = dict(kept.sources), dict(round_device.sources)
    assert sources["link.output_mb_per_s"] == "fitted: now"
    assert sources["link.fixed_ms"] == before["link.fixed_ms"]


def test_whole_numbers_stay_whole(round_device):
    more = scaled(round_device, {"chip.instruction_bytes_per_op": 0.1})
    kept = with_sources(more, round_device, "fitted: now").chip.instruction_bytes_per_op
    assert kept == 1132 and isinstance(kept, int)


def test_hardly_a_correction_where_the_laws_explain_all(calibrated, held_out):
    latency, _, _ = intervals(calibrated.device, held_out)
    physical = Analytic(calibrated.device).parts(held_out.placement).latency_ms
    assert np.abs(latency / physical - 1).max() < 0.02  # of 3 % noise
    with_it = np.abs(latency / held_out.latency_ms - 1).mean()
    assert with_it < errors(calibrated.device, held_out).mean() + 0.003


def test_a_correction_where_the_laws_lack_an_effect(corrected, networks, truth, round_device):
    told = corrected.device.calibration
    assert len(told.residual_weights) == len(told.residual_centres) == 50
    new = measure(cells(networks, 12, 100), truth, round_device, seed=5, effect=slowing)
    latency, _, _ = intervals(corrected.device, new)
    with_it = np.abs(latency / new.latency_ms - 1).mean()
    assert with_it < 0.8 * errors(corrected.device, new).mean()


def test_the_correction_fades_where_nothing_was_measured(corrected, networks):
    far = networks.stack(256, 3, 30, side=56)
    plain = Analytic(dataclasses.replace(corrected.device, calibration=None)).estimate(far)
    told = Analytic(corrected.device).estimate(far)
    assert told.latency_ms == pytest.approx(plain.latency_ms, rel=1e-3)


def test_the_interval_widens_where_nothing_was_measured(corrected, networks):
    near = cells(networks, 12, 1)[0]
    far = networks.interrupted(networks.stack(256, 3, 30, side=56), 28)

    def spread(report):
        low, high = report.latency_interval_ms
        assert low < report.latency_ms < high
        return np.log(high / low) / 2

    inside, outside = (Analytic(corrected.device).estimate(graph) for graph in (near, far))
    assert spread(inside) == pytest.approx(corrected.device.calibration.error_90)
    assert inside.out_of_range == ()
    assert spread(outside) > 3 * spread(inside)
    assert {"window convolutions", "compute", "host ops"} <= set(outside.out_of_range)


def test_intervals_cover_new_networks_nine_times_of_ten(calibrated, networks, truth, round_device):
    """On average over what happened to be measured, as conformal prediction promises."""
    new = measure(bottlenecks(networks, 200, 300), truth, round_device, noise=0.03, seed=99)
    found = [calibrated]
    for seed in (20, 21):
        graphs = bottlenecks(networks, seed, 25)
        measured = measure(graphs, truth, round_device, noise=0.03, seed=seed)
        found.append(calibrate(round_device, measured, "twenty-five networks"))
    covered = []
    for one in found:
        _, low, high = intervals(one.device, new)
        covered.append(((low <= new.latency_ms) & (new.latency_ms <= high)).mean())
        assert 0.85 <= one.coverage <= 1.0
    assert 0.80 <= np.mean(covered) <= 0.99


def test_a_profile_that_was_written_estimates_the_same(corrected, networks):
    device = corrected.device
    read = parse_device(device.name, yaml.safe_load(dump_device(device)), "d.yaml")
    assert read == device
    batch = OpBatch.of(cells(networks, 13, 20))
    one, other = (Analytic(each).estimate_many(batch) for each in (device, read))
    for name, column in one.items():
        np.testing.assert_array_equal(column, other[name], name)


def test_a_calibrated_profile_can_be_calibrated_again(corrected, training, monkeypatch):
    monkeypatch.setattr("hw.calibrating.calibration.FOLDS", 2)
    again = calibrate(corrected.device, training.rows(np.arange(12)), "twelve more")
    assert again.device.calibration.count == 12
    assert again.device.calibration.measurements == "twelve more"


def test_a_calibration_is_deterministic(training, round_device, monkeypatch):
    monkeypatch.setattr("hw.calibrating.calibration.FOLDS", 3)
    few = training.rows(np.arange(12))
    one, other = (calibrate(round_device, few, "twelve") for _ in range(2))
    assert one == other
