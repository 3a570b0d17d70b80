"""Whether pictures may be mirrored in training: asked of the data, not of a person.

A linear model learns one half of the labelled pictures or objects and is tried on the other half,
as it is and mirrored. Photographs of things lose nothing; digits, letters, or hands that are all
right hands do, and are left as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.data.linear_floor import IGNORE, SIDE, labels_of, small

LEAST, MOST = 80, 4000
"""Pictures or objects that are looked at; with fewer nothing is mirrored."""
_MASKS: Final = 400  # pictures whose masks are looked at
_LEAST_SIDE: Final = 4  # pixels


def looks_mirrored(arrays: Mapping[str, NDArray[Any]]) -> bool:
    """Whether mirrored samples of ``arrays`` (train) are recognised like the others.

    Like: within twice the standard error of the difference.
    """
    if "images" not in arrays:
        return False
    things = _labelled(arrays)
    order = np.random.default_rng(0).permutation(len(things.labels))[:MOST]
    labels, half = things.labels[order], len(order) // 2
    if len(labels) < LEAST or len(np.unique(labels[:half])) < 2:
        return False
    learned = small(map(things.picture, order[:half]))
    plain = small(map(things.picture, order[half:]))
    mirrored = small(things.picture(place)[:, ::-1] for place in order[half:])
    found = labels_of(learned, labels[:half], np.concatenate([plain, mirrored]))
    right = (found == np.tile(labels[half:], 2)).reshape(2, -1).mean(axis=1)
    error = np.sqrt(np.sum(right * (1 - right)) / len(plain))
    return bool(right[1] >= right[0] - 2 * error)


class _Things(NamedTuple):
    """Things with one label each: how many there are is known before any is cut out."""

    labels: NDArray[Any]
    picture: Callable[[int], NDArray[Any]]


Area = tuple[int, int, int, int]  # top, left, bottom, right


def _labelled(arrays: Mapping[str, NDArray[Any]]) -> _Things:
    """The samples themselves, or the objects in them that are large enough, at 16x16."""
    images = arrays["images"]
    if "masks" in arrays:
        areas = _areas_of_masks(arrays)
    elif "boxes" in arrays:
        areas = _areas_of_boxes(arrays)
    else:
        return _Things(arrays["labels"], images.__getitem__)
    kept = [(index, area, label) for index, area, label in areas if _is_large(area)]
    return _Things(
        np.array([label for _, _, label in kept]),
        lambda place: _cut(images[kept[place][0]], kept[place][1]),
    )


def _areas_of_masks(arrays: Mapping[str, NDArray[Any]]) -> Iterator[tuple[int, Area, Any]]:
    """Where each class of a picture lies, of the first pictures; and which."""
    for index, mask in enumerate(arrays["masks"][:_MASKS]):
        for label in np.unique(mask):
            if label != IGNORE:
                ys, xs = np.nonzero(mask == label)
                yield index, (ys.min(), xs.min(), ys.max() + 1, xs.max() + 1), label


def _areas_of_boxes(arrays: Mapping[str, NDArray[Any]]) -> Iterator[tuple[int, Area, Any]]:
    """Where each object of a picture lies, as far as it is in the picture; and what it is."""
    height, width = arrays["images"].shape[1:3]
    scale = np.array([height, width, height, width])
    pairs = zip(arrays["boxes"], arrays["labels"], strict=True)
    for index, (boxes, labels) in enumerate(pairs):
        for box, label in zip(boxes, labels, strict=True):
            if label >= 0:
                top, left, bottom, right = np.round(box * scale).astype(int)
                inside = (max(0, top), max(0, left), min(bottom, height), min(right, width))
                yield index, inside, label


def _is_large(area: Area) -> bool:
    top, left, bottom, right = area
    return min(bottom - top, right - left) >= _LEAST_SIDE


def _cut(image: NDArray[Any], area: Area) -> NDArray[Any]:
    """A part of a picture at 16x16."""
    from PIL import Image

    top, left, bottom, right = area
    part = image[top:bottom, left:right]
    plain = part[..., 0] if part.shape[-1] == 1 else part
    sized = Image.fromarray(plain).resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(sized).reshape(SIDE, SIDE, -1)
