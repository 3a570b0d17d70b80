"""The Pixel 8 rows, and the profile that is moved to them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from benchmarks.fit_tensor_g3 import (
    AFTER,
    BEFORE,
    ELEMENT,
    FIXED,
    RATES,
    calibrated,
    estimates,
    fitted_to,
    left_out,
    measured_on,
    texts,
)
from benchmarks.pixel8 import FILE, NETWORKS, rows_of
from hw.calibrating.calibration import judge
from hw.device import DEVICES, load_device
from hw.families.edge_tpu.family import CHIPS
from spaces.graph import OpKind

MEASUREMENTS = Path(__file__).parents[2].parent / "shared" / "measurements"
needs_rows = pytest.mark.skipif(
    not (MEASUREMENTS / FILE).is_file(), reason="no published rows at hand"
)


# --- rows --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "millions", "gmacs"),
    [
        # published: arXiv:1801.04381, tf.keras, arXiv:2404.10518, 2206.04040, 2201.03545
        ("MobileNetV2-0.5x", 2.0, 0.097),
        ("MobileNetV2", 3.5, 0.300),
        ("MobileNetV2-2.0x", 11.2, 1.1),
        ("MNv4-Conv-S", 3.8, 0.2),
        ("MNv4-Conv-M", 9.7, 1.1),
        ("MobileOne-S4", 14.8, 2.978),
        ("ConvNext-S", 50, 8.7),
    ],
)
def test_networks_are_as_large_as_published(name, millions, gmacs):
    graph = NETWORKS[name]()
    # A published figure is good to a unit of its last digit.
    assert graph.trainable_parameters / 1e6 == pytest.approx(millions, rel=0.03)
    assert graph.macs / 1e9 == pytest.approx(gmacs, rel=0.075)
    assert graph.output.kind is OpKind.SOFTMAX
    assert graph.output.output_shape == (1, 1000)


def test_rows_that_nobody_can_build_and_comments_are_left_out(tmp_path):
    lines = ["# facts", "model,pixel8_edgetpu_ms", "MobileNetV2,0.5", "Unheard-of,3.0"]
    (tmp_path / FILE).write_text("\n".join(lines))
    assert [(row.name, row.latency_ms) for row in rows_of(tmp_path)] == [("MobileNetV2", 0.5)]
    assert rows_of(tmp_path / "nowhere") == []


# --- the fit -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows():
    return rows_of(MEASUREMENTS)


@pytest.fixture(scope="module")
def measured(rows):
    return measured_on(load_device(BEFORE), rows)


@pytest.fixture(scope="module")
def alone(rows, measured):
    return left_out(measured, [row.name for row in rows])


@needs_rows
def test_the_profile_is_what_the_command_makes(measured, alone):
    # Frozen: python -m benchmarks.fit_tensor_g3 --measurements DIR --write
    shipped, made = load_device(AFTER), calibrated(fitted_to(measured), measured, alone[0])
    for path in (FIXED, ELEMENT, *RATES):
        section, name = path.split(".")
        now, file = (getattr(getattr(one, section), name) for one in (made, shipped))
        assert now == pytest.approx(file, rel=2e-3), path
    chip, text = texts(made)
    assert [line for line in chip.splitlines() if "source" in line] == [
        line for line in (CHIPS / f"{AFTER}.yaml").read_text().splitlines() if "source" in line
    ]
    assert len(text.splitlines()) == len((DEVICES / f"{AFTER}.yaml").read_text().splitlines())


def test_all_but_three_numbers_are_those_of_tensor_g1():
    before, after = load_device(BEFORE), load_device(AFTER)
    moved = {
        f"{section}.{item.name}"
        for section in ("compiler", "chip", "link", "host", "energy")
        for item in dataclasses.fields(getattr(before, section))
        if getattr(getattr(before, section), item.name)
        != getattr(getattr(after, section), item.name)
    }
    assert moved == {FIXED, ELEMENT, *RATES}
    ratios = [
        (getattr(after.chip, path[5:]) / getattr(before.chip, path[5:])) ** sign
        for path, sign in RATES.items()
    ]
    assert ratios == pytest.approx([ratios[0]] * len(ratios), rel=2e-3)
    sources = dict(after.sources)
    assert all(sources[path].startswith("fitted") for path in moved)
    others = {path for path in sources if path.split(".")[0] not in ("macs_line", "calibration")}
    assert all(sources[path].startswith("assumed") for path in others - moved)


@needs_rows
def test_rows_left_out_are_estimated_within_the_bars(measured, alone):
    """Bars: 12 % and Spearman 0.95; the interval holds for all that it was made of."""
    scores = judge(alone[0], measured.latency_ms)
    assert scores.mape_percent < 12.0
    assert scores.spearman > 0.95
    device = load_device(AFTER)
    errors = np.abs(np.log(alone[0] / measured.latency_ms))
    assert device.calibration.error_90 == pytest.approx(errors.max(), rel=2e-3)
    assert device.calibration.count == len(measured) == 7
    # Frozen: what Tensor G1 would take is off by 40 %.
    assert judge(estimates(load_device(BEFORE), measured), measured.latency_ms).mape_percent > 30
