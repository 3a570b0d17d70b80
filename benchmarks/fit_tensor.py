"""Fits the profile of Google Tensor G1 to the published Pixel 6 latencies of all tasks.

    python -m benchmarks.fit_tensor --measurements DIR [--write]

A quarter of a minute on one core. ``DIR`` holds ``pixel6_edgetpu.csv``. Thirty rows of six
families are few, and rows of a family say much the same: the chip has the Coral's shape, each
coefficient is held near what is expected before any row is seen, and no correction is laid over
the laws. Prints each row as measured, as fitted, and by a fit without its whole family; intervals
and scores of the profile are those of families left out. ``--write`` changes
``hw/families/edge_tpu/chips/tensor_g1.yaml`` and ``hw/devices/tensor_g1.yaml`` in place.

What was settled with all rows in sight, so that no figure here is blind to it: the form of the
laws of attention, embeddings and element-wise steps, ten detections, how uncertain the cost of a
depthwise convolution is, and at which error a row counts as an outlier. Other starts, spreads and
counts of softmax steps that were tried leave a family 10 to 23 % off (MobileBERT), 7 to 25 %
(Autoseg), 5 to 11 % (DeepLabV3+), 6 to 9 % (SpaghettiNet).
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.hosts import CHIP, with_coefficients
from benchmarks.pixel6 import PixelRow, families_of, rows_of, tasks_of
from benchmarks.profile_text import number, numbers, section_text, with_leaf, with_section
from hw.calibrating.calibration import conformal_quantile, fit_macs_line, judge
from hw.calibrating.fitting import Measured, fit
from hw.columns import FloatArray
from hw.device import DEVICES, load_device
from hw.families.edge_tpu.analytic import Analytic
from hw.families.edge_tpu.coefficients import COEFFICIENTS
from hw.families.edge_tpu.family import CHIPS
from hw.families.edge_tpu.features import features
from hw.families.edge_tpu.placement import place
from hw.families.edge_tpu.profile import Device
from hw.fitted import Calibration

CLOCK_MHZ = 900.0
FASTER = CLOCK_MHZ / 500.0
"""Than a Coral's clock. Assumed: between 800 and 1066 MHz of the template of arXiv:2102.10423."""
HOST = 1000.0 / 120.0
"""Large cores over the Cortex-A53 of a Dev Board, by what is assumed of both for elements."""

START: Mapping[str, float] = {
    "chip.clock_mhz": CLOCK_MHZ,
    **{
        path: value * FASTER if path.endswith("gb_per_s") else value
        for path, value in CHIP.items()
        if not path.endswith("_us")
    },
    **{path: value / FASTER for path, value in CHIP.items() if path.endswith("_us")},
    "link.fixed_ms": 0.2,
    "link.input_mb_per_s": 5000.0,
    "link.output_mb_per_s": 5000.0,
    # The template's 32 GB/s of DRAM.
    "link.streaming_ms_per_mib": 0.033,
    "host.scores_per_us": 52.0 * HOST,
    "host.pairs_per_us": 10.9 * HOST,
}
"""Before any row is seen: what is expected of a Coral (:data:`benchmarks.hosts.CHIP`), with its
cycles at another clock. It is written here and not read from the profile, which holds the result:
fitting twice changes nothing."""

EXPECTED: Mapping[str, float] = {
    **COEFFICIENTS,
    "chip.depthwise_factor": 2.5,
    "host.pairs_per_us": COEFFICIENTS["host.scores_per_us"],
}
"""What is fitted, with the standard deviation of its logarithm. A Coral computes a depthwise
convolution on one lane in 16; this chip on any share of its 64 x 4 multipliers."""
ERROR_SCALE = 0.05
"""Relative error from which on a row counts as an outlier: published to 0.1 ms, the detectors are
known to 4 %."""

ASSUMED = "assumed: the Coral's law at 1.8 times its clock; nothing numeric is public"
SOURCE = (
    "fitted: python -m benchmarks.fit_tensor on the int8 rows of all tasks of the Pixel 6 tables "
    "of tensorflow/models"
)
LEFT_OUT = f"{SOURCE}, each family estimated by a fit without it"
WORDS = "int8 rows of all tasks of the Pixel 6 tables of tensorflow/models"


def starting_device() -> Device:
    """The profile with what is expected before any row is seen."""
    return with_coefficients(load_device("tensor_g1"), START)


def measured_on(device: Device, rows: Sequence[PixelRow]) -> Measured:
    """The rows, placed on ``device``."""
    latency = np.array([row.latency_ms for row in rows])
    placement, _ = place([row.graph for row in rows], device)
    return Measured(device, placement, latency, np.ones(len(rows)))


def fitted_to(measured: Measured) -> Device:
    """The fit to these rows, values as they stand in a file."""
    made = fit([measured], expected=EXPECTED, error_scale=ERROR_SCALE)[0]
    for path in EXPECTED:
        section, name = path.split(".")
        part = getattr(made, section)
        old, new = getattr(getattr(measured.device, section), name), getattr(part, name)
        value = round(new) if isinstance(old, int) else float(number(new))
        made = dataclasses.replace(made, **{section: dataclasses.replace(part, **{name: value})})
    return made


def left_out(rows: Sequence[PixelRow], measured: Measured) -> tuple[FloatArray, FloatArray]:
    """Latency of each row by a fit without its family: by the laws, and by MACs alone."""
    laws, line = np.zeros(len(rows)), np.zeros(len(rows))
    for family in families_of(rows):
        out = np.array([row.family == family for row in rows])
        kept = measured.rows(np.flatnonzero(~out))
        tried = measured.rows(np.flatnonzero(out))
        laws[out] = Analytic(fitted_to(kept)).parts(tried.placement).latency_ms
        straight = fit_macs_line(kept)
        line[out] = straight.fixed_ms + straight.slope_ms_per_gmac * tried.placement.macs / 1e9
    return laws, line


def calibrated(fitted: Device, measured: Measured, estimated: FloatArray) -> Device:
    """``fitted`` with its line in MACs, and a calibration from ``estimated`` left-out families."""
    known = features(measured.placement, Analytic(fitted).parts(measured.placement))
    scores = judge(estimated, measured.latency_ms)
    errors = np.abs(np.log(estimated / measured.latency_ms))
    nothing: tuple[float, ...] = ()
    calibration = Calibration(
        measurements=f"{len(measured)} {WORDS}",
        count=len(measured),
        mape_percent=scores.mape_percent,
        within_10_percent=scores.within_10_percent,
        spearman=scores.spearman,
        kendall=scores.kendall,
        error_90=conformal_quantile(errors),
        feature_low=tuple(known.min(axis=0)),
        feature_high=tuple(known.max(axis=0)),
        residual_scale=tuple(np.ones(known.shape[1])),
        residual_length=1.0,
        # The laws stand alone.
        residual_centres=(),
        residual_weights=nothing,
    )
    return dataclasses.replace(fitted, macs_line=fit_macs_line(measured), calibration=calibration)


# --- writing ---------------------------------------------------------------------------------


def write(fitted: Device, before: Device) -> None:
    """Change values and sources of what is fitted, and the calibration section."""
    chip_file, file = CHIPS / "tensor_g1.yaml", DEVICES / "tensor_g1.yaml"
    chip_text, text = chip_file.read_text(), file.read_text()
    for path in {**START, **EXPECTED}:
        section, name = path.split(".")
        old, new = getattr(getattr(before, section), name), getattr(getattr(fitted, section), name)
        moved = abs(new - old) >= 0.001 * abs(old)
        if not moved and path not in START:
            continue
        source, value = (SOURCE, new) if moved else (ASSUMED, old)
        if section == "chip":
            chip_text = with_leaf(chip_text, None, name, number(value), source)
        else:
            text = with_leaf(text, section, name, number(value), source)
    for name in ("fixed_ms", "slope_ms_per_gmac"):
        text = with_leaf(text, "macs_line", name, number(getattr(fitted.macs_line, name)), SOURCE)
    chip_file.write_text(chip_text)
    assert fitted.calibration is not None
    calibration = calibration_text(fitted.calibration, LEFT_OUT)
    file.write_text(with_section(text, "calibration", calibration))


def calibration_text(calibration: Calibration, source: str) -> str:
    """The lines of a calibration section."""
    leaves = {}
    for item in dataclasses.fields(calibration):
        value = getattr(calibration, item.name)
        if isinstance(value, tuple):
            shown = numbers(value)
        elif isinstance(value, str):
            shown = f'"{value}"'
        else:
            shown = str(value if isinstance(value, int) else round(value, 4))
        leaves[item.name] = (shown, str(item.metadata["unit"]), source)
    return section_text(leaves)


# --- printing --------------------------------------------------------------------------------


def show(
    rows: Sequence[PixelRow], measured: Measured, fitted: Device, outside: FloatArray
) -> None:
    """Print each row, and scores of each task."""
    inside = Analytic(fitted).parts(measured.placement).latency_ms
    print(f"  {'':<40}{'measured':>9}{'fitted':>9}{'':>8}{'family left out':>18}  ms")
    for row, one, other in zip(rows, inside, outside, strict=True):
        errors = [100 * (value / row.latency_ms - 1) for value in (one, other)]
        print(
            f"  {row.name:<40}{row.latency_ms:9.2f}{one:9.2f}{errors[0]:+7.1f}%"
            f"{other:9.2f}{errors[1]:+7.1f}%"
        )
    for kind, words in (("family", families_of(rows)), ("task", tasks_of(rows))):
        for word in words:
            which = np.array([getattr(row, kind) == word for row in rows])
            scores = [judge(one[which], measured.latency_ms[which]) for one in (inside, outside)]
            print(
                f"  {word:<24}{which.sum():3d} rows, MAPE fitted {scores[0].mape_percent:5.1f} %, "
                f"left out {scores[1].mape_percent:5.1f} %, Kendall {scores[0].kendall:.2f}, "
                f"{scores[1].kendall:.2f}"
            )


def main() -> None:
    """Fit, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fit_tensor")
    parser.add_argument("--measurements", type=Path, required=True, metavar="DIR")
    parser.add_argument("--write", action="store_true", help="change the profile")
    options = parser.parse_args()
    rows = rows_of(options.measurements)
    if not rows:
        parser.error("--measurements must hold pixel6_edgetpu.csv, but does not")
    device = starting_device()
    measured = measured_on(device, rows)
    outside, _ = left_out(rows, measured)
    fitted = calibrated(fitted_to(measured), measured, outside)
    show(rows, measured, fitted, outside)
    if options.write:
        write(fitted, device)


if __name__ == "__main__":
    main()
