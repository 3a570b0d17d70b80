"""Independent pieces of work in processes of their own, which end when this one does."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Final, final


class WorkersError(ValueError):
    """A number of processes that is none, or processes that do not last."""


LOSSES: Final = 3
"""So many processes may be killed in a row without a piece that is done between them."""

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
            WorkersError: Its process was killed, again and again.
        """
        try:
            return self._run(work, pieces, advanced)
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
        work: Callable[[Any, Report], Any],
        pieces: Sequence[Any],
        advanced: Callable[[int, str], None],
    ) -> list[Any]:
        done = dict.fromkeys(range(len(pieces)), 0)
        results: dict[int, Any] = {}
        losses, before = 0, 0
        while len(results) < len(pieces):
            try:
                self._go_on(work, pieces, advanced, done, results)
            except BrokenProcessPool as error:
                # One process that is gone takes the others with it; all begin from what they
                # have saved.
                self._kill()
                losses, before = 1 if len(results) > before else losses + 1, len(results)
                if losses == LOSSES:
                    raise WorkersError(
                        "a process that trains must stay until its piece is done, but one was "
                        f"killed {LOSSES} times in a row, for want of memory as a rule. Free "
                        "some, or set EDGENAS_WORKERS=1; the same command goes on where this "
                        "ended."
                    ) from error
        return [results[number] for number in range(len(pieces))]

    def _go_on(
        self,
        work: Callable[[Any, Report], Any],
        pieces: Sequence[Any],
        advanced: Callable[[int, str], None],
        done: dict[int, int],
        results: dict[int, Any],
    ) -> None:
        """Fill ``results`` with those that are not there, and ``done`` with what is reported.

        Raises:
            BrokenProcessPool: A process was killed, or crashed in native code.
        """
        executor = self._started()
        numbers = {
            executor.submit(_work, work, number, piece): number
            for number, piece in enumerate(pieces)
            if number not in results
        }
        pending: set[Future[Any]] = set(numbers)
        while pending:
            finished, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
            while not self._reports.empty():
                number, steps, note = self._reports.get()
                done[number] = steps
                advanced(sum(done.values()), note)
            errors = []
            for future in finished:
                error = future.exception()
                if error is None:
                    results[numbers[future]] = future.result()
                else:
                    errors.append(error)
            if errors:
                raise min(errors, key=lambda error: isinstance(error, BrokenProcessPool))

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
