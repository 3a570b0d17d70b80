"""Pictures in folders that are named by their class.

Either ``<root>/<split>/<class>/*`` with splits named ``train``, ``validation`` (or ``val``,
``valid``) and ``test``, or ``<root>/<class>/*``. Pictures may lie deeper inside a class folder.
Folders and files that begin with a dot, and ``__MACOSX``, are no part of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tasks.data.dataset import DataError, RawData, Sample, Source, Split, split_of
from tasks.data.files import files_below, folders_in, hidden, is_picture, one_form

NO_CLASS = "picture skipped: it lies in no class folder"


def read(source: Source) -> RawData:
    """List the pictures of a folder; none is opened.

    Raises:
        DataError: There is no such folder, it has no class folders, a class folder is empty, or
            the splits have different classes.
    """
    root = source.path("a folder of pictures")
    if not root.is_dir():
        raise DataError(f"data.source must be the path of a folder, but {root} is a file.")
    splits = _split_folders(root)
    strangers = folders_in(root) if splits else []
    roots: Mapping[Split, Path] = splits or {"train": root}
    classes = _classes(roots)
    ignored = sum(not path.is_dir() for path in root.iterdir()) if splits else 0
    samples: dict[Split, tuple[Sample, ...]] = {}
    skipped: dict[Split, dict[str, list[str]]] = {}
    for split, folder in roots.items():
        found, others = _samples(root, folder, classes)
        samples[split] = found
        ignored += others
        if lone := _without_class(root, folder):
            skipped[split] = {NO_CLASS: lone}
    extra = tuple(p.name for p in strangers if p not in splits.values())
    return RawData(root.resolve().name, classes, samples, ignored, extra, skipped=skipped)


def check(source: Source) -> RawData:
    """As :func:`read`, which opens no picture either."""
    return read(source)


def _without_class(root: Path, folder: Path) -> list[str]:
    """Pictures that lie beside the folders of classes."""
    beside = (path for path in sorted(folder.iterdir()) if path.is_file() and is_picture(path))
    return [path.relative_to(root).as_posix() for path in beside]


def _split_folders(root: Path) -> dict[Split, Path]:
    """The folders of the splits, none if the classes lie in ``root`` itself.

    A folder with the name of a split but without folders inside is a class ("train", the vehicle).
    """
    found: dict[Split, Path] = {}
    for folder in folders_in(root):
        split = split_of(folder.name)
        if split is None or not folders_in(folder):
            continue
        if split in found:
            raise DataError(
                f"a folder must have one {split} split, but got {found[split].name} and "
                f"{folder.name} in {root}."
            )
        found[split] = folder
    if found and "train" not in found:
        names = ", ".join(sorted(path.name for path in found.values()))
        raise DataError(f"a folder of splits must have train, but got only {names} in {root}.")
    return found


def _classes(roots: Mapping[Split, Path]) -> tuple[str, ...]:
    """The classes, which all splits must share."""
    classes = {split: set(_class_folders(root)) for split, root in roots.items()}
    if not classes["train"]:
        raise DataError(
            f"each class must have a folder of its own, but got no folders in {roots['train']}."
        )
    for split, names in classes.items():
        if odd := names ^ classes["train"]:
            raise DataError(
                f"splits must have the same classes, but {', '.join(sorted(odd))} "
                f"is in only one of train and {split}, in {roots[split].parent}."
            )
    return tuple(sorted(classes["train"]))


def _class_folders(root: Path) -> dict[str, Path]:
    """Folders by the name of their class.

    Raises:
        DataError: Two of them have the same name, written in two forms.
    """
    found: dict[str, Path] = {}
    for folder in folders_in(root):
        name = one_form(folder.name)
        if name in found:
            raise DataError(
                f"each class must have one folder, but got two of {name} in {root}, whose names "
                "are written with different signs. Put them together."
            )
        found[name] = folder
    return found


def _samples(root: Path, folder: Path, classes: tuple[str, ...]) -> tuple[tuple[Sample, ...], int]:
    """The pictures of one split by class and name, and the count of other files."""
    samples: list[Sample] = []
    ignored = sum(path.is_file() and not is_picture(path) for path in folder.iterdir())
    folders = _class_folders(folder)
    for label, name in enumerate(classes):
        files = sorted(path for path in files_below(folders[name]) if not hidden(path.name))
        pictures = [path for path in files if is_picture(path)]
        ignored += len(files) - len(pictures)
        if not pictures:
            raise DataError(
                f"each class folder must hold pictures, but got none in {folders[name]}. "
                "Fill it or remove it."
            )
        samples += [Sample(path.relative_to(root).as_posix(), label, path) for path in pictures]
    return tuple(samples), ignored
