"""A picture as a network takes it: what was done to those that it learned from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageOps


def prepared(path: str, reading: Mapping[str, Any]) -> Any:
    """Pixels [1, height, width, channels] in -1..1 of a picture of 8 bits a channel.

    It is turned upright, brought to the wanted shape by ``reading["fit"]``, and resized.
    """
    rows, columns = int(reading["height"]), int(reading["width"])
    try:
        source = Image.open(path)
    except OSError as error:
        raise SystemExit(f"{path}: must be a picture, but got: {error}.") from None
    with source as opened:
        if opened.mode.startswith(("I", "F")):
            raise SystemExit(f"{path}: must have 8 bits a channel, but got mode {opened.mode}.")
        across = opened.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        opened.draft(None, (2 * (rows if across else columns), 2 * (columns if across else rows)))
        image = _opaque(ImageOps.exif_transpose(opened))
    image = image.convert("L" if reading["channels"] == 1 else "RGB")
    pixels = np.asarray(_fitted(image, (columns, rows), str(reading["fit"])), np.uint8)
    shaped = pixels.reshape(1, rows, columns, int(reading["channels"]))
    return shaped.astype(np.float32) / np.float32(127.5) - np.float32(1.0)


def _opaque(image: Image.Image) -> Image.Image:
    """Grey or colour; what is transparent becomes black."""
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode in ("LA", "RGBA", "La", "RGBa", "PA"):
        mode = "L" if image.mode in ("LA", "La") else "RGB"
        full = image.convert("LA" if mode == "L" else "RGBA")
        ground = Image.new(mode, image.size)
        ground.paste(full.convert(mode), mask=full.getchannel("A"))
        return ground
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _fitted(image: Image.Image, size: tuple[int, int], fit: str) -> Image.Image:
    """By ``crop`` to the middle, by black bars (``pad``), or stretched."""
    (width, height), (columns, rows) = image.size, size
    if fit == "stretch" or height * columns == width * rows:
        return image.resize(size, Image.Resampling.BILINEAR, (0, 0, width, height))
    wide = width * rows > height * columns
    if fit == "crop":
        kept = (height * columns / rows, height) if wide else (width, width * rows / columns)
        left, top = (width - kept[0]) / 2, (height - kept[1]) / 2
        box = (left, top, left + kept[0], top + kept[1])
        return image.resize(size, Image.Resampling.BILINEAR, box)
    inner = (
        (columns, max(1, round(height / width * columns)))
        if wide
        else (max(1, round(width / height * rows)), rows)
    )
    full = Image.new(image.mode, size)
    resized = image.resize(inner, Image.Resampling.BILINEAR, (0, 0, width, height))
    full.paste(resized, (round((columns - inner[0]) / 2), round((rows - inner[1]) / 2)))
    return full
