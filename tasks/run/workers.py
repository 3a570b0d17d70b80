"""Independent pieces of work in processes of their own, which end when this one does."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Any, final


class WorkersError(ValueError):
    """A number of processes that is none."""


MOST, BYTES_EACH = 4, 2 << 30
"""Processes that are started unasked, and the memory that each may need: one that trains a network
for small inputs has 0.7 to 1.2 GB."""
Report = Callable[[int, str], None]
_queue: Any = None  # of a worker, set by _start


def count(pieces: int) -> int:
    """How many processes to use: ``EDGENAS_WORKERS``, else one a core that has the memory.

    At most :data:`MOST`, since few finalists have no more work for them. The number changes how
    long it takes and never what comes out.
    """
    wanted = os.environ.get("EDGENAS_WORKERS")
    if wanted is not None and not wanted.isdecimal():
        raise WorkersError(
            f"EDGENAS_WORKERS must be a whole number of processes, but got {wanted!r}."
        )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return max(1, min(pieces, int(wanted) if wanted else min(cores, _held(), MOST)))


def _held() -> int:
    """How many processes this machine's memory holds."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // BYTES_EACH
    except (ValueError, OSError):  # a system that does not tell
        return 2


def threads(of_the_run: int) -> int:
    """TensorFlow threads of one piece: two pieces share those of the run.

    It does not follow the number of processes, which must not change what comes out.
    """
    return max(1, of_the_run // 2)


@final
class Team:
    """Processes that stay until :meth:`close`, so that TensorFlow is imported once in each.

    They are started at the first work and anew after a failure; those of a team that nobody holds
    any more end.
    """

    def __init__(self, processes: int) -> None:
        """``processes``: how many at a time."""
        self._processes = processes
        self._context = multiprocessing.get_context("spawn")
        self._executor: ProcessPoolExecutor | None = None
        self._reports: Any = None

    def run_all(
        self,
        work: Callable[[Any, Report], Any],
        pieces: Sequence[Any],
        advanced: Callable[[int, str], None],
    ) -> list[Any]:
        """Call ``work(piece, report)`` for every piece.

        Args:
            work: A function of a module, not a closure.
            pieces: What to hand it; small, for it is copied.
            advanced: Told the sum of what the pieces reported last, and a note.

        Returns:
            What ``work`` returned, in the order of the pieces.

        Raises:
            Exception: What a piece raised; the others are stopped.
        """
        try:
            return self._run(self._started(), work, pieces, advanced)
        except BaseException:
            self._kill()
            raise

    def _started(self) -> ProcessPoolExecutor:
        if self._executor is None:
            self._reports = self._context.SimpleQueue()
            arguments = (self._reports, os.getpid())
            self._executor = ProcessPoolExecutor(self._processes, self._context, _start, arguments)
        return self._executor

    def _run(
        self,
        executor: ProcessPoolExecutor,
        work: Callable[[Any, Report], Any],
        pieces: Sequence[Any],
        advanced: Callable[[int, str], None],
    ) -> list[Any]:
        done = dict.fromkeys(range(len(pieces)), 0)
        futures = [
            executor.submit(_work, work, number, piece) for number, piece in enumerate(pieces)
        ]
        pending: set[Future[Any]] = set(futures)
        while pending:
            finished, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
            while not self._reports.empty():
                number, steps, note = self._reports.get()
                done[number] = steps
                advanced(sum(done.values()), note)
            for future in finished:
                future.result()
        return [future.result() for future in futures]

    def _kill(self) -> None:
        """Stop at once, whatever is being worked on."""
        if self._executor is not None:
            for process in list((self._executor._processes or {}).values()):
                process.kill()
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None

    def close(self) -> None:
        """End the processes, once they are idle."""
        if self._executor is not None:
            self._executor.shutdown()
            self._executor = None


def run_all(
    work: Callable[[Any, Report], Any],
    pieces: Sequence[Any],
    processes: int,
    advanced: Callable[[int, str], None],
) -> list[Any]:
    """:meth:`Team.run_all` by a team that is there for this only."""
    team = Team(processes)
    try:
        return team.run_all(work, pieces, advanced)
    finally:
        team.close()


def _start(reports: Any, parent: int) -> None:
    """Prepare a worker: die with the parent, leave Ctrl-C to it."""
    global _queue
    _queue = reports
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=follow, args=(parent,), daemon=True).start()


def follow(parent: int) -> None:
    """End when the parent has ended.

    Not by Linux' PR_SET_PDEATHSIG, which follows the *thread* that started a process: a team
    outlives the thread of the task that first gave it work.
    """
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _work(work: Callable[[Any, Report], Any], number: int, piece: Any) -> Any:
    return work(piece, lambda steps, note: _queue.put((number, steps, note)))
