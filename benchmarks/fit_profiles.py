"""Fits the Coral profiles to published latencies: all hosts together, the chip shared.

    python -m benchmarks.fit_profiles --measurements DIR --networks DIR [--tflite DIR] [--write]

A minute and a half on one core. ``--measurements`` holds the CSV files that
:mod:`benchmarks.published` reads, ``--networks`` what ``python -m benchmarks.keras_networks``
makes, ``--tflite`` models of google-coral/test_data; a row whose network is missing is left out.
Prints each row as measured, as fitted, and as estimated by a fit without its network. ``--write``
changes ``hw/families/edge_tpu/chips/coral.yaml`` and the profiles of ``hw/devices`` in place:
values and sources of what was fitted, and the calibration section. No row of NAS-Bench-201 is
among them.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.hosts import ERROR_SCALE, EXPECTED, HOSTS, Host, groups_of
from benchmarks.intervals import calibration_of, whole_model_errors
from benchmarks.joint_fit import Group, JointFit, LeftOut, estimates, leave_out, networks_of
from benchmarks.networks import Networks
from benchmarks.profile_text import number, numbers, section_text, with_leaf, with_section
from benchmarks.published import PublishedRow, read_rows
from hw.calibrating.calibration import fit_macs_line
from hw.columns import FloatArray
from hw.device import DEVICES, load_device
from hw.families.edge_tpu.family import CHIPS
from hw.families.edge_tpu.profile import Device
from hw.fitted import Calibration

CHIP_FILE = CHIPS / "coral.yaml"
COMMAND = "python -m benchmarks.fit_profiles"
LEFT_OUT = f"fitted: {COMMAND}, each network estimated by a fit without it"
WIDENED = "errors outside the others' range divided by the interval's assumed widening there"
KINDS = ("whole", "stack", "transfer")
MOVED = 0.005
"""Less than this share of a value keeps the value that a profile has, and its source."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A host after the fit.

    Attributes:
        group: Its rows.
        host: What it is.
        device: With fitted coefficients and line in MACs.
        left_out: The rows by fits without their network.
    """

    group: Group
    host: Host
    device: Device
    left_out: LeftOut


def fit_all(rows: Sequence[PublishedRow]) -> list[Fitted]:
    """The joint fit, and the same without each network in turn."""
    groups = groups_of(rows)
    fit = JointFit(groups, EXPECTED, ERROR_SCALE)
    solution = fit.solve()
    left_out = leave_out(fit, solution, networks_of(groups, KINDS))
    hosts = {host.name: host for host in HOSTS}
    return [
        Fitted(group, hosts[group.name], with_line(device, group), out)
        for group, device, out in zip(groups, fit.devices(solution), left_out, strict=True)
    ]


def with_line(device: Device, group: Group) -> Device:
    """``device`` with the line in MACs of the same rows."""
    return dataclasses.replace(device, macs_line=fit_macs_line(group.measured))


# --- printing --------------------------------------------------------------------------------


def show(fitted: Fitted) -> None:
    """Print one host."""
    group = fitted.group
    estimated = estimates(fitted.device, group.measured)
    print(f"\n{group.name}: {errors_in_words(group, estimated)}")
    print(f"  networks left out: {errors_in_words(group, fitted.left_out.latency_ms)}")
    print(f"  {'network':<26}{'measured':>10}{'fitted':>10}{'':>8}{'left out':>10}  ms")
    columns = zip(group.rows, estimated, fitted.left_out.latency_ms, strict=True)
    for row, inside, outside in columns:
        error, without = (100 * (value / row.latency_ms - 1) for value in (inside, outside))
        print(
            f"  {row.network.name:<26}{row.latency_ms:10.2f}{inside:10.2f}{error:+7.1f}%"
            f"{outside:10.2f}{without:+7.1f}%  {row.source}"
        )


def errors_in_words(group: Group, estimated: FloatArray) -> str:
    """Mean, median and largest error."""
    errors = 100 * np.abs(estimated / group.measured.latency_ms - 1)
    return (
        f"{len(errors)} rows, error mean {errors.mean():.1f} %, median {np.median(errors):.1f} %, "
        f"largest {errors.max():.1f} %"
    )


# --- writing ---------------------------------------------------------------------------------


def source_of(rows: Sequence[PublishedRow]) -> str:
    """What the rows are, in words."""
    names = sorted({row.source.split()[0] for row in rows}, key=str.lower)
    return f"{len(rows)} rows of {', '.join(names)}"


def write(everything: Sequence[Fitted]) -> None:
    """Change the files of chip and profiles."""
    all_rows = [row for fitted in everything for row in fitted.group.rows]
    source = f"fitted: {COMMAND} on {source_of(all_rows)}"
    rewrite(CHIP_FILE, with_chip(CHIP_FILE.read_text(), everything[0].device, source))
    elsewhere = whole_model_errors(
        [fitted.group for fitted in everything],
        [fitted.device for fitted in everything],
        [fitted.left_out for fitted in everything],
    )
    for fitted in everything:
        if fitted.host.is_written:
            path = DEVICES / f"{fitted.host.profile}.yaml"
            rewrite(path, with_profile(path.read_text(), fitted, elsewhere))


def rewrite(path: Path, text: str) -> None:
    """Write a file whose text changed."""
    if text != path.read_text():
        path.write_text(text)
        print(f"changed {path.name}")


def with_chip(text: str, device: Device, source: str) -> str:
    """The chip's file with what was fitted."""
    before = load_device("coral_usb3").chip
    for path in EXPECTED:
        section, name = path.split(".")
        if section == "chip":
            old, new = getattr(before, name), getattr(device.chip, name)
            if moved(old, new):
                value = str(round(new)) if isinstance(old, int) else number(new)
                text = with_leaf(text, None, name, value, source)
    return text


def with_profile(text: str, fitted: Fitted, elsewhere: FloatArray) -> str:
    """A profile's file with what was fitted, and how well."""
    rows, device = fitted.group.rows, fitted.device
    before = load_device(fitted.host.profile)
    source = f"fitted: {COMMAND} on {source_of(rows)} ({fitted.host.name})"
    line = ("macs_line.fixed_ms", "macs_line.slope_ms_per_gmac")
    for path in (*EXPECTED, *line):
        section, name = path.split(".")
        old, new = getattr(getattr(before, section), name), getattr(getattr(device, section), name)
        if section != "chip" and moved(old, new):
            text = with_leaf(text, section, name, number(new), source)
    calibration = calibration_of(fitted.group, device, fitted.left_out, elsewhere, source_of(rows))
    return with_section(text, "calibration", calibration_text(calibration, LEFT_OUT))


def moved(old: float, new: float) -> bool:
    """Whether a fitted value is another one than a profile has."""
    return abs(new - old) >= MOVED * abs(old)


def calibration_text(calibration: Calibration, source: str) -> str:
    """The lines of a calibration section."""
    leaves = {}
    for item in dataclasses.fields(calibration):
        value = getattr(calibration, item.name)
        if isinstance(value, tuple):
            said = numbers(value)
        elif isinstance(value, float):
            said = str(round(value, 4))
        else:
            said = f'"{value}"' if isinstance(value, str) else str(value)
        told = f"{source}; {WIDENED}" if item.name == "error_90" else source
        leaves[item.name] = (said, item.metadata["unit"], told)
    return section_text(leaves)


def main() -> None:
    """Fit, print, write."""
    parser = argparse.ArgumentParser(prog=COMMAND)
    parser.add_argument("--measurements", type=Path, required=True, metavar="DIR")
    parser.add_argument("--networks", type=Path, required=True, metavar="DIR")
    parser.add_argument("--tflite", type=Path, metavar="DIR", help="of google-coral/test_data")
    parser.add_argument("--write", action="store_true", help="change the profiles")
    options = parser.parse_args()
    folders = [path for path in (options.networks, options.tflite) if path is not None]
    rows = read_rows(options.measurements, Networks(folders))
    if not any(row.host == HOSTS[0].name for row in rows):
        parser.error(f"--measurements must hold rows of {HOSTS[0].name}, but got none")
    everything = fit_all(rows)
    for fitted in everything:
        show(fitted)
    chip = everything[0].device.chip
    values = (path.split(".")[1] for path in EXPECTED if path.startswith("chip."))
    print("\nchip: " + ", ".join(f"{name} {number(getattr(chip, name))}" for name in values))
    if options.write:
        write(everything)


if __name__ == "__main__":
    main()
