"""Pictures of more than eight bits: read whole, then brought to eight by what their set holds.

Cameras of 10, 12 and 14 bits write files of 16: what is black in one set is bright in another. So
the greatest value of all pictures of a set decides how many bits it has, and all its pictures are
divided alike.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

Deep = NDArray[np.uint16]
_BITS: Final = (8, 10, 12, 14, 16)  # of sensors
_MOST: Final = 2**16 - 1


class DepthError(ValueError):
    """Values that cannot be read as they are; the message is the reason."""


def bands_of(image: ImageFile.ImageFile, raw: str, content: bytes) -> list[Image.Image]:
    """The channels of a picture of 16 bits, in mode ``I``; none if it has eight.

    What is transparent becomes black.

    Args:
        image: Opened.
        raw: How its file holds the pixels, of :func:`raw_mode`.
        content: The bytes of its file.

    Raises:
        DepthError: Its values are no whole numbers of 0 to 65,535, or only the upper half of each
            could be read.
    """
    if image.mode == "F":
        raise DepthError("its values are no whole numbers: save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        values = np.asarray(image, np.int64)
        if values.min() < 0 or values.max() > _MOST:
            raise DepthError(
                f"its values must be 0..{_MOST}, but are {values.min()}..{values.max()}: save it "
                "with 8 or 16 bits"
            )
        return [Image.fromarray(values.astype(np.int32))]
    if ";16" not in raw:
        return []
    if image.format != "PNG" or image.mode not in ("RGB", "RGBA") or raw.startswith("LA"):
        raise DepthError(
            f"16 bits of {image.format} {raw.split(';')[0]} cannot be read whole: save it as PNG "
            "of 16 bits, grey or RGB"
        )
    return _of_png(image, raw, content)


def raw_mode(image: ImageFile.ImageFile) -> str:
    """How a file holds its pixels, such as ``RGB;16B``; nothing tells once they are read."""
    given: Any = image.tile[0].args if image.tile else ""
    first = given[0] if isinstance(given, tuple) and given else given
    return first if isinstance(first, str) else ""


def _of_png(image: ImageFile.ImageFile, raw: str, content: bytes) -> list[Image.Image]:
    """Red, green, blue. Pillow keeps the upper byte of each; a second look gets the lower one."""
    lower = raw.removesuffix("B") + "L"
    with Image.open(io.BytesIO(content)) as again:
        again.tile = [tile._replace(args=lower) for tile in again.tile]
        values = (np.asarray(image, np.int64) << 8) | np.asarray(again, np.int64)
    if values.shape[2] == 4:
        values = values[..., :3] * values[..., 3:] // _MOST
    return [Image.fromarray(values[..., band].astype(np.int32)) for band in range(3)]


def depth_of(pictures: Iterable[NDArray[Any]]) -> int:
    """How many bits the pictures of a set have: 8 unless some are uint16.

    >>> depth_of([np.array([[[7, 3400]]], np.uint16), np.zeros((1, 1, 1), np.uint8)])
    12
    """
    peaks = (int(pixels.max()) for pixels in pictures if pixels.dtype == np.uint16)
    needed = max(peaks, default=0).bit_length()
    return next(bits for bits in _BITS if bits >= needed)


def to_8_bits(pixels: NDArray[Any], depth: int) -> NDArray[np.uint8]:
    """Pixels of a set of ``depth`` bits; those that are uint8 stay as they are.

    >>> to_8_bits(np.array([0, 2048, 4095], np.uint16), 12)
    array([  0, 128, 255], dtype=uint8)
    """
    if pixels.dtype != np.uint16:
        return pixels.astype(np.uint8, copy=False)
    scaled: NDArray[np.uint8] = np.round(pixels * (255 / (2**depth - 1))).astype(np.uint8)
    return scaled
