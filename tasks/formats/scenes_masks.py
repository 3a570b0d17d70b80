"""Scenes of handwritten digits with a class for each pixel: made up, offline."""

from __future__ import annotations

from tasks.data.dataset import SPLITS, MaskSample, RawData, Source
from tasks.data.made_up.scenes import DIGITS, scenes

KIND = "segmentation"


def read(source: Source) -> RawData:
    """Make the scenes; ``source`` is not looked at. Class 0 is the background."""
    splits = {
        split: tuple(
            MaskSample(f"{split}/{number:04d}", scene.picture, scene.mask)
            for number, scene in enumerate(scenes(split))
        )
        for split in SPLITS
    }
    classes = ("background", *DIGITS)
    return RawData("scenes", classes, splits, kind=KIND, synthetic=True)
