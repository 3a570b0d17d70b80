"""One picture: from a file or an array to square uint8 pixels."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from tasks.dataset import Pixels, Sample

Fit = Literal["crop", "pad", "stretch"]
Channels = Literal["auto", 1, 3]


@dataclass(frozen=True, slots=True)
class Decoded:
    """What became of one sample.

    Attributes:
        sha256: Of the file's bytes, or of the array's pixels and shape: before any resizing.
        pixels: uint8 [S, S, 1] or [S, S, 3]; None if the picture is unreadable.
        reason: Why it is unreadable, else empty.
    """

    sha256: str
    pixels: Pixels | None
    reason: str = ""


def decode(sample: Sample, image_size: int, fit: Fit, channels: Channels) -> Decoded:
    """Read, turn upright, make square, resize.

    Args:
        sample: A file or pixels.
        image_size: Side S of the result in pixels.
        fit: ``crop`` keeps the middle square, ``pad`` adds black bars, ``stretch`` distorts.
        channels: 1 or 3; with ``auto`` a grey picture stays grey.

    Raises:
        OSError: The file cannot be opened at all.
    """
    if not isinstance(sample.picture, Path):
        return _decode_array(sample.picture, image_size, fit, channels)
    content = sample.picture.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    try:
        with Image.open(io.BytesIO(content)) as image:
            # Lets a JPEG decode at a fraction of its size, at twice the wanted side or more.
            image.draft(None, (2 * image_size, 2 * image_size))
            upright = ImageOps.exif_transpose(image)
            return Decoded(digest, _square(upright, image_size, fit, channels))
    except MemoryError:
        raise
    except Exception as error:  # a damaged file can raise nearly anything in a decoder
        kind = str(error).replace(repr(content), "") or type(error).__name__
        reason = "not a picture" if "cannot identify" in kind else kind.splitlines()[0]
        return Decoded(digest, None, reason)


def _decode_array(array: Pixels, image_size: int, fit: Fit, channels: Channels) -> Decoded:
    """The same for pixels [H, W] or [H, W, C]."""
    pixels = np.ascontiguousarray(array[..., 0] if array.shape[2:] == (1,) else array)
    digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
    return Decoded(digest, _square(Image.fromarray(pixels), image_size, fit, channels))


def _square(image: Image.Image, side: int, fit: Fit, channels: Channels) -> Pixels:
    """Grey or colour, square, at the wanted size; bilinear, with antialias when it shrinks."""
    image = _grey_or_colour(image)
    if channels != "auto":
        image = image.convert("L" if channels == 1 else "RGB")
    width, height = image.size
    bilinear = Image.Resampling.BILINEAR
    if fit == "crop":
        edge = min(width, height)
        left, top = (width - edge) / 2, (height - edge) / 2
        resized = image.resize((side, side), bilinear, (left, top, left + edge, top + edge))
    elif fit == "stretch":
        resized = image.resize((side, side), bilinear)
    else:
        resized = ImageOps.pad(image, (side, side), bilinear)
    pixels = np.asarray(resized, np.uint8)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _grey_or_colour(image: Image.Image) -> Image.Image:
    """Mode L or RGB. What is transparent becomes black; 16 bits of grey become the upper 8."""
    if image.mode.startswith("I"):
        values = np.clip(np.asarray(image, np.int64), 0, 65535) >> 8
        return Image.fromarray(values.astype(np.uint8))
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode in ("LA", "RGBA", "La", "RGBa", "PA"):
        mode = "L" if image.mode in ("LA", "La") else "RGB"
        full = image.convert("LA" if mode == "L" else "RGBA")
        ground = Image.new(mode, image.size)
        ground.paste(full.convert(mode), mask=full.getchannel("A"))
        return ground
    return image.convert("L" if image.mode in ("1", "L") else "RGB")
