"""Pictures of a data set of boxes: where a picture lies that an annotation speaks of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tasks.data.dataset import BoxSample, Split, split_of
from tasks.data.files import PICTURES, folders_in, hidden


def picture_folders(root: Path, beside: Path, split: Split | None) -> list[Path]:
    """Folders in which the pictures of a split may lie, the likeliest first.

    Args:
        root: The data set.
        beside: The folder of the annotations.
        split: The split; None: there are no splits.
    """
    images = [root / "images", root / "JPEGImages", beside / "images", beside / "JPEGImages"]
    holders = [folder for folder in (*images, root) if folder.is_dir()]
    of_split = [
        inner
        for folder in holders
        for inner in folders_in(folder)
        if split is not None and split_of(inner.name) == split
    ]
    deeper = [folder / "images" for folder in of_split]
    ordered = [*deeper, *of_split, *images, beside, root]
    return [folder for folder in dict.fromkeys(ordered) if folder.is_dir()]


def find_picture(names: Iterable[str], folders: Sequence[Path]) -> Path | None:
    """The first file of one of the names in the first folder that has one."""
    wanted = list(names)
    paths = (folder / name for folder in folders for name in wanted)
    return next((path for path in paths if path.is_file()), None)


def unmentioned(splits: Mapping[Split, Sequence[BoxSample]]) -> list[str]:
    """Pictures that lie beside those of a data set and are none of them, by folder and name."""
    used = {sample.picture for part in splits.values() for sample in part}
    folders = {path.parent for path in used if isinstance(path, Path) and path.is_file()}
    return [
        f"{path.parent.name}/{path.name}"
        for folder in sorted(folders)
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in PICTURES and path not in used and not hidden(path.name)
    ]


def with_endings(stem: str) -> list[str]:
    """A picture's possible names, when only the stem is known."""
    return [stem + ending for each in sorted(PICTURES) for ending in (each, each.upper())]


def inside(name: str) -> bool:
    """Whether a name stays in the folder it is looked for in."""
    path = Path(name)
    return bool(name) and "\0" not in name and not path.is_absolute() and ".." not in path.parts
