"""Pictures with objects in boxes.

Arrays: ``images``; ``boxes`` float32 [N, M, 4] (ymin, xmin, ymax, xmax as fractions of the
prepared picture), ``labels`` int32 [N, M] (-1 behind the last box), ``crowd`` bool [N, M] and
``sizes`` int32 [N, 2] (height and width of the picture as it was). M is the largest count of boxes
in a picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from tasks.data.dataset import Box, BoxSample, DataError, Pixels, RawData
from tasks.data.depth import Deep
from tasks.data.kind import (
    Arrays,
    Finished,
    Loaded,
    Members,
    digest,
    main_reason,
    merge_skipped,
    missing_classes,
)
from tasks.data.orientation import Marks, Size
from tasks.data.pictures import Fit, Frame, decode, stack_pictures
from tasks.run.params import DataParams

KEPT_SHARE = 0.3  # of a box's area: what a crop must leave of it; below, the object is gone

NOT_FINITE = "box skipped: an edge is no finite number"
NO_AREA = "box skipped: of no area"
OUTSIDE = "box skipped: outside its picture"
CLIPPED = "box clipped: it reached beyond its picture"
CROPPED = f"box skipped: data.fit crop left less than {KEPT_SHARE:.0%} of it"


class Objects(NamedTuple):
    """A picture with its boxes: [n, 4] as fractions, [n], [n]; and its size before."""

    pixels: Pixels | Deep
    boxes: NDArray[np.float32]
    labels: NDArray[np.int32]
    crowd: NDArray[np.bool_]
    size: Size


@final
@dataclass(frozen=True, slots=True)
class Detection:
    """Boxes with a class each."""

    noun: str = "images"
    demand: str = "every picture must be readable and of the size that its annotation says"
    stratified: bool = False
    least_classes: int = 1

    def load(self, sample: BoxSample, raw: RawData, params: DataParams) -> Loaded:
        """The picture, and the boxes that it really holds."""
        marks = Marks(sample.size, params.exif)
        decoded = decode(sample.picture, params.size, params.fit, params.channels, marks)
        if decoded.pixels is None:
            looked = f"; looked in {', '.join(sample.places)}" if sample.places else ""
            return Loaded(decoded.sha256, None, decoded.reason + looked)
        boxes = in_pixels(sample.boxes, decoded.size) if sample.relative else sample.boxes
        kept, notes = vetted(boxes, decoded.size)
        fitted, inside = fit_boxes(
            [box.edges for box in kept], decoded.size, params.size, params.fit
        )
        notes += [CROPPED] * int((~inside).sum())
        labels = np.array([box.label for box in kept], np.int32)[inside]
        crowd = np.array([box.crowd for box in kept], bool)[inside]
        objects = Objects(decoded.pixels, fitted[inside], labels, crowd, decoded.size)
        told = digest(*(f"{b.label} {b.edges} {b.crowd}" for b in sample.boxes))
        return Loaded(decoded.sha256, objects, target_sha256=told, notes=tuple(notes))

    def check(self, splits: Members, raw: RawData) -> None:
        """Train must hold a box.

        Raises:
            DataError: It holds none.
        """
        if not any(len(member.content.labels) for member in splits["train"]):
            raise DataError(
                f"pictures of train must hold boxes, but got none in {len(splits['train'])} "
                f"pictures{main_reason(merge_skipped(*raw.skipped.values()))}."
            )

    def finish(self, splits: Members, raw: RawData, params: DataParams) -> Finished:
        """Pictures and boxes."""
        pictures = {s: [m.content.pixels for m in part] for s, part in splits.items()}
        images, facts = stack_pictures(pictures, params.fit)
        most = max(len(m.content.labels) for part in splits.values() for m in part)
        arrays = {s: _padded([m.content for m in part], most) for s, part in splits.items()}
        classes = len(raw.classes)
        counts = {
            split: [
                int(n) for n in np.bincount(of["labels"][of["labels"] >= 0], minlength=classes)
            ]
            for split, of in arrays.items()
        }
        return Finished(
            {split: {"images": images[split], **arrays[split]} for split in splits},
            {**facts, "classes_missing": missing_classes(counts, raw.classes)},
            {split: _counts(arrays[split], counts[split], raw.classes) for split in splits},
        )


KIND = Detection()


def in_pixels(boxes: Sequence[Box], size: Size) -> list[Box]:
    """Boxes in fractions as boxes in pixels of a picture of that height and width."""
    height, width = size
    scaled = [
        (box, [e * s for e, s in zip(box.edges, (height, width) * 2, strict=True)])
        for box in boxes
    ]
    return [Box(box.label, (a, b, c, d), box.crowd) for box, (a, b, c, d) in scaled]


def vetted(boxes: Sequence[Box], size: Size) -> tuple[list[Box], list[str]]:
    """The boxes that lie in a picture, clipped to it, and a note for each that was not kept as is.

    Args:
        boxes: In pixels.
        size: Height and width of the picture.
    """
    height, width = size
    kept: list[Box] = []
    notes: list[str] = []
    for box in boxes:
        ymin, xmin, ymax, xmax = box.edges
        if not all(map(math.isfinite, box.edges)):
            notes.append(NOT_FINITE)
        elif ymax <= ymin or xmax <= xmin:
            notes.append(NO_AREA)
        elif ymax <= 0 or xmax <= 0 or ymin >= height or xmin >= width:
            notes.append(OUTSIDE)
        else:
            edges = (max(ymin, 0.0), max(xmin, 0.0), min(ymax, height), min(xmax, width))
            kept.append(Box(box.label, edges, box.crowd))
            notes += [CLIPPED] * (edges != box.edges)
    return kept, notes


def fit_boxes(
    edges: Sequence[tuple[float, float, float, float]], size: Size, target: Size, fit: Fit
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Boxes in the prepared picture, and which of them a crop leaves enough of.

    Args:
        edges: ymin, xmin, ymax, xmax in pixels of the picture, within it.
        size: Height and width of the picture.
        target: Those of the prepared one.
        fit: How it was brought to that shape.

    Returns:
        Fractions float32 [n, 4], clipped to 0..1, and bool [n].
    """
    frame = Frame.of(size, target, fit)
    whole = frame.fractions(np.array(edges, np.float64).reshape(-1, 4))
    clipped = np.clip(whole, 0.0, 1.0)
    left = _areas(clipped) >= KEPT_SHARE * _areas(whole)
    return clipped.astype(np.float32), left


def _areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Areas [n] of boxes [n, 4]."""
    areas: NDArray[np.float64] = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return areas


def _padded(objects: Sequence[Objects], most: int) -> Arrays:
    """Boxes of several pictures, with room for ``most`` in each and at least one."""
    count, room = len(objects), max(most, 1)
    boxes = np.zeros((count, room, 4), np.float32)
    labels = np.full((count, room), -1, np.int32)
    crowd = np.zeros((count, room), bool)
    for place, each in enumerate(objects):
        inside = len(each.labels)
        boxes[place, :inside] = each.boxes
        labels[place, :inside] = each.labels
        crowd[place, :inside] = each.crowd
    sizes = np.array([each.size for each in objects], np.int32).reshape(count, 2)
    return {"boxes": boxes, "labels": labels, "crowd": crowd, "sizes": sizes}


def _counts(arrays: Arrays, by_class: Sequence[int], classes: Sequence[str]) -> dict[str, object]:
    """What the manifest says of one split."""
    labels = arrays["labels"]
    return {
        "images": len(labels),
        "images_without_boxes": int((labels < 0).all(axis=1).sum()),
        "boxes": sum(by_class),
        "boxes_crowd": int(arrays["crowd"].sum()),
        "boxes_per_class": dict(zip(classes, by_class, strict=True)),
    }
