"""One picture, and what is marked in it: from a file or an array to uint8 pixels of one size."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from tasks.data.dataset import IGNORE, DataError, Pixels, Split
from tasks.data.depth import Deep, DepthError, bands_of, depth_of, raw_mode, to_8_bits
from tasks.data.files import NOT_READ
from tasks.data.orientation import Marks, Size, SizeError, view_of
from tasks.run.rows import Rows, blocks

Fit = Literal["crop", "pad", "stretch"]
Channels = Literal["auto", 1, 3]

_LUMA = (0.299, 0.587, 0.114)  # of red, green and blue: ITU-R BT.601, as Pillow has it


@dataclass(frozen=True, slots=True)
class Decoded:
    """What became of one picture.

    Attributes:
        sha256: Of the file's bytes, or of the array's pixels and shape: before any resizing.
        pixels: uint8 [H, W, 1] or [H, W, 3], uint16 if the file has more than 8 bits; None if the
            picture is unreadable.
        reason: Why it is unreadable, else empty.
        size: Height and width before resizing, as it is looked at.
    """

    sha256: str
    pixels: Pixels | Deep | None
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
    marks: Marks | None = None,
) -> Decoded:
    """Read, turn upright, bring to the wanted shape and size.

    Args:
        picture: A file, or pixels [H, W] or [H, W, C].
        target: Height and width of the result in pixels.
        fit: As of :meth:`Frame.of`.
        channels: 1 or 3; with ``auto`` a grey picture stays grey.
        marks: What is known of the picture that annotations were made on; None: there are none.
            See :func:`tasks.data.orientation.view_of`.

    Raises:
        OSError: The file cannot be opened, though it is there.
    """
    if not isinstance(picture, Path):
        return _decode_array(picture, target, fit, channels, marks)
    try:
        content = picture.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return Decoded("", None, "there is no such file")
    digest = hashlib.sha256(content).hexdigest()
    if picture.suffix.lower() in NOT_READ:
        return Decoded(digest, None, f"{picture.suffix} is not read: save it as JPEG or PNG")
    try:
        with Image.open(io.BytesIO(content)) as image:
            return _decode_image(image, content, digest, target, fit, channels, marks)
    except MemoryError:
        raise
    except (SizeError, DepthError) as error:
        return Decoded(digest, None, str(error))
    except Exception as error:  # a damaged file can raise nearly anything in a decoder
        return Decoded(digest, None, why_unreadable(error, content))


def why_unreadable(error: Exception, content: bytes) -> str:
    """What a decoder says, in one line without the file's bytes."""
    kind = str(error).replace(repr(content), "") or type(error).__name__
    return "not a picture" if "cannot identify" in kind else kind.splitlines()[0]


def _decode_image(
    image: ImageFile.ImageFile,
    content: bytes,
    digest: str,
    target: Size,
    fit: Fit,
    channels: Channels,
    marks: Marks | None,
) -> Decoded:
    """An opened file."""
    raw = raw_mode(image)  # first: the rest may read the pixels
    view = view_of(image, marks)
    rows, columns = target[::-1] if view.across else target
    # Lets a JPEG decode at a fraction of its size, at twice the wanted sides or more.
    image.draft(None, (2 * columns, 2 * rows))
    bands = [view.apply(band) for band in bands_of(image, raw, content)]
    if bands:
        return Decoded(digest, _deep(bands, target, fit, channels), size=view.size)
    return Decoded(digest, _fitted(view.apply(image), target, fit, channels), size=view.size)


def _decode_array(
    array: Pixels, target: Size, fit: Fit, channels: Channels, marks: Marks | None
) -> Decoded:
    """The same for pixels [H, W] or [H, W, C]."""
    pixels = np.ascontiguousarray(array[..., 0] if array.shape[2:] == (1,) else array)
    digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
    try:
        view = view_of(Image.fromarray(pixels), marks)
    except SizeError as error:
        return Decoded(digest, None, str(error))
    fitted = _fitted(Image.fromarray(pixels), target, fit, channels)
    return Decoded(digest, fitted, size=view.size)


def _fitted(image: Image.Image, target: Size, fit: Fit, channels: Channels) -> Pixels:
    """Grey or colour, at the wanted size; bilinear, with antialias when it shrinks."""
    image = _grey_or_colour(image)
    if channels != "auto":
        image = image.convert("L" if channels == 1 else "RGB")
    frame = Frame.of((image.height, image.width), target, fit)
    pixels = np.asarray(frame.apply(image, Image.Resampling.BILINEAR, bar=0), np.uint8)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _deep(bands: Sequence[Image.Image], target: Size, fit: Fit, channels: Channels) -> Deep:
    """The same for the channels of a picture of 16 bits."""
    frame = Frame.of((bands[0].height, bands[0].width), target, fit)
    fitted = [frame.apply(band, Image.Resampling.BILINEAR, bar=0) for band in bands]
    pixels = np.stack([np.asarray(band) for band in fitted], axis=-1)
    if channels == 1 and len(bands) == 3:
        pixels = np.round(pixels @ np.array(_LUMA))[..., None]
    if channels == 3:
        pixels = np.broadcast_to(pixels, (*target, 3))
    return pixels.astype(np.uint16)


def fit_mask(mask: Pixels, target: Size, fit: Fit) -> Pixels:
    """A mask uint8 [H, W] at the wanted size, each value one that was there; bars are ignored."""
    frame = Frame.of((mask.shape[0], mask.shape[1]), target, fit)
    image = Image.fromarray(np.ascontiguousarray(mask))
    return np.asarray(frame.apply(image, Image.Resampling.NEAREST, bar=IGNORE), np.uint8)


def stack_pictures(
    splits: Mapping[Split, Sequence[Pixels | Deep]], fit: Fit
) -> tuple[dict[Split, Rows], dict[str, object]]:
    """Pictures uint8 [N, H, W, C] of each split, and what the manifest says of them.

    Grey is repeated where another picture has colour; what has more than 8 bits is divided by what
    the set holds.

    Raises:
        DataError: No value of train is above 1: they were probably 0..1 as fractions.
    """

    def every() -> Iterable[Pixels | Deep]:
        return (pixels for pictures in splits.values() for pixels in pictures)

    channels, depth = max(pixels.shape[2] for pixels in every()), depth_of(every())
    stacked = {split: _rows(pictures, channels, depth) for split, pictures in splits.items()}
    facts = _facts(stacked["train"], fit)
    if any(pixels.dtype == np.uint16 for pixels in every()):
        facts["bit_depth"] = depth
    return stacked, facts


def _rows(pictures: Sequence[Pixels | Deep], channels: int, depth: int) -> Rows:
    """Pictures of one size as one array; one channel is broadcast to three."""
    height, width = pictures[0].shape[:2]
    shape = (len(pictures), height, width, channels)
    return Rows(shape, np.dtype(np.uint8), lambda place: to_8_bits(pictures[place], depth))


def _facts(train: Rows, fit: Fit) -> dict[str, object]:
    """What the manifest says of pictures [N, H, W, C]."""
    count, height, width, channels = train.shape
    totals, brightest = np.zeros(channels, np.int64), 0
    for block in blocks(train):
        totals += block.sum(axis=(0, 1, 2), dtype=np.int64)
        brightest = max(brightest, int(block.max()))
    if brightest == 1:
        raise DataError(
            "pictures must use the values 0..255, but those of train hold only 0 and 1. Multiply "
            "them by 255 and save them again."
        )
    return {
        "image_size": height if height == width else [height, width],
        "input_shape": [1, height, width, channels],
        "channels": channels,
        "fit": fit,
        "brightest": brightest,
        "channel_mean": [int(total) / (count * height * width) for total in totals],
    }


def _grey_or_colour(image: Image.Image) -> Image.Image:
    """Mode L or RGB. What is transparent becomes black."""
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode in ("LA", "RGBA", "La", "RGBa", "PA"):
        mode = "L" if image.mode in ("LA", "La") else "RGB"
        full = image.convert("LA" if mode == "L" else "RGBA")
        ground = Image.new(mode, image.size)
        ground.paste(full.convert(mode), mask=full.getchannel("A"))
        return ground
    return image.convert("L" if image.mode in ("1", "L") else "RGB")
