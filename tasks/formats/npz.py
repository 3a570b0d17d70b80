"""Arrays in one ``.npz`` file, with the names that people use for them.

| split      | images                                                    | labels            |
| ---------- | --------------------------------------------------------- | ----------------- |
| (one heap) | ``images`` or ``x``                                       | ``labels``, ``y`` |
| train      | ``x_train``, ``train_images``                             | ``y_train``, ...  |
| validation | ``x_validation``, ``x_val``, ``validation_images``, ``val_images`` | likewise |
| test       | ``x_test``, ``test_images``                               | likewise          |

Images are uint8 [N, H, W], [N, H, W, 1] or [N, H, W, 3]; labels integers [N] or [N, 1], from 0.
An optional ``classes`` (text [K]) names the classes, else they are called by their number. Other
keys are left alone. Object arrays (pickle) are refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.data.dataset import DataError, RawData, Source, Split, samples_of_arrays
from tasks.run.workspace import WorkspaceError, map_npz

_KEYS: dict[Split, tuple[tuple[str, str], ...]] = {
    "train": (("x_train", "y_train"), ("train_images", "train_labels")),
    "validation": (
        ("x_validation", "y_validation"),
        ("x_val", "y_val"),
        ("validation_images", "validation_labels"),
        ("val_images", "val_labels"),
    ),
    "test": (("x_test", "y_test"), ("test_images", "test_labels")),
}
_HEAP = (("images", "labels"), ("x", "y"))


def read(source: Source) -> RawData:
    """Read one ``.npz`` file.

    Raises:
        DataError: It is missing, damaged, holds objects, or lacks the keys above; or an array has
            a wrong type or shape.
    """
    path = source.path("an .npz file")
    try:
        arrays = map_npz(path)
    except WorkspaceError as error:
        raise DataError(str(error)) from error
    pairs = _pairs(arrays)
    names = _class_names(arrays)
    splits = {
        split: samples_of_arrays(split, arrays[x], arrays[y], len(names) if names else None)
        for split, (x, y) in pairs.items()
    }
    least = min(sample.label for sample in splits["train"])
    if least > 0 and not names:
        raise DataError(
            f"train labels must count from 0, but the least is {least}. Subtract it, and save "
            "again; or give the names of all classes as classes."
        )
    top = max(sample.label for samples in splits.values() for sample in samples)
    return RawData(path.name, names or tuple(str(label) for label in range(top + 1)), splits)


def check(source: Source) -> None:
    """Refuse a file that is missing.

    Raises:
        DataError: There is no such file.
    """
    source.path("an .npz file")


def _pairs(arrays: dict[str, NDArray[Any]]) -> dict[Split, tuple[str, str]]:
    """The keys of images and labels for each split that is there."""
    found: dict[Split, tuple[str, str]] = {}
    for split, choices in _KEYS.items():
        for pair in choices:
            if _has(arrays, pair):
                found.setdefault(split, pair)
    for pair in _HEAP:
        if "train" not in found and _has(arrays, pair):
            found["train"] = pair
    if "train" not in found:
        raise DataError(
            "an .npz must hold x_train and y_train, train_images and train_labels, or images and "
            f"labels, but got {', '.join(sorted(arrays)) or 'nothing'}."
        )
    return found


def _has(arrays: dict[str, NDArray[Any]], pair: tuple[str, str]) -> bool:
    """Whether both arrays of a pair are there; one alone is a mistake."""
    images, labels = (key in arrays for key in pair)
    if images != labels:
        have, lack = pair if images else pair[::-1]
        raise DataError(f"an .npz must hold images and labels, but got {have} without {lack}.")
    return images


def _class_names(arrays: dict[str, NDArray[Any]]) -> tuple[str, ...]:
    """The names of the classes, none if the file gives none."""
    if "classes" not in arrays:
        return ()
    names = arrays["classes"]
    if names.ndim != 1 or not np.issubdtype(names.dtype, np.str_):
        raise DataError(
            f"classes must be text of the shape [K], but got {names.dtype} {list(names.shape)}."
        )
    return tuple(str(name) for name in names)
