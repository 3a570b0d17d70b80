"""Architectures as numbers, for a model to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from spaces.space import Architecture, Choice, FloatArray, SearchSpace, Value


@final
class Features:
    """A row for an architecture: the kinds it has, and how far its sizes go.

    Of a choice among names each value has a column, 1 where it is taken. Of a choice among numbers
    one column tells the place of the value among all, from 1/4 for the least to 1 for the largest.
    Decisions that are not live are 0 everywhere, which no live one is.

    Attributes:
        width: Columns.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._columns: dict[tuple[str, Value], tuple[int, float]] = {}
        self.width = 0
        for choice in space.choices:
            for value, offset, number in _places(choice):
                self._columns[choice.name, value] = (self.width + offset, number)
            self.width = 1 + max((at for at, _ in self._columns.values()), default=-1)

    def __call__(self, points: Sequence[Architecture]) -> FloatArray:
        """[n, width]."""
        table = np.zeros((len(points), self.width))
        for row, point in zip(table, points, strict=True):
            for decision in point.decisions:
                if decision in self._columns:
                    column, number = self._columns[decision]
                    row[column] = number
        return table


def _places(choice: Choice) -> list[tuple[Value, int, float]]:
    """Values with their column within the choice and what it holds; none where all are equal."""
    values = choice.values
    if len(values) < 2:
        return []
    if any(isinstance(value, str) for value in values):
        return [(value, at, 1.0) for at, value in enumerate(values)]
    ordered = sorted(values, key=float)
    step = 0.75 / (len(values) - 1)
    return [(value, 0, 0.25 + step * at) for at, value in enumerate(ordered)]
