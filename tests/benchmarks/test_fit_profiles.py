"""The joint fit finds what it was given, and profiles are changed where they should be."""

import dataclasses

import numpy as np
import pytest
import yaml

from benchmarks.fit_profiles import calibration_text
from benchmarks.hosts import CHIP, EXPECTED, HOSTS, starting_device
from benchmarks.intervals import calibration_of, scaled_errors
from benchmarks.joint_fit import JointFit, estimates, group_of, leave_out, networks_of
from benchmarks.layer_stacks import convolutions_3x3, dense_network
from benchmarks.networks import Network
from benchmarks.profile_text import number, section_text, with_leaf, with_section
from benchmarks.published import PublishedRow
from hw.calibrating.fitting import fit, scaled
from hw.device import DEVICES, device_names, load_device, parse_device
from hw.families.edge_tpu.coefficients import COEFFICIENTS

TEXT = """\
summary: "S"

chip: coral

link:
  fixed_ms:
    value: 0.29
    unit: ms
    source: "a: b"

energy:
  mac_pj:
    value: 1.0
    unit: pJ
    source: "c"
"""


def made_rows(host, factors):
    """Rows that obey the laws with changed coefficients."""
    device = scaled(starting_device(host), factors)
    graphs = [convolutions_3x3(width) for width in (32, 96, 160)]
    graphs += [dense_network(width) for width in (100, 220, 380, 1400)]
    rows = [PublishedRow(host.name, Network(str(n), g), 1.0, "me") for n, g in enumerate(graphs)]
    latency = estimates(device, group_of(host.name, device, rows, np.ones(len(rows))).measured)
    return [dataclasses.replace(row, latency_ms=ms) for row, ms in zip(rows, latency, strict=True)]


@pytest.fixture(scope="module")
def problem():
    hosts = [host for host in HOSTS if host.profile in ("coral_usb3", "coral_pcie")][:2]
    factors = {"chip.small_window_factor": np.log(1.3), "link.streaming_ms_per_mib": np.log(0.9)}
    groups = []
    for host in hosts:
        rows = made_rows(host, factors)
        groups.append(group_of(host.name, starting_device(host), rows, np.ones(len(rows))))
    wide = {path: 2.0 * spread for path, spread in EXPECTED.items()}
    return groups, wide, JointFit(groups, wide, 0.02)


def test_the_fit_finds_what_rows_were_made_with(problem):
    groups, _, joint = problem
    devices = joint.devices(joint.solve())
    for group, device in zip(groups, devices, strict=True):
        assert device.chip.small_window_factor == pytest.approx(1.3, rel=0.03)
        assert estimates(device, group.measured) == pytest.approx(
            group.measured.latency_ms, rel=0.01
        )
    assert devices[0].chip == devices[1].chip
    assert devices[0].link != devices[1].link


def test_it_is_the_fit_of_the_calibration(problem):
    groups, wide, joint = problem
    slow = fit([group.measured for group in groups], expected=wide, error_scale=0.02)
    quick = joint.devices(joint.solve())
    for group, one, other in zip(groups, slow, quick, strict=True):
        assert estimates(one, group.measured) == pytest.approx(
            estimates(other, group.measured), rel=2e-3
        )


def test_a_network_left_out_does_not_count(problem):
    groups, wide, joint = problem
    wrong = np.array([10.0, *[1.0] * 6]) * groups[0].measured.latency_ms
    spoilt = dataclasses.replace(
        groups[0], measured=dataclasses.replace(groups[0].measured, latency_ms=wrong)
    )
    left = JointFit([spoilt, groups[1]], wide, 0.02)
    without = left.solve(out="0")
    clean = joint.solve(out="0")
    assert without == pytest.approx(clean, abs=1e-3)
    out = leave_out(left, without, ["0"])
    assert np.isnan(out[0].latency_ms[1:]).all()
    assert out[0].latency_ms[0] == pytest.approx(wrong[0] / 10, rel=0.3)


def test_networks_are_named_once(problem):
    groups, _, _ = problem
    assert networks_of(groups, ("whole",)) == list("0123456")
    assert networks_of(groups, ("stack",)) == []


def test_errors_outside_the_range_count_less(problem):
    groups, _, joint = problem
    solution = joint.solve()
    device = joint.devices(solution)[0]
    left = leave_out(joint, solution, networks_of(groups, ("whole",)))[0]
    far = dataclasses.replace(left, features=left.features + 1.0)
    near, scaled_down = (scaled_errors(groups[0], device, one) for one in (left, far))
    assert (scaled_down <= near).all() and (scaled_down < near).any()


def test_a_calibration_is_what_a_profile_takes(problem):
    groups, _, joint = problem
    solution = joint.solve()
    device = joint.devices(solution)[0]
    left = leave_out(joint, solution, networks_of(groups, ("whole",)))[0]
    made = calibration_of(groups[0], device, left, np.array([0.3]), "made up")
    assert made.error_90 == 0.3  # fewer than nine whole models
    text = with_section(TEXT, "calibration", calibration_text(made, "fitted: here"))
    content = yaml.safe_load(text)["calibration"]
    whole = yaml.safe_load((DEVICES / "coral_usb3.yaml").read_text())
    read = parse_device("d", whole | {"calibration": content}, "d.yaml").calibration
    assert read.count == 7
    assert read.feature_high == pytest.approx(made.feature_high, abs=1e-4)
    assert len(max(text.splitlines(), key=len)) < 120


def test_a_leaf_is_changed_and_nothing_else():
    changed = with_leaf(TEXT, "link", "fixed_ms", "0.3", 'say "x"')
    assert changed == TEXT.replace("0.29", "0.3").replace('"a: b"', '"say \\"x\\""')
    assert yaml.safe_load(changed)["link"]["fixed_ms"]["source"] == 'say "x"'
    with pytest.raises(KeyError):
        with_leaf(TEXT, "energy", "fixed_ms", "1", "s")
    with pytest.raises(KeyError):
        with_leaf(TEXT, "host", "fixed_ms", "1", "s")


def test_a_section_is_replaced_or_added():
    block = section_text({"a": ("1", "%", "s")})
    added = with_section(TEXT, "last", block)
    assert added.startswith(TEXT)
    assert yaml.safe_load(added)["last"] == {"a": {"value": 1, "unit": "%", "source": "s"}}
    assert with_section(added, "last", block) == added
    replaced = yaml.safe_load(with_section(TEXT, "link", block))
    assert list(replaced) == ["summary", "chip", "link", "energy"]
    assert list(replaced["link"]) == ["a"]


def test_numbers_have_four_digits():
    assert [number(x) for x in (0.094982, 2.0, 31.834, 311.04, 16344.0)] == [
        "0.09498",
        "2.0",
        "31.83",
        "311",
        "16340",
    ]


def test_what_is_expected_names_coefficients_that_exist():
    assert set(EXPECTED) == set(COEFFICIENTS) - {"chip.clock_mhz"}
    assert set(CHIP) == {path for path in EXPECTED if path.startswith("chip.")}
    for host in HOSTS:
        assert host.profile in device_names()
        own = {path for path in EXPECTED if not path.startswith("chip.")}
        assert set(host.start) == own | {"host.pairs_per_us"}  # published, and not fitted


@pytest.mark.parametrize("name", [host.profile for host in HOSTS])
def test_profiles_say_how_well_they_were_fitted(name):
    calibration = load_device(name).calibration
    assert calibration is not None
    assert calibration.count >= 3
    assert 0 < calibration.error_90 < 1
    assert not calibration.residual_weights
