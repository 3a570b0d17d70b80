"""Texts with labels in CSV: columns ``text`` and ``label``, other columns are left alone.

Either a folder with ``<split>.csv`` (``train``, ``validation`` or ``val``, ``valid``, ``dev``;
``test``), or one file. UTF-8, with or without a byte order mark; separated by comma, semicolon or
tab, whichever parts the header into the two names (upper or lower case).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tasks.data.dataset import SPLITS, DataError, RawData, Source, Split, TextSample
from tasks.data.files import read_text, split_files

KIND = "text_classification"

EMPTY_TEXT = "row skipped: its text is empty"
EMPTY_LABEL = "row skipped: its label is empty"
UNKNOWN_LABEL = "row skipped: train has nothing of its label"
_SUFFIXES = (".csv", ".tsv")


class Row(NamedTuple):
    """A row as it stands."""

    line: int
    text: str
    label: str


def read(source: Source) -> RawData:
    """Read the rows; classes are the labels of train, sorted.

    Raises:
        DataError: There is no such file, it is not UTF-8, lacks a column or has no usable row.
    """
    root = source.path("a folder with train.csv, or a .csv file")
    files = split_files(root, _SUFFIXES)
    skipped: dict[str, list[str]] = {}
    rows = {split: list(_usable(files[split], skipped)) for split in SPLITS if split in files}
    classes = tuple(sorted({row.label for row in rows["train"]}))
    labels = {name: label for label, name in enumerate(classes)}
    splits: dict[Split, tuple[TextSample, ...]] = {}
    for split, of_split in rows.items():
        name = files[split].name
        strangers = [f"{name} line {row.line}" for row in of_split if row.label not in labels]
        if strangers:
            skipped.setdefault(UNKNOWN_LABEL, []).extend(strangers)
        splits[split] = tuple(
            TextSample(f"{name} line {row.line}", labels[row.label], row.text)
            for row in of_split
            if row.label in labels
        )
    return RawData(root.resolve().name, classes, splits, kind=KIND, skipped=skipped)


def check(source: Source) -> None:
    """As :func:`read`: text is read in a moment."""
    read(source)


def _usable(path: Path, skipped: dict[str, list[str]]) -> Iterator[Row]:
    """The rows that have a text and a label; the others are noted."""
    for row in _rows(path):
        reason = EMPTY_TEXT if not row.text.strip() else "" if row.label else EMPTY_LABEL
        if reason:
            skipped.setdefault(reason, []).append(f"{path.name} line {row.line}")
        else:
            yield row


def _rows(path: Path) -> Iterator[Row]:
    """Each row with the number of its last line; lines without anything are no rows."""
    content = read_text(path)
    header = content.split("\n", 1)[0]
    delimiter = next((each for each in ",;\t" if _columns(header, each)), None)
    if delimiter is None:
        raise DataError(
            f"{path.name} must have the columns text and label, but its first line is "
            f"{header.strip()[:80]!r}. Name them so, in the first line."
        )
    columns = _columns(header, delimiter)
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True)
    try:
        next(reader)
        for cells in reader:
            if cells:
                text, label = (cells[n] if n < len(cells) else "" for n in columns)
                yield Row(reader.line_num, text, label.strip())
    except csv.Error as error:
        raise DataError(
            f"{path.name} must be CSV, but got in line {reader.line_num}: {error}."
        ) from error


def _columns(header: str, delimiter: str) -> tuple[int, ...]:
    """Where text and label are, nothing if one of them is not there or there twice."""
    try:
        cells = next(csv.reader([header], delimiter=delimiter), [])
    except csv.Error:
        return ()
    names = [cell.strip().lower() for cell in cells]
    if names.count("text") != 1 or names.count("label") != 1:
        return ()
    return (names.index("text"), names.index("label"))
