"""Pieces of work that sleep, in a file that a process imports at once."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from tasks.run.workers import Report


@dataclass(frozen=True, slots=True)
class Nap:
    """One that was taken: by which process, and from when to when (seconds since the epoch)."""

    process: int
    began: float
    ended: float


def nap(seconds: float, report: Report) -> Nap:
    """Sleep, and tell nothing of it, as trainings of candidates do."""
    began = time.time()
    time.sleep(seconds)
    return Nap(os.getpid(), began, time.time())
