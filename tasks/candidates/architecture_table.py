"""Tables of architectures as people write them: CSV, a row each, with other columns beside.

In the column ``architecture`` stands JSON (``python -m spaces sample --csv`` writes it), the usual
text of a space, or the name of a baseline.
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from spaces.graph import IntArray, OpBatch, OpGraph, Shape
from spaces.menu import load_input_shapes
from spaces.notation import parser_of
from spaces.space import Architecture, SearchSpace, SpaceError
from tasks.learning.problem import problem_of_space
from tasks.learning.protocols import Head, completed

ARCHITECTURE = "architecture"
_CHUNK = 1024  # as many architectures at once as fit into a processor's cache


class TableError(ValueError):
    """A table that cannot be read, or a cell that does not hold what it must."""


@dataclass(frozen=True, slots=True)
class Table:
    """A CSV file as text.

    Attributes:
        path: Where it was read from, for messages.
        columns: Their names, in order.
        rows: As many cells each as there are columns.
        lines: Line of the file on which each row begins, from 1.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]

    def texts(self, column: str) -> list[str]:
        """Cells of a column, without white space around them.

        Raises:
            TableError: There is no such column.
        """
        if column not in self.columns:
            raise TableError(
                f"{self.path}: must have a column {column}, but got {', '.join(self.columns)}. "
                "Name it so in the first line, and part columns by commas."
            )
        at = self.columns.index(column)
        return [row[at].strip() for row in self.rows]

    def numbers(self, column: str) -> NDArray[np.float64]:
        """A column of finite numbers, ``[n_rows]``.

        Raises:
            TableError: There is no such column, or a cell is no such number.
        """
        cells = enumerate(self.texts(column))
        return np.array([self.number(row, column, text) for row, text in cells], np.float64)

    def architectures(self, space: SearchSpace) -> list[Architecture]:
        """The column ``architecture``; lowering checks the decisions (:func:`lowered`).

        Raises:
            TableError: There is no such column, or a cell cannot be read.
        """
        parse, known = parser_of(space), dict[str, Architecture]()
        for row, text in enumerate(self.texts(ARCHITECTURE)):
            try:
                known[text] = known[text] if text in known else parse(text)
            except SpaceError as error:
                raise self.error(row, ARCHITECTURE, error) from None
        return [known[text] for text in self.texts(ARCHITECTURE)]

    def error(self, row: int, column: str, what: object) -> TableError:
        """An error that says where it is."""
        return TableError(f"{self.path}, line {self.lines[row]}, column {column}: {what}")

    def number(self, row: int, column: str, text: str) -> float:
        """The finite number that a cell of that row holds.

        Raises:
            TableError: It is none.
        """
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self.error(row, column, f"must be a number, but got {text[:40]!r}.")
        return value


def read_table(path: Path) -> Table:
    """Read a CSV file with a header; empty lines are skipped.

    Raises:
        TableError: It cannot be read, has no rows, a ragged one, or two columns of one name.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            found = list(_records(file))
    except OSError as error:
        raise TableError(f"{path}: must be a readable file, but got: {error.strerror}.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{path}: must be CSV in UTF-8, but got: {error}.") from None
    if len(found) < 2:
        raise TableError(f"{path}: must have a header and at least one row, but got {len(found)}.")
    (_, header), *rows = found
    columns = tuple(name.strip() for name in header)
    if len(set(columns)) < len(columns):
        raise TableError(f"{path}: columns must differ in name, but got {', '.join(columns)}.")
    for line, row in rows:
        if len(row) != len(columns):
            raise TableError(
                f"{path}, line {line}: must have {len(columns)} cells, but got {len(row)}. Put "
                "text with commas into double quotes, and write those within it twice."
            )
    return Table(path, columns, tuple(tuple(row) for _, row in rows), tuple(n for n, _ in rows))


def _records(file: IO[str]) -> Iterator[tuple[int, list[str]]]:
    """Records with the line on which each begins."""
    reader, line = csv.reader(file), 1
    for record in reader:
        if record:
            yield line, record
        line = reader.line_num + 1


def lowered(table: Table, space: SearchSpace, classes: int) -> Iterator[tuple[IntArray, OpBatch]]:
    """The networks of a table with the heads of their problem, some rows at a time.

    A baseline that was published for another input than the space's is lowered for that one.

    Yields:
        Numbers of rows, ``[n]``, and their networks.

    Raises:
        TableError: An architecture cannot be read, or is not in the space.
        ShapeError: Too few classes.
    """
    points, problem = table.architectures(space), problem_of_space(space, classes)
    for sized, rows in _by_input(table, space):
        for begin in range(0, len(rows), _CHUNK):
            chunk = rows[begin : begin + _CHUNK]
            yield np.array(chunk), _lowered(table, sized, points, chunk, problem)


def graphs(table: Table, space: SearchSpace, classes: int) -> Iterator[OpGraph]:
    """The same networks one by one, in the order of the table.

    Raises:
        TableError: As :func:`lowered`.
        ShapeError: As there.
    """
    problem, shapes = problem_of_space(space, classes), load_input_shapes(space.name)
    points = table.architectures(space)
    for row, (text, point) in enumerate(zip(table.texts(ARCHITECTURE), points, strict=True)):
        sized = space.for_input(shapes[text]) if text in shapes else space
        try:
            yield problem.complete(sized.lower(point))
        except SpaceError as error:
            raise table.error(row, ARCHITECTURE, error) from None


def _by_input(table: Table, space: SearchSpace) -> list[tuple[SearchSpace, list[int]]]:
    """Rows by the input for which they are lowered."""
    published, rows = load_input_shapes(space.name), defaultdict[Shape, list[int]](list)
    for row, text in enumerate(table.texts(ARCHITECTURE)):
        rows[published.get(text, space.input_shape)].append(row)
    return [(space.for_input(shape), found) for shape, found in rows.items()]


def _lowered(
    table: Table,
    space: SearchSpace,
    points: Sequence[Architecture],
    rows: Sequence[int],
    head: Head,
) -> OpBatch:
    try:
        return completed(head, space, [points[row] for row in rows])
    except SpaceError as refused:
        for row in rows:  # which one it was
            try:
                space.lower(points[row])
            except SpaceError as error:
                raise table.error(row, ARCHITECTURE, error) from None
        raise refused
