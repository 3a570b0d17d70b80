"""From what a detector predicts to detections, and how good they are: on the host, in NumPy."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.learning.anchors import AnchorError, FloatArray, iou

DETECTIONS = 100
"""Most detections of a picture that COCO's metric looks at."""


@dataclass(frozen=True, slots=True)
class Detections:
    """What was found in one picture, best first.

    Attributes:
        boxes: ymin, xmin, ymax, xmax as fractions, [n, 4] float32.
        labels: [n] int32.
        scores: In 0..1, [n] float32.
    """

    boxes: FloatArray
    labels: NDArray[np.int32]
    scores: FloatArray


@dataclass(frozen=True, slots=True)
class Truth:
    """The boxes of a split, as prepared data has them.

    Attributes:
        boxes: Fractions, [N, M, 4].
        labels: [N, M]; -1 is padding.
        crowd: [N, M]; finding these is neither right nor wrong.
        sizes: Height and width of the pictures, [N, 2].
    """

    boxes: FloatArray
    labels: NDArray[np.int32]
    crowd: NDArray[np.bool_]
    sizes: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class CocoMetrics:
    """Mean average precision over classes, in 0..1, and over IoUs 0.5 to 0.95; at 0.5; at 0.75."""

    map: float
    map50: float
    map75: float


def non_max_suppression(
    boxes: FloatArray,
    scores: FloatArray,
    detections: int = DETECTIONS,
    iou_threshold: float = 0.5,
    score_threshold: float = 0.05,
) -> Detections:
    """The best boxes of each class that do not overlap a better one of that class too much.

    As ``TFLite_Detection_PostProcess`` with ``use_regular_nms``: of each class at most
    ``detections`` are kept, then of all classes together.

    Args:
        boxes: [A, 4].
        scores: [A, classes].
        detections: Most that are returned.
        iou_threshold: A box is dropped if its IoU with a better one is greater.
        score_threshold: A box needs at least this score.
    """
    kept: list[tuple[float, int, int]] = []
    for label in range(scores.shape[1]):
        for at in _one_class(boxes, scores[:, label], detections, iou_threshold, score_threshold):
            kept.append((-float(scores[at, label]), label, at))
    kept = sorted(kept)[:detections]
    rows = np.array([at for _, _, at in kept], np.int64)
    labels = np.array([label for _, label, _ in kept], np.int32)
    return Detections(boxes[rows].reshape(-1, 4), labels, scores[rows, labels].astype(np.float32))


def _one_class(
    boxes: FloatArray, scores: FloatArray, detections: int, overlap: float, least: float
) -> list[int]:
    """Rows of ``boxes`` that are kept, best first."""
    left = np.flatnonzero(scores >= least)
    left = left[np.argsort(-scores[left], kind="stable")]
    kept: list[int] = []
    while len(left) and len(kept) < detections:
        best, left = left[0], left[1:]
        kept.append(int(best))
        left = left[iou(boxes[best : best + 1], boxes[left])[0] <= overlap]
    return kept


def coco_metrics(predictions: Sequence[Detections], truth: Truth) -> CocoMetrics:
    """COCO's metric by its authors' code; a class without boxes does not count.

    Args:
        predictions: Of each picture.
        truth: Of the same pictures.

    Raises:
        AnchorError: Another number of pictures, or no box to be found.
    """
    if len(predictions) != len(truth.boxes):
        raise AnchorError(
            f"there must be predictions for each picture, but got {len(predictions)} for "
            f"{len(truth.boxes)}."
        )
    if not ((truth.labels >= 0) & ~truth.crowd).any():
        raise AnchorError("a metric needs at least one box to be found, but got none.")
    found = [row for at, one in enumerate(predictions) for row in _found(at, one, truth)]
    if not found:
        return CocoMetrics(0.0, 0.0, 0.0)
    return _evaluated(_dataset(truth), found)


def _evaluated(dataset: dict[str, Any], found: list[dict[str, Any]]) -> CocoMetrics:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # it reports on its progress
        coco = COCO()
        coco.dataset = dataset
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    overall, at_50, at_75 = (float(value) for value in evaluation.stats[:3])
    return CocoMetrics(overall, at_50, at_75)


def _dataset(truth: Truth) -> dict[str, Any]:
    annotations = [
        {
            "image_id": int(picture),
            "category_id": int(truth.labels[picture, at]),
            "iscrowd": int(truth.crowd[picture, at]),
            **_place(truth.boxes[picture, at], truth.sizes[picture]),
        }
        for picture, at in np.argwhere(truth.labels >= 0)
    ]
    return {
        "info": {},
        "images": [{"id": picture} for picture in range(len(truth.boxes))],
        "categories": [{"id": int(label)} for label in np.unique(truth.labels) if label >= 0],
        # Number 0 would count as not matched.
        "annotations": [{"id": n, **one} for n, one in enumerate(annotations, 1)],
    }


def _found(picture: int, one: Detections, truth: Truth) -> list[dict[str, Any]]:
    return [
        {
            "image_id": picture,
            "category_id": int(label),
            "score": float(score),
            "bbox": _place(box, truth.sizes[picture])["bbox"],
        }
        for box, label, score in zip(one.boxes, one.labels, one.scores, strict=True)
    ]


def _place(box: FloatArray, size: NDArray[np.int32]) -> dict[str, Any]:
    """COCO's x, y, width, height in pixels, and the area."""
    height, width = (int(side) for side in size)
    top, left, bottom, right = (float(side) for side in box)
    sides = ((right - left) * width, (bottom - top) * height)
    return {"bbox": [left * width, top * height, *sides], "area": sides[0] * sides[1]}
