"""Pictures with the class of each pixel: ``images`` and ``masks`` uint8 [N, H, W], 255 ignored."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tasks.data.dataset import IGNORE, DataError, MaskSample, Pixels, RawData
from tasks.data.kind import Finished, Loaded, Members, digest, missing_classes
from tasks.data.orientation import Marks, tag_of, view_of
from tasks.data.pictures import decode, fit_mask, stack_pictures, why_unreadable
from tasks.run.params import DataParams
from tasks.run.rows import Rows


class MaskError(ValueError):
    """A mask that cannot be read as classes; the message is the reason."""


@final
@dataclass(frozen=True, slots=True)
class Segmentation:
    """One class a pixel."""

    noun: str = "images"
    demand: str = "every picture must be readable and have a mask of its size and its classes"
    stratified: bool = False
    least_classes: int = 2

    def load(self, sample: MaskSample, raw: RawData, params: DataParams) -> Loaded:
        """Picture and mask, at the wanted size; the picture must have the size of its mask."""
        if sample.mask is None:
            return Loaded("", None, "there is no mask for it")
        try:
            mask, turned = read_mask(sample.mask)
            present = _checked_values(mask, len(raw.classes))
        except MaskError as error:
            return Loaded("", None, f"its mask {error}")
        size = (mask.shape[0], mask.shape[1])
        marks = Marks(size, "upright" if turned else params.exif)
        decoded = decode(sample.picture, params.size, params.fit, params.channels, marks)
        if decoded.pixels is None:
            reason = decoded.reason.replace("its annotation is for", "its mask has")
            reason = reason.replace("its annotation", "its mask")
            return Loaded(decoded.sha256, None, reason)
        content = (decoded.pixels, fit_mask(mask, params.size, params.fit), present)
        return Loaded(decoded.sha256, content, target_sha256=digest(mask))

    def check(self, splits: Members, raw: RawData) -> None:
        """Train must hold two classes at least.

        Raises:
            DataError: It has fewer; masks with 255 as the foreground are the usual cause.
        """
        present = sorted({value for member in splits["train"] for value in member.content[2]})
        if len(set(present) - {IGNORE}) < 2:
            raise DataError(
                "masks of train must hold at least 2 classes, but got only the values "
                f"{', '.join(map(str, present))} ({IGNORE} is ignored). "
                f"Save masks as class indexes 0..{len(raw.classes) - 1}."
            )

    def finish(self, splits: Members, raw: RawData, params: DataParams) -> Finished:
        """Images and masks."""
        pictures = {s: [m.content[0] for m in part] for s, part in splits.items()}
        images, facts = stack_pictures(pictures, params.fit)
        masks = {s: _stacked([m.content[1] for m in part]) for s, part in splits.items()}
        counts = {split: _pixel_counts(masks[split]) for split in splits}
        by_class = {s: [int(n) for n in c[: len(raw.classes)]] for s, c in counts.items()}
        return Finished(
            {split: {"images": images[split], "masks": masks[split]} for split in splits},
            {**facts, "classes_missing": missing_classes(by_class, raw.classes)},
            {
                split: {
                    "images": len(images[split]),
                    "pixels_per_class": dict(zip(raw.classes, by_class[split], strict=True)),
                    "pixels_ignored": int(counts[split][IGNORE]),
                }
                for split in splits
            },
        )


KIND = Segmentation()


def read_mask(mask: Path | Pixels) -> tuple[Pixels, bool]:
    """Classes uint8 [H, W]: the indexes of a palette, or grey values; and whether it was turned.

    A mask is turned by an EXIF tag of its own, as its picture is by its own.

    Raises:
        MaskError: It is no picture, has colours or transparency, or holds values above 255.
    """
    if not isinstance(mask, Path):
        return np.asarray(mask, np.uint8), False
    try:
        content = mask.read_bytes()
    except FileNotFoundError as error:
        raise MaskError("does not exist") from error
    try:
        with Image.open(io.BytesIO(content)) as image:
            turned, view = tag_of(image) != 1, view_of(image, None)
            values, mode = np.asarray(view.apply(image)), image.mode
    except MemoryError:
        raise
    except Exception as error:  # a damaged file can raise nearly anything in a decoder
        raise MaskError(f"is unreadable: {why_unreadable(error, content)}") from error
    if mode == "RGB" and (values == values[..., :1]).all():
        values, mode = values[..., 0], "L"
    if mode not in ("1", "L", "P") and not mode.startswith("I"):
        raise MaskError(f"must be of palette or grey mode, but is {mode}")
    if values.min() < 0 or values.max() > IGNORE:
        raise MaskError(f"must hold values 0..{IGNORE}, but holds {values.min()}..{values.max()}")
    return values.astype(np.uint8), turned


def _checked_values(mask: Pixels, classes: int) -> list[int]:
    """The values that a mask holds, sorted.

    Raises:
        MaskError: One of them is neither a class nor 255.
    """
    present = np.flatnonzero(np.bincount(mask.reshape(-1), minlength=1)).tolist()
    if unknown := [value for value in present if classes <= value != IGNORE]:
        raise MaskError(
            f"holds {', '.join(map(str, unknown))}, but classes are 0..{classes - 1} "
            f"and {IGNORE} is ignored"
        )
    return [int(value) for value in present]


def _stacked(masks: Sequence[Pixels]) -> Rows:
    """Masks of one size as one array [N, H, W]."""
    return Rows((len(masks), *masks[0].shape), masks[0].dtype, masks.__getitem__)


def _pixel_counts(masks: Rows) -> NDArray[np.int64]:
    """How many pixels have each of the 256 values, a picture at a time."""
    counts = np.zeros(IGNORE + 1, np.int64)
    for mask in map(masks.row, range(len(masks))):
        counts += np.bincount(mask.reshape(-1), minlength=IGNORE + 1)
    return counts
