"""NAS-Bench-201 on the Dev Board, as two laboratories measured the same networks.

Their heads are global average pooling and a dense layer of 10, as on CIFAR-10. Cross-validation
and intervals are those of :func:`hw.calibrating.calibration.calibrate`; the order of the networks,
which makes the folds, is drawn anew in each repetition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.published import CsvRow, read_csv
from benchmarks.validation.section import LATENCY, Cell, Section, latency_row
from hw.calibrating.calibration import REPEATS, Scores, calibrate, judge
from hw.calibrating.fitting import Measured
from hw.columns import FloatArray
from hw.cost_models.macs_only import MacsOnly
from hw.device import load_device
from hw.families.edge_tpu.analytic import Analytic
from hw.families.edge_tpu.placement import place_many
from hw.families.edge_tpu.profile import Device
from spaces.catalog.nas_bench_201 import parse
from spaces.graph import IntArray, OpBatch
from spaces.heads.classification import classification
from spaces.menu import load_space

PROFILE = "coral_dev_board"
CLASSES = 10
FEW = 10
"""Networks of the other laboratory that a profile is moved with."""
TO_CALIBRATE = 35
"""Of 50, where intervals are judged on the rest."""
SEEDS, DRAWS, SPLITS = 2, 10, 20
"""Repetitions. A calibration repeats its own cross-validation in ``REPEATS`` orders."""


@dataclass(frozen=True, slots=True)
class Laboratory:
    """Networks and their latency in one laboratory.

    Attributes:
        name: For people.
        batch: The networks.
        latency_ms: ``[n]``.
    """

    name: str
    batch: OpBatch
    latency_ms: FloatArray

    def on(self, device: Device, which: IntArray) -> Measured:
        """Some of them, on a profile to start from."""
        placement = place_many(self.batch.rows(which), device)
        return Measured(device, placement, self.latency_ms[which], np.ones(len(which)))

    def rows(self, which: IntArray) -> Laboratory:
        """Some of them."""
        return Laboratory(self.name, self.batch.rows(which), self.latency_ms[which])

    def __len__(self) -> int:
        """How many networks."""
        return len(self.latency_ms)


def laboratories(folder: Path) -> tuple[Laboratory, Laboratory, Laboratory] | None:
    """The first on 50 networks, the second on the same, and on these and 20 more."""
    rows = read_csv(folder / "nas_bench_201.csv")
    if not rows:
        return None
    both = [row for row in rows if row["coral_dev_board_ms"]]
    second = "second laboratory"
    return (
        _laboratory("first laboratory", both, "coral_dev_board_ms"),
        _laboratory(second, both, "coral_second_lab_ms"),
        _laboratory(
            f"{second}, with networks the first could not compile", rows, "coral_second_lab_ms"
        ),
    )


def _laboratory(name: str, rows: Sequence[CsvRow], column: str) -> Laboratory:
    space = load_space("nas_bench_201")
    graphs = []
    for row in rows:
        cell = parse(row["architecture"])
        assert cell is not None, row["architecture"]
        graphs.append(classification(space.lower(cell), CLASSES))
    latency = np.array([float(row[column]) for row in rows])
    return Laboratory(name, OpBatch.of(graphs), latency)


def sections(folder: Path) -> list[Section]:
    """All tables on these networks."""
    found = laboratories(folder)
    if found is None:
        return []
    first, second, more = found
    latency = Section(
        "NAS-Bench-201 on the Dev Board",
        f"Cross-validated: ten folds, means over {SEEDS * REPEATS} orders. Moved: a profile "
        "calibrated on the 50 networks of one laboratory is "
        f"calibrated to the other with {FEW} networks and judged on the other 40, means over "
        f"{DRAWS} draws. As shipped: the profile as it is, with no such network in its fit, times "
        "the median ratio of measured to estimated latency, taken on these networks. The line in "
        "MACs is fitted on the same networks. Not blind: the two settings of the correction "
        "beside the laws were chosen on these networks, and those that are judged after a move "
        "are in the profile it starts from, as the other laboratory timed them.",
        LATENCY,
        (
            *(cross_validated(lab) for lab in (first, second, more)),
            moved(second, first),
            moved(first, second),
            as_shipped(first),
            as_shipped(second),
        ),
    )
    intervals = Section(
        "90 % intervals on NAS-Bench-201",
        f"Calibrated on {TO_CALIBRATE} networks, judged on the other {len(first) - TO_CALIBRATE}; "
        f"{SPLITS} splits. Width: upper over lower end, less 1.",
        (("set", 0), ("inside, %", 1), ("least of a split, %", 1), ("median width, %", 1)),
        tuple(interval_row(lab) for lab in (first, second)),
    )
    return [latency, intervals]


def cross_validated(laboratory: Laboratory) -> tuple[Cell, ...]:
    """Every network by a fit without it."""
    device, analytic, macs = load_device(PROFILE), [], []
    for seed in range(SEEDS):
        order = np.random.default_rng(seed).permutation(len(laboratory))
        made = calibrate(device, laboratory.on(device, order), laboratory.name)
        analytic.append(made.scores)
        macs.append(made.macs_only)
    return latency_row(f"{laboratory.name}, cross-validated", len(laboratory), analytic, macs)


def moved(before: Laboratory, after: Laboratory) -> tuple[Cell, ...]:
    """From one laboratory to the other with few networks."""
    device = load_device(PROFILE)
    start = calibrate(device, before.on(device, np.arange(len(before))), before.name).device
    analytic, macs = [], []
    for seed in range(DRAWS):
        order = np.random.default_rng(seed).permutation(len(after))
        made = calibrate(start, after.on(start, order[:FEW]), after.name).device
        tried = after.rows(order[FEW:])
        analytic.append(_judged(Analytic(made), tried))
        macs.append(_judged(MacsOnly(made), tried))
    name = f"moved from the {before.name} to the {after.name}"
    return latency_row(name, len(after) - FEW, analytic, macs)


def as_shipped(laboratory: Laboratory) -> tuple[Cell, ...]:
    """The shipped profile, one factor apart."""
    device = load_device(PROFILE)
    scores = [
        _judged(model, laboratory, is_scaled=True)
        for model in (Analytic(device), MacsOnly(device))
    ]
    name = f"{laboratory.name}, as shipped"
    return latency_row(name, len(laboratory), scores[:1], scores[1:])


def _judged(model: Analytic | MacsOnly, tried: Laboratory, is_scaled: bool = False) -> Scores:
    estimated = model.estimate_many(tried.batch)["latency_ms"]
    if is_scaled:
        ratios = tried.latency_ms / estimated
        estimated = estimated * float(np.exp(np.median(np.log(ratios))))
    return judge(estimated, tried.latency_ms)


def interval_row(laboratory: Laboratory) -> tuple[Cell, ...]:
    """How often intervals hold, and how wide they are."""
    device, inside, widths = load_device(PROFILE), [], []
    for seed in range(SPLITS):
        order = np.random.default_rng(seed).permutation(len(laboratory))
        known, new = order[:TO_CALIBRATE], order[TO_CALIBRATE:]
        made = calibrate(device, laboratory.on(device, known), laboratory.name).device
        tried = laboratory.rows(new)
        columns = Analytic(made).estimate_many(tried.batch)
        low, high = columns["latency_low_ms"], columns["latency_high_ms"]
        inside.append(float(((low <= tried.latency_ms) & (tried.latency_ms <= high)).mean()))
        widths.append(float(np.median(high / low - 1.0)))
    percent = 100 * np.array(inside)
    return (
        laboratory.name,
        float(percent.mean()),
        float(percent.min()),
        100 * float(np.median(widths)),
    )
