"""Boxes as Pascal VOC keeps them: one XML a picture.

``Annotations/*.xml`` beside ``JPEGImages/*`` (or ``images/*``), both with the same folders in them
or none, and ``ImageSets/Main/<split>.txt`` (or ``ImageSets/<split>.txt``, or ``<split>.txt``; also
``trainval.txt``) where there are splits; or each split in a folder of its own, with both folders
in it or pictures and XML side by side; or, as LabelImg leaves it, all pictures and XML in one
folder, or wherever they are below it. Coordinates count pixels from 1, both ends inclusive, or are
fractions where ``data.boxes`` says so. ``difficult`` objects are kept as crowd. Classes are the
names of all objects, sorted; ``classes.txt`` may name them instead.

XML with a DOCTYPE is refused: nothing of VOC needs one, and it can name other files.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from xml.etree.ElementTree import Element

from tasks.data import box_forms, box_layouts
from tasks.data.box_forms import Given, Numbers
from tasks.data.boxes_on_disk import (
    Pictures,
    folder_called,
    inside,
    picture_folders,
    unmentioned,
)
from tasks.data.dataset import SPLITS, Box, BoxSample, DataError, RawData, Source, Split, split_of
from tasks.data.files import (
    any_case,
    files_below,
    folders_in,
    hidden,
    is_picture,
    one_form,
    read_text,
)
from tasks.data.xml_file import read_xml

KIND = "detection"

NO_BOX = "object skipped: its bndbox is not four numbers"
NO_NAME = "object skipped: it has no name"
UNKNOWN_NAME = "object skipped: classes.txt does not hold its name"
FRACTIONS = "object skipped: its bndbox lies within 0..1, others are in pixels"
NO_XML = "picture skipped: there is no XML for it"
NO_XML_LISTED = "picture skipped: it is listed, but there is no XML for it"
UNLISTED = "picture left alone: no list of a split names it"

_FORMS = ("auto", "xyxy", "relative_xyxy")


class Objects(NamedTuple):
    """What one XML says: each object with its name, corners and difficulty, and the picture.

    ``stem`` is where the XML lies in the folder of annotations, without its ending; ``called`` is
    what it says of where the picture is.
    """

    path: Path
    stem: str
    called: tuple[str, ...]
    size: tuple[int, int] | None
    named: tuple[tuple[str, Numbers, bool], ...]


class Folder(NamedTuple):
    """One split on the disk: its XML by stem, its pictures, and which of them are its own."""

    xml: Mapping[str, Path]
    pictures: Pictures
    stems: tuple[str, ...] | None


def read(source: Source) -> RawData:
    """Read the XML; no picture is opened.

    Raises:
        DataError: There are no annotations, one is no XML, has a DOCTYPE or is not of VOC, or
            boxes are in another unit than ``source.boxes`` says.
    """
    root = _root(source)
    skipped: dict[Split, dict[str, list[str]]] = {split: {} for split in SPLITS}
    folders = _folders(root)
    found = {split: _annotations(folders[split], skipped[split]) for split in folders}
    names = {name for objects in found.values() for each in objects for name, *_ in each.named}
    classes = _given_classes(root) or tuple(sorted(names))
    relative = box_forms.is_relative(source.boxes)
    if source.boxes == "auto":
        _check_form(root, found)
    splits: dict[Split, tuple[BoxSample, ...]] = {}
    for split, objects in found.items():
        alike = Counter(PurePosixPath(each.stem).name for each in objects)
        splits[split] = tuple(
            folders[split].pictures.sample(
                root,
                _picture(folders[split].pictures, each, alike),
                f"{each.stem}.jpg",
                _boxes(each, source, classes, skipped[split]),
                each.size,
                relative=relative,
            )
            for each in objects
        )
    listed = any(folder.stems is not None for folder in folders.values())
    for split, samples in splits.items():
        _refuse_shared(found[split], samples)
    for owner, lone in unmentioned(root, splits).items():
        skipped[owner or "train"][UNLISTED if listed else NO_XML] = lone
    return RawData(root.resolve().name, classes, splits, kind=KIND, skipped=skipped)


def check(source: Source) -> None:
    """Refuse a folder without annotations.

    Raises:
        DataError: There are none.
    """
    _folders(_root(source))


def _root(source: Source) -> Path:
    """The folder of the data set, after a look at the source."""
    root = source.path("a folder with Annotations/ and JPEGImages/")
    if not root.is_dir():
        raise DataError(f"data.source must be the path of a folder, but {root} is a file.")
    if source.boxes not in _FORMS:
        raise DataError(
            f"data.boxes must be {', '.join(_FORMS[:-1])} or {_FORMS[-1]} for voc, but got "
            f"{source.boxes!r}: its XML names the corners."
        )
    return root


def _folders(root: Path) -> Mapping[Split, Folder]:
    """The splits on the disk."""
    found: dict[Split, Folder] = {}
    if annotations := folder_called(root, "Annotations"):
        xml = _xml_below(annotations)
        folders = picture_folders(root, annotations, None)
        pictures = Pictures(folders, None)
        found = _by_lists(root, xml, pictures)
    else:
        for folder in folders_in(root):
            split = split_of(folder.name)
            if split is not None:
                inner = folder_called(folder, "Annotations") or folder
                pictures = Pictures(picture_folders(folder, inner, None), None)
                found[split] = Folder(_xml_below(inner), pictures, None)
        if not found and (xml := _xml_below(root)):
            found = _by_lists(root, xml, Pictures(picture_folders(root, root, None), None))
    if "train" not in found or not any(folder.xml for folder in found.values()):
        raise DataError(
            "a folder of VOC must hold Annotations/ and JPEGImages/, train/ with them, or XML and "
            f"pictures side by side, but {root} does not.{box_layouts.cure(root, 'voc')}"
        )
    return {split: found[split] for split in SPLITS if split in found}


def _xml_below(folder: Path) -> dict[str, Path]:
    """Every XML by where it lies below a folder, without its ending."""
    paths = sorted(files_below(folder))
    return {
        one_form(path.relative_to(folder).with_suffix("").as_posix()): path
        for path in paths
        if path.suffix.lower() == ".xml" and not hidden(path.name)
    }


def _by_lists(root: Path, xml: Mapping[str, Path], pictures: Pictures) -> dict[Split, Folder]:
    """One folder for all splits; without lists all is train."""
    lists = _lists(root, xml)
    if not lists:
        return {"train": Folder(xml, pictures, None)}
    return {split: Folder(xml, pictures, stems) for split, stems in lists.items()}


def _lists(root: Path, xml: Mapping[str, Path]) -> dict[Split, tuple[str, ...]]:
    """What the lists of the splits name; nothing where there are none.

    Where only ``trainval`` is there, train is what of it is not in validation.

    Raises:
        DataError: There are lists, but none for train.
    """
    for folder in (root / "ImageSets" / "Main", root / "ImageSets", root):
        paths = sorted(folder.glob("*.txt")) if folder.is_dir() else []
        named = {split: path for path in paths if (split := split_of(path.stem))}
        found: dict[Split, tuple[str, ...]] = {s: _listed(named[s], xml) for s in named}
        both = next((path for path in paths if path.stem.lower() == "trainval"), None)
        if "train" not in found and both is not None:
            held = found.get("validation", ())
            found["train"] = tuple(stem for stem in _listed(both, xml) if stem not in held)
        if "train" in found:
            return found
        if found and folder != root:  # where a test.txt may be anything
            names = [path.name for path in named.values()]
            raise DataError(
                "lists of splits must have one for train (train.txt or trainval.txt), but got "
                f"{box_layouts.some(names)} in {folder}."
            )
    return {}


def _listed(path: Path, xml: Mapping[str, Path]) -> tuple[str, ...]:
    """The stems in a list of a split, as the XML has them where there is one.

    A line is a stem, which may hold folders and blanks. An ending, folders that are not there and
    a 1, 0 or -1 behind it are left alone.
    """
    alone: dict[str, list[str]] = {}
    for stem in xml:
        alone.setdefault(any_case(PurePosixPath(stem).name), []).append(stem)
    lines = (one_form(line.strip()) for line in read_text(path).splitlines())
    return tuple(dict.fromkeys(_stem_of(line, xml, alone) for line in lines if line))


def _stem_of(line: str, xml: Mapping[str, Path], alone: Mapping[str, Sequence[str]]) -> str:
    """The stem that one line of a list means, else what stands there."""
    whole = line.replace("\\", "/")
    marked, _, mark = whole.rpartition(" ")
    texts = [whole, marked.strip()] if mark in ("1", "0", "-1") and marked.strip() else [whole]
    for text in texts:
        path = PurePosixPath(text)
        bare = path.with_suffix("") if is_picture(Path(text)) or path.suffix == ".xml" else path
        for stem in (text, str(bare)):
            if stem in xml:
                return stem
        for name in (path.name, bare.name):
            if len(alike := alone.get(any_case(name), ())) == 1:
                return alike[0]
    return texts[-1]


def _given_classes(root: Path) -> tuple[str, ...]:
    """The names in ``classes.txt``, none without it."""
    path = root / "classes.txt"
    if not path.is_file():
        return ()
    lines = (one_form(line.strip()) for line in read_text(path).splitlines())
    return tuple(line for line in lines if line)


def _annotations(folder: Folder, skipped: dict[str, list[str]]) -> list[Objects]:
    """What the XML of a split says, in order."""
    stems = folder.xml.keys() if folder.stems is None else folder.stems
    if lone := [stem for stem in stems if stem not in folder.xml]:
        skipped.setdefault(NO_XML_LISTED, []).extend(sorted(lone))
    return [_objects(stem, folder.xml[stem], skipped) for stem in stems if stem in folder.xml]


def _objects(stem: str, path: Path, skipped: dict[str, list[str]]) -> Objects:
    """One XML.

    Raises:
        DataError: See :func:`tasks.data.xml_file.read_xml`, or it is none of VOC.
    """
    root = read_xml(path)
    if root.tag != "annotation":
        raise DataError(f"{path.name} must hold an <annotation>, but its root is <{root.tag}>.")
    named: list[tuple[str, Numbers, bool]] = []
    for entry in root.iter("object"):
        name, corners = one_form((entry.findtext("name") or "").strip()), _corners(entry)
        if not name or corners is None:
            skipped.setdefault(NO_BOX if name else NO_NAME, []).append(path.name)
            continue
        named.append((name, corners, _number(entry.findtext("difficult")) == 1))
    sides = [_number(root.findtext(f"size/{side}")) for side in ("height", "width")]
    height, width = (int(side) if side is not None and 1 <= side < 2**31 else 0 for side in sides)
    size = (height, width) if height and width else None
    return Objects(path, stem, _called(root), size, tuple(named))


def _called(root: Element) -> tuple[str, ...]:
    """What the XML calls its picture: as it stands, then without folders of another machine."""
    named, placed = (
        (root.findtext(tag) or "").strip().replace("\\", "/") for tag in ("filename", "path")
    )
    texts = (named, PurePosixPath(named).name, PurePosixPath(placed).name)
    return tuple(dict.fromkeys(filter(None, texts)))


def _corners(entry: Element) -> Numbers | None:
    """xmin, ymin, xmax, ymax of an object as they stand; None if it has not all four."""
    corners = [_number(entry.findtext(f"bndbox/{c}")) for c in ("xmin", "ymin", "xmax", "ymax")]
    xmin, ymin, xmax, ymax = corners
    if xmin is None or ymin is None or xmax is None or ymax is None:
        return None
    return (xmin, ymin, xmax, ymax)


def _number(text: str | None) -> float | None:
    """Text as a number, which need not be finite."""
    try:
        return float(text or "")
    except ValueError:
        return None


def _check_form(root: Path, found: Mapping[Split, Sequence[Objects]]) -> None:
    """Refuse boxes that are not in pixels."""
    boxes = [
        Given(corners, each.size)
        for objects in found.values()
        for each in objects
        for _, corners, _ in each.named
        if all(map(math.isfinite, corners))
    ]
    box_forms.check(root.resolve().name, boxes, "xyxy")


def _boxes(
    objects: Objects, source: Source, classes: Sequence[str], skipped: dict[str, list[str]]
) -> list[Box]:
    """The objects of one picture that have a class, in pixels or as fractions of it."""
    boxes: list[Box] = []
    for name, corners, difficult in objects.named:
        xmin, ymin, xmax, ymax = corners
        if name not in classes:
            skipped.setdefault(UNKNOWN_NAME, []).append(f"{objects.path.name}: {name}")
        elif source.boxes == "auto" and box_forms.are_fractions(corners):
            skipped.setdefault(FRACTIONS, []).append(objects.path.name)
        elif box_forms.is_relative(source.boxes):
            boxes.append(Box(classes.index(name), (ymin, xmin, ymax, xmax), difficult))
        else:
            edges = (ymin - 1, xmin - 1, ymax, xmax)
            boxes.append(Box(classes.index(name), edges, difficult))
    return boxes


def _refuse_shared(objects: Sequence[Objects], samples: Sequence[BoxSample]) -> None:
    """Refuse two XML of one picture, which would be two samples with half of the truth each.

    Raises:
        DataError: There are such.
    """
    owners: dict[object, Path] = {}
    for each, sample in zip(objects, samples, strict=True):
        first = owners.setdefault(sample.picture, each.path)
        if first != each.path:
            raise DataError(
                f"each picture must have one XML, but {first.name} and {each.path.name} are both "
                f"of {sample.name}. Name each as its picture, or put their objects into one."
            )


def _picture(pictures: Pictures, objects: Objects, alike: Mapping[str, int]) -> Path | None:
    """That of the stem; else that which the XML names; else one of its name in another folder.

    Args:
        pictures: Of the split.
        objects: The XML.
        alike: How many XML of the split have a name, whatever their folders.
    """
    if found := pictures.of_stem(objects.stem):
        return found
    for name in filter(inside, objects.called):
        if found := pictures.named(name) or pictures.of_stem(name):
            return found
    bare = PurePosixPath(objects.stem).name
    return pictures.of_stem(bare) if alike[bare] == 1 else None
