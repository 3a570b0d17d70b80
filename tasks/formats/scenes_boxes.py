"""Scenes of handwritten digits with a box for each: made up, offline."""

from __future__ import annotations

from tasks.data.dataset import SPLITS, BoxSample, RawData, Source
from tasks.data.made_up.scenes import DIGITS, SIDE, scenes

KIND = "detection"


def read(source: Source) -> RawData:
    """Make the scenes; ``source`` is not looked at."""
    splits = {
        split: tuple(
            BoxSample(f"{split}/{number:04d}", scene.picture, scene.boxes, (SIDE, SIDE))
            for number, scene in enumerate(scenes(split))
        )
        for split in SPLITS
    }
    return RawData("scenes", DIGITS, splits, kind=KIND, synthetic=True)
