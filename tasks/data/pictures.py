"""One picture, and what is marked in it: from a file or an array to uint8 pixels of one size."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tasks.data.dataset import IGNORE, Pixels

Fit = Literal["crop", "pad", "stretch"]
Channels = Literal["auto", 1, 3]
Size = tuple[int, int]  # height, width

_ORIENTATION = 0x0112  # the tag of EXIF; 5 to 8 mean that height and width change places


class SizeError(ValueError):
    """A picture of another size than its annotation says."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What became of one picture.

    Attributes:
        sha256: Of the file's bytes, or of the array's pixels and shape: before any resizing.
        pixels: uint8 [H, W, 1] or [H, W, 3]; None if the picture is unreadable.
        reason: Why it is unreadable, else empty.
        size: Height and width before resizing, as it is looked at.
    """

    sha256: str
    pixels: Pixels | None
    reason: str = ""
    size: Size = (0, 0)


@dataclass(frozen=True, slots=True)
class Frame:
    """Which part of a picture goes where in the prepared one.

    Attributes:
        region: Left, top, right, bottom in pixels of the picture; all of it, or the part kept.
        place: Left, top, right, bottom in pixels of the prepared picture; the rest is a bar.
        target: Height and width of the prepared picture.
    """

    region: tuple[float, float, float, float]
    place: tuple[int, int, int, int]
    target: Size

    @staticmethod
    def of(size: Size, target: Size, fit: Fit) -> Frame:
        """The frame of a picture.

        Args:
            size: Its height and width in pixels.
            target: Those of the prepared picture.
            fit: ``crop`` keeps the middle of the wanted shape, ``pad`` adds bars, ``stretch``
                distorts.
        """
        (height, width), (rows, columns) = size, target
        whole, everywhere = (0.0, 0.0, float(width), float(height)), (0, 0, columns, rows)
        if fit == "stretch" or height * columns == width * rows:
            return Frame(whole, everywhere, target)
        if fit == "crop":
            wide = width * rows > height * columns
            kept_width = height * columns / rows if wide else float(width)
            kept_height = float(height) if wide else width * rows / columns
            left, top = (width - kept_width) / 2, (height - kept_height) / 2
            return Frame((left, top, left + kept_width, top + kept_height), everywhere, target)
        if width / height > columns / rows:
            inner = max(1, round(height / width * columns))
            top_bar = round((rows - inner) / 2)
            return Frame(whole, (0, top_bar, columns, top_bar + inner), target)
        inner = max(1, round(width / height * rows))
        left_bar = round((columns - inner) / 2)
        return Frame(whole, (left_bar, 0, left_bar + inner, rows), target)

    def apply(self, image: Image.Image, resample: Image.Resampling, bar: int) -> Image.Image:
        """The prepared picture; bars hold the value ``bar``."""
        left, top, right, bottom = self.place
        rows, columns = self.target
        resized = image.resize((right - left, bottom - top), resample, self.region)
        if resized.size == (columns, rows):
            return resized
        full = Image.new(image.mode, (columns, rows), (bar,) * len(image.getbands()))
        full.paste(resized, (left, top))
        return full

    def fractions(self, edges: NDArray[np.float64]) -> NDArray[np.float64]:
        """Boxes [n, 4] (ymin, xmin, ymax, xmax) in pixels as fractions of the prepared picture.

        They are not clipped: what a crop cuts off lies below 0 or above 1.
        """
        left, top, right, bottom = self.region
        x0, y0, x1, y1 = self.place
        scale = np.array([(y1 - y0) / (bottom - top), (x1 - x0) / (right - left)] * 2)
        prepared = (edges - np.array([top, left] * 2)) * scale + np.array([y0, x0] * 2)
        fractions: NDArray[np.float64] = prepared / np.array(self.target * 2, np.float64)
        return fractions


def decode(
    picture: Path | Pixels,
    target: Size,
    fit: Fit,
    channels: Channels,
    annotated: Size | None = None,
) -> Decoded:
    """Read, turn upright, bring to the wanted shape and size.

    Args:
        picture: A file, or pixels [H, W] or [H, W, C].
        target: Height and width of the result in pixels.
        fit: As of :meth:`Frame.of`.
        channels: 1 or 3; with ``auto`` a grey picture stays grey.
        annotated: Height and width that annotations speak of. A picture that has them only while
            it is not turned upright stays as it is stored; one that has neither is refused.

    Raises:
        OSError: The file cannot be opened, though it is there.
    """
    if not isinstance(picture, Path):
        return _decode_array(picture, target, fit, channels, annotated)
    try:
        content = picture.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return Decoded("", None, "there is no such file")
    digest = hashlib.sha256(content).hexdigest()
    try:
        with Image.open(io.BytesIO(content)) as image:
            return _decode_image(image, digest, target, fit, channels, annotated)
    except MemoryError:
        raise
    except SizeError as error:
        return Decoded(digest, None, str(error))
    except Exception as error:  # a damaged file can raise nearly anything in a decoder
        return Decoded(digest, None, why_unreadable(error, content))


def why_unreadable(error: Exception, content: bytes) -> str:
    """What a decoder says, in one line without the file's bytes."""
    kind = str(error).replace(repr(content), "") or type(error).__name__
    return "not a picture" if "cannot identify" in kind else kind.splitlines()[0]


def _decode_image(
    image: Image.Image,
    digest: str,
    target: Size,
    fit: Fit,
    channels: Channels,
    annotated: Size | None,
) -> Decoded:
    """An opened file."""
    stored = (image.height, image.width)
    turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
    upright = (image.width, image.height) if turned else stored
    size = _agreed(upright, stored, annotated)
    rows, columns = target if size == stored else target[::-1]
    # Lets a JPEG decode at a fraction of its size, at twice the wanted sides or more.
    image.draft(None, (2 * columns, 2 * rows))
    shown = ImageOps.exif_transpose(image) if size == upright else image
    return Decoded(digest, _fitted(shown, target, fit, channels), size=size)


def _agreed(upright: Size, stored: Size, annotated: Size | None) -> Size:
    """The size that picture and annotation agree on."""
    if annotated is None or annotated == upright:
        return upright
    if annotated == stored:
        return stored
    raise SizeError(
        f"its size is {upright[1]}x{upright[0]}, but its annotation is for "
        f"{annotated[1]}x{annotated[0]} pixels"
    )


def _decode_array(
    array: Pixels, target: Size, fit: Fit, channels: Channels, annotated: Size | None
) -> Decoded:
    """The same for pixels [H, W] or [H, W, C]."""
    pixels = np.ascontiguousarray(array[..., 0] if array.shape[2:] == (1,) else array)
    digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
    size = (pixels.shape[0], pixels.shape[1])
    try:
        _agreed(size, size, annotated)
    except SizeError as error:
        return Decoded(digest, None, str(error))
    return Decoded(digest, _fitted(Image.fromarray(pixels), target, fit, channels), size=size)


def _fitted(image: Image.Image, target: Size, fit: Fit, channels: Channels) -> Pixels:
    """Grey or colour, at the wanted size; bilinear, with antialias when it shrinks."""
    image = _grey_or_colour(image)
    if channels != "auto":
        image = image.convert("L" if channels == 1 else "RGB")
    frame = Frame.of((image.height, image.width), target, fit)
    pixels = np.asarray(frame.apply(image, Image.Resampling.BILINEAR, bar=0), np.uint8)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def fit_mask(mask: Pixels, target: Size, fit: Fit) -> Pixels:
    """A mask uint8 [H, W] at the wanted size, each value one that was there; bars are ignored."""
    frame = Frame.of((mask.shape[0], mask.shape[1]), target, fit)
    image = Image.fromarray(np.ascontiguousarray(mask))
    return np.asarray(frame.apply(image, Image.Resampling.NEAREST, bar=IGNORE), np.uint8)


def stack_pictures(splits: Mapping[str, Sequence[Pixels]]) -> dict[str, Pixels]:
    """Pictures [N, H, W, C] of each split; grey is repeated where another picture has colour."""
    channels = max(pixels.shape[2] for pictures in splits.values() for pixels in pictures)
    stacked: dict[str, Pixels] = {}
    for split, pictures in splits.items():
        height, width = pictures[0].shape[:2]
        stacked[split] = np.empty((len(pictures), height, width, channels), np.uint8)
        for place, pixels in enumerate(pictures):
            stacked[split][place] = pixels  # broadcasts one channel to three
    return stacked


def picture_facts(train: Pixels, fit: Fit) -> dict[str, object]:
    """What the manifest says of pictures [N, H, W, C]."""
    _, height, width, channels = train.shape
    totals = train.sum(axis=(0, 1, 2), dtype=np.int64)
    return {
        "image_size": height if height == width else [height, width],
        "input_shape": [1, height, width, channels],
        "channels": channels,
        "fit": fit,
        "channel_mean": [int(total) / (train.size // channels) for total in totals],
    }


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
