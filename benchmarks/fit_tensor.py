"""Fits the profile of Google Tensor G1 to the published latencies of Pixel 6 classifiers.

    python -m benchmarks.fit_tensor --measurements DIR [--write]

Seconds on one core. ``DIR`` holds ``pixel6_edgetpu.csv`` (model, task, latency_ms). Ten rows are
few: the chip is held near the shape of the Coral, and what they do not tell stays as it was.
Prints each row as measured and by a fit without it, and each family by a fit to the other one.
``--write`` changes ``hw/chips/tensor_g1.yaml`` and ``hw/devices/tensor_g1.yaml`` in place.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.hosts import with_coefficients
from benchmarks.networks import published
from benchmarks.profile_text import number, numbers, section_text, with_leaf, with_section
from benchmarks.published import read_csv
from hw.calibration import (
    COEFFICIENTS,
    Measured,
    Scores,
    calibrate,
    fit,
    fit_macs_line,
    judge,
    macs_of,
)
from hw.cost_models.analytic import Analytic
from hw.device import CHIPS, DEVICES, Device, load_device
from hw.placement import place
from spaces.graph import BoolArray

START: Mapping[str, float] = {
    "chip.clock_mhz": 900.0,
    "chip.depthwise_factor": 1.0,
    "chip.pool_factor": 1.0,
    "chip.small_window_factor": 1.1,
    "chip.instruction_bytes_per_op": 1700.0,
    "chip.activation_gb_per_s": 100.0,
    "chip.overflow_gb_per_s": 32.0,
    "chip.weight_gb_per_s": 64.0,
    "chip.convolution_us": 0.5,
    "chip.window_us": 1.0,
    "chip.elementwise_us": 2.0,
    "chip.pool_us": 1.8,
    "chip.movement_us": 1.5,
    "link.fixed_ms": 0.2,
    "link.input_mb_per_s": 5000.0,
    "link.output_mb_per_s": 5000.0,
    "link.streaming_ms_per_mib": 0.033,
}
"""Before any row is seen. Assumed: a clock between the 800 and 1066 MHz of the template of
arXiv:2102.10423, its 32 GB/s of DRAM, and the Coral's law at about twice its speed. It is written
here and not read from the profile, which holds the result: fitting twice changes nothing."""
ASSUMED = "assumed: the Coral's law at about twice its speed; nothing numeric is public"
SOURCE = (
    "fitted: python -m benchmarks.fit_tensor on the Pixel 6 table of tensorflow/models, ten "
    "classifiers (MobileNet-EdgeTPU v1 and v2)"
)


def measured_on(device: Device, folder: Path) -> tuple[list[str], Measured]:
    """Names and rows of the classifiers."""
    rows = [r for r in read_csv(folder / "pixel6_edgetpu.csv") if r["task"] == "classification"]
    names = [row["model"] for row in rows]
    parts = [name.rpartition("_") for name in names]
    graphs = [published(space, baseline) for space, _, baseline in parts]
    latency = np.array([float(row["latency_ms"]) for row in rows])
    return names, Measured(device, place(graphs, device)[0], latency, np.ones(len(rows)))


def family_scores(measured: Measured, train: BoolArray) -> tuple[Scores, Scores]:
    """Of the rows not in ``train``, a mask, by a fit to those in it: by all laws, and by MACs."""
    inside = measured.rows(np.flatnonzero(train))
    outside = measured.rows(np.flatnonzero(~train))
    parts = Analytic(fit([inside])[0]).parts(outside.placement)
    line = fit_macs_line(inside)
    by_macs = line.fixed_ms + line.slope_ms_per_gmac * macs_of(outside) / 1e9
    return judge(parts.latency_ms, outside.latency_ms), judge(by_macs, outside.latency_ms)


def write(fitted: Device, before: Device) -> None:
    """Change values and sources of what moved, and the calibration section."""
    chip_file, file = CHIPS / "tensor_g1.yaml", DEVICES / "tensor_g1.yaml"
    chip_text, text = chip_file.read_text(), file.read_text()
    for path in COEFFICIENTS:
        section, name = path.split(".")
        old, new = getattr(getattr(before, section), name), getattr(getattr(fitted, section), name)
        if path not in START and old == new:
            continue
        source = ASSUMED if old == new else SOURCE
        if section == "chip":
            chip_text = with_leaf(chip_text, None, name, number(new), source)
        else:
            text = with_leaf(text, section, name, number(new), source)
    for name in ("fixed_ms", "slope_ms_per_gmac"):
        text = with_leaf(text, "macs_line", name, number(getattr(fitted.macs_line, name)), SOURCE)
    chip_file.write_text(chip_text)
    file.write_text(with_section(text, "calibration", _calibration_text(fitted)))


def _calibration_text(fitted: Device) -> str:
    calibration = fitted.calibration
    assert calibration is not None
    leaves = {}
    for item in dataclasses.fields(calibration):
        value = getattr(calibration, item.name)
        if isinstance(value, tuple) and value and isinstance(value[0], tuple):
            shown = "[" + ", ".join(numbers(row) for row in value) + "]"
        elif isinstance(value, tuple):
            shown = numbers(value)
        elif isinstance(value, str):
            shown = f'"{value}"'
        else:
            shown = str(value if isinstance(value, int) else round(value, 4))
        leaves[item.name] = (shown, str(item.metadata["unit"]), SOURCE)
    return section_text(leaves)


def main() -> None:
    """Fit, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fit_tensor")
    parser.add_argument("--measurements", type=Path, required=True, metavar="DIR")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    device = with_coefficients(load_device("tensor_g1"), START)
    names, measured = measured_on(device, options.measurements)
    words = "10 classifiers of the tensorflow/models Pixel 6 table"
    # Ten rows are too few to interpolate between: the laws stand alone.
    found = calibrate(device, measured, words, corrects=False)
    fitted = found.device
    estimated = Analytic(fitted).parts(measured.placement).latency_ms
    for name, truth, value in zip(names, measured.latency_ms, estimated, strict=True):
        print(f"  {name:<36}{truth:7.2f}{value:9.3f} ms {100 * (value / truth - 1):+6.1f} %")
    print("left out one by one", found.scores, "line in MACs", found.macs_only)
    first = np.array(["_v1_" in name for name in names])
    for train, words in ((first, "v2 by a fit to v1"), (~first, "v1 by a fit to v2")):
        laws, line = family_scores(measured, train)
        print(words, laws, "line in MACs", line)
    if options.write:
        write(fitted, device)


if __name__ == "__main__":
    main()
