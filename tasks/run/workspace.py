"""Where a run keeps its files, and how they are written: whole or not at all, always the same."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tasks.run.rows import AnyRows, Rows, blocks

_PROFILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold
_ZIP_HEAD = 30  # bytes before the name of an entry; its last four are the lengths of name and more
_CHECKED = 2**28  # bytes of a mapped array up to which its checksum is looked at


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
        """The store of scores, shared by all runs here; see ``tasks.candidates.score_store``."""
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


def write_npz(path: Path, arrays: Mapping[str, AnyRows]) -> None:
    """Write arrays by name; the same arrays give the same bytes.

    Unlike ``numpy.savez`` the entries carry a fixed time. They are stored without compression,
    whose bytes would depend on the version of zlib, so that :func:`map_npz` can read them by
    position. Of :class:`tasks.run.rows.Rows` a few are held in memory at a time.

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
                    _write_array(entry, arrays[name])

    write_atomically(path, write)


def _write_array(entry: IO[bytes], array: AnyRows) -> None:
    """One array in the form of ``.npy``."""
    if not isinstance(array, Rows):
        plain = np.ascontiguousarray(array).reshape(np.shape(array))
        np.lib.format.write_array(entry, plain, allow_pickle=False)
        return
    head = {
        "descr": np.lib.format.dtype_to_descr(array.dtype),
        "fortran_order": False,
        "shape": array.shape,
    }
    np.lib.format.write_array_header_1_0(entry, head)
    for block in blocks(array):
        entry.write(block.data.cast("B"))


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Read every array of an ``.npz``; pickled objects are refused.

    Raises:
        WorkspaceError: There is no such file, it is no ``.npz``, it is cut, or it holds objects.
    """
    with _opened_npz(path) as (_, archive):
        return {name: archive[name] for name in archive.files}


def map_npz(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an ``.npz`` by name, those of single bytes (pictures, masks) read by position.

    Those are read-only views of the file: nothing of them is in memory but what was looked at
    lately, the processes of a machine share that, and the kernel takes it back when it needs it.
    Numbers of several bytes, which are small beside pictures, are read, as is what is compressed.

    Raises:
        WorkspaceError: As of :func:`read_npz`.
    """
    with _opened_npz(path) as (stream, archive):
        found = {}
        for name in archive.files:
            info = archive.zip.NameToInfo.get(f"{name}.npy")
            mapped = None if info is None else _mapped(stream, info)
            found[name] = archive[name] if mapped is None else mapped
        return found


def _mapped(stream: IO[bytes], info: zipfile.ZipInfo) -> NDArray[Any] | None:
    """A view of an entry; None where it cannot be viewed.

    Raises:
        ValueError: The entry is not what the directory of the file says.
    """
    if info.compress_type != zipfile.ZIP_STORED:
        return None
    stream.seek(info.header_offset)
    name, more = struct.unpack("<HH", stream.read(_ZIP_HEAD)[-4:])
    stream.seek(name + more, os.SEEK_CUR)
    start, form = stream.tell(), np.lib.format
    read_head = {(1, 0): form.read_array_header_1_0, (2, 0): form.read_array_header_2_0}
    shape, fortran, dtype = read_head[form.read_magic(stream)](stream)
    if dtype.itemsize != 1 or dtype.hasobject or fortran or 0 in shape or not shape:
        return None
    at = stream.tell()
    if start + info.file_size != at + int(np.prod(shape, dtype=np.int64)):
        raise ValueError(f"{info.filename} holds another number of bytes than its shape needs")
    array = np.asarray(np.memmap(stream, dtype, "r", at, shape))
    if array.nbytes <= _CHECKED:
        stream.seek(start)
        if zlib.crc32(array.data, zlib.crc32(stream.read(at - start))) != info.CRC:
            raise ValueError(f"{info.filename} has another checksum than was written")
    return array


@contextmanager
def _opened_npz(path: Path) -> Iterator[tuple[IO[bytes], Any]]:
    """The file and NumPy's reader of it.

    Raises:
        WorkspaceError: As of :func:`read_npz`.
    """
    try:
        # NumPy leaves a damaged file open when it opens it itself.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            yield stream, archive
    except FileNotFoundError as error:
        raise _missing(path) from error
    except _DAMAGED as error:
        raise WorkspaceError(
            f"{path} must be an .npz of plain arrays, but got: {error}"
        ) from error


_DAMAGED = (
    ValueError,
    OSError,
    EOFError,
    AttributeError,
    TypeError,
    KeyError,
    struct.error,
    zipfile.BadZipFile,
)
"""What NumPy and zipfile raise on a file that is cut or is something else."""


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
