"""Rows of measured models: the input of ``python -m flows calibrate``."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from hw.measuring.compiled import original_path
from hw.report import CostReport
from hw.tflite.reader import read_tflite

COLUMNS = ("tflite", "latency_ms")
"""The path is relative to the folder of the CSV file."""


class MeasurementsError(ValueError):
    """A row that cannot be added."""


def row_model(path: Path, tflite: Path) -> Path:
    """The file that a row of the CSV file ``path`` names for the measured ``tflite``.

    It is the model before compilation, as nothing can be estimated of a compiled one.

    Raises:
        MeasurementsError: The CSV file has other columns or cannot be read, or the model is
            compiled and has no original beside it.
        TfliteError: The model is no ``.tflite``.
    """
    header = _header(path)
    if header is not None and header != COLUMNS:
        raise MeasurementsError(
            f"{path}: columns must be {','.join(COLUMNS)}, but got {','.join(header)}. Name "
            "another file."
        )
    if not read_tflite(tflite).compiled:
        return tflite
    original = original_path(tflite)
    if original is None:
        raise MeasurementsError(
            f"{tflite}: must have the model that it was compiled of beside it to be added to "
            f"{path}, but got it alone. Copy that model there."
        )
    return original


def append(path: Path, tflite: Path, report: CostReport) -> None:
    """Add a row, and a header where the file is new or empty.

    Raises:
        MeasurementsError: Nothing was timed, or the file cannot be written.
    """
    if report.latency_ms is None:
        raise MeasurementsError(
            f"{path}: a row must have a latency, but got none from {report.device}. Append what "
            "host_cpu or coral_board measures."
        )
    # Folders are resolved, the file is not: it may be a link into a cache.
    named = tflite.parent.resolve() / tflite.name
    relative = Path(os.path.relpath(named, path.parent.resolve())).as_posix()
    try:
        last = path.read_bytes()[-1:] if path.exists() else b""
        with path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if not last:
                writer.writerow(COLUMNS)
            elif last != b"\n":
                file.write("\n")
            writer.writerow((relative, round(report.latency_ms, 6)))
    except OSError as error:
        raise MeasurementsError(
            f"{path}: must be a file to write to, but got: {error.strerror}."
        ) from None


def _header(path: Path) -> tuple[str, ...] | None:
    """Columns of the file; None where it is absent or empty."""
    if not path.parent.is_dir():
        raise MeasurementsError(f"{path}: must lie in a folder that exists, but got none there.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return next((tuple(row) for row in csv.reader(file)), None)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        what = getattr(error, "strerror", None) or error
        raise MeasurementsError(f"{path}: must be a CSV file, but got: {what}.") from None
