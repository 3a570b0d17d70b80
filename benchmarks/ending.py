"""How a benchmark ends that cannot go on: in one line, as the commands do, whichever it is."""

from __future__ import annotations

import errno
import os
import sys
from types import TracebackType
from typing import Final, NoReturn

from spaces import defect

_ROOMS: Final = frozenset({"benchmarks", "flows", "hw", "spaces", "tasks"})
_NOT_OURS: Final = frozenset(
    {errno.EACCES, errno.EISDIR, errno.ENOENT, errno.ENOTDIR, errno.EPERM, errno.EROFS}
)


def end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> NoReturn:
    """Say what became of a benchmark; for ``sys.excepthook``.

    Raises:
        SystemExit: 2: bad input; 1: a defect, whose traceback is in a file; 130: Ctrl-C; 141:
            nobody reads what is printed.
    """
    if issubclass(kind, KeyboardInterrupt):
        raise SystemExit(130)
    if issubclass(kind, BrokenPipeError):  # the reader, e.g. head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141)
    mistake = _mistake(error)
    if mistake is None:
        # Of `python -m benchmarks.X` the first argument is by now the path of X.
        name = os.path.splitext(os.path.basename(sys.argv[0]))[0]
        print(defect.told(f"benchmarks.{name}", error.with_traceback(trace)), file=sys.stderr)
        raise SystemExit(1)
    print(f"error: {' '.join(mistake.split())}", file=sys.stderr)
    raise SystemExit(2)


def _mistake(error: BaseException) -> str | None:
    """What is wrong where a person can do something about it; None: a defect."""
    if isinstance(error, ValueError) and type(error).__module__.split(".")[0] in _ROOMS:
        return str(error)
    if isinstance(error, OSError) and error.errno in _NOT_OURS and error.filename:
        return f"{error.filename} must be there and ours to use, but got: {error.strerror}."
    return None
