"""The ten published classifiers on Pixel 6 (Tensor G1): two families, each from the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.fit_tensor import family_scores, measured_on
from benchmarks.hosts import CHIP, USB3, with_coefficients
from benchmarks.validation.section import LATENCY, Cell, Section, latency_row
from hw.calibration import Measured, judge, macs_of
from hw.cost_models.analytic import Analytic
from hw.device import Device, load_device

V1, V2 = "mobilenet_edgetpu_v1", "mobilenet_edgetpu_v2"
UNSEEN = {**CHIP, "link.fixed_ms": USB3["link.fixed_ms"]}
"""What is expected of a Coral: the shipped profile has seen all ten rows."""


def sections(folder: Path) -> list[Section]:
    """The table."""
    if not (folder / "pixel6_edgetpu.csv").is_file():
        return []
    shipped = load_device("tensor_g1")
    names, measured = measured_on(with_coefficients(shipped, UNSEEN), folder)
    rows = []
    for seen, new in ((V2, V1), (V1, V2)):
        ours, macs = family_scores(measured, np.array([name.startswith(seen) for name in names]))
        count = sum(name.startswith(new) for name in names)
        rows.append(latency_row(f"{new}, fitted to {seen}", count, [ours], [macs]))
    rows.append(_as_shipped(shipped, measured))
    text = (
        "One family by a fit to the other, from what is expected of a Coral before any row is "
        "seen. Five networks of a family order themselves by size: their ranks tell little."
    )
    return [Section("Classifiers on Pixel 6", text, LATENCY, tuple(rows))]


def _as_shipped(device: Device, measured: Measured) -> tuple[Cell, ...]:
    latency, line = measured.latency_ms, device.macs_line
    straight = line.fixed_ms + line.slope_ms_per_gmac * macs_of(measured) / 1e9
    estimated = Analytic(device).parts(measured.placement).latency_ms
    scores = [judge(values, latency) for values in (estimated, straight)]
    return latency_row("both, as shipped (fitted to them)", len(measured), scores[:1], scores[1:])
