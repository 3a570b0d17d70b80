"""Files as people keep them: what is looked at, what is left alone, and text that is UTF-8."""

from __future__ import annotations

import codecs
import json
import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, final

from tasks.data.dataset import DataError, Split, split_of

PICTURES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .bmp .webp .gif .tif .tiff .pgm .ppm .pnm .pbm".split()
)
NOT_READ = frozenset(
    ".heic .heif .avif .jp2 .j2k .jxl .svg .psd .exr .hdr .dcm "
    ".dng .raw .nef .nrw .cr2 .cr3 .arw .orf .raf .rw2".split()
)
"""Endings of pictures that no reader here knows: they are counted and named, not left alone."""


def is_picture(path: Path) -> bool:
    """Whether a file is one by its name, be it one that cannot be read; hidden ones are none."""
    return path.suffix.lower() in PICTURES | NOT_READ and not hidden(path.name)


def one_form(name: str) -> str:
    """A name with each letter as one sign: macOS writes ``ü`` as ``u`` and two dots."""
    return unicodedata.normalize("NFC", name)


def any_case(name: str) -> str:
    """A name as it is compared where case does not matter."""
    return one_form(name).casefold()


def hidden(name: str) -> bool:
    """Whether a system or a notebook put it there."""
    return name.startswith(".") or name == "__MACOSX"


def folders_in(root: Path) -> list[Path]:
    """The folders in ``root``, by name."""
    folders = (path for path in root.iterdir() if path.is_dir())
    return sorted(path for path in folders if not hidden(path.name))


def files_below(folder: Path) -> Iterator[Path]:
    """Every file below a folder, hidden folders left out."""
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not hidden(name)]
        yield from (Path(parent, name) for name in names)


_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # which begins as that of UTF-16 does
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks that tell an encoding; Excel and PowerShell write them."""


def read_text(path: Path) -> str:
    """A text file in UTF-8, or in what its byte order mark tells: UTF-8, UTF-16 or UTF-32.

    Raises:
        DataError: It is in another encoding, or cannot be opened.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} must be a readable file, but got: {error.strerror}.") from error
    marked = (name for mark, name in _MARKS if content.startswith(mark))
    encoding = next(marked, "utf-8-sig")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        told = "UTF-8" if encoding == "utf-8-sig" else f"{encoding.upper()} as its mark says"
        raise DataError(
            f"{path.name} must be {told}, but got the byte {error.object[error.start]:#04x} at "
            f"{error.start}. Save it as UTF-8."
        ) from error


NO_SPLIT = "file left alone: its name is of no split"


def files_of_no_split(root: Path, suffixes: tuple[str, ...]) -> list[str]:
    """The files in a folder that :func:`split_files` leaves alone, though they end as its own."""
    if root.is_file():
        return []
    paths = sorted(path for path in root.iterdir() if path.suffix.lower() in suffixes)
    return [p.name for p in paths if split_of(p.stem) is None and not hidden(p.name)]


def split_files(root: Path, suffixes: tuple[str, ...]) -> dict[Split, Path]:
    """The file of each split in a folder, or the one file, which is all train.

    Raises:
        DataError: There is none for train, or two for one split.
    """
    if root.is_file():
        return {"train": root}
    found: dict[Split, Path] = {}
    for path in sorted(root.iterdir()):
        split = split_of(path.stem)
        if split is None or path.suffix.lower() not in suffixes or hidden(path.name):
            continue
        if split in found:
            raise DataError(
                f"a folder must have one file for {split}, but got {found[split].name} and "
                f"{path.name} in {root}."
            )
        found[split] = path
    if "train" not in found:
        names = ", ".join(path.name for path in found.values()) or "none"
        raise DataError(f"a folder must have train{suffixes[0]}, but got {names} in {root}.")
    return found


@final
class JsonFile:
    """A JSON file whose fields are looked at before they are used.

    Args:
        path: The file.
        layout: What it must be laid out as, for messages.

    Raises:
        DataError: It cannot be opened, is no JSON, or holds no object.
    """

    def __init__(self, path: Path, layout: str) -> None:
        self.path, self._layout = path, layout
        try:
            self.tree: Any = json.loads(read_text(path))
        except (ValueError, RecursionError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{path.name} must be JSON, but got: {error}.") from error

    def get(self, entry: Any, key: str, kind: type | tuple[type, ...]) -> Any:
        """The field of an object.

        Raises:
            DataError: It is missing or of another type.
        """
        if not isinstance(entry, dict):
            raise DataError(
                f"{self.path.name} must be laid out as {self._layout}, but what should hold "
                f"{key} is {_excerpt(entry)}."
            )
        value = entry.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            wanted = "/".join(
                _JSON_WORDS[k] for k in (kind if isinstance(kind, tuple) else (kind,))
            )
            raise DataError(
                f"{self.path.name} must be laid out as {self._layout}, but {key} is "
                f"{_excerpt(value)}, not {wanted}, in {_excerpt(entry)}."
            )
        if isinstance(value, str) and not _is_text(value):
            raise DataError(
                f"{self.path.name} must hold text with a UTF-8 form, but got {_excerpt(value)}."
            )
        return value


_JSON_WORDS = {
    str: "text",
    int: "a whole number",
    list: "a list",
    dict: "an object",
    float: "a number",
}


def _is_text(value: str) -> bool:
    """Whether it has a UTF-8 form; half of a surrogate pair has none."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _excerpt(value: object) -> str:
    """The beginning of a value as JSON."""
    text = json.dumps(value, ensure_ascii=not (isinstance(value, str) and _is_text(value)))
    return "missing" if value is None else text if len(text) <= 60 else text[:57] + "..."
