"""A reader of FlatBuffers tables that checks every bound.

The generated readers trust the file; a truncated one makes them fail in odd places, or read
without end. Here every access is checked and the one error is :class:`FlatbufferError`. Byte
vectors (weights, instructions) are views: they are never copied.

Source: https://flatbuffers.dev/internals, little endian throughout.
"""

from __future__ import annotations

import struct
from typing import final

Data = bytes | memoryview

FORMATS = {
    kind: struct.Struct(f"<{letter}")
    for kind, letter in (
        ("u8", "B"),
        ("i8", "b"),
        ("u16", "H"),
        ("i16", "h"),
        ("i32", "i"),
        ("u32", "I"),
        ("i64", "q"),
        ("u64", "Q"),
    )
}
LARGEST_BUDGET = 1 << 23  # MoveNet, 157 ops, takes 1/500 of it


class FlatbufferError(ValueError):
    """The bytes are not what they claim to be."""


def scalar(data: Data, position: int, kind: str) -> int:
    """One number at ``position``; ``kind`` is a key of :data:`FORMATS`.

    Raises:
        FlatbufferError: It lies outside of the file.
    """
    try:
        if position >= 0:  # struct would count negative ones from the end
            return int(FORMATS[kind].unpack_from(data, position)[0])
    except struct.error:
        pass
    raise FlatbufferError(f"offset {position} must lie within the {len(data)} bytes")


@final
class Budget:
    """Bytes of vectors that may still be read.

    Offsets may point anywhere, also all to one place, so a small file could describe endless
    work. Writers share little: an honest file is read once, and this allows four times.
    """

    __slots__ = ("_left",)

    def __init__(self, data: Data) -> None:
        self._left = min(4 * len(data) + (1 << 16), LARGEST_BUDGET)

    def spend(self, size: int) -> None:
        """Take ``size`` bytes.

        Raises:
            FlatbufferError: They are not left.
        """
        self._left -= size
        if self._left < 0:
            raise FlatbufferError("vectors must not overlap, nor be absurdly many, but they do")


@final
class Table:
    """A table at a position; fields are numbered from 0 in the order of the schema."""

    __slots__ = ("_budget", "_data", "_fields_end", "_position", "_vtable")

    def __init__(self, data: Data, position: int, budget: Budget | None = None) -> None:
        self._data = data
        self._position = position
        self._vtable = position - scalar(data, position, "i32")
        self._fields_end = self._vtable + scalar(data, self._vtable, "u16")
        self._budget = budget or Budget(data)

    @staticmethod
    def root(data: Data, identifier: bytes | None, budget: Budget | None = None) -> Table:
        """The root table of a file with this four-byte identifier; None: it needs none.

        Raises:
            FlatbufferError: The identifier is another one.
        """
        if identifier is not None and data[4:8] != identifier:
            got = bytes(data[4:8])
            raise FlatbufferError(f"bytes 4 to 8 must be {identifier!r}, but got {got!r}")
        return Table(data, scalar(data, 0, "u32"), budget)

    def nested(self, data: Data, identifier: bytes | None) -> Table:
        """The root table of a file within this file."""
        return Table.root(data, identifier, self._budget)

    def number(self, index: int, kind: str = "i32", default: int = 0) -> int:
        """A scalar field."""
        position = self._field(index)
        return scalar(self._data, position, kind) if position else default

    def table(self, index: int) -> Table | None:
        """A table field."""
        position = self._field(index)
        return self._table(position) if position else None

    def numbers(self, index: int, kind: str = "i32") -> tuple[int, ...]:
        """A vector of scalars; empty if absent."""
        start, length = self._vector(index, FORMATS[kind].size)
        self._budget.spend(length * FORMATS[kind].size)
        return struct.unpack_from(f"<{length}{FORMATS[kind].format[1:]}", self._data, start)

    def tables(self, index: int) -> list[Table]:
        """A vector of tables; empty if absent."""
        return [self._table(position) for position in self._offsets(index)]

    def text(self, index: int) -> str:
        """A string; empty if absent. What is not UTF-8, or does not print, is escaped."""
        data = self.view(index)
        self._budget.spend(len(data))
        text = bytes(data).decode("utf-8", errors="backslashreplace")
        return text if text.isprintable() else "".join(map(_printed, text))

    def view(self, index: int) -> memoryview:
        """A vector of bytes, not copied; empty if absent."""
        start, length = self._vector(index, 1)
        return memoryview(self._data)[start : start + length]

    def views(self, index: int) -> list[memoryview]:
        """A vector of strings, not copied; empty if absent."""
        found = []
        for position in self._offsets(index):
            start, length = self._span(position, 1)
            found.append(memoryview(self._data)[start : start + length])
        return found

    def length(self, index: int) -> int:
        """Length of a vector of bytes."""
        return self._vector(index, 1)[1]

    def _field(self, index: int) -> int:
        """Position of a field's value; 0 if the table does not have it."""
        entry = self._vtable + 4 + 2 * index
        if entry + 2 > self._fields_end:
            return 0
        offset = scalar(self._data, entry, "u16")
        return self._position + offset if offset else 0

    def _vector(self, index: int, size: int) -> tuple[int, int]:
        position = self._field(index)
        return self._span(position, size) if position else (0, 0)

    def _offsets(self, index: int) -> range:
        """Positions of the offsets in a vector of them."""
        start, length = self._vector(index, 4)
        self._budget.spend(4 * length)
        return range(start, start + 4 * length, 4)

    def _span(self, position: int, size: int) -> tuple[int, int]:
        """Start and length of the vector that ``position`` points to."""
        start = position + scalar(self._data, position, "u32")
        length = scalar(self._data, start, "u32")
        if start + 4 + length * size > len(self._data):
            raise FlatbufferError(
                f"a vector of {length} at offset {start} must end within the file"
            )
        return start + 4, length

    def _table(self, position: int) -> Table:
        target = position + scalar(self._data, position, "u32")
        return Table(self._data, target, self._budget)


def _printed(letter: str) -> str:
    return letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
