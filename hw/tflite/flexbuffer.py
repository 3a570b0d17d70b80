"""One string of a FlexBuffers map, with every bound checked.

Only what the custom options of an Edge TPU op need: a map at the root, of strings.

Source: https://flatbuffers.dev/flatbuffers_internals, "FlexBuffers"; values are written before
what refers to them, so the root is at the end and offsets count backwards.
"""

from __future__ import annotations

from hw.tflite.flatbuffer import FlatbufferError, scalar

STRING, MAP = 5, 9
WIDTHS = {1: "u8", 2: "u16", 4: "u32", 8: "u64"}
MOST_KEYS = 64


def string_of_map(data: memoryview, key: bytes) -> memoryview | None:
    """The string under ``key``, not copied; None if the map has no such key.

    Raises:
        FlatbufferError: The bytes are no map, or there is something else under the key.
    """
    if len(data) < 3 or data[-2] >> 2 != MAP:
        raise FlatbufferError("custom options must be a FlexBuffers map, but are not")
    root = _follow(data, len(data) - 2 - data[-1], data[-1])
    width = 1 << (data[-2] & 3)
    count = _unsigned(data, root - width, width)
    if count > MOST_KEYS:
        raise FlatbufferError(f"custom options must have at most {MOST_KEYS} keys, not {count}")
    keys = _follow(data, root - 3 * width, width)
    key_width = _unsigned(data, root - 2 * width, width)
    for index in range(count):
        name = _follow(data, keys + index * key_width, key_width)
        if data[name : name + len(key) + 1] == key + b"\0":
            kind = scalar(data, root + count * width + index, "u8")
            return _string(data, root + index * width, width, kind)
    return None


def _string(data: memoryview, position: int, width: int, kind: int) -> memoryview:
    if kind >> 2 != STRING:
        raise FlatbufferError(f"a value must be of type {STRING} (string), not {kind >> 2}")
    start, own = _follow(data, position, width), 1 << (kind & 3)
    length = _unsigned(data, start - own, own)
    if start + length > len(data):
        raise FlatbufferError(f"a string of {length} at offset {start} must end within the map")
    return data[start : start + length]


def _follow(data: memoryview, position: int, width: int) -> int:
    target = position - _unsigned(data, position, width)
    if target < 0:
        raise FlatbufferError(f"the offset at {position} must point into the map, not before it")
    return target


def _unsigned(data: memoryview, position: int, width: int) -> int:
    if width not in WIDTHS:
        raise FlatbufferError(f"numbers must be 1, 2, 4 or 8 bytes wide, not {width}")
    return scalar(data, position, WIDTHS[width])
