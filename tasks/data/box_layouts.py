"""Folders of boxes that are laid out for another reader: what they are, and what to do."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Final

from tasks.data.dataset import DataError
from tasks.data.files import JsonFile, files_below, hidden, is_picture

_LOOKED_AT: Final = 20_000  # files, for this is said when nothing can be read anyway
_HEAD: Final = 4096  # bytes of a text file, far more than a line of YOLO
_LINE_OF_YOLO: Final = re.compile(r"\d+(\s+[-+\d.eE]+){4,}")


def cure(root: Path, mine: str) -> str:
    """What a folder seems to hold in place of what was looked for; nothing if it does not tell.

    Args:
        root: The data set.
        mine: The format that found nothing, ``coco`` or ``voc``.

    Returns:
        A sentence, to stand behind a refusal, with a blank before it.
    """
    paths = list(itertools.islice(files_below(root), _LOOKED_AT))
    paths = sorted(path for path in paths if not hidden(path.name))
    stems = {path.stem for path in paths if is_picture(path)}
    texts = [path for path in paths if path.suffix.lower() == ".txt" and path.stem in stems]
    found = {path.suffix.lower(): path.relative_to(root).as_posix() for path in paths[::-1]}
    if yolo := next((path for path in texts if _is_yolo(path)), None):
        return (
            f" {yolo.relative_to(root).as_posix()} has the form of YOLO, which is not read: "
            "export the boxes as COCO or Pascal VOC, as labelling tools can."
        )
    if mine == "coco" and ".xml" in found:
        return f" There is {found['.xml']}: if it is of Pascal VOC, set data.format to voc."
    jsons = [path for path in paths if path.suffix.lower() == ".json"]
    if labelme := next((path for path in jsons if path.stem in stems and _is_labelme(path)), None):
        return (
            f" {labelme.relative_to(root).as_posix()} has the form of labelme, one JSON a "
            "picture, which is not read: convert them to COCO."
        )
    if mine == "voc" and jsons:
        return f" There is {found['.json']}: if it is of COCO, set data.format to coco."
    return ""


def _is_yolo(path: Path) -> bool:
    """Whether each line is a class and at least four numbers."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD).decode("utf-8", "replace")
    except OSError:
        return False
    lines = [line for line in head.splitlines() if line.strip()]
    whole = lines if len(head) < _HEAD else lines[:-1]
    return bool(whole) and all(_LINE_OF_YOLO.fullmatch(line.strip()) for line in whole)


def _is_labelme(path: Path) -> bool:
    """Whether it is an object with ``shapes``."""
    try:
        tree = JsonFile(path, "labelme").tree
    except DataError:
        return False
    return isinstance(tree, dict) and isinstance(tree.get("shapes"), list)


def some(names: list[str], most: int = 3) -> str:
    """A few names of many, in words; nothing for none.

    >>> some(["a", "b"]), some(list("abcde"))
    ('a, b', 'a, b, c and 2 more')
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
