"""Free space against what a run needs, and what uses it."""

from __future__ import annotations

import configparser
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from flows.checkup.finding import Finding, bad, good, note
from tasks.run.disk import bytes_of, said

LEAST_BYTES: Final = 200_000_000
"""What the smallest run needs beside its results: drafts, logs, growing databases."""
COPIES: Final = 4
"""Of results: themselves, DVC's cache and remote, and drafts of the next ones."""
LARGE: Final = 0.5
"""Share of the free space from which on what old runs left is worth a word."""


def look(root: Path) -> Iterator[Finding]:
    """The disk that the project lies on."""
    runs = [root / "artifacts", *sorted((root / "runs").glob("*"))]
    largest = max(map(bytes_of, runs), default=0)
    needed = LEAST_BYTES + COPIES * largest
    free = shutil.disk_usage(root).free
    if free < needed:
        yield bad(
            "disk",
            f"{said(needed)} must be free for a run as large as one here, but {said(free)} are.",
            "free some: python -m flows prune tells what old runs left.",
        )
    else:
        yield good("disk", f"{said(free)} free; a run as large as one here needs {said(needed)}")
    kept = {path.name: bytes_of(path) for path in sorted((root / ".edgenas").glob("*"))}
    used = {
        "artifacts/": bytes_of(root / "artifacts"),
        "runs/": bytes_of(root / "runs"),
        **{f".edgenas/{name}": size for name, size in kept.items()},
        "DVC's cache": bytes_of(root / ".dvc" / "cache"),
        "DVC's remote": _remote(root),
    }
    told = ", ".join(f"{name} {said(size)}" for name, size in used.items() if size)
    left = sum(kept.values()) + used["DVC's cache"]
    if left > LARGE * free:
        yield note("disk", f"used: {told}", "python -m flows prune --dvc tells what may go.")
    elif told:
        yield good("disk", f"used: {told}")


def _remote(root: Path) -> int:
    """Of DVC's default remote, if it is a folder."""
    config = configparser.ConfigParser(interpolation=None)
    try:
        config.read([root / ".dvc" / "config", root / ".dvc" / "config.local"])
        name = config.get("core", "remote")
        url = config.get(f"'remote \"{name}\"'", "url")
    except (configparser.Error, OSError):
        return 0
    return 0 if "://" in url else bytes_of((root / ".dvc" / url).resolve())
