"""Pictures of a data set of boxes: where a picture lies that an annotation speaks of."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import Final, final

from tasks.data.dataset import Box, BoxSample, Split, split_of
from tasks.data.files import any_case, files_below, folders_in, is_picture, one_form

LONGEST: Final = 255  # bytes of a name, on the file systems there are


def picture_folders(
    root: Path, beside: Path, split: Split | None, subset: str | None = None
) -> list[Path]:
    """Folders in which the pictures of a split may lie, the likeliest first.

    Args:
        root: The data set.
        beside: The folder of the annotations.
        split: The split; None: there are no splits.
        subset: What the annotations call it; a folder of that name counts as one of the split.
    """
    images = [root / "images", root / "JPEGImages", beside / "images", beside / "JPEGImages"]
    holders = [folder for folder in (*images, root) if folder.is_dir()]
    of_split = [
        inner
        for folder in holders
        for inner in folders_in(folder)
        if (split is not None and split_of(inner.name) == split)
        or (subset is not None and any_case(inner.name) == any_case(subset))
    ]
    deeper = [folder / "images" for folder in of_split]
    ordered = [*deeper, *of_split, *images, beside, root]
    return [folder for folder in dict.fromkeys(ordered) if folder.is_dir()]


def folder_called(root: Path, name: str) -> Path | None:
    """The folder of a name in ``root``, in whatever case: as it is written, if it is there."""
    exact = root / name
    alike = [path for path in folders_in(root) if any_case(path.name) == any_case(name)]
    return exact if exact in alike else next(iter(alike), None)


@final
class Pictures:
    """The pictures of one split, found by name or by stem.

    A file is found as it is written; else by the same letters in another form (``ü`` is one sign
    here and two there), else in another case, if there is only one; in the folders themselves
    before those below them, where it must be the only one. Folders of other splits are left out.

    Args:
        folders: Where they may lie, the likeliest first.
        split: Whose they are, None if there are no splits.
    """

    def __init__(self, folders: Sequence[Path], split: Split | None) -> None:
        self.folders, self._split = tuple(folders), split

    def named(self, name: str) -> Path | None:
        """The picture of a name, which may hold folders."""
        exact = (folder / name for folder in self.folders)
        found = next((path for path in exact if path.is_file()), None)
        return found or self._similar(name, self._by_name, lambda path: path.parts)

    def of_stem(self, stem: str) -> Path | None:
        """The picture of a name without its ending, which may hold folders."""
        return self._similar(stem, self._by_stem, lambda path: path.with_suffix("").parts)

    def _similar(
        self,
        wanted: str,
        known: Mapping[str, Sequence[Path]],
        parts_of: Callable[[Path], tuple[str, ...]],
    ) -> Path | None:
        parts = Path(wanted).parts
        alike = known.get(any_case(parts[-1]), ()) if parts else ()
        for form in (str, one_form, any_case):
            mine = [*map(form, parts)]
            found = [p for p in alike if [*map(form, parts_of(p)[-len(parts) :])] == mine]
            depth = len(parts) - 1
            direct = [p for f in self.folders for p in found if p.parents[depth] == f]
            if direct and form is not any_case:
                return direct[0]
            if len(found) == 1:
                return found[0]
        return None

    def sample(
        self,
        root: Path,
        found: Path | None,
        name: str,
        boxes: Sequence[Box],
        size: tuple[int, int] | None,
        *,
        relative: bool,
    ) -> BoxSample:
        """A picture with its boxes.

        Args:
            root: The data set.
            found: Where the picture is; None: it is not there.
            name: What it would be called then.
            boxes: The objects in it.
            size: What the annotation says of it.
            relative: Whether the edges of the boxes are fractions.
        """
        path = found or self.folders[0] / name
        places = () if found else tuple(f.relative_to(root).as_posix() for f in self.folders)
        told = path.relative_to(root).as_posix()
        return BoxSample(told, path, tuple(boxes), size, relative, places)

    @functools.cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        return _grouped(self._every, lambda path: path.name)

    @functools.cached_property
    def _by_stem(self) -> dict[str, list[Path]]:
        return _grouped(self._every, lambda path: path.stem)

    @functools.cached_property
    def _every(self) -> tuple[Path, ...]:
        """Every picture below the folders that is not of another split, in order."""
        found: dict[Path, None] = {}
        for folder in self.folders:
            for path in sorted(files_below(folder)):
                inner = path.relative_to(folder).parts[:-1]
                if is_picture(path) and {*map(split_of, inner)} <= {None, self._split}:
                    found[path] = None
        return tuple(found)


def _grouped(paths: Iterable[Path], name_of: Callable[[Path], str]) -> dict[str, list[Path]]:
    """Paths by their name, whatever its case."""
    named: dict[str, list[Path]] = {}
    for path in paths:
        named.setdefault(any_case(name_of(path)), []).append(path)
    return named


def unmentioned(
    root: Path, splits: Mapping[Split, Sequence[BoxSample]]
) -> dict[Split | None, list[str]]:
    """Pictures that lie beside those of a data set and are none of them, by path in it.

    They belong to the split whose pictures lie in folders of the same split's name; to None if
    none of its pictures do. What several splits share is train's.
    """
    owners: dict[Split | None, Split] = {}
    used: set[Path] = set()
    for split, samples in splits.items():
        for picture in (sample.picture for sample in samples):
            if isinstance(picture, Path) and picture.is_file():
                used.add(picture)
                told = _told(root, picture)
                owners[told] = split if owners.get(told, split) == split else "train"
    lone: dict[Split | None, list[str]] = {}
    for holder in sorted({_holder(root, path) for path in used}):
        for path in sorted(holder.iterdir() if holder == root else files_below(holder)):
            if is_picture(path) and path not in used and path.is_file():
                owner = owners.get(_told(root, path))
                lone.setdefault(owner, []).append(path.relative_to(root).as_posix())
    return lone


def _told(root: Path, picture: Path) -> Split | None:
    """The split that a folder of a picture is named after."""
    return next(filter(None, map(split_of, picture.relative_to(root).parts[:-1])), None)


def _holder(root: Path, picture: Path) -> Path:
    """The folder of pictures that a picture lies in: ``images``, or the uppermost."""
    above = picture.relative_to(root).parts[:-1]
    named = [n for n, part in enumerate(above) if part.lower() in ("images", "jpegimages")]
    return root.joinpath(*above[: named[-1] + 1 if named else 1])


def inside(name: str) -> bool:
    """Whether a name stays in the folder it is looked for in."""
    path = Path(name)
    if not name or "\0" in name or too_long(name):
        return False
    return not path.is_absolute() and not PureWindowsPath(name).drive and ".." not in path.parts


def too_long(name: str) -> bool:
    """Whether no file can be called so."""
    return any(len(os.fsencode(part)) > LONGEST for part in Path(name).parts)
