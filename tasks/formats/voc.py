"""Boxes as Pascal VOC keeps them: one XML a picture.

``Annotations/*.xml`` beside ``JPEGImages/*`` (or ``images/*``), with
``ImageSets/Main/<split>.txt`` where there are splits; or each split in a folder of its own, with
both folders in it or pictures and XML side by side. Coordinates count pixels from 1, both ends
inclusive. ``difficult`` objects are kept as crowd. Classes are the names of all objects, sorted;
``classes.txt`` may name them instead.

XML with a DOCTYPE is refused: nothing of VOC needs one, and it can name other files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from tasks.data.boxes_on_disk import find_picture, inside, picture_folders, with_endings
from tasks.data.dataset import SPLITS, Box, BoxSample, DataError, RawData, Source, Split, split_of
from tasks.data.files import PICTURES, files_below, folders_in, hidden, read_text

KIND = "detection"

NO_BOX = "object skipped: its bndbox is not four numbers"
NO_NAME = "object skipped: it has no name"
UNKNOWN_NAME = "object skipped: classes.txt does not hold its name"
NO_XML = "picture skipped: there is no XML for it"
NO_XML_LISTED = "picture skipped: it is listed, but there is no XML for it"


class Objects(NamedTuple):
    """What one XML says: the name of each object and its box, and the picture."""

    path: Path
    filename: str
    size: tuple[int, int] | None
    named: tuple[tuple[str, Box], ...]


class Folder(NamedTuple):
    """One split on the disk: where its XML and its pictures lie, and which of them are its own."""

    annotations: Path
    pictures: list[Path]
    stems: tuple[str, ...] | None


def read(source: Source) -> RawData:
    """Read the XML; no picture is opened.

    Raises:
        DataError: There are no annotations, or one is no XML, has a DOCTYPE or is not of VOC.
    """
    root = source.path("a folder with Annotations/ and JPEGImages/")
    if not root.is_dir():
        raise DataError(f"data.source must be the path of a folder, but {root} is a file.")
    skipped: dict[str, list[str]] = {}
    folders = _folders(root)
    found = {
        split: list(_annotations(root, folders[split], skipped))
        for split in SPLITS
        if split in folders
    }
    names = {name for objects in found.values() for each in objects for name, _ in each.named}
    classes = _given_classes(root) or tuple(sorted(names))
    labels = {name: label for label, name in enumerate(classes)}
    splits: dict[Split, tuple[BoxSample, ...]] = {
        split: tuple(_sample(root, folders[split], each, labels, skipped) for each in objects)
        for split, objects in found.items()
    }
    return RawData(root.resolve().name, classes, splits, kind=KIND, skipped=skipped)


def check(source: Source) -> None:
    """Refuse a folder without annotations.

    Raises:
        DataError: There are none.
    """
    root = source.path("a folder with Annotations/ and JPEGImages/")
    if not root.is_dir():
        raise DataError(f"data.source must be the path of a folder, but {root} is a file.")
    _folders(root)


def _folders(root: Path) -> Mapping[Split, Folder]:
    """The splits on the disk."""
    found: dict[Split, Folder] = {}
    if (root / "Annotations").is_dir():
        pictures = picture_folders(root, root / "Annotations", None)
        lists = root / "ImageSets" / "Main"
        for path in sorted(lists.glob("*.txt")) if lists.is_dir() else []:
            if split_of(path.stem) in SPLITS:
                split = split_of(path.stem)
                assert split is not None
                found[split] = Folder(root / "Annotations", pictures, _listed(path))
        if not found:
            found["train"] = Folder(root / "Annotations", pictures, None)
    else:
        for folder in folders_in(root):
            split = split_of(folder.name)
            if split is not None:
                inner = folder / "Annotations"
                annotations = inner if inner.is_dir() else folder
                found[split] = Folder(
                    annotations, picture_folders(folder, annotations, None), None
                )
    if "train" not in found:
        raise DataError(
            "a folder of VOC must hold Annotations/ and JPEGImages/, or train/ with them, but "
            f"{root} does not."
        )
    return found


def _listed(path: Path) -> tuple[str, ...]:
    """The stems in a list of a split; what stands behind one in its line is left alone."""
    lines = (line.split() for line in read_text(path).splitlines())
    return tuple(dict.fromkeys(words[0] for words in lines if words))


def _given_classes(root: Path) -> tuple[str, ...]:
    """The names in ``classes.txt``, none without it."""
    path = root / "classes.txt"
    if not path.is_file():
        return ()
    return tuple(line.strip() for line in read_text(path).splitlines() if line.strip())


def _annotations(root: Path, folder: Folder, skipped: dict[str, list[str]]) -> Iterator[Objects]:
    """What the XML of a split says, in order."""
    paths = {path.stem: path for path in sorted(folder.annotations.glob("*.xml"))}
    if folder.stems is None:
        pictures = {
            path.stem: path
            for each in folder.pictures[:1]
            for path in sorted(files_below(each))
            if path.suffix.lower() in PICTURES and not hidden(path.name)
        }
        lone = [
            pictures[stem].relative_to(root).as_posix() for stem in pictures.keys() - paths.keys()
        ]
        reason, stems = NO_XML, list(paths)
    else:
        lone = [stem for stem in folder.stems if stem not in paths]
        reason, stems = NO_XML_LISTED, [stem for stem in folder.stems if stem in paths]
    if lone:
        skipped.setdefault(reason, []).extend(sorted(lone))
    for stem in stems:
        if not hidden(paths[stem].name):
            yield _objects(paths[stem], skipped)


def _objects(path: Path, skipped: dict[str, list[str]]) -> Objects:
    """One XML."""
    root = _parse(path)
    named: list[tuple[str, Box]] = []
    for entry in root.iter("object"):
        name, box = (entry.findtext("name") or "").strip(), _box(entry)
        if not name or box is None:
            skipped.setdefault(NO_BOX if name else NO_NAME, []).append(path.name)
            continue
        named.append((name, box))
    sides = [_number(root.findtext(f"size/{side}")) for side in ("height", "width")]
    height, width = (int(side) if side is not None and 1 <= side < 2**31 else 0 for side in sides)
    size = (height, width) if height and width else None
    return Objects(path, (root.findtext("filename") or "").strip(), size, tuple(named))


def _box(entry: Element) -> Box | None:
    """The box of an object, without its label; None if it has none."""
    corners = [_number(entry.findtext(f"bndbox/{c}")) for c in ("ymin", "xmin", "ymax", "xmax")]
    ymin, xmin, ymax, xmax = corners
    if ymin is None or xmin is None or ymax is None or xmax is None:
        return None
    difficult = _number(entry.findtext("difficult")) == 1
    return Box(-1, (ymin - 1, xmin - 1, ymax, xmax), difficult)


def _number(text: str | None) -> float | None:
    """Text as a number, which need not be finite."""
    try:
        return float(text or "")
    except ValueError:
        return None


def _parse(path: Path) -> Element:
    """The root element of an XML without DOCTYPE.

    Raises:
        DataError: It has one, is no XML, or cannot be opened.
    """

    def refuse(*_: object) -> None:
        raise DataError(f"{path.name} must be XML without a DOCTYPE, but has one.")

    builder, parser = TreeBuilder(), expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = builder.start, builder.end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = builder.data, refuse
    try:
        parser.Parse(path.read_bytes(), True)
    except expat.ExpatError as error:
        raise DataError(f"{path.name} must be XML, but got: {error}.") from error
    except OSError as error:
        raise DataError(f"{path} must be a readable file, but got: {error.strerror}.") from error
    root = builder.close()
    if root.tag != "annotation":
        raise DataError(f"{path.name} must hold an <annotation>, but its root is <{root.tag}>.")
    return root


def _sample(
    root: Path,
    folder: Folder,
    objects: Objects,
    labels: Mapping[str, int],
    skipped: dict[str, list[str]],
) -> BoxSample:
    """One picture with its boxes."""
    names = with_endings(objects.path.stem)
    if inside(objects.filename):
        names.append(objects.filename)
    path = find_picture(names, folder.pictures)
    path = path or folder.pictures[0] / f"{objects.path.stem}.jpg"
    boxes: list[Box] = []
    for name, box in objects.named:
        if name in labels:
            boxes.append(Box(labels[name], box.edges, box.crowd))
        else:
            skipped.setdefault(UNKNOWN_NAME, []).append(f"{objects.path.name}: {name}")
    return BoxSample(path.relative_to(root).as_posix(), path, tuple(boxes), objects.size)
