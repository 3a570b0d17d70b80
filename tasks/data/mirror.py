"""Whether pictures may be mirrored in training: asked of the data, not of a person.

A linear model learns one half of the labelled pictures or objects and is tried on the other half,
as it is and mirrored. Photographs of things lose nothing; digits, letters, or hands that are all
right hands do, and are left as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.data.linear_floor import IGNORE, SIDE, picture_labels

LEAST, MOST = 80, 4000
"""Pictures or objects that are looked at; with fewer nothing is mirrored."""


def looks_mirrored(arrays: Mapping[str, NDArray[Any]]) -> bool:
    """Whether mirrored samples of ``arrays`` (train) are recognised like the others.

    Like: within twice the standard error of the difference.
    """
    if "images" not in arrays:
        return False
    images, labels = _labelled(arrays)
    order = np.random.default_rng(0).permutation(len(labels))[:MOST]
    images, labels = images[order], labels[order]
    half = len(labels) // 2
    if len(labels) < LEAST or len(np.unique(labels[:half])) < 2:
        return False
    held = images[half:]
    both = np.concatenate([held, held[:, :, ::-1]])
    found = picture_labels(images[:half], labels[:half], both)
    right = (found == np.tile(labels[half:], 2)).reshape(2, -1).mean(axis=1)
    error = np.sqrt(np.sum(right * (1 - right)) / len(held))
    return bool(right[1] >= right[0] - 2 * error)


def _labelled(arrays: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Pictures with one label each: the samples themselves, or the objects in them."""
    if "masks" in arrays:
        pairs = [
            (image, np.nonzero(mask == label), label)
            for image, mask in zip(arrays["images"][:400], arrays["masks"][:400], strict=True)
            for label in np.unique(mask)
            if label != IGNORE
        ]
        found = [
            (_cut(image, ys.min(), xs.min(), ys.max() + 1, xs.max() + 1), label)
            for image, (ys, xs), label in pairs
        ]
    elif "boxes" in arrays:
        height, width = arrays["images"].shape[1:3]
        scale = np.array([height, width, height, width])
        found = [
            (_cut(image, *np.round(box * scale).astype(int)), label)
            for image, boxes, labels in zip(
                arrays["images"], arrays["boxes"], arrays["labels"], strict=True
            )
            for box, label in zip(boxes, labels, strict=True)
            if label >= 0
        ]
    else:
        return arrays["images"], arrays["labels"]
    kept = [(crop, label) for crop, label in found if crop is not None]
    shape = (0, SIDE, SIDE, arrays["images"].shape[-1])
    crops = np.stack([crop for crop, _ in kept]) if kept else np.zeros(shape, np.uint8)
    return crops, np.array([label for _, label in kept])


def _cut(image: NDArray[Any], top: int, left: int, bottom: int, right: int) -> Any:
    """A part of a picture at 16x16; None where it is less than 4 pixels wide or high."""
    from PIL import Image

    part = image[max(0, top) : bottom, max(0, left) : right]
    if min(part.shape[:2]) < 4:
        return None
    plain = part[..., 0] if part.shape[-1] == 1 else part
    sized = Image.fromarray(plain).resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(sized).reshape(SIDE, SIDE, -1)
