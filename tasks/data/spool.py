"""Where decoded samples wait until all of them are known: on the disk and not in memory.

Which split a sample is in, how many channels all pictures get, and by what pictures of 16 bits are
divided is known when the last one is decoded. Until then each lies in a file that has no name, so
that nothing of it is left when the process ends, however it does. It is read by position: the
kernel fetches what is looked at, and takes memory back from what is not.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from tasks.run.workspace import explain_full_disk

LEAST_BYTES: Final = 512
"""Of an array that is put on the disk; what is smaller costs as much there as in memory."""
_SEGMENT: Final = 2**28  # bytes that are mapped at once
_ALIGNED: Final = 64  # bytes


@final
class Spool:
    """A nameless file of arrays; several threads may fill it.

    Args:
        folder: On the disk that has room for all of them; it is made if it is missing.

    Raises:
        WorkspaceError: The disk is full, here or when an array is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._lock = folder, threading.Lock()
        with explain_full_disk(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder)
        self._segment: mmap.mmap | None = None
        self._begin = self._next = self._end = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()  # what is mapped stays readable until nobody looks at it

    def keep(self, content: Any) -> Any:
        """The same content, with its large arrays on the disk: read-only views of the file.

        Arrays are looked for in tuples, named ones included, at any depth.
        """
        if isinstance(content, np.ndarray) and content.nbytes >= LEAST_BYTES:
            return self._kept(content)
        if isinstance(content, tuple):
            parts = [self.keep(part) for part in content]
            return type(content)(*parts) if hasattr(content, "_fields") else tuple(parts)
        return content

    def _kept(self, array: NDArray[Any]) -> NDArray[Any]:
        segment, begin, at = self._reserve(array.nbytes)
        with explain_full_disk(self._folder):
            _write(self._file.fileno(), np.ascontiguousarray(array), at)
        view = np.frombuffer(segment, array.dtype, array.size, at - begin)
        return view.reshape(array.shape)

    def _reserve(self, size: int) -> tuple[mmap.mmap, int, int]:
        """A segment, where in the file it begins, and where in the file there is room."""
        with self._lock, explain_full_disk(self._folder):
            if self._segment is None or self._next + size > self._end:
                room = max(_SEGMENT, -(-size // mmap.ALLOCATIONGRANULARITY) * mmap.PAGESIZE)
                self._begin = self._next = self._end
                self._end += room
                os.ftruncate(self._file.fileno(), self._end)
                self._segment = mmap.mmap(
                    self._file.fileno(), room, prot=mmap.PROT_READ, offset=self._begin
                )
            at, self._next = self._next, self._next + -(-size // _ALIGNED) * _ALIGNED
            return self._segment, self._begin, at


def _write(file: int, array: NDArray[Any], at: int) -> None:
    """All bytes of an array at a place of a file; a full disk is an error and not a signal."""
    left = array.data.cast("B")
    while left:
        done = os.pwrite(file, left, at)
        left, at = left[done:], at + done
