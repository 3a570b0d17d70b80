"""Anchors of a detector by a rule from its data, and what joins them with boxes.

Boxes are corners ymin, xmin, ymax, xmax and anchors are centres and sizes cy, cx, h, w, both as
fractions of the picture. What a network predicts of a box is relative to its anchor, scaled as
TFLite's detection post-processing expects it.

Sources: ``FasterRcnnBoxCoder`` and ``ArgMaxMatcher`` of the TensorFlow Object Detection API;
anchors as clusters of boxes: Redmon and Farhadi 2017, arXiv:1612.08242, section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

SCALES = np.array([10.0, 10.0, 5.0, 5.0], np.float32)
"""Of predicted y, x, h, w: ``y_scale`` ... of TFLite_Detection_PostProcess."""
POSITIVE, NEGATIVE = 0.5, 0.4
"""Least IoU of an anchor that must find a box, and IoU below which it must find nothing."""
BACKGROUND, IGNORED = -1, -2
"""In place of the class of an anchor."""
_SPREAD = 1.26  # a third of an octave, as between the scales of RetinaNet (arXiv:1708.02002)
_LARGEST_LOGARITHM = 10.0  # of a size over its anchor's; keeps exp finite for an untrained network


class AnchorError(ValueError):
    """Boxes or counts from which no anchors, targets or metrics can be made."""


def anchor_shapes(
    boxes: FloatArray,
    input_size: tuple[int, int],
    anchors_per_level: Sequence[int],
    seed: int = 0,
) -> tuple[FloatArray, ...]:
    """Heights and widths of the anchors of each level, [n, 2] fractions; finest level first.

    Sizes of boxes are clustered by k-means of their logarithms in pixels; the clusters, sorted by
    area, are dealt to the levels in order. If boxes have fewer sizes than there are anchors, the
    sizes there are come again, larger and smaller.

    Args:
        boxes: Of the training split, [n, 4].
        input_size: Height and width of the network's input, pixels.
        anchors_per_level: How many anchors each level has at a position.
        seed: Of the clustering.

    Raises:
        AnchorError: No box with an area, or a level without anchors.
    """
    if not anchors_per_level or min(anchors_per_level) < 1:
        raise AnchorError(
            f"each level must have at least 1 anchor, but got {tuple(anchors_per_level)}."
        )
    sizes = np.stack([boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]], axis=1)
    sizes = sizes[(sizes > 0).all(axis=1)].astype(np.float64)
    if not len(sizes):
        raise AnchorError("anchors need at least one box with an area, but got none.")
    logarithms = np.log(sizes * np.array(input_size))
    centres = _clusters(logarithms, sum(anchors_per_level), seed)
    centres = centres[np.lexsort((centres[:, 0], centres.sum(axis=1)))]
    shapes = (np.exp(centres) / np.array(input_size)).astype(np.float32)
    return tuple(np.split(shapes, np.cumsum(anchors_per_level)[:-1]))


def _clusters(points: NDArray[np.float64], count: int, seed: int) -> NDArray[np.float64]:
    """Centres ``[count, 2]``; of fewer distinct points: these, and scaled copies of them."""
    from sklearn.cluster import KMeans

    distinct = np.unique(points.round(6), axis=0)
    if len(distinct) > count:
        found = KMeans(count, n_init=4, random_state=seed).fit(points)
        return np.asarray(found.cluster_centers_, np.float64)
    copy, which = np.divmod(np.arange(count), len(distinct))
    steps = (copy + 1) // 2 * np.where(copy % 2, 1, -1)  # 0, 1, -1, 2, -2, ...
    return np.asarray(distinct[which] + steps[:, None] * np.log(_SPREAD), np.float64)


def anchors(
    shapes_by_level: Sequence[FloatArray], feature_sizes: Sequence[tuple[int, int]]
) -> FloatArray:
    """All anchors [A, 4], in the order of ``boxes`` of :func:`spaces.heads.ssd.ssd`.

    Levels one after another, positions of a level row by row, anchors of a position in turn.

    Args:
        shapes_by_level: From :func:`anchor_shapes`.
        feature_sizes: Height and width of each level's feature map.
    """
    levels = []
    for shapes, (height, width) in zip(shapes_by_level, feature_sizes, strict=True):
        level = np.empty((height, width, len(shapes), 4), np.float32)
        level[..., 0] = ((np.arange(height) + 0.5) / height)[:, None, None]
        level[..., 1] = ((np.arange(width) + 0.5) / width)[:, None]
        level[..., 2:] = shapes
        levels.append(level.reshape(-1, 4))
    return np.concatenate(levels)


def corners(centred: FloatArray) -> FloatArray:
    """Boxes of anchors: (cy, cx, h, w) -> (ymin, xmin, ymax, xmax), [..., 4]."""
    half = centred[..., 2:] / 2
    return np.concatenate([centred[..., :2] - half, centred[..., :2] + half], axis=-1)


def encode(boxes: FloatArray, of_anchors: FloatArray) -> FloatArray:
    """What a network should predict for ``boxes`` [..., A, 4] at their anchors [A, 4]."""
    size = np.maximum(boxes[..., 2:] - boxes[..., :2], 1e-6)
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2
    moved = (centre - of_anchors[:, :2]) / of_anchors[:, 2:]
    scaled = np.concatenate([moved, np.log(size / of_anchors[:, 2:])], axis=-1) * SCALES
    return scaled.astype(np.float32)


def decode(predicted: FloatArray, of_anchors: FloatArray) -> FloatArray:
    """Boxes [..., A, 4] of what a network predicted: the inverse of :func:`encode`."""
    raw = predicted / SCALES
    size = np.exp(np.minimum(raw[..., 2:], _LARGEST_LOGARITHM)) * of_anchors[:, 2:]
    centre = raw[..., :2] * of_anchors[:, 2:] + of_anchors[:, :2]
    return corners(np.concatenate([centre, size], axis=-1))


def intersections(one: FloatArray, other: FloatArray) -> FloatArray:
    """Areas [n, m] common to boxes [n, 4] and boxes [m, 4]."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    sides = np.maximum(high - low, 0)
    common: FloatArray = sides[..., 0] * sides[..., 1]
    return common


def areas(boxes: FloatArray) -> FloatArray:
    """Of boxes [n, 4]; 0 for those that are inside out."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    found: FloatArray = sides[:, 0] * sides[:, 1]
    return found


def iou(one: FloatArray, other: FloatArray) -> FloatArray:
    """Intersection over union [n, m] of boxes [n, 4] and boxes [m, 4]; 0 where both are empty."""
    common = intersections(one, other)
    union = areas(one)[:, None] + areas(other) - common
    found: FloatArray = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return found


@dataclass(frozen=True, slots=True)
class Targets:
    """What the anchors of a picture should find.

    Attributes:
        labels: Class of each anchor, :data:`BACKGROUND` or :data:`IGNORED`, [A] int32.
        boxes: What to predict where a class is, see :func:`encode`; else 0, [A, 4] float32.
    """

    labels: NDArray[np.int32]
    boxes: FloatArray


def assign(
    boxes: FloatArray, labels: NDArray[np.int32], crowd: BoolArray, of_anchors: FloatArray
) -> Targets:
    """Deal the boxes of one picture to anchors.

    An anchor gets the box of greatest IoU from :data:`POSITIVE` on, nothing below
    :data:`NEGATIVE`, and is ignored between. Each box gets the best anchor that no better fitting
    box has taken, whatever its IoU. Anchors of which a crowd covers half are ignored, unless they
    have a box.

    Args:
        boxes: [M, 4]; rows of label -1 are padding.
        labels: [M].
        crowd: [M]; these are not to be found.
        of_anchors: [A, 4].
    """
    placed = corners(of_anchors)
    found = np.full(len(of_anchors), BACKGROUND, np.int32)
    targets = np.zeros((len(of_anchors), 4), np.float32)
    herds = boxes[(labels >= 0) & crowd]
    if len(herds):
        covered = intersections(placed, herds).sum(axis=1) / areas(placed)
        found[covered >= POSITIVE] = IGNORED
    single = (labels >= 0) & ~crowd
    if not single.any():
        return Targets(found, targets)
    wanted, classes = boxes[single], labels[single]
    overlap = iou(placed, wanted)
    which, best = overlap.argmax(axis=1), overlap.max(axis=1)
    found[best >= NEGATIVE] = IGNORED
    forced = _best_anchors(overlap)
    which[forced >= 0] = forced[forced >= 0]
    positive = (best >= POSITIVE) | (forced >= 0)
    found[positive] = classes[which[positive]]
    targets[positive] = encode(wanted[which[positive]], of_anchors[positive])
    return Targets(found, targets)


def _best_anchors(overlap: FloatArray) -> IntArray:
    """[A]: the box that an anchor is the best left one for, or -1."""
    taken = np.full(len(overlap), -1, np.int64)
    left = overlap.copy()
    for box in np.argsort(-overlap.max(axis=0), kind="stable"):
        at = int(left[:, box].argmax())
        if left[at, box] > 0:
            taken[at] = box
            left[at] = 0
    return taken
