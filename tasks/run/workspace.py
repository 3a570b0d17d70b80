"""Where a run keeps its files, and how they are written: whole or not at all, always the same."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

_PROFILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold


class WorkspaceError(ValueError):
    """A file of the run that cannot be written, is missing, or is not what it should be."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folders of one run.

    Attributes:
        root: What the run makes; one folder a stage.
        state: What a resumed run needs and nobody else: journals, checkpoints, locks, timings.
            It lies outside ``root`` because a stage's products are deleted before it runs again.
        store: What all runs share: scores by content.
    """

    root: Path
    state: Path
    store: Path = Path(".edgenas") / "store"

    @staticmethod
    def of(profile: str | None = None, base: Path = Path()) -> Workspace:
        """The workspace of a profile below ``base``: ``artifacts/``, or ``runs/<profile>/``.

        Raises:
            WorkspaceError: The profile's name cannot be the name of a folder.
        """
        if profile is None:
            return Workspace(base / "artifacts", base / ".edgenas" / "state" / "artifacts")
        if not _PROFILE.fullmatch(profile):
            raise WorkspaceError(
                f"profile must be letters, digits, '_', '-' and '.', but got {profile!r}."
            )
        return Workspace(base / "runs" / profile, base / ".edgenas" / "state" / "runs" / profile)

    @property
    def data(self) -> Path:
        """Folder of the prepared data set."""
        return self.root / "data"

    @property
    def supernet(self) -> Path:
        """Folder of the trained supernet."""
        return self.root / "supernet"

    @property
    def search(self) -> Path:
        """Folder of the candidates and their front."""
        return self.root / "search"

    @property
    def candidates(self) -> Path:
        """The store of scores, shared by all runs here; see ``tasks.candidates.records``."""
        return self.store / "candidates.db"

    @property
    def finalists(self) -> Path:
        """Folder with one folder a fine-tuned architecture."""
        return self.root / "finalists"

    @property
    def selection(self) -> Path:
        """Folder of the front over the finalists."""
        return self.root / "selection"

    @property
    def report(self) -> Path:
        """Folder of the report."""
        return self.root / "report"


def check_writable(*places: Path) -> None:
    """Refuse files or folders that could not be written, before anything is done for them.

    Raises:
        WorkspaceError: A place, or the nearest folder above it that exists, is read-only.
    """
    for place in places:
        path = place.absolute()
        nearest = next(one for one in (path, *path.parents) if one.exists())
        if path.is_file():
            nearest = path.parent  # files are replaced
        if not nearest.is_dir():
            raise WorkspaceError(f"{place} must be writable, but {nearest} is no folder.")
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise WorkspaceError(
                f"{place} must be writable, but {nearest} cannot be written to. Work in a folder "
                "that is yours, or name another one."
            )


@contextmanager
def explain_full_disk(path: Path) -> Iterator[None]:
    """Turn a full disk into one clear line.

    Raises:
        WorkspaceError: The disk filled up while ``path`` was written.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise WorkspaceError(
            f"the disk must have room for {path}, but it is full. Free some space and run again."
        ) from error


def write_atomically(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    """Give ``write`` a temporary file in the target's folder, then move that file over ``path``.

    Raises:
        WorkspaceError: The disk is full; ``path`` is as it was.
    """
    with explain_full_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as stream:
                write(stream)
                stream.flush()
                os.fchmod(stream.fileno(), 0o644)  # mkstemp makes it private
                os.fsync(stream.fileno())
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file or none.

    Raises:
        WorkspaceError: The disk is full.
    """

    def write(stream: IO[bytes]) -> None:
        stream.write(content)

    write_atomically(path, write)


def _plain(value: object) -> object:
    """A NumPy number or array as what JSON knows."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def write_json(path: Path, obj: object) -> None:
    """Write ``obj`` with sorted keys; the same object gives the same bytes.

    Raises:
        WorkspaceError: The disk is full.
        ValueError: A number is not finite; unknown numbers are null.
    """
    text = json.dumps(obj, sort_keys=True, indent=1, allow_nan=False, default=_plain) + "\n"

    def write(stream: IO[bytes]) -> None:
        stream.write(text.encode())

    write_atomically(path, write)


def read_json(path: Path) -> Any:
    """Read what :func:`write_json` wrote.

    Raises:
        WorkspaceError: There is no such file, or it is not JSON.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise _missing(path) from error
    except ValueError as error:
        raise WorkspaceError(f"{path} must be JSON, but got: {error}.") from error


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays by name; the same arrays give the same bytes.

    Unlike ``numpy.savez`` the entries carry a fixed time. They are stored without compression,
    whose bytes would depend on the version of zlib.

    Raises:
        WorkspaceError: The disk is full.
        ValueError: An array holds Python objects.
    """

    def write(stream: IO[bytes]) -> None:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
            for name in sorted(arrays):
                info = zipfile.ZipInfo(f"{name}.npy", _ZIP_EPOCH)
                info.create_system = 3  # else it names the operating system
                info.external_attr = 0o644 << 16
                with archive.open(info, "w", force_zip64=True) as entry:
                    array = np.ascontiguousarray(arrays[name]).reshape(np.shape(arrays[name]))
                    np.lib.format.write_array(entry, array, allow_pickle=False)

    write_atomically(path, write)


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Read every array of an ``.npz``; pickled objects are refused.

    Raises:
        WorkspaceError: There is no such file, it is no ``.npz``, it is cut, or it holds objects.
    """
    try:
        # NumPy leaves a damaged file open when it opens it itself.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise _missing(path) from error
    except (ValueError, OSError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise WorkspaceError(
            f"{path} must be an .npz of plain arrays, but got: {error}"
        ) from error


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_folder(folder: Path) -> str:
    """SHA-256 over names and contents of a folder's files, in hexadecimal."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            total.update(f"{path.relative_to(folder)}\0{sha256_file(path)}\n".encode())
    return total.hexdigest()


def _missing(path: Path) -> WorkspaceError:
    """The error for a file that an earlier stage should have made."""
    return WorkspaceError(
        f"{path} must exist, but there is none. Run the stage that makes it first."
    )
