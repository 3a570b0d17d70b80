"""What becomes of an exception that nobody foresaw: one line, and a file with its traceback.

For the commands of all rooms; so it imports nothing of them.
"""

from __future__ import annotations

import os
import platform
import shlex
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Final

LOGS: Final = Path(".edgenas") / "log"
_LONGEST: Final = 300  # characters of a message that was not written for people


def told(doing: str, error: BaseException) -> str:
    """One line for standard error: what was being done, what went wrong, and where more is.

    Notes of the exception (``add_note``) say what was being done more exactly, the last first.

    Args:
        doing: The command, such as ``flows run``.
        error: What nobody foresaw.
    """
    notes = getattr(error, "__notes__", [])
    where = ", ".join([doing, *reversed(notes)])
    said = " ".join(str(error).split())[:_LONGEST]
    what = f"{type(error).__name__}: {said}" if said else type(error).__name__
    path = _write(where, error)
    more = f"The traceback is in {path}." if path else "Nowhere could its traceback be written."
    return f"error: {where} must end by itself, but got {what}. This is a defect. {more}"


def _write(where: str, error: BaseException) -> Path | None:
    """Keep the traceback in the project's log folder, else in that for temporary files."""
    head = f"{where}\n{shlex.join(sys.orig_argv)}\n{time.strftime('%Y-%m-%d %H:%M:%S %z')}, "
    head += f"Python {platform.python_version()}, {platform.platform()}\n\n"
    text = head + "".join(traceback.format_exception(error))
    name = f"defect-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    for folder in (LOGS, Path(tempfile.gettempdir())):
        try:
            if folder == LOGS:
                if not LOGS.parent.is_dir():  # not in a project where something has run
                    continue
                LOGS.mkdir(exist_ok=True)
            path = folder / name
            path.write_text(text, "utf-8", "backslashreplace")
        except OSError:
            continue
        return path
    return None
