"""The ten published classifiers on Pixel 6 (Tensor G1)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.networks import published
from benchmarks.published import CsvRow, read_csv
from benchmarks.validation.section import LATENCY, Cell, Section, latency_row
from hw.calibration import judge
from hw.cost_models.analytic import Analytic
from hw.cost_models.macs_only import MacsOnly
from hw.device import load_device

FAMILIES = {
    "MobileNetEdgeTPU v2": "mobilenet_edgetpu_v2",
    "MobileNetEdgeTPU v1": "mobilenet_edgetpu_v1",
    "both": "mobilenet_edgetpu",
}


def sections(folder: Path) -> list[Section]:
    """The table."""
    rows = [
        row
        for row in read_csv(folder / "pixel6_edgetpu.csv")
        if row["task"] == "classification" and row["model"].startswith("mobilenet_edgetpu")
    ]
    if not rows:
        return []
    table = tuple(
        family_row(name, [row for row in rows if row["model"].startswith(start)])
        for name, start in FAMILIES.items()
    )
    text = (
        "The profile as shipped, which was fitted to some of these rows, as its sources say: how "
        "well the laws can describe them, not how well they predict. Five networks give ranks of "
        "little meaning."
    )
    return [Section("Classifiers on Pixel 6", text, LATENCY, table)]


def family_row(name: str, rows: list[CsvRow]) -> tuple[Cell, ...]:
    """One family by the shipped profile."""
    device = load_device("tensor_g1")
    names = [row["model"].rpartition("_") for row in rows]
    graphs = [published(space, baseline) for space, _, baseline in names]
    measured = np.array([float(row["latency_ms"]) for row in rows])
    scores = [
        judge(np.array([model.estimate(graph).latency_ms for graph in graphs]), measured)
        for model in (Analytic(device), MacsOnly(device))
    ]
    return latency_row(name, len(rows), scores[:1], scores[1:])
