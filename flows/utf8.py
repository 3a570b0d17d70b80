"""Names and texts in UTF-8, whatever the locale says.

Data comes with names such as ``grün.jpg`` in JSON of UTF-8. In a locale of another encoding Python
would look for them under other bytes, and could not print them.
"""

from __future__ import annotations

import locale
import os
import sys


def is_utf8() -> bool:
    """Whether files, their names and the screen are in UTF-8 by default."""
    encodings = (sys.getfilesystemencoding(), locale.getpreferredencoding(False))
    return all(name.lower().replace("-", "") == "utf8" for name in encodings)


def ensure() -> None:
    """Starts this command again in Python's UTF-8 mode if the locale is of another encoding.

    Processes that it starts inherit that. To be called before anything else is done.
    """
    if is_utf8() or sys.flags.utf8_mode:
        return
    os.environ["PYTHONUTF8"] = "1"
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def be_lenient() -> None:
    """Lets what a screen cannot show be shown as its number, rather than end the command."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
