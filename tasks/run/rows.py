"""Arrays that are made, written and looked at a few rows at a time, since they may be large."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

BLOCK_BYTES: Final = 2**22
"""Of rows that are looked at together: 4 MiB, or one row if that is more."""


@dataclass(frozen=True, slots=True)
class Rows:
    """An array that is nowhere as a whole: its rows are made when they are asked for.

    Attributes:
        shape: [n, ...].
        dtype: Of every row.
        row: Makes the row of a position, of the shape [...] or one that broadcasts to it.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    row: Callable[[int], NDArray[Any]]

    def __len__(self) -> int:
        return self.shape[0]


AnyRows = NDArray[Any] | Rows


def blocks(array: AnyRows) -> Iterator[NDArray[Any]]:
    """All rows of an array in order, some at a time: [m, ...] each, contiguous."""
    shape, dtype = array.shape, array.dtype
    row_bytes = max(1, dtype.itemsize * int(np.prod(shape[1:], dtype=np.int64)))
    size = max(1, BLOCK_BYTES // row_bytes)
    for first in range(0, shape[0], size):
        last = min(first + size, shape[0])
        if isinstance(array, Rows):
            block = np.empty((last - first, *shape[1:]), dtype)
            for place in range(first, last):
                block[place - first] = array.row(place)
            yield block
        else:
            yield np.ascontiguousarray(array[first:last])
