"""Moves the profile of Google Tensor G1 to the published Pixel 8 (Tensor G3) latencies.

    python -m benchmarks.fit_tensor_g3 --measurements DIR [--write]

Seconds on one core. ``DIR`` holds ``pixel8_edgetpu.csv``. Seven rows, three of them equal, tell
three numbers at most, so no more are moved: what a call takes; one factor by which all that the
chip does is faster than on Tensor G1; and what the chip takes for one element of an element-wise
op, of which one row alone, ConvNeXt, has many. Each is held near the profile of Tensor G1 by how
uncertain it is, and all else stays as it is there. So the shape of the chip is still the Coral's:
the factor is one of all rates, not a clock that anybody has measured.

Prints each row as measured, by the profile of Tensor G1, as fitted, and by a fit without it and
without its family; intervals and scores of the profile are those of single rows left out.
``--write`` makes ``hw/families/edge_tpu/chips/tensor_g3.yaml`` and ``hw/devices/tensor_g3.yaml``
anew from those of ``tensor_g1``.

Settled with all rows in sight: that it is these three. With the clock alone faster, or with the
cost of depthwise convolutions or of streaming free, too, rows left out are off as much (8.6 to
8.9 %); without the third number 11.8 %.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import yaml

from benchmarks.fit_tensor import calibration_text
from benchmarks.pixel8 import FILE, Pixel8Row, rows_of
from benchmarks.profile_text import number, with_leaf, with_section
from hw.calibrating.calibration import conformal_quantile, fit_macs_line, judge
from hw.calibrating.fitting import STEP, Measured, minimised, scaled
from hw.columns import FloatArray
from hw.device import DEVICES, load_device
from hw.families.edge_tpu.analytic import Analytic
from hw.families.edge_tpu.family import CHIPS
from hw.families.edge_tpu.features import features
from hw.families.edge_tpu.placement import place
from hw.families.edge_tpu.profile import Device
from hw.fitted import Calibration

BEFORE, AFTER = "tensor_g1", "tensor_g3"
FIXED, ELEMENT = "link.fixed_ms", "chip.element_cycles"
RATES: Mapping[str, float] = {
    "chip.clock_mhz": 1.0,
    "chip.activation_gb_per_s": 1.0,
    "chip.overflow_gb_per_s": 1.0,
    "chip.weight_gb_per_s": 1.0,
    "chip.convolution_us": -1.0,
    "chip.window_us": -1.0,
    "chip.elementwise_us": -1.0,
    "chip.pool_us": -1.0,
    "chip.movement_us": -1.0,
}
"""What the one factor moves, and in which direction."""
SPREAD = np.array([1.0, 0.5, 1.5])
"""Standard deviations of the logarithms of what a call takes, of the factor, and of what an
element takes. Assumed: a call and the cost of single ops as uncertain as in any calibration, and
a chip two generations later up to 1.6 times as fast, or as slow."""
ERROR_SCALE = 0.05
"""Relative error from which on a row counts as an outlier: published to 0.1 ms, the smallest are
known to 4 %."""

WORDS = "int8 classifiers of table 6 of arXiv:2404.10518, Pixel 8"
SOURCE = f"fitted: python -m benchmarks.fit_tensor_g3 on seven {WORDS}"
FASTER = f"{SOURCE}: that of tensor_g1 by one factor for all rates of the chip"
KEPT = f"assumed: as {BEFORE}; seven rows do not tell"
LEFT_OUT = f"{SOURCE}, each row estimated by a fit without it"
SUMMARY = "Google Tensor G3 (Pixel 8), moved from Tensor G1 by seven published classifiers"


def measured_on(device: Device, rows: Sequence[Pixel8Row]) -> Measured:
    """The rows, placed on ``device``."""
    latency = np.array([row.latency_ms for row in rows])
    placement, _ = place([row.graph for row in rows], device)
    return Measured(device, placement, latency, np.ones(len(rows)))


def moved(device: Device, logs: FloatArray) -> Device:
    """``device`` with the three numbers times exp of ``logs``."""
    fixed, faster, element = (float(log) for log in logs)
    steps = {path: sign * faster for path, sign in RATES.items()}
    result: Device = scaled(device, {FIXED: fixed, ELEMENT: element, **steps})  # type: ignore[assignment]
    return result


@final
class _Task:
    """Errors of some rows as they follow from the three logarithms."""

    def __init__(self, measured: Measured) -> None:
        self._measured, self.spread = measured, SPREAD

    def errors(self, logs: FloatArray) -> FloatArray:
        """In numbers of their scale, ``[n]``."""
        estimated = estimates(moved(_device(self._measured), logs), self._measured)
        result: FloatArray = np.log(estimated / self._measured.latency_ms) / ERROR_SCALE
        return result

    def slopes(self, logs: FloatArray, errors: FloatArray) -> FloatArray:
        """``[n, 3]``."""
        steps = STEP * np.eye(len(logs))
        return np.stack([(self.errors(logs + one) - errors) / STEP for one in steps], axis=1)


def _device(measured: Measured) -> Device:
    device = measured.device
    assert isinstance(device, Device)
    return device


def estimates(device: Device, measured: Measured) -> FloatArray:
    """Latency by the laws, ``[n]``, milliseconds."""
    placement: Any = measured.placement
    return Analytic(device).parts(placement).latency_ms


def fitted_to(measured: Measured) -> Device:
    """The fit to these rows, values as they stand in a file."""
    made = moved(_device(measured), minimised(_Task(measured), np.zeros(len(SPREAD))))
    for path in (FIXED, ELEMENT, *RATES):
        section, name = path.split(".")
        part = getattr(made, section)
        part = dataclasses.replace(part, **{name: float(number(getattr(part, name)))})
        made = dataclasses.replace(made, **{section: part})
    return made


def left_out(measured: Measured, group: Sequence[str]) -> tuple[FloatArray, FloatArray]:
    """Latency of each row by a fit without its group: by the laws, and by MACs alone."""
    laws, line = np.zeros(len(measured)), np.zeros(len(measured))
    for one in dict.fromkeys(group):
        out = np.array([other == one for other in group])
        kept = measured.rows(np.flatnonzero(~out))
        tried = measured.rows(np.flatnonzero(out))
        laws[out] = estimates(fitted_to(kept), tried)
        straight = fit_macs_line(kept)
        line[out] = straight.fixed_ms + straight.slope_ms_per_gmac * tried.placement.macs / 1e9
    return laws, line


def calibrated(fitted: Device, measured: Measured, estimated: FloatArray) -> Device:
    """``fitted`` with its line in MACs, and a calibration from rows left out.

    The interval reaches as far as the largest of seven errors: such a one holds for seven of eight
    new networks like these, a little less than the 90 % that it is meant for.
    """
    placement: Any = measured.placement
    known = features(placement, Analytic(fitted).parts(placement))
    scores = judge(estimated, measured.latency_ms)
    calibration = Calibration(
        measurements=f"{len(measured)} {WORDS}",
        count=len(measured),
        **dataclasses.asdict(scores),
        error_90=conformal_quantile(np.abs(np.log(estimated / measured.latency_ms))),
        feature_low=tuple(known.min(axis=0)),
        feature_high=tuple(known.max(axis=0)),
        residual_scale=tuple(np.ones(known.shape[1])),
        residual_length=1.0,
        residual_centres=(),
        residual_weights=(),
    )
    return dataclasses.replace(fitted, macs_line=fit_macs_line(measured), calibration=calibration)


# --- writing ---------------------------------------------------------------------------------


def texts(fitted: Device) -> tuple[str, str]:
    """The chip's file and the profile, made of those of Tensor G1."""
    chip = (CHIPS / f"{BEFORE}.yaml").read_text()
    for name, leaf in yaml.safe_load(chip).items():
        chip = _with(chip, None, name, leaf["value"], fitted)
    text = (DEVICES / f"{BEFORE}.yaml").read_text()
    record = yaml.safe_load(text)
    text = text.replace(f"summary: {json.dumps(record['summary'])}", f'summary: "{SUMMARY}"')
    text = text.replace(f"chip: {BEFORE}", f"chip: {AFTER}")
    for section in ("compiler", "link", "host", "energy"):
        for name, leaf in record[section].items():
            text = _with(text, section, name, leaf["value"], fitted)
    for name in ("fixed_ms", "slope_ms_per_gmac"):
        text = with_leaf(text, "macs_line", name, number(getattr(fitted.macs_line, name)), SOURCE)
    assert fitted.calibration is not None
    calibration = calibration_text(fitted.calibration, LEFT_OUT)
    return chip, with_section(text, "calibration", calibration)


def _with(text: str, section: str | None, name: str, old: object, fitted: Device) -> str:
    path = f"{section or 'chip'}.{name}"
    if path not in {FIXED, ELEMENT, *RATES}:
        value = str(old) if isinstance(old, str) else json.dumps(old)
        return with_leaf(text, section, name, value, KEPT)
    new = number(getattr(getattr(fitted, section or "chip"), name))
    return with_leaf(text, section, name, new, FASTER if path in RATES else SOURCE)


# --- printing --------------------------------------------------------------------------------


def show(rows: Sequence[Pixel8Row], columns: Mapping[str, FloatArray]) -> None:
    """Print each row, and scores of each column."""
    measured = np.array([row.latency_ms for row in rows])
    print(f"  {'':<18}{'measured':>10}" + "".join(f"{name:>26}" for name in columns) + "  ms")
    for number_, row in enumerate(rows):
        cells = (
            f"{column[number_]:17.2f}{100 * (column[number_] / row.latency_ms - 1):+8.1f}%"
            for column in columns.values()
        )
        print(f"  {row.name:<18}{row.latency_ms:10.1f}" + "".join(cells))
    scores = [judge(column, measured) for column in columns.values()]
    lines: Mapping[str, Callable[[Any], str]] = {
        "mean error": lambda one: f"{one.mape_percent:.1f} %",
        "Spearman": lambda one: f"{one.spearman:.3f}",
    }
    for name, told in lines.items():
        print(f"  {name:<28}" + "".join(f"{told(one):>26}" for one in scores))


def main() -> None:
    """Fit, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fit_tensor_g3")
    parser.add_argument("--measurements", type=Path, required=True, metavar="DIR")
    parser.add_argument("--write", action="store_true", help="make the profile anew")
    options = parser.parse_args()
    rows = rows_of(options.measurements)
    if not rows:
        parser.error(f"--measurements must hold {FILE}, but does not")
    before = load_device(BEFORE)
    assert isinstance(before, Device)
    measured = measured_on(before, rows)
    alone, line = left_out(measured, [row.name for row in rows])
    fitted = calibrated(fitted_to(measured), measured, alone)
    columns = {
        BEFORE: estimates(before, measured),
        "fitted": estimates(fitted, measured),
        "row left out": alone,
        "family left out": left_out(measured, [row.family for row in rows])[0],
        "MACs, row left out": line,
    }
    show(rows, columns)
    factor = fitted.chip.clock_mhz / before.chip.clock_mhz
    print(
        f"\n  a call {fitted.link.fixed_ms:.3f} ms ({before.link.fixed_ms:.3f} on {BEFORE}), "
        f"rates {factor:.2f} times as high, {fitted.chip.element_cycles:.3f} cycles an element"
    )
    if options.write:
        chip, text = texts(fitted)
        (CHIPS / f"{AFTER}.yaml").write_text(chip)
        (DEVICES / f"{AFTER}.yaml").write_text(text)


if __name__ == "__main__":
    main()
