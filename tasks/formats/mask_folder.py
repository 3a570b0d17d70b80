"""Pictures and masks in two folders: ``images/<split>/*`` beside ``masks/<split>/*.png``.

Also flat, ``images/*`` beside ``masks/*.png``, and ``<split>/images/*`` beside ``<split>/masks``.
A mask has the name of its picture, whatever their endings; both may lie in folders further down.
Its pixels are class indexes (palette or grey), 255 is ignored. ``classes.txt`` names the classes,
one a line.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tasks.data.dataset import (
    IGNORE,
    SPLITS,
    DataError,
    MaskSample,
    RawData,
    Source,
    Split,
    split_of,
)
from tasks.data.files import (
    NOT_READ,
    PICTURES,
    files_below,
    folders_in,
    hidden,
    one_form,
    read_text,
)

KIND = "segmentation"

NO_PICTURE = "mask skipped: there is no picture for it"
_MASKS = frozenset({".png", ".bmp", ".gif", ".tif", ".tiff"})  # without loss


def read(source: Source) -> RawData:
    """List pictures and masks; none is opened.

    Raises:
        DataError: A folder or ``classes.txt`` is missing, there is no picture, two files claim to
            be the same one, or no picture has a mask.
    """
    root = source.path("a folder with images/ and masks/")
    if not root.is_dir():
        raise DataError(f"data.source must be the path of a folder, but {root} is a file.")
    classes = _classes(root)
    pairs = _folders(root)
    skipped: dict[Split, dict[str, list[str]]] = {split: {} for split in pairs}
    ignored = 0
    splits: dict[Split, tuple[MaskSample, ...]] = {}
    for split in SPLITS:
        if split in pairs:
            splits[split], others = _samples(root, *pairs[split], skipped[split])
            ignored += others
    return RawData(root.resolve().name, classes, splits, ignored, kind=KIND, skipped=skipped)


def check(source: Source) -> RawData:
    """As :func:`read`, which opens no picture either."""
    return read(source)


def _classes(root: Path) -> tuple[str, ...]:
    """The names in ``classes.txt``."""
    path = root / "classes.txt"
    if not path.is_file():
        raise DataError(
            "a folder of masks must hold classes.txt, one name a line, but there is none in "
            f"{root}."
        )
    names = tuple(line.strip() for line in read_text(path).rstrip().splitlines())
    if "" in names:
        raise DataError(
            f"each line of classes.txt must name a class, but line {names.index('') + 1} is empty."
        )
    if len(names) > IGNORE:
        raise DataError(
            f"there must be at most {IGNORE} classes, but classes.txt names {len(names)}."
        )
    return names


def _folders(root: Path) -> Mapping[Split, tuple[Path, Path]]:
    """The folders of pictures and of masks of each split."""
    found: dict[Split, tuple[Path, Path]] = {}
    images, masks = root / "images", root / "masks"
    for folder in folders_in(images if images.is_dir() else root):
        split = split_of(folder.name)
        if split is None:
            continue
        pair = (folder, masks / folder.name)
        if not images.is_dir():
            pair = (folder / "images", folder / "masks")
        if split in found:
            raise DataError(
                f"a folder must have one {split} split, but got {folder.name} and another one in "
                f"{folder.parent}."
            )
        found[split] = pair
    if not found and images.is_dir():
        found["train"] = (images, masks)
    if "train" not in found:
        raise DataError(
            f"a folder must have images/train, or pictures in images, but {root} has not."
        )
    for pair in found.values():
        for folder in pair:
            if not folder.is_dir():
                raise DataError(
                    f"images and masks must have the same folders, but there is no {folder}."
                )
    return found


def _samples(
    root: Path, images: Path, masks: Path, skipped: dict[str, list[str]]
) -> tuple[tuple[MaskSample, ...], int]:
    """The pictures of one split with their masks, and the count of other files."""
    pictures, others = _by_name(images, PICTURES | NOT_READ)
    marked, _ = _by_name(masks, _MASKS)
    if not pictures:
        raise DataError(f"each split must hold pictures, but got none in {images}.")
    if not marked.keys() & pictures.keys():
        raise DataError(
            "masks must have the names of their pictures and be PNG, BMP, GIF or TIFF, but got "
            f"{next(iter(pictures))} in {images} and {next(iter(marked), 'none such')} in {masks}."
        )
    if lone := [marked[name] for name in sorted(marked.keys() - pictures.keys())]:
        skipped.setdefault(NO_PICTURE, []).extend(p.relative_to(root).as_posix() for p in lone)
    samples = tuple(
        MaskSample(path.relative_to(root).as_posix(), path, marked.get(name))
        for name, path in pictures.items()
    )
    return samples, others


def _by_name(folder: Path, endings: frozenset[str]) -> tuple[dict[str, Path], int]:
    """Files by their path in the folder without the ending, sorted; and the count of others."""
    files = sorted(path for path in files_below(folder) if not hidden(path.name))
    named: dict[str, Path] = {}
    for path in files:
        if path.suffix.lower() not in endings:
            continue
        name = one_form(path.relative_to(folder).with_suffix("").as_posix())
        if name in named:
            raise DataError(
                f"pictures must differ by more than their ending, but got {named[name].name} and "
                f"{path.name} in {path.parent}."
            )
        named[name] = path
    return named, len(files) - len(named)
