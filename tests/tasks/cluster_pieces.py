"""Pieces of work for tests of clusters; in a file that processes import quickly."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from tasks.run import at_worker, workers
from tasks.run.workspace import WorkspaceError


def doubled_late(piece: int, report: workers.Report) -> tuple[int, int, int]:
    """The first pieces take longest."""
    time.sleep(0.02 * (12 - piece))
    return 2 * piece, os.getpid(), os.getppid()


def telling(piece: int, report: workers.Report) -> int:
    for step in range(1, 6):
        report(step, f"{piece} at {step}")
        time.sleep(0.1)
    return piece


def fail_on_two(piece: int, report: workers.Report) -> int:
    if piece == 2:
        raise WorkspaceError("two must be left out, but got it.")
    return piece


class UnsendableError(Exception):
    """Cannot be made again from its arguments."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def fail_oddly(piece: int, report: workers.Report) -> int:
    raise UnsendableError(1, 2)


def die_once(path: str, report: workers.Report) -> str:
    """Leaves a note of each attempt; the first kills the Dask worker that has it done."""
    with Path(path).open("a") as notes:
        notes.write("tried\n")
    if Path(path).read_text() == "tried\n":
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    return Path(path).name


def end_once(path: str, report: workers.Report) -> str:
    """The same, but the process itself ends, as by a fault of native code."""
    with Path(path).open("a") as notes:
        notes.write("tried\n")
    if Path(path).read_text() == "tried\n":
        os._exit(3)
    return Path(path).name


def end_always(piece: int, report: workers.Report) -> None:
    os._exit(3)


def linger(path: str, report: workers.Report) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(120)


def surroundings(piece: int, report: workers.Report) -> tuple[str, dict[str, str], bool]:
    return os.getcwd(), at_worker.variables(), "distributed" in sys.modules


def ignore(done: int, note: str) -> None:
    pass
