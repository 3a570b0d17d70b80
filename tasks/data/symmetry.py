"""Whether pictures may be mirrored and turned in training: asked of the data, not of a person.

Random trees learn one half of the labelled pictures, objects or places and are tried on the other
half, as it is and changed. Photographs of things lose nothing in a mirror, cells under a
microscope nothing however they are turned; digits, letters, or hands that are all right hands do,
and are left as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.data.linear_floor import IGNORE, SIDE, small

LEAST, MOST = 80, 4000
"""Pictures, objects or places that are looked at; with fewer nothing is changed."""
LOSS: Final = 1 / 6
"""Of what is known beyond the most frequent class, that a change may lose."""
_MASKS: Final = 400  # pictures whose masks are looked at
_PLACES: Final = 3  # of a class in a picture
_WINDOW: Final = 1 / 8  # of the shorter side, to each side of a place
_LEAST_SIDE: Final = 4  # pixels
_LEAST_OF_A_CLASS: Final = 10
_TREES: Final = 100

Change = Callable[[NDArray[Any]], NDArray[Any]]


class Symmetry(NamedTuple):
    """What changes no label.

    Attributes:
        mirrored: Left and right may be swapped.
        turned: Pictures may be turned upside down, and square ones by a quarter.
    """

    mirrored: bool
    turned: bool


NONE: Final = Symmetry(mirrored=False, turned=False)


def symmetry_of(arrays: Mapping[str, NDArray[Any]]) -> Symmetry:
    """What changed samples of ``arrays`` (train) are recognised in like the others.

    Nothing is turned unless the trees know the samples as they are: people take their pictures
    upright. A mirror is refused only where it is seen to matter.
    """
    if "images" not in arrays:
        return NONE
    things = _labelled(arrays)
    order = np.random.default_rng(0).permutation(len(things.labels))[:MOST]
    labels, half = things.labels[order], len(order) // 2
    if len(labels) < LEAST or len(np.unique(labels[:half])) < 2:
        return NONE
    trees = _grown(small(map(things.picture, order[:half])), labels[:half])

    def right(change: Change) -> NDArray[np.bool_]:
        changed = small(np.ascontiguousarray(change(things.picture(one))) for one in order[half:])
        found: NDArray[np.bool_] = trees.predict(changed) == labels[half:]
        return found

    plain = right(lambda picture: picture)
    before = _Before(plain, labels[half:])
    mirrored = before.keeps(right(np.fliplr))
    turns = [lambda picture: np.rot90(picture, 2)]
    if arrays["images"].shape[1] == arrays["images"].shape[2]:
        turns.append(np.rot90)
    turned = before.is_known and all(before.keeps(right(turn), strictly=True) for turn in turns)
    return Symmetry(mirrored, turned)


def _grown(pictures: NDArray[np.float32], labels: NDArray[Any]) -> Any:
    from sklearn.ensemble import ExtraTreesClassifier

    # One process: several would each have a copy of the samples.
    return ExtraTreesClassifier(_TREES, min_samples_leaf=2, random_state=0).fit(pictures, labels)


class _Before:
    """What is recognised before a change.

    Args:
        right: Which samples are [n].
        labels: Of the samples [n].
    """

    def __init__(self, right: NDArray[np.bool_], labels: NDArray[Any]) -> None:
        self._right, self._labels = right, labels
        _, self._class, counts = np.unique(labels, return_inverse=True, return_counts=True)
        self._counts = counts
        self._known = int(right.sum()) - int(counts.max())

    @property
    def is_known(self) -> bool:
        """Whether more is recognised than by always naming the most frequent class."""
        share = self._right.mean()
        return bool(self._known > 4 * np.sqrt(len(self._right) * share * (1 - share)))

    def keeps(self, after: NDArray[np.bool_], strictly: bool = False) -> bool:
        """Whether a change keeps what is recognised, and no class loses by it.

        What is lost is counted in pairs of the same sample, whose difference varies with those
        that change either way. ``strictly``: it may not vary either.
        """
        lost = self._right.astype(int) - after
        changed = np.abs(lost)
        slack = 0.0 if strictly else 2 * np.sqrt(changed.sum())
        if lost.sum() > max(slack, LOSS * self._known):
            return False
        many = self._counts >= _LEAST_OF_A_CLASS
        by_class = np.bincount(self._class, lost)[many]
        varies = np.sqrt(np.bincount(self._class, changed)[many])
        return not np.any((by_class > 0.3 * self._counts[many]) & (by_class > 3 * varies))


class _Things(NamedTuple):
    """Things with one label each: how many there are is known before any is cut out."""

    labels: NDArray[Any]
    picture: Callable[[int], NDArray[Any]]


Area = tuple[int, int, int, int]  # top, left, bottom, right


def _labelled(arrays: Mapping[str, NDArray[Any]]) -> _Things:
    """The samples; or the objects in them that are large enough, or places in them, at 16x16."""
    images = arrays["images"]
    if "masks" in arrays:
        areas = _areas_of_places(arrays)
    elif "boxes" in arrays:
        areas = _areas_of_boxes(arrays)
    else:
        return _Things(arrays["labels"], images.__getitem__)
    kept = [(index, area, label) for index, area, label in areas if _is_large(area)]
    return _Things(
        np.array([label for _, _, label in kept]),
        lambda place: _cut(images[kept[place][0]], kept[place][1]),
    )


def _areas_of_places(arrays: Mapping[str, NDArray[Any]]) -> Iterator[tuple[int, Area, Any]]:
    """Around some places of each class in a picture, of the first pictures; and which class."""
    rng = np.random.default_rng(0)
    reach = max(_LEAST_SIDE // 2, round(_WINDOW * min(arrays["images"].shape[1:3])))
    for index, mask in enumerate(arrays["masks"][:_MASKS]):
        for label in np.unique(mask):
            if label != IGNORE:
                ys, xs = np.nonzero(mask == label)
                for place in rng.integers(len(ys), size=_PLACES):
                    top, left = ys[place] - reach, xs[place] - reach
                    yield index, (top, left, top + 2 * reach + 1, left + 2 * reach + 1), label


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
    """A part of a picture at 16x16; black where it is outside of it."""
    from PIL import Image

    top, left, bottom, right = map(int, area)
    plain = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    part = plain.crop((left, top, right, bottom))
    return np.asarray(part.resize((SIDE, SIDE), Image.Resampling.BOX)).reshape(SIDE, SIDE, -1)
