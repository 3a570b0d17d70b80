"""``python -m flows doctor``: what is wrong here, a line each, with the cure.

Takes seconds, starts nothing, changes nothing, and asks no server but those that a person named.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from flows.checkup import disk, machine, packages, processes, profiles, servers, stores
from flows.checkup.finding import Finding, bad

MENDED: Final = 2
"""Exit status where something must be mended."""
_LOOKS: Final[tuple[tuple[str, Callable[[Path], Iterator[Finding]]], ...]] = (
    ("packages", packages.look),
    ("machine", machine.look),
    ("disk", disk.look),
    ("stores", stores.look),
    ("profiles", profiles.look),
    ("processes", processes.look),
    ("servers", servers.look),
)


def findings(root: Path) -> Iterator[Finding]:
    """All that is found, subject by subject.

    A look that cannot be finished is a finding itself: a file is missing, or is not ours.
    """
    for name, look in _LOOKS:
        try:
            yield from look(root)
        except OSError as error:
            said = f"{error.filename or root} must be readable, but got: {error.strerror}."
            yield bad(name, said, "see git status for what is missing, and chmod u+rw.")


def run(root: Path, *, as_json: bool) -> int:
    """Print all findings.

    Returns:
        0, or :data:`MENDED`.
    """
    found = []
    for one in findings(root):
        found.append(one)
        if not as_json:
            print(one.line, flush=True)
    worst = [one for one in found if one.level == "bad"]
    if as_json:
        told = {"ok": not worst, "findings": [dataclasses.asdict(one) for one in found]}
        print(json.dumps(told, indent=1))
    else:
        print(f"{len(worst)} to be mended." if worst else "All is well.")
    return MENDED if worst else 0
