"""Boxes as COCO keeps them: JSON with ``images``, ``annotations`` and ``categories``.

Annotations are looked for as ``annotations/instances_<split>.json`` (or ``<split>.json``), the
same without the folder, ``<split>/_annotations.coco.json`` (or the one ``.json`` in the folder of
a split), or one JSON of another name for all, which is then train; ``data.source`` may be that
file, too. Pictures are looked for in ``images/<split>``, ``<split>``, ``images`` and beside the
JSON (CVAT: in ``images/default`` for ``instances_default.json``), then below; a ``file_name`` may
hold folders. A box is ``[x, y, width, height]`` in pixels, or as ``data.boxes`` says. ``iscrowd``
is kept. A picture without annotations is a picture of nothing. A category that no annotation is of
is left out if it is the supercategory of another, or the background: exporters put one on top of
the others, which would be an output for nothing and shift all labels.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from tasks.data import box_forms, box_layouts
from tasks.data.box_forms import Given
from tasks.data.boxes_on_disk import (
    LONGEST,
    Pictures,
    folder_called,
    inside,
    picture_folders,
    too_long,
    unmentioned,
)
from tasks.data.dataset import (
    SPLITS,
    Box,
    BoxSample,
    DataError,
    RawData,
    Source,
    Split,
    split_of,
)
from tasks.data.files import NO_SPLIT, JsonFile, folders_in, hidden, one_form
from tasks.run.params import BoxForm

KIND = "detection"

NO_BOX = "annotation skipped: its bbox is not four numbers"
NO_IMAGE = "annotation skipped: there is no image of its image_id"
NO_CATEGORY = "annotation skipped: there is no category of its category_id"
FRACTIONS = "annotation skipped: its bbox lies within 0..1, others are in pixels"
NOT_MENTIONED = "picture skipped: no annotations speak of it"
NO_ANNOTATIONS = "picture left alone: there are no annotations of its split"
REPEATED = "annotation skipped: it is there twice, with its id"
NO_CLASS = "category left out: it stands above others or is the background, no box is of it"


class Annotated(NamedTuple):
    """The annotations of one split, and its pictures."""

    file: JsonFile
    pictures: Pictures


def read(source: Source) -> RawData:
    """Read the annotations; no picture is decoded. Classes are the categories of train, by id.

    Raises:
        DataError: There are no annotations, they are no JSON or not laid out as COCO, an id or a
            file name is there twice, a split has other categories than train, or boxes are in
            another unit or form than ``source.boxes`` says.
    """
    root = source.path("a folder with annotations/instances_train.json and images/train")
    top = _top(root)
    files, others = _annotations(root)
    classes, unused = _classes(files)
    splits: dict[Split, tuple[BoxSample, ...]] = {}
    skipped: dict[Split, dict[str, list[str]]] = {split: {} for split in files}
    for split in files:
        labels = _labels(files[split].file, classes, unused)
        splits[split] = _samples(top, files[split], labels, source.boxes, skipped[split])
    for owner, lone in unmentioned(top, splits).items():
        skipped[owner or "train"][NOT_MENTIONED if owner else NO_ANNOTATIONS] = lone
    skipped["train"] |= {NO_CLASS: unused} if unused else {}
    skipped["train"] |= {NO_SPLIT: others} if others else {}
    return RawData(root.resolve().name, classes, splits, kind=KIND, skipped=skipped)


def check(source: Source) -> RawData:
    """As :func:`read`, which decodes no picture."""
    return read(source)


def place(source: Source) -> Path:
    """The folder of the data set, also where the source is its only JSON: pictures lie there."""
    return _top(Path(source.location or "").expanduser())


def _annotations(root: Path) -> tuple[dict[Split, Annotated], list[str]]:
    """The annotations of each split that is there, and names of JSON files of none."""
    if root.is_file():
        found: dict[Split, Path] = {"train": root}
        others: list[Path] = []
    else:
        found = _split_jsons(root)
        lone = [path for folder in _holders(root) for path in _jsons(folder)]
        others = [path for path in lone if path not in found.values()]
        if "train" not in found:
            named = [p for p in others if p.name.lower().startswith(("annotations", "instances"))]
            if len(named or others) == 1 and (named or not found):
                found["train"] = (named or others)[0]
                others.remove(found["train"])
    if "train" not in found:
        names = [path.name for path in (*found.values(), *others)]
        raise DataError(
            "a folder of COCO must hold annotations/instances_train.json or one JSON, but got "
            f"{box_layouts.some(names) or 'neither'} in {root}.{box_layouts.cure(root, 'coco')}"
        )
    folder = _top(root)
    ordered = {split: found[split] for split in SPLITS if split in found}
    return {
        split: Annotated(JsonFile(path, "COCO"), _pictures(folder, path, split))
        for split, path in ordered.items()
    }, [path.relative_to(folder).as_posix() for path in others]


def _pictures(root: Path, path: Path, split: Split) -> Pictures:
    """Where the pictures of a JSON lie."""
    subset = _subset(path)
    told = split_of(subset) or (split if path.parent != root else None)
    return Pictures(picture_folders(root, path.parent, told or split, subset), told)


def _subset(path: Path) -> str:
    """What a JSON calls its part of the data: ``train``, ``default``, or a name of its own."""
    return path.stem.lower().removeprefix("instances_")


def _top(root: Path) -> Path:
    """The folder of the data set, where ``root`` may be its only JSON."""
    if not root.is_file():
        return root
    return root.parent.parent if root.parent.name.lower() == "annotations" else root.parent


def _named_split(path: Path) -> Split | None:
    """The split that a JSON is named after."""
    return split_of(_subset(path))


def _split_jsons(root: Path) -> dict[Split, Path]:
    """The JSON of each split, where their names or folders say which."""
    found: dict[Split, Path] = {}
    for folder in _holders(root):
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


def _holders(root: Path) -> list[Path]:
    """The folders in which the JSON of a split may lie."""
    inner = folder_called(root, "annotations")
    return [root] if inner is None else [inner, root]


def _jsons(folder: Path) -> list[Path]:
    """The JSON files in a folder."""
    files = (path for path in folder.iterdir() if path.suffix.lower() == ".json")
    return sorted(path for path in files if not hidden(path.name))


def _classes(files: Mapping[Split, Annotated]) -> tuple[tuple[str, ...], list[str]]:
    """The names of the categories of train by id; apart from them those that are no class."""
    used: set[str] = set()
    for file, _ in files.values():
        names = _categories(file)
        used |= {names[number] for number in _used(file) if number in names}
    train = files["train"].file
    above = {"background", "_background_", "__background__"}
    for entry in train.tree["categories"]:
        name, over = one_form(entry["name"]), entry.get("supercategory")
        above |= {one_form(over)} if isinstance(over, str) and one_form(over) != name else set()
    every = _categories(train).values()
    unused = [name for name in every if name in above and name not in used]
    return tuple(name for name in every if name not in unused), unused


def _used(file: JsonFile) -> set[Hashable]:
    """The ids of categories that annotations are of."""
    entries = file.get(file.tree, "annotations", list)
    return {file.get(entry, "category_id", _ID) for entry in entries}


def _categories(file: JsonFile) -> dict[Hashable, str]:
    """Names of categories by id, sorted by id."""
    entries = file.get(file.tree, "categories", list)
    named = [(file.get(e, "id", (int, str)), one_form(file.get(e, "name", str))) for e in entries]
    _refuse_repeated(file, "ids of categories", [number for number, _ in named])
    _refuse_repeated(file, "names of categories", [name for _, name in named])
    return dict(sorted(named, key=lambda pair: (isinstance(pair[0], str), pair[0])))


def _labels(file: JsonFile, classes: Sequence[str], unused: Sequence[str]) -> dict[Hashable, int]:
    """The label of each category id; the names decide, for exporters number each file anew.

    A category that is no class has the label -1; no annotation is of it.

    Raises:
        DataError: Boxes are of a category that train does not have.
    """
    labels: dict[Hashable, int] = {}
    used = _used(file)
    for number, name in _categories(file).items():
        if name not in classes and name not in unused and number in used:
            raise DataError(
                f"splits must have the categories of train, but {file.path.name} has {name}, too."
            )
        labels[number] = classes.index(name) if name in classes else -1
    return labels


def _refuse_repeated(file: JsonFile, what: str, values: Sequence[object]) -> None:
    """Refuse values that should differ."""
    if repeated := [value for value, count in Counter(values).items() if count > 1]:
        raise DataError(f"{what} must differ, but got {repeated[0]!r} twice in {file.path.name}.")


def _samples(
    top: Path,
    annotated: Annotated,
    labels: Mapping[Hashable, int],
    form: BoxForm,
    skipped: dict[str, list[str]],
) -> tuple[BoxSample, ...]:
    """The pictures of one split with their boxes."""
    file, pictures = annotated
    images = file.get(file.tree, "images", list)
    numbers = [file.get(image, "id", (int, str)) for image in images]
    names = [file.get(image, "file_name", str).replace("\\", "/") for image in images]
    _refuse_repeated(file, "ids of images", numbers)
    _refuse_repeated(file, "file names of images", names)
    _refuse_foreign(file, names)
    paths = [pictures.named(name) for name in names]
    sizes = [_size(image) for image in images]
    given = _given(file, dict(zip(numbers, names, strict=True)), labels, skipped)
    if form == "auto":
        _check_form(file, [given[number] for number in numbers], sizes, paths)
    relative = box_forms.is_relative(form)
    return tuple(
        pictures.sample(
            top, path, name, _boxes(given[number], form, skipped), size, relative=relative
        )
        for number, name, path, size in zip(numbers, names, paths, sizes, strict=True)
    )


def _refuse_foreign(file: JsonFile, names: Sequence[str]) -> None:
    """Refuse names that lead out of their folder, and such as no file can have."""
    for name in names:
        if too_long(name):
            raise DataError(
                f"a file_name must be at most {LONGEST} bytes long, but got {name[:_EXCERPT]!r} "
                f"and more in {file.path.name}."
            )
        if not inside(name):
            raise DataError(
                f"a file_name must stay in its folder, but got {name!r} in {file.path.name}. "
                "Write where the picture lies in it."
            )


def _size(image: Mapping[str, Any]) -> tuple[int, int] | None:
    """Height and width, None where they are not given."""
    height, width = image.get("height"), image.get("width")
    if isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0:
        return (height, width)
    return None


class Annotation(NamedTuple):
    """A box as it stands: what to call it, its label, its four numbers, and whether it is many."""

    where: str
    label: int
    numbers: tuple[float, float, float, float]
    crowd: bool


def _given(
    file: JsonFile,
    names: Mapping[Hashable, str],
    labels: Mapping[Hashable, int],
    skipped: dict[str, list[str]],
) -> dict[Hashable, list[Annotation]]:
    """The annotations by image id; those that lead nowhere are noted."""
    found: dict[Hashable, list[Annotation]] = {number: [] for number in names}
    seen: set[tuple[str, ...]] = set()
    for entry in file.get(file.tree, "annotations", list):
        image, category = file.get(entry, "image_id", _ID), file.get(entry, "category_id", _ID)
        box, identity = entry.get("bbox"), entry.get("id")
        label = labels.get(category, -1)
        reason = ""
        if image not in names:
            reason = NO_IMAGE
        elif label < 0:
            reason = NO_CATEGORY
        elif not _four_numbers(box):
            reason = NO_BOX
        key = tuple(map(repr, (identity, image, category, box)))
        if identity is not None and key in seen:
            reason = REPEATED
        seen.add(key)
        picture = f" of {names[image]}" if image in names else ""
        where = f"{file.path.name} annotation {identity}{picture}"
        if reason:
            skipped.setdefault(reason, []).append(where)
            continue
        x, y, third, fourth = (float(each) for each in box)
        crowd = bool(entry.get("iscrowd", 0))
        found[image].append(Annotation(where, label, (x, y, third, fourth), crowd))
    return found


def _check_form(
    file: JsonFile,
    given: Sequence[Sequence[Annotation]],
    sizes: Sequence[tuple[int, int] | None],
    paths: Sequence[Path | None],
) -> None:
    """Refuse boxes that are not in pixels, or no corner and size."""
    boxes = [
        Given(each.numbers, size or _size_on_disk(path))
        for annotations, size, path in zip(given, sizes, paths, strict=True)
        for each in annotations
        if all(map(math.isfinite, each.numbers))
    ]
    box_forms.check(file.path.name, boxes, "xywh")


def _size_on_disk(path: Path | None) -> tuple[int, int] | None:
    """Height and width as the head of a file says, however it lies: the longer side twice."""
    if path is None:
        return None
    try:
        with Image.open(path) as image:
            return (max(image.size), max(image.size))
    except Exception:  # a damaged file can raise nearly anything; it is told of when it is read
        return None


def _boxes(
    annotations: Sequence[Annotation], form: BoxForm, skipped: dict[str, list[str]]
) -> list[Box]:
    """The boxes of one picture, in pixels or as fractions of it."""
    boxes = []
    for each in annotations:
        if form == "auto" and box_forms.are_fractions(each.numbers):
            skipped.setdefault(FRACTIONS, []).append(each.where)
            continue
        edges = box_forms.edges_of(each.numbers, "xywh" if form == "auto" else form)
        boxes.append(Box(each.label, edges, each.crowd))
    return boxes


_EXCERPT = 80  # characters of a name that may be anything
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
