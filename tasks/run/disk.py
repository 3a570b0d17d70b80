"""How much of the disk is used by what."""

from __future__ import annotations

import os
from pathlib import Path


def bytes_of(path: Path) -> int:
    """Bytes of a file, or of all files of a folder; 0: there is none. Links are not followed."""
    if path.is_file():
        return path.stat().st_size
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except OSError:  # it went meanwhile
                continue
    return total


def said(size: int) -> str:
    """Bytes as people say them.

    >>> said(999), said(1_500_000), said(2_340_000_000)
    ('999 B', '1.5 MB', '2.3 GB')
    """
    number, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if number < 1000 or unit == "TB":
            break
        number /= 1000
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
