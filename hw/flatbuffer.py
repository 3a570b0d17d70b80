"""A reader of FlatBuffers tables that checks every bound.

The generated readers trust the file; a truncated one makes them fail in odd places, or read
without end. Here every access is checked and the one error is :class:`FlatbufferError`.

Source: https://flatbuffers.dev/internals, little endian throughout.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

FORMATS = {"u8": "<B", "i8": "<b", "i32": "<i", "u32": "<I", "u64": "<Q"}


class FlatbufferError(ValueError):
    """The bytes are not what they claim to be."""


def scalar(data: bytes, position: int, kind: str) -> int:
    """One number at ``position``; ``kind`` is a key of :data:`FORMATS`.

    Raises:
        FlatbufferError: It lies outside of the file.
    """
    size = struct.calcsize(FORMATS[kind])
    if not 0 <= position <= len(data) - size:
        raise FlatbufferError(f"offset {position} must lie within the {len(data)} bytes")
    return int(struct.unpack_from(FORMATS[kind], data, position)[0])


@dataclass(frozen=True, slots=True)
class Table:
    """A table at a position; fields are numbered from 0 in the order of the schema."""

    data: bytes
    position: int

    @staticmethod
    def root(data: bytes, identifier: bytes) -> Table:
        """The root table of a file with this four-byte identifier.

        Raises:
            FlatbufferError: The identifier is another one.
        """
        if data[4:8] != identifier:
            raise FlatbufferError(f"bytes 4 to 8 must be {identifier!r}, but got {data[4:8]!r}")
        return Table(data, scalar(data, 0, "u32"))

    def _field(self, index: int) -> int:
        """Position of a field's value; 0 if the table does not have it."""
        vtable = self.position - scalar(self.data, self.position, "i32")
        size = _u16(self.data, vtable)
        entry = 4 + 2 * index
        if entry + 2 > size:
            return 0
        offset = _u16(self.data, vtable + entry)
        return self.position + offset if offset else 0

    def number(self, index: int, kind: str = "i32", default: int = 0) -> int:
        """A scalar field."""
        position = self._field(index)
        return scalar(self.data, position, kind) if position else default

    def table(self, index: int) -> Table | None:
        """A table field."""
        position = self._field(index)
        return Table(self.data, self._follow(position)) if position else None

    def numbers(self, index: int, kind: str = "i32") -> tuple[int, ...]:
        """A vector of scalars; empty if absent."""
        start, length = self._vector(index)
        size = struct.calcsize(FORMATS[kind])
        if start + length * size > len(self.data):
            raise FlatbufferError(f"a vector of {length} must end within the file")
        return tuple(struct.unpack_from(f"<{length}{FORMATS[kind][1]}", self.data, start))

    def tables(self, index: int) -> list[Table]:
        """A vector of tables; empty if absent."""
        start, length = self._vector(index)
        if start + length * 4 > len(self.data):
            raise FlatbufferError(f"a vector of {length} must end within the file")
        return [Table(self.data, self._follow(start + 4 * item)) for item in range(length)]

    def text(self, index: int) -> str:
        """A string; empty if absent."""
        return bytes(self.numbers(index, "u8")).decode("utf-8", errors="replace")

    def length(self, index: int) -> int:
        """Length of a vector."""
        return self._vector(index)[1]

    def _vector(self, index: int) -> tuple[int, int]:
        position = self._field(index)
        if not position:
            return 0, 0
        start = self._follow(position)
        return start + 4, scalar(self.data, start, "u32")

    def _follow(self, position: int) -> int:
        return position + scalar(self.data, position, "u32")


def _u16(data: bytes, position: int) -> int:
    if not 0 <= position <= len(data) - 2:
        raise FlatbufferError(f"offset {position} must lie within the {len(data)} bytes")
    return int.from_bytes(data[position : position + 2], "little")
