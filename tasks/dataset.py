"""A data set as its format gives it: splits of samples, not yet decoded."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


class DataError(ValueError):
    """Data that cannot be used as it is."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where data comes from.

    Attributes:
        location: A path, or a name that the format knows; None where it needs neither.
    """

    location: str | None = None

    def path(self, what: str) -> Path:
        """The location as a path.

        Raises:
            DataError: There is no location, or nothing lies there.
        """
        if not self.location:
            raise DataError(f"data.source must be the path of {what}, but got none.")
        path = Path(self.location).expanduser()
        if not path.exists():
            raise DataError(f"data.source must be the path of {what}, but there is no {path}.")
        return path

    def choice(self, names: tuple[str, ...]) -> str:
        """The location as one of the names that exist.

        Raises:
            DataError: It is none of them.
        """
        if self.location not in names:
            raise DataError(
                f"data.source must be one of {', '.join(names)}, but got {self.location!r}."
            )
        return self.location


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture with its label.

    Attributes:
        name: Where it lies in its source, '/' between the parts; never an absolute path. No two
            samples of a source share one, and the label can be told from it.
        label: Index into the classes.
        picture: A file, or pixels uint8 [H, W], [H, W, 1] or [H, W, 3].
    """

    name: str
    label: int
    picture: Path | Pixels


@dataclass(frozen=True, slots=True)
class RawData:
    """What a format reads.

    Attributes:
        name: What to call the source; never an absolute path.
        classes: Names by label.
        splits: The splits that the source itself has; ``train`` always.
        ignored_files: Count of files that are no pictures.
        ignored_folders: Names of folders that are neither split nor class.
    """

    name: str
    classes: tuple[str, ...]
    splits: Mapping[Split, tuple[Sample, ...]]
    ignored_files: int = 0
    ignored_folders: tuple[str, ...] = ()


def format_names() -> tuple[str, ...]:
    """The formats that exist: the files of ``tasks/formats``."""
    package = importlib.import_module("tasks.formats")
    return tuple(sorted(module.name for module in pkgutil.iter_modules(package.__path__)))


def read_source(format_name: str, source: Source) -> RawData:
    """Read a source in one of the formats.

    Raises:
        DataError: There is no such format, or the source is not of it.
    """
    return cast(RawData, _format(format_name).read(source))


def check_source(format_name: str, source: Source) -> None:
    """Refuse what can be told to be wrong without reading a picture.

    A format may offer ``check(source)`` beside ``read``; without it nothing is looked at.

    Raises:
        DataError: There is no such format, or the source cannot be of it.
    """
    check = getattr(_format(format_name), "check", None)
    if check is not None:
        check(source)


def _format(name: str) -> ModuleType:
    names = format_names()
    if name not in names:
        raise DataError(f"data.format must be one of {', '.join(names)}, but got {name!r}.")
    return importlib.import_module(f"tasks.formats.{name}")


def samples_of_arrays(
    split: Split, images: NDArray[Any], labels: NDArray[Any], classes: int | None = None
) -> tuple[Sample, ...]:
    """Samples from one array of pictures and one of labels, after a look at both.

    Args:
        split: For names and messages.
        images: uint8 [N, H, W], [N, H, W, 1] or [N, H, W, 3].
        labels: Integers [N] or [N, 1], from 0.
        classes: How many there are, if that is known.

    Raises:
        DataError: A wrong type or shape, or a label out of range.
    """
    if images.dtype != np.uint8:
        raise DataError(
            f"{split} images must be uint8 (0..255), but got {images.dtype}. "
            "Scale and cast them, then save again."
        )
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        raise DataError(
            f"{split} images must have the shape [N, H, W], [N, H, W, 1] or [N, H, W, 3], "
            f"but got {list(images.shape)}."
        )
    if 0 in images.shape:
        raise DataError(f"{split} images must not be empty, but got {list(images.shape)}.")
    flat = _checked_labels(split, labels, images.shape[0], classes)
    return tuple(
        Sample(f"{split}/{label}/{index:07d}", label, image)
        for index, (label, image) in enumerate(zip(flat, images, strict=True))
    )


def _checked_labels(
    split: Split, labels: NDArray[Any], count: int, classes: int | None
) -> list[int]:
    """The labels as Python integers."""
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{split} labels must be integers, but got {labels.dtype}.")
    if labels.shape not in ((count,), (count, 1)):
        raise DataError(
            f"{split} labels must have the shape [{count}], one for each image, "
            f"but got {list(labels.shape)}."
        )
    top = "" if classes is None else str(classes - 1)
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or (classes is not None and high >= classes):
        raise DataError(f"{split} labels must be within 0..{top or 'K-1'}, but got {low}..{high}.")
    return [int(label) for label in labels.reshape(-1)]
