"""What dead runs left: processes that nobody waits for, stages that were cut off."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flows.checkup.finding import Finding, bad, good, note
from tasks.pipeline.stages import is_running
from tasks.run.workspace import Workspace

PROC: Final = Path("/proc")
_OURS: Final = ("flows/tether.py", "multiprocessing", "prefect.", "mlflow", "-m flows", "tflite")


@dataclass(frozen=True, slots=True)
class Process:
    """A process that works in a project: numbers, its own and its parent's, and its command."""

    number: int
    parent: int
    command: str


def look(root: Path) -> Iterator[Finding]:
    """Processes and states of the project."""
    left = left_over(processes(root.resolve()))
    for one in left:
        yield bad(
            "processes",
            f"{one.number} ({one.command[:80]}) must have ended with its run, but lives.",
            f"kill {one.number}",
        )
    if not left:
        yield good("processes", "none is left of a dead run")
    for workspace in _workspaces(root):
        yield from _stages(workspace)


def processes(root: Path) -> list[Process]:
    """Those that work in a folder, as far as the system tells."""
    found = []
    for path in PROC.glob("[0-9]*"):
        try:
            if Path(os.readlink(path / "cwd")) != root:
                continue
            command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):  # it ended meanwhile, or is somebody else's
            continue
        found.append(Process(int(path.name), parent, command.strip()))
    return found


def left_over(found: list[Process]) -> list[Process]:
    """Helpers of a run, not commands of a person, whose own process is gone.

    Where a process ended its children are given to another, which is not at work here.
    """
    here = {one.number for one in found}
    return [
        one
        for one in found
        if one.number != os.getpid()
        and one.parent not in here
        and "python" in one.command
        and any(word in one.command for word in _OURS)
        and "-m flows" not in one.command
        and _is_orphan(one.parent)
    ]


def _is_orphan(parent: int) -> bool:
    """Whether a process is what takes up orphans: the first one, or one that is told to."""
    try:
        words = (PROC / str(parent) / "cmdline").read_bytes()
    except OSError:
        return True
    return parent == 1 or b"systemd" in words


def _workspaces(root: Path) -> list[Workspace]:
    names = sorted(path.name for path in (root / ".edgenas" / "state" / "runs").glob("*"))
    return [Workspace.of(None, root), *(Workspace.of(name, root) for name in names)]


def _stages(workspace: Workspace) -> Iterator[Finding]:
    if not workspace.state.is_dir():
        return
    name = workspace.root.name
    if is_running(workspace):
        yield good("runs", f"{name} is being worked on")
        return
    begun = sorted({path.name.rpartition("-")[0] for path in workspace.state.glob("*-*/")})
    if begun:
        said = f"{name} was cut off in {', '.join(begun)}"
        yield note("runs", said, "the same command takes it up.")
