"""A data set as its format gives it: splits of samples, not yet decoded."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from tasks.run.params import BoxForm
from tasks.run.things import names_in

Pixels = NDArray[np.uint8]
Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
Skipped = Mapping[str, Sequence[str]]  # reason -> a name for each thing skipped or changed
IGNORE = 255  # in a mask: no class, neither trained nor scored

_SPLIT_NAMES: Mapping[str, Split] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "test": "test",
}


class DataError(ValueError):
    """Data that cannot be used as it is."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where data comes from.

    Attributes:
        location: A path, or a name that the format knows; None where it needs neither.
        boxes: What the four numbers of a box are; ``auto``: what the format says.
    """

    location: str | None = None
    boxes: BoxForm = "auto"

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
class MaskSample:
    """One picture with the class of each of its pixels.

    Attributes:
        name: As of :class:`Sample`.
        picture: As of :class:`Sample`.
        mask: A file, or classes uint8 [H, W]; None where the source has none.
    """

    name: str
    picture: Path | Pixels
    mask: Path | Pixels | None


@dataclass(frozen=True, slots=True)
class Box:
    """One object; ends are exclusive.

    Attributes:
        label: Index into the classes.
        edges: ymin, xmin, ymax, xmax, in pixels of the picture from its upper left corner, or as
            fractions of its sides where the sample says so.
        crowd: Many objects in one box, or one too difficult to be asked for.
    """

    label: int
    edges: tuple[float, float, float, float]
    crowd: bool = False


@dataclass(frozen=True, slots=True)
class BoxSample:
    """One picture with the objects in it.

    Attributes:
        name: As of :class:`Sample`.
        picture: As of :class:`Sample`.
        boxes: The objects; none is an answer, too.
        size: Height and width in pixels that the annotation speaks of, None where it says none.
        relative: Whether the edges of its boxes are fractions.
        places: Folders in which the picture was looked for, if it is not there.
    """

    name: str
    picture: Path | Pixels
    boxes: tuple[Box, ...]
    size: tuple[int, int] | None = None
    relative: bool = False
    places: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TextSample:
    """One text with its label (an index into the classes)."""

    name: str
    label: int
    text: str


@dataclass(frozen=True, slots=True)
class QuestionSample:
    """One question about a context.

    Attributes:
        name: As of :class:`Sample`.
        question: What is asked.
        context: Where the answer stands.
        answers: The accepted answers.
        start: Where the first of them begins in the context, a count of characters.
    """

    name: str
    question: str
    context: str
    answers: tuple[str, ...]
    start: int


AnySample = Sample | MaskSample | BoxSample | TextSample | QuestionSample


@dataclass(frozen=True, slots=True)
class RawData:
    """What a format reads.

    Attributes:
        name: What to call the source; never an absolute path.
        classes: Names by label; none for questions.
        splits: The splits that the source itself has; ``train`` always. Their samples are of the
            record that belongs to ``kind``.
        ignored_files: Count of files that are no pictures.
        ignored_folders: Names of folders that are neither split nor class.
        kind: A file of ``tasks/kinds``: what the samples are.
        synthetic: Whether the data was made up by a generator.
        skipped: What the format left out or changed, by the split of the source and by reason;
            each by the name of its file. ``tasks/losses`` says how reasons begin.
    """

    name: str
    classes: tuple[str, ...]
    splits: Mapping[Split, tuple[AnySample, ...]]
    ignored_files: int = 0
    ignored_folders: tuple[str, ...] = ()
    kind: str = "classification"
    synthetic: bool = False
    skipped: Mapping[Split, Skipped] = field(default_factory=dict)


def split_of(name: str) -> Split | None:
    """The split that a folder or the stem of a file is named after, None if it is another name.

    >>> [split_of(name) for name in ("Train", "val2017", "dev-v1.1", "valid", "cat")]
    ['train', 'validation', 'validation', 'validation', None]
    """
    match = re.match(r"([a-z]+)(?:[-_.]?v?\d[\d.]*)?$", name.lower())
    return _SPLIT_NAMES.get(match[1]) if match else None


def format_names() -> tuple[str, ...]:
    """The formats that exist: the files of ``tasks/formats``."""
    return names_in("formats")


def read_source(format_name: str, source: Source) -> RawData:
    """Read a source in one of the formats.

    Raises:
        DataError: There is no such format, or the source is not of it.
    """
    return cast(RawData, _format(format_name).read(source))


def kind_of(format_name: str) -> str:
    """The kind of data of a format (a file of ``tasks/kinds``), without reading any.

    A format names it as ``KIND``; without one it is of pictures with a class.

    Raises:
        DataError: There is no such format.
    """
    return str(getattr(_format(format_name), "KIND", "classification"))


def check_source(format_name: str, source: Source) -> RawData | None:
    """Refuse what can be told to be wrong without reading a picture.

    A format may offer ``check(source)`` beside ``read``; without it nothing is looked at.

    Returns:
        What was read, where a format reads all that it will in a moment.

    Raises:
        DataError: There is no such format, or the source cannot be of it.
    """
    check = getattr(_format(format_name), "check", None)
    return None if check is None else cast(RawData | None, check(source))


def place_of(format_name: str, source: Source) -> Path | None:
    """The file or folder that data comes from; None where it needs none.

    A format may offer ``place(source)`` beside ``read``, where more than the source belongs to it.
    A source that is a name ("mnist") is the path of nothing.
    """
    if not source.location:
        return None
    place = getattr(_format(format_name), "place", None)
    return Path(source.location).expanduser() if place is None else cast(Path, place(source))


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
