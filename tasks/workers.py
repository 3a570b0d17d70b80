"""Independent pieces of work in processes of their own, which end when this one does."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from typing import Any


class WorkersError(ValueError):
    """A number of processes that is none."""


Report = Callable[[int, str], None]
_queue: Any = None  # of a worker, set by _start


def count(pieces: int) -> int:
    """How many processes to use: ``EDGENAS_WORKERS``, else one a core, at most two.

    The number changes how long it takes and never what comes out.
    """
    wanted = os.environ.get("EDGENAS_WORKERS")
    if wanted is not None and not wanted.isdecimal():
        raise WorkersError(
            f"EDGENAS_WORKERS must be a whole number of processes, but got {wanted!r}."
        )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return max(1, min(pieces, int(wanted) if wanted else min(cores, 2)))


def threads(of_the_run: int) -> int:
    """TensorFlow threads of one piece: two pieces share those of the run.

    It does not follow the number of processes, which must not change what comes out.
    """
    return max(1, of_the_run // 2)


def run_all(
    work: Callable[[Any, Report], Any],
    pieces: Sequence[Any],
    processes: int,
    advanced: Callable[[int, str], None],
) -> list[Any]:
    """Call ``work(piece, report)`` for every piece, each in one of several fresh processes.

    Args:
        work: A function of a module, not a closure.
        pieces: What to hand it; small, for it is copied.
        processes: How many at a time.
        advanced: Told the sum of what the pieces reported last, and a note.

    Returns:
        What ``work`` returned, in the order of the pieces.

    Raises:
        Exception: What a piece raised; the others are stopped.
    """
    context = multiprocessing.get_context("spawn")
    reports = context.SimpleQueue()
    done = dict.fromkeys(range(len(pieces)), 0)
    with _executor(processes, context, reports) as executor:
        futures = [
            executor.submit(_work, work, number, piece) for number, piece in enumerate(pieces)
        ]
        pending: set[Future[Any]] = set(futures)
        while pending:
            finished, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
            while not reports.empty():
                number, steps, note = reports.get()
                done[number] = steps
                advanced(sum(done.values()), note)
            for future in finished:
                future.result()
        return [future.result() for future in futures]


@contextmanager
def _executor(processes: int, context: Any, reports: Any) -> Iterator[ProcessPoolExecutor]:
    executor = ProcessPoolExecutor(processes, context, _start, (reports, os.getpid()))
    try:
        yield executor
    except BaseException:
        for process in list((executor._processes or {}).values()):
            process.kill()
        executor.shutdown(wait=False, cancel_futures=True)
        raise
    executor.shutdown()


def _start(reports: Any, parent: int) -> None:
    """Prepare a worker: die with the parent, leave Ctrl-C to it."""
    global _queue
    _queue = reports
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)


def _work(work: Callable[[Any, Report], Any], number: int, piece: Any) -> Any:
    return work(piece, lambda steps, note: _queue.put((number, steps, note)))
