"""A table of results, for a terminal, a document and a program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hw.calibrating.calibration import Scores
from hw.text import table

Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class Section:
    """One table.

    Attributes:
        title: What was judged.
        text: What was fitted on, and anything a reader must know.
        columns: Heads, each with the digits behind the point of its numbers.
        rows: Cells; None where something is not known.
    """

    title: str
    text: str
    columns: tuple[tuple[str, int], ...]
    rows: tuple[tuple[Cell, ...], ...]

    def words(self) -> str:
        """For a terminal."""
        heads = tuple(name for name, _ in self.columns)
        return f"{self.title}\n{self.text}\n{table([heads, *self._cells()])}\n"

    def markdown(self) -> str:
        """For a document."""
        heads = [name for name, _ in self.columns]
        marks = ["---" if index == 0 else "--:" for index in range(len(heads))]
        lines = [_line(cells) for cells in (heads, marks, *self._cells())]
        return "\n".join([f"### {self.title}", "", self.text, "", *lines, ""])

    def record(self) -> dict[str, object]:
        """For a program."""
        names = [name for name, _ in self.columns]
        rows = [dict(zip(names, row, strict=True)) for row in self.rows]
        return {"title": self.title, "text": self.text, "rows": rows}

    def _cells(self) -> list[tuple[str, ...]]:
        digits = [digits for _, digits in self.columns]
        return [
            tuple(_said(cell, places) for cell, places in zip(row, digits, strict=True))
            for row in self.rows
        ]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _said(cell: Cell, digits: int) -> str:
    if cell is None:
        return "-"
    return f"{cell:.{digits}f}" if isinstance(cell, float) else str(cell)


# --- latency ---------------------------------------------------------------------------------

LATENCY = (
    ("set", 0),
    ("networks", 0),
    ("MAPE, %", 1),
    ("within 10 %", 2),
    ("Spearman", 3),
    ("Kendall", 3),
    ("MACs: MAPE, %", 1),
    ("MACs: within 10 %", 2),
    ("MACs: Spearman", 3),
    ("MACs: Kendall", 3),
)
"""Columns of estimated against measured latencies, the line in MACs beside."""


def latency_row(
    name: str, count: int, analytic: Sequence[Scores], macs: Sequence[Scores]
) -> tuple[Cell, ...]:
    """A row of :data:`LATENCY`: means over repetitions."""
    return (name, count, *_means(analytic), *_means(macs))


def _means(several: Sequence[Scores]) -> tuple[Cell, ...]:
    table = [
        (one.mape_percent, one.within_10_percent, one.spearman, one.kendall) for one in several
    ]
    return tuple(float(value) for value in np.mean(table, axis=0))
