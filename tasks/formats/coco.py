"""Boxes as COCO keeps them: JSON with ``images``, ``annotations`` and ``categories``.

Annotations are looked for as ``annotations/instances_<split>.json`` (or ``<split>.json``), the
same without the folder, ``<split>/_annotations.coco.json`` (or the one ``.json`` in the folder of
a split), or one ``annotations.json`` for all, which is then train; ``data.source`` may be that
file, too. Pictures are looked for in ``images/<split>``, ``<split>``, ``images`` and beside the
JSON; a ``file_name`` may hold folders. A box is ``[x, y, width, height]`` in pixels. ``iscrowd``
is kept. A picture without annotations is a picture of nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tasks.data.boxes_on_disk import find_picture, inside, picture_folders, unmentioned
from tasks.data.dataset import SPLITS, Box, BoxSample, DataError, RawData, Source, Split, split_of
from tasks.data.files import JsonFile, folders_in, hidden

KIND = "detection"

NO_BOX = "annotation skipped: its bbox is not four numbers"
NO_IMAGE = "annotation skipped: there is no image of its image_id"
NO_CATEGORY = "annotation skipped: there is no category of its category_id"
NOT_MENTIONED = "picture skipped: no annotations speak of it"
REPEATED = "annotation skipped: it is there twice, with its id"


class Annotated(NamedTuple):
    """The annotations of one split, and the folders its pictures may lie in."""

    file: JsonFile
    folders: list[Path]


def read(source: Source) -> RawData:
    """Read the annotations; no picture is opened. Classes are the categories of train, by id.

    Raises:
        DataError: There are no annotations, they are no JSON or not laid out as COCO, an id or a
            file name is there twice, or a split has other categories than train.
    """
    root = source.path("a folder with annotations/instances_train.json and images/train")
    files = _annotations(root)
    skipped: dict[str, list[str]] = {}
    top = _top(root)
    classes = tuple(_categories(files["train"].file).values())
    splits: dict[Split, tuple[BoxSample, ...]] = {}
    for split in SPLITS:
        if split in files:
            labels = _labels(files[split].file, classes)
            splits[split] = _samples(top, files[split], labels, skipped)
    if lone := unmentioned(splits):
        skipped[NOT_MENTIONED] = lone
    return RawData(root.resolve().name, classes, splits, kind=KIND, skipped=skipped)


def check(source: Source) -> None:
    """As :func:`read`, which opens no picture."""
    read(source)


def _annotations(root: Path) -> Mapping[Split, Annotated]:
    """The annotations of each split that is there."""
    if root.is_file():
        folders = picture_folders(_top(root), root.parent, _named_split(root))
        return {"train": Annotated(JsonFile(root, "COCO"), folders)}
    found = _split_jsons(root)
    if not found:
        lone = [path for folder in (root / "annotations", root) for path in _jsons(folder)]
        named = [p for p in lone if p.name.lower() in ("annotations.json", "instances.json")]
        if len(named or lone) == 1:
            found["train"] = (named or lone)[0]
    if "train" not in found:
        raise DataError(
            "a folder of COCO must hold annotations/instances_train.json or annotations.json, "
            f"but got {', '.join(path.name for path in found.values()) or 'neither'} in {root}."
        )
    return {
        split: Annotated(JsonFile(path, "COCO"), picture_folders(root, path.parent, split))
        for split, path in found.items()
    }


def _top(root: Path) -> Path:
    """The folder of the data set, where ``root`` may be its only JSON."""
    if root.is_dir():
        return root
    return root.parent.parent if root.parent.name.lower() == "annotations" else root.parent


def _named_split(path: Path) -> Split | None:
    """The split that a JSON is named after."""
    return split_of(path.stem.lower().removeprefix("instances_"))


def _split_jsons(root: Path) -> dict[Split, Path]:
    """The JSON of each split, where their names or folders say which."""
    found: dict[Split, Path] = {}
    for folder in (root / "annotations", root):
        for path in _jsons(folder):
            split = _named_split(path)
            if split is not None and found.setdefault(split, path) != path:
                raise DataError(
                    f"a folder must have one JSON for {split}, but got {found[split].name} and "
                    f"{path.name} in {root}."
                )
    for folder in folders_in(root):
        split, inner = split_of(folder.name), _jsons(folder)
        if split is not None and split not in found and len(inner) == 1:
            found[split] = inner[0]
    return found


def _jsons(folder: Path) -> list[Path]:
    """The JSON files in a folder, none if there is no such folder."""
    return sorted(path for path in folder.glob("*.json") if not hidden(path.name))


def _categories(file: JsonFile) -> dict[Hashable, str]:
    """Names of categories by id, sorted by id."""
    entries = file.get(file.tree, "categories", list)
    named = [(file.get(e, "id", (int, str)), file.get(e, "name", str)) for e in entries]
    _refuse_repeated(file, "ids of categories", [number for number, _ in named])
    _refuse_repeated(file, "names of categories", [name for _, name in named])
    return dict(sorted(named, key=lambda pair: (isinstance(pair[0], str), pair[0])))


def _labels(file: JsonFile, classes: Sequence[str]) -> dict[Hashable, int]:
    """The label of each category id; the names decide, for exporters number each file anew."""
    categories = _categories(file)
    if strangers := [name for name in categories.values() if name not in classes]:
        raise DataError(
            f"splits must have the categories of train, but {file.path.name} has "
            f"{', '.join(strangers)}, too."
        )
    return {number: classes.index(name) for number, name in categories.items()}


def _refuse_repeated(file: JsonFile, what: str, values: Sequence[object]) -> None:
    """Refuse values that should differ."""
    if repeated := [value for value, count in Counter(values).items() if count > 1]:
        raise DataError(f"{what} must differ, but got {repeated[0]!r} twice in {file.path.name}.")


def _samples(
    top: Path,
    annotated: Annotated,
    labels: Mapping[Hashable, int],
    skipped: dict[str, list[str]],
) -> tuple[BoxSample, ...]:
    """The pictures of one split with their boxes."""
    file, folders = annotated
    images = file.get(file.tree, "images", list)
    numbers = [file.get(image, "id", (int, str)) for image in images]
    names = [file.get(image, "file_name", str).replace("\\", "/") for image in images]
    _refuse_repeated(file, "ids of images", numbers)
    _refuse_repeated(file, "file names of images", names)
    boxes = _boxes(file, dict(zip(numbers, names, strict=True)), labels, skipped)
    samples = []
    for image, number, name in zip(images, numbers, names, strict=True):
        if not inside(name):
            raise DataError(
                f"a file_name must stay in its folder, but got {name!r} in {file.path.name}."
            )
        path = find_picture([name], folders) or folders[0] / name
        told = path.relative_to(top).as_posix()
        samples.append(BoxSample(told, path, tuple(boxes[number]), _size(image)))
    return tuple(samples)


def _size(image: Mapping[str, Any]) -> tuple[int, int] | None:
    """Height and width, None where they are not given."""
    height, width = image.get("height"), image.get("width")
    if isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0:
        return (height, width)
    return None


def _boxes(
    file: JsonFile,
    names: Mapping[Hashable, str],
    labels: Mapping[Hashable, int],
    skipped: dict[str, list[str]],
) -> dict[Hashable, list[Box]]:
    """The boxes by image id; annotations that lead nowhere are noted."""
    boxes: dict[Hashable, list[Box]] = {number: [] for number in names}
    seen: set[tuple[str, ...]] = set()
    for entry in file.get(file.tree, "annotations", list):
        image, category = file.get(entry, "image_id", _ID), file.get(entry, "category_id", _ID)
        box, identity = entry.get("bbox"), entry.get("id")
        reason = ""
        if image not in names:
            reason = NO_IMAGE
        elif category not in labels:
            reason = NO_CATEGORY
        elif not _four_numbers(box):
            reason = NO_BOX
        key = tuple(map(repr, (identity, image, category, box)))
        if identity is not None and key in seen:
            reason = REPEATED
        seen.add(key)
        if reason:
            where = f"{file.path.name} annotation {identity}"
            picture = f" of {names[image]}" if image in names else ""
            skipped.setdefault(reason, []).append(where + picture)
            continue
        x, y, width, height = (float(each) for each in box)
        edges = (y, x, y + height, x + width)
        boxes[image].append(Box(labels[category], edges, bool(entry.get("iscrowd", 0))))
    return boxes


_ID = (int, str)
_LARGEST = 2**53  # a whole number above has no float of its own


def _four_numbers(box: object) -> bool:
    """Whether a box is one; numbers that are not finite count, they are told apart later."""
    return (
        isinstance(box, list)
        and len(box) == 4
        and all(isinstance(each, int | float) and not isinstance(each, bool) for each in box)
        and all(isinstance(each, float) or abs(each) < _LARGEST for each in box)
    )
