"""What a step needs, made by a thread while the step before it is taken.

NumPy and Pillow let go of the interpreter in their loops, TensorFlow while a step runs. So on a
machine with a core to spare a batch costs no time. What is made is a function of its step alone,
and one is made at a time, in order: which thread does it, and when, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Made = TypeVar("Made")


def ahead(make: Callable[[int], Made], steps: Iterable[int]) -> Generator[Made]:
    """``make(step)`` of each step in order, one step ahead of the one that is asked for.

    Two are in memory at most: the one in use and the next. What ``make`` raises is raised when its
    step is asked for. Close it to leave before the end; that waits for the one that is being made.
    """
    with ThreadPoolExecutor(1, "ahead") as thread:
        coming: Future[Made] | None = None
        for step in steps:
            current, coming = coming, thread.submit(make, step)
            if current is not None:
                yield current.result()
        if coming is not None:
            yield coming.result()
