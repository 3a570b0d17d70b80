"""Objects in a picture: ``python run.py picture.jpg``."""

from __future__ import annotations

from typing import Any

import numpy as np

from tasks.shipping.examples.pictures import prepared
from tasks.shipping.examples.runtime import HERE, Model, answered, arguments, lines, reading

SCALES = np.array([10.0, 10.0, 5.0, 5.0], np.float32)
LARGEST_LOGARITHM = 10.0
OVERLAP, LEAST_SCORE = 0.5, 0.5


def main() -> None:
    """Print what is found: score, class, and the box as fractions of the prepared picture."""
    asked = arguments("picture")
    read = reading()
    outputs = answered(Model(asked.model), {"input": prepared(asked.picture, read)}, asked)
    anchors = np.loadtxt(HERE / "anchors.csv", np.float32, delimiter=",", skiprows=1, ndmin=2)
    boxes, labels = corners(outputs["boxes"][0], anchors), lines("labels.txt")
    for score, label, at in kept(boxes, outputs["scores"][0], int(read["detections"])):
        ymin, xmin, ymax, xmax = boxes[at]
        print(f"{score:.2f}  {labels[label]}  {ymin:.4f} {xmin:.4f} {ymax:.4f} {xmax:.4f}")


def corners(predicted: Any, anchors: Any) -> Any:
    """Boxes [A, 4] as ymin, xmin, ymax, xmax, of predictions by anchors cy, cx, h, w."""
    raw = predicted / SCALES
    size = np.exp(np.minimum(raw[:, 2:], LARGEST_LOGARITHM)) * anchors[:, 2:]
    centre = raw[:, :2] * anchors[:, 2:] + anchors[:, :2]
    return np.concatenate([centre - size / 2, centre + size / 2], axis=1)


def kept(boxes: Any, scores: Any, most: int) -> list[tuple[float, int, int]]:
    """The best boxes of each class that overlap no better one too much: score, class, row."""
    found = []
    for label in range(scores.shape[1]):
        left = np.flatnonzero(scores[:, label] >= LEAST_SCORE)
        left = left[np.argsort(-scores[left, label], kind="stable")]
        for _ in range(most):
            if not len(left):
                break
            best, left = left[0], left[1:]
            found.append((-float(scores[best, label]), label, int(best)))
            left = left[_overlap(boxes[best], boxes[left]) <= OVERLAP]
    return [(-score, label, at) for score, label, at in sorted(found)[:most]]


def _overlap(one: Any, others: Any) -> Any:
    """Intersection over union of a box and boxes [n, 4]."""
    sides = np.minimum(one[2:], others[:, 2:]) - np.maximum(one[:2], others[:, :2])
    common = np.prod(np.maximum(sides, 0), axis=1)
    area = np.prod(np.maximum(one[2:] - one[:2], 0))
    areas = np.prod(np.maximum(others[:, 2:] - others[:, :2], 0), axis=1)
    return common / np.maximum(area + areas - common, 1e-12)


if __name__ == "__main__":
    main()
