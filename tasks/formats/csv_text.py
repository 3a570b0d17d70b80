"""Texts with labels in CSV: columns ``text`` and ``label``, other columns are left alone.

Either a folder with ``<split>.csv`` (``train``, ``validation`` or ``val``, ``valid``, ``dev``;
``test``), or one file. UTF-8, or UTF-16 with its mark, as Excel saves it; separated by comma,
semicolon or tab, whichever parts the header into the two names (upper or lower case). A row with
more cells than the header is skipped: a text with a separator in it must stand in quotes, or
nobody can tell where it ends.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tasks.data.dataset import SPLITS, DataError, RawData, Source, Split, TextSample
from tasks.data.files import NO_SPLIT, files_of_no_split, one_form, read_text, split_files

KIND = "text_classification"

TOO_LONG = "row skipped: it has more cells than the header; quote texts with a separator in them"
EMPTY_TEXT = "row skipped: its text is empty"
EMPTY_LABEL = "row skipped: its label is empty"
UNKNOWN_LABEL = "row skipped: train has nothing of its label"
_SUFFIXES = (".csv", ".tsv")


class Row(NamedTuple):
    """A row as it stands, and how many cells it has that the header does not name."""

    line: int
    text: str
    label: str
    beyond: int


def read(source: Source) -> RawData:
    """Read the rows; classes are the labels of train, sorted.

    Raises:
        DataError: There is no such file, it is not UTF-8, lacks a column or has no usable row.
    """
    root = source.path("a folder with train.csv, or a .csv file")
    files = split_files(root, _SUFFIXES)
    skipped: dict[Split, dict[str, list[str]]] = {split: {} for split in files}
    rows = {s: list(_usable(files[s], skipped[s])) for s in SPLITS if s in files}
    classes = tuple(sorted({row.label for row in rows["train"]}))
    labels = {name: label for label, name in enumerate(classes)}
    splits: dict[Split, tuple[TextSample, ...]] = {}
    for split, of_split in rows.items():
        name = files[split].name
        strangers = [f"{name} line {row.line}" for row in of_split if row.label not in labels]
        if strangers:
            skipped[split][UNKNOWN_LABEL] = strangers
        splits[split] = tuple(
            TextSample(f"{name} line {row.line}", labels[row.label], row.text)
            for row in of_split
            if row.label in labels
        )
    if others := files_of_no_split(root, _SUFFIXES):
        skipped["train"][NO_SPLIT] = others
    return RawData(root.resolve().name, classes, splits, kind=KIND, skipped=skipped)


def check(source: Source) -> RawData:
    """As :func:`read`: text is read in a moment."""
    return read(source)


def _usable(path: Path, skipped: dict[str, list[str]]) -> Iterator[Row]:
    """The rows that have a text and a label and no more; the others are noted."""
    for row in _rows(path):
        if row.beyond:
            reason = TOO_LONG
        else:
            reason = EMPTY_TEXT if not row.text.strip() else "" if row.label else EMPTY_LABEL
        if reason:
            skipped.setdefault(reason, []).append(f"{path.name} line {row.line}")
        else:
            yield row


def _rows(path: Path) -> Iterator[Row]:
    """Each row with the number of its last line; lines without anything are no rows.

    Empty cells behind the last one that the header names count for nothing.
    """
    content = read_text(path)
    header = re.split("\r\n|\r|\n", content, maxsplit=1)[0]
    delimiter = next((each for each in ",;\t" if _columns(header, each)), None)
    if delimiter is None:
        raise DataError(
            f"{path.name} must have the columns text and label, but its first line is "
            f"{header.strip()[:80]!r}. Name them so, in the first line."
        )
    columns = _columns(header, delimiter)
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True)
    try:
        named = len(next(reader))
        for cells in reader:
            if cells:
                text, label = (cells[n] if n < len(cells) else "" for n in columns)
                beyond = sum(bool(cell.strip()) for cell in cells[named:])
                yield Row(reader.line_num, text, one_form(label.strip()), beyond)
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
