"""The published networks of all tasks on Pixel 6 (Tensor G1), each family by a fit without it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.fit_tensor import left_out, measured_on, starting_device
from benchmarks.pixel6 import FILE, families_of, rows_of, tasks_of
from benchmarks.validation.section import LATENCY, Cell, Section, latency_row
from hw.calibrating.calibration import judge
from hw.calibrating.fitting import Measured
from hw.columns import FloatArray
from hw.device import load_device
from hw.families.edge_tpu.analytic import Analytic
from hw.families.edge_tpu.profile import Device
from spaces.graph import BoolArray

TEXT = (
    "Whole graphs, int8: classifiers, segmentation up to labels of 512 pixels (default and fused "
    "argmax), detectors with and without post-processing, MobileBERT at 384 tokens. Each family "
    "by a fit to the other five, from what is expected of a Coral at another clock. The "
    "coefficients have not seen the family, but the form of the laws has: it was settled with all "
    "rows in sight. What attention and embeddings take no other family tells, so the figures of "
    "MobileBERT are no prediction. Families are small (two to five networks), and their members "
    "order themselves by size: ranks tell little. As shipped: the profile, fitted to all of them."
)


def sections(folder: Path) -> list[Section]:
    """The table."""
    if not (folder / FILE).is_file():
        return []
    rows, shipped = rows_of(folder), load_device("tensor_g1")
    measured = measured_on(starting_device(), rows)
    outside = left_out(rows, measured)
    inside = _as_shipped(shipped, measured)
    cells = []
    for kind, words in (("family", families_of(rows)), ("task", tasks_of(rows))):
        for word in words:
            which = np.array([getattr(row, kind) == word for row in rows])
            name = f"{word}, left out" if kind == "family" else f"{word}, families left out"
            cells.append(_row(name, which, outside, measured))
    everything = np.ones(len(rows), np.bool_)
    cells.append(_row("all, families left out", everything, outside, measured))
    for task in tasks_of(rows):
        which = np.array([row.task == task for row in rows])
        cells.append(_row(f"{task}, as shipped", which, inside, measured))
    cells.append(_row("all, as shipped", everything, inside, measured))
    return [Section("All tasks on Pixel 6", TEXT, LATENCY, tuple(cells))]


def _as_shipped(device: Device, measured: Measured) -> tuple[FloatArray, FloatArray]:
    """Latency by the profile's laws, and by its line in MACs."""
    line = device.macs_line
    straight = line.fixed_ms + line.slope_ms_per_gmac * measured.placement.macs / 1e9
    return Analytic(device).parts(measured.placement).latency_ms, straight


def _row(
    name: str, which: BoolArray, estimated: tuple[FloatArray, FloatArray], measured: Measured
) -> tuple[Cell, ...]:
    latency = measured.latency_ms[which]
    laws, line = (judge(one[which], latency) for one in estimated)
    return latency_row(name, int(which.sum()), [laws], [line])
