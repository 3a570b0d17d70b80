"""A named buffer put into a ``.tflite`` file; all that was there stays as it was.

Packing a file anew would lay its weights elsewhere, and not always as aligned as they were. So a
new head goes before the old file, whose bytes stay the same: a root table that names the old
tables, and the new buffer. The old root is left there, unused.

Source: https://flatbuffers.dev/internals; tensorflow/lite/schema/schema.fbs.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, final

from hw.tflite.calls import IDENTIFIER
from hw.tflite.flatbuffer import FlatbufferError, Table, scalar

_VERSION, _BUFFERS, _METADATA, _KNOWN = 0, 4, 6, 10
"""Fields of a model; all but the version are offsets."""
_BUFFER_OFFSET: Final = 1
"""Field of a buffer that says where in the file its data lie, if not in the table."""
_ALIGNED: Final = 16  # bytes: force_align of a buffer's data
_NAMED_BUFFER_VTABLE: Final = struct.pack("<4H", 8, 12, 4, 8)
_BUFFER_VTABLE: Final = struct.pack("<4H", 6, 8, 4, 0)


@final
class _Head:
    """Bytes that are written from the front; offsets are filled in when their target is known."""

    def __init__(self) -> None:
        self.content = bytearray()

    def put(self, data: bytes) -> int:
        """Append, and tell where it begins."""
        place = len(self.content)
        self.content += data
        return place

    def offsets(self, count: int) -> int:
        """Room for so many."""
        return self.put(bytes(4 * count))

    def point(self, place: int, target: int) -> None:
        """Let the offset at ``place`` lead to ``target``, which lies behind it."""
        struct.pack_into("<I", self.content, place, target - place)

    def align(self, size: int, behind: int = 0) -> None:
        """Fill up, so that what comes after ``behind`` more bytes begins at a multiple."""
        self.put(bytes(-(len(self.content) + behind) % size))


def attached(tflite: bytes, name: str, content: bytes) -> bytes:
    """The file with one more buffer, found by its name in the model's list of metadata.

    One of the same name is no longer in the list.

    Raises:
        FlatbufferError: It is no whole ``.tflite``, or of a form that is not known here.
    """
    root = scalar(tflite, 0, "u32")
    model = Table.root(tflite, IDENTIFIER)
    targets = _targets(tflite, root)
    buffers = _elements(tflite, targets.get(_BUFFERS))
    if any(Table(tflite, one).number(_BUFFER_OFFSET, "u64") for one in buffers):
        raise FlatbufferError("buffers must lie within their tables, but one does not")
    named = [
        one
        for one in _elements(tflite, targets.get(_METADATA))
        if Table(tflite, one).text(0) != name
    ]
    present = sorted({*targets, _VERSION, _BUFFERS, _METADATA})
    head = _Head()
    head.put(bytes(4) + IDENTIFIER)
    places = {field: 4 + 4 * number for number, field in enumerate(present)}
    slots = [places.get(field, 0) for field in range(present[-1] + 1)]
    sizes = (4 + 2 * len(slots), 4 + 4 * len(present))
    vtable = head.put(struct.pack(f"<{2 + len(slots)}H", *sizes, *slots))
    head.align(4)
    table = head.put(struct.pack("<i", len(head.content) - vtable))
    head.point(0, table)
    head.offsets(len(present))
    struct.pack_into("<I", head.content, table + places[_VERSION], model.number(_VERSION, "u32"))
    head.point(table + places[_BUFFERS], len(head.content))
    buffer_list = head.put(struct.pack("<I", len(buffers) + 1)) + 4
    head.offsets(len(buffers) + 1)
    head.point(table + places[_METADATA], len(head.content))
    named_list = head.put(struct.pack("<I", len(named) + 1)) + 4
    head.offsets(len(named) + 1)
    _put_named(head, named_list + 4 * len(named), name, len(buffers))
    _put_buffer(head, buffer_list + 4 * len(buffers), content)
    head.align(_ALIGNED)
    before = len(head.content)
    for field, target in targets.items():
        if field not in (_BUFFERS, _METADATA):
            head.point(table + places[field], before + target)
    for first, old in ((buffer_list, buffers), (named_list, named)):
        for number, target in enumerate(old):
            head.point(first + 4 * number, before + target)
    return bytes(head.content) + tflite


def buffer_named(tflite: bytes, name: str) -> bytes | None:
    """What is attached by that name; None: nothing.

    Raises:
        FlatbufferError: It is no whole ``.tflite``.
    """
    model = Table.root(tflite, IDENTIFIER)
    for one in model.tables(_METADATA):
        if one.text(0) == name:
            number, buffers = one.number(1, "u32"), model.tables(_BUFFERS)
            if number >= len(buffers):
                raise FlatbufferError(f"{name} must name a buffer that is there")
            return bytes(buffers[number].view(0))
    return None


def _put_named(head: _Head, place: int, name: str, buffer: int) -> None:
    """An entry of the list of metadata: a name, and the number of its buffer."""
    vtable = head.put(_NAMED_BUFFER_VTABLE)
    entry = head.put(struct.pack("<i", len(head.content) - vtable))
    head.point(place, entry)
    text = head.put(struct.pack("<II", 0, buffer))
    head.point(text, len(head.content))
    head.put(struct.pack("<I", len(name.encode())) + name.encode() + b"\0")
    head.align(4)


def _put_buffer(head: _Head, place: int, content: bytes) -> None:
    vtable = head.put(_BUFFER_VTABLE)
    entry = head.put(struct.pack("<i", len(head.content) - vtable))
    head.point(place, entry)
    data = head.offsets(1)
    head.align(_ALIGNED, behind=4)  # the length stands before the data
    head.point(data, len(head.content))
    head.put(struct.pack("<I", len(content)) + content)


def _targets(tflite: bytes, root: int) -> dict[int, int]:
    """Where the offsets of the root table lead, by field."""
    vtable = root - scalar(tflite, root, "i32")
    count = (scalar(tflite, vtable, "u16") - 4) // 2
    if count > _KNOWN:
        raise FlatbufferError(f"a model must have at most {_KNOWN} fields, but has {count}")
    found = {}
    for field in range(1, count):
        if offset := scalar(tflite, vtable + 4 + 2 * field, "u16"):
            place = root + offset
            found[field] = place + scalar(tflite, place, "u32")
    return found


def _elements(tflite: bytes, vector: int | None) -> Sequence[int]:
    """Where the tables of a vector begin."""
    if vector is None:
        return ()
    places = range(vector + 4, vector + 4 + 4 * scalar(tflite, vector, "u32"), 4)
    return [place + scalar(tflite, place, "u32") for place in places]
