"""Fits a device profile to a person's own measurements: a table in, a profile out."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hw.calibrating.calibration import LEAST_MEASUREMENTS, Calibrated, calibrate
from hw.calibrating.fitting import CalibrationError, Measured, laws_of
from hw.columns import FloatArray
from hw.device import changed, dump_device, load_device
from hw.protocols import Device
from hw.tflite.model import TfliteError
from hw.tflite.reader import read_tflite
from spaces.graph import OpGraph
from spaces.menu import load_space
from tasks.candidates.architecture_table import (
    ARCHITECTURE,
    Table,
    TableError,
    graphs,
    read_table,
)
from tasks.learning.problem import default_classes
from tasks.run.workspace import write_bytes

LATENCY, TFLITE, FAILED, BENCH = "latency_ms", "tflite", "failed", "bench"
OTHER_UNIT = 30.0
"""Times that a table is off from which on another unit, 1000 times off, is nearer."""
WRONG, ODD = 20.0, 4.0
"""Times that a row is off the others: it is refused, or named. Streaming over USB 2 costs eleven
times what it does over USB 3, and nothing that links or hosts have in common is further apart."""
Network = tuple[OpGraph, Mapping[str, str]]
"""A graph, and its ops that stay on the host for reasons a graph does not show."""


def run(
    device_name: str,
    source: Path,
    target: Path,
    space_name: str | None = None,
    classes: int | None = None,
) -> Calibrated:
    """Fit the profile ``device_name`` to the table ``source`` and write it to ``target``.

    The table has a column ``latency_ms`` (warm, batch 1) and either ``architecture``, with
    ``space_name``, or ``tflite``, paths relative to the table. Other columns are ignored.
    ``classes`` are those of the head of the measured architectures; None: as
    :func:`tasks.learning.problem.default_classes` has it. Rows with a reason in a column
    ``failed`` are left out.

    Raises:
        TableError: The table cannot be read, lacks a column, names a network twice, or a cell is
            no positive number; latencies are in another unit, all or one; or the target cannot be
            written.
        CalibrationError: Fewer than ten measurements, or a device that cannot be fitted to any.
        DeviceError, SpaceError, TfliteError: There is no such device, space or model.
    """
    device = load_device(device_name)
    laws = laws_of(device)
    table = _of_measured(read_table(source))
    latency = _latencies(table)
    networks = _networks(table, space_name, classes)
    _check_distinct(table, ARCHITECTURE if space_name else TFLITE)
    _check_writable(target)
    graphs, refused = [graph for graph, _ in networks], [reasons for _, reasons in networks]
    placement = laws.place(graphs, device, refused)
    expected = laws.latency_ms(placement, device)
    odd = _check_units(table, latency, expected, device_name, BENCH in table.columns)
    measured = Measured(device, placement, latency, np.ones(len(latency)))
    words = f"{source.name}: {len(latency)} networks" + (f" of {space_name}" * bool(space_name))
    found = calibrate(device, measured, words)
    named = _named(found.device, device_name, target.stem, words)
    try:
        write_bytes(target.resolve(), dump_device(named).encode())
    except OSError as error:
        raise TableError(f"{target}: must be writable, but got: {error.strerror}.") from None
    return dataclasses.replace(found, device=named, odd=odd)


def _check_units(
    table: Table, latency_ms: FloatArray, expected_ms: FloatArray, device: str, ours: bool
) -> tuple[str, ...]:
    """Refuse what is not in milliseconds; name the rows that are far off the others.

    A table that names its bench is ``ours``, and in milliseconds.

    Boards differ from a profile by what they share: all rows are slower or faster by much the
    same factor, and by less than 1000. So a table is looked at by its middle row, and a row by
    how far it is from that.

    Raises:
        TableError: All rows are in another unit, or one of them is.
    """
    ratio = latency_ms / expected_ms
    middle = float(np.median(ratio))
    if not ours and not 1 / OTHER_UNIT < middle < OTHER_UNIT:
        unit = "microseconds" if middle > 1 else "seconds"
        cure = "divide by 1000" if middle > 1 else "multiply by 1000"
        raise TableError(
            f"{table.path}, column {LATENCY}: must be in milliseconds and of a device like "
            f"{device}, but got {middle:.3g} times what it expects in the middle row. If these "
            f"are {unit}, {cure}; otherwise start from another profile."
        )
    off = ratio / middle
    far = np.maximum(off, 1 / off)
    worst = int(far.argmax())
    if far[worst] >= WRONG:
        raise table.error(
            worst,
            LATENCY,
            f"must be in milliseconds as the other rows, but got {latency_ms[worst]:g} where "
            f"{middle * expected_ms[worst]:.3g} would be like them: {far[worst]:.3g} times "
            f"{'more' if off[worst] > 1 else 'less'}. Correct it, or leave out that row.",
        )
    return tuple(
        f"line {table.lines[row]}: {latency_ms[row]:g} ms, where {middle * expected_ms[row]:.3g} "
        "would be like the others"
        for row in np.flatnonzero(far >= ODD)
    )


def _check_writable(target: Path) -> None:
    """Say at once, and not after the fit, that there is no folder for ``target``."""
    nearest = next(one for one in target.resolve().parents if one.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        why = "is no folder" if not nearest.is_dir() else "cannot be written to"
        raise TableError(f"{target}: must be writable, but got: {nearest} {why}.")


def _named(device: Device, base: str, name: str, words: str) -> Device:
    return changed(device, name=name, summary=f"{Path(base).stem}, calibrated on {words}")


def _of_measured(table: Table) -> Table:
    """Without the rows of networks that failed, which say why."""
    if FAILED not in table.columns:
        return table
    kept = [not text for text in table.texts(FAILED)]
    return dataclasses.replace(
        table,
        rows=tuple(itertools.compress(table.rows, kept)),
        lines=tuple(itertools.compress(table.lines, kept)),
    )


def _latencies(table: Table) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    latency = table.numbers(LATENCY)
    for row in np.flatnonzero(latency <= 0):
        raise table.error(int(row), LATENCY, f"must be above 0, but got {latency[row]:g}.")
    if len(latency) < LEAST_MEASUREMENTS:
        raise CalibrationError(
            f"{table.path}: must have at least {LEAST_MEASUREMENTS} measurements, but got "
            f"{len(latency)}. Measure more networks."
        )
    return latency


def _networks(table: Table, space_name: str | None, classes: int | None) -> Sequence[Network]:
    if space_name is not None:
        return _of_space(table, space_name, classes)
    if TFLITE not in table.columns:
        hint = " Name its space: --space." if ARCHITECTURE in table.columns else ""
        raise TableError(
            f"{table.path}: must have a column {TFLITE}, or {ARCHITECTURE} with --space, but got "
            f"{', '.join(table.columns)}.{hint}"
        )
    return [_of_file(table, row, text) for row, text in enumerate(table.texts(TFLITE))]


def _of_space(table: Table, space_name: str, classes: int | None) -> list[Network]:
    space = load_space(space_name)
    head = default_classes(space) if classes is None else classes
    return [(graph, {}) for graph in graphs(table, space, head)]


def _of_file(table: Table, row: int, text: str) -> Network:
    try:
        model = read_tflite(table.path.parent / text)
        model.check_quantized()
    except TfliteError as error:
        raise table.error(row, TFLITE, error) from None
    if model.left_out:
        raise table.error(
            row,
            TFLITE,
            f"must be a network that can be estimated whole, but got {text}, of which "
            f"{model.left_out[0]} would be left out. Leave out that row.",
        )
    return model.graph, dict(model.unsupported)


def _check_distinct(table: Table, column: str) -> None:
    """A network measured twice would be left out of a fit and in it."""
    first: dict[str, int] = {}
    for row, text in enumerate(table.texts(column)):
        if text in first:
            raise table.error(
                row,
                column,
                f"must name each network once, but got that of line {table.lines[first[text]]} "
                "again. Keep one of them, or their mean.",
            )
        first[text] = row
