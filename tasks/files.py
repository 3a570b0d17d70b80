"""Files as people keep them: what is looked at, what is left alone, and text that is UTF-8."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tasks.dataset import DataError

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif"})


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


def read_text(path: Path) -> str:
    """A text file in UTF-8, with or without a byte order mark.

    Raises:
        DataError: It is in another encoding, or cannot be opened.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path.name} must be UTF-8, but got the byte {error.object[error.start]:#04x} at "
            f"{error.start}. Save it as UTF-8."
        ) from error
    except OSError as error:
        raise DataError(f"{path} must be a readable file, but got: {error.strerror}.") from error
