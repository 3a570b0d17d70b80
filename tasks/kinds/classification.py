"""Pictures with one class each: ``images`` uint8 [N, H, W, C] and ``labels`` int32 [N]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from tasks.data.dataset import RawData, Sample
from tasks.data.kind import Finished, Loaded, Members, check_each_class, label_counts
from tasks.data.pictures import decode, stack_pictures
from tasks.run.params import DataParams


@final
@dataclass(frozen=True, slots=True)
class Classification:
    """One label a picture."""

    noun: str = "images"
    demand: str = "every picture must be readable"
    stratified: bool = True
    least_classes: int = 2

    def load(self, sample: Sample, raw: RawData, params: DataParams) -> Loaded:
        """The picture, decoded; its label can be told from its name."""
        decoded = decode(sample.picture, params.size, params.fit, params.channels)
        content = None if decoded.pixels is None else (sample.label, decoded.pixels)
        return Loaded(decoded.sha256, content, decoded.reason, sample.label)

    def check(self, splits: Members, raw: RawData) -> None:
        """Each class must be in each split.

        Raises:
            DataError: A class is missing somewhere.
        """
        check_each_class(splits, raw.classes, self.noun)

    def finish(self, splits: Members, raw: RawData, params: DataParams) -> Finished:
        """Images and labels."""
        pictures = {s: [m.content[1] for m in part] for s, part in splits.items()}
        images, facts = stack_pictures(pictures, params.fit)
        labels = {
            s: np.array([m.content[0] for m in part], np.int32) for s, part in splits.items()
        }
        counts = label_counts(splits, len(raw.classes))
        return Finished(
            {split: {"images": images[split], "labels": labels[split]} for split in splits},
            facts,
            {
                split: {
                    "images": len(labels[split]),
                    "images_per_class": dict(zip(raw.classes, counts[split], strict=True)),
                }
                for split in splits
            },
        )


KIND = Classification()
