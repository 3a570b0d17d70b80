"""Costs a table of architectures on a device: no file of a network, no training, no tracking."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hw.columns import FloatArray
from hw.cost_model import CostModelError, load_cost_model
from hw.device import load_device
from hw.protocols import CostModel
from spaces.menu import load_space
from spaces.sided import sided
from spaces.space import SearchSpace
from tasks.candidates.architecture_table import (
    Table,
    TableError,
    graphs,
    lowered,
    read_table,
)
from tasks.learning.problem import default_classes
from tasks.run.workspace import write_bytes

LATENCIES = ("latency_ms", "latency_low_ms", "latency_high_ms", "energy_mj")
COUNTS = ("peak_memory_bytes", "weight_bytes", "streamed_bytes", "macs")
COSTS = LATENCIES + COUNTS
"""Columns that are added, as the cost model names them; empty where it knows nothing of them."""


@dataclass(frozen=True, slots=True)
class Costed:
    """What was written.

    Attributes:
        count: Architectures.
        has_energy: The energy of any of them is known.
    """

    count: int
    has_energy: bool


def run(
    space_name: str,
    source: Path,
    device: str,
    target: Path,
    classes: int | None = None,
    method: str = "analytic",
) -> Costed:
    """Write the table ``source`` with the costs of its architectures to ``target``.

    Columns of the table are kept; those that bear the name of a cost are replaced. ``classes`` are
    those of the head, which is costed, too; None: as
    :func:`tasks.learning.problem.default_classes` has it.

    Raises:
        TableError: The table cannot be read, an architecture is not in the space, or the target
            is no file, or the table itself.
        SpaceError: There is no such space.
        DeviceError: There is no such device.
        CostModelError: There is no such cost model.
        ShapeError: Too few classes.
    """
    _check_target(source, target)
    space = sided(load_space(space_name))
    model = load_cost_model(method, load_device(device))
    table = read_table(source)
    head = default_classes(space) if classes is None else classes
    try:
        costs = _many(model, table, space, head)
    except CostModelError:  # a batch does not tell where ops of such networks run
        costs = _one_by_one(model, table, space, head)
    _write(target, table, costs)
    return Costed(len(table.rows), not np.isnan(costs["energy_mj"]).all())


def _many(
    model: CostModel, table: Table, space: SearchSpace, classes: int
) -> dict[str, FloatArray]:
    costs = {name: np.full(len(table.rows), np.nan) for name in COSTS}
    for rows, batch in lowered(table, space, classes):
        for name, column in model.estimate_many(batch).items():
            if name in costs:
                costs[name][rows] = column
    return costs


def _one_by_one(
    model: CostModel, table: Table, space: SearchSpace, classes: int
) -> dict[str, FloatArray]:
    """Slower, but for networks of all kinds: several inputs, detections."""
    rows = []
    for graph in graphs(table, space, classes):
        report = model.estimate(graph)
        low, high = report.latency_interval_ms or (None, None)
        counts = (getattr(report, name) for name in COUNTS)
        rows.append((report.latency_ms, low, high, report.energy_mj, *counts))
    return dict(zip(COSTS, np.array(rows, np.float64).T, strict=True))


def _check_target(source: Path, target: Path) -> None:
    if not os.path.exists(target):
        return
    if not os.path.isfile(target):
        raise TableError(f"{target}: the output must be a file, but is something else.")
    if os.path.exists(source) and os.path.samefile(source, target):
        raise TableError(f"{target}: the output must be another file than the input, but is it.")


def _write(path: Path, table: Table, costs: Mapping[str, FloatArray]) -> None:
    kept = [name for name in table.columns if name not in costs]
    cells = [
        *([row[table.columns.index(name)] for row in table.rows] for name in kept),
        *(_texts(name, column) for name, column in costs.items()),
    ]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*kept, *costs])
    writer.writerows(zip(*cells, strict=True))
    try:
        write_bytes(path.resolve(), text.getvalue().encode())
    except OSError as error:
        raise TableError(f"{path}: must be writable, but got: {error.strerror}.") from None


def _texts(name: str, column: FloatArray) -> Sequence[str]:
    """Counts as whole numbers, others to the nanosecond or nanojoule."""
    digits = 0 if name in COUNTS else 6
    return ["" if np.isnan(value) else f"{value:.{digits}f}" for value in column.tolist()]
