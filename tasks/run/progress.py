"""How far a long task is: one protocol, a silent one, and one for the console."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO, final

from tasks.run.workspace import write_json

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

_QUIET_S = 5.0  # between two plain lines


class Progress(Protocol):
    """Told by a task how far it is."""

    def start(self, name: str, total: int) -> None:
        """Begin something of ``total`` equal steps."""

    def advance(self, done: int, note: str = "") -> None:
        """Say that ``done`` of the steps are behind us (counted from the start, not added)."""

    def finish(self) -> None:
        """End what was begun."""


@final
class SilentProgress:
    """Says nothing."""

    def start(self, name: str, total: int) -> None:
        """Begin."""

    def advance(self, done: int, note: str = "") -> None:
        """Go on."""

    def finish(self) -> None:
        """End."""


@final
class ConsoleProgress:
    """A bar on a terminal; elsewhere plain lines, five seconds apart or more.

    The time left is judged by the pace since the first :meth:`advance`, so a resumed task that
    begins half-way is not taken for a fast one.

    Args:
        stream: Where to write; standard error if None.
        clock: Seconds, rising; for tests.
    """

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Write to ``stream``."""
        self._stream = stream or sys.stderr
        self._clock = clock
        self._bar: tuple[RichProgress, TaskID] | None = None
        self._name = ""
        self._total = 0
        self._first: tuple[float, int] | None = None
        self._began_s = 0.0
        self._spoke_s = 0.0
        self._done = 0

    def start(self, name: str, total: int) -> None:
        """Show a bar, or say that it begins."""
        self._close_bar()
        self._name, self._total, self._first, self._done = name, total, None, 0
        self._began_s = self._spoke_s = self._clock()
        if self._stream.isatty():
            self._bar = _open_bar(self._stream, name, total)
        else:
            self._say(f"{name}: 0 of {total}")

    def advance(self, done: int, note: str = "") -> None:
        """Move the bar, or write a line when the last is five seconds old."""
        self._done = done
        now = self._clock()
        self._first = self._first or (now, done)
        if self._bar:
            self._bar[0].update(self._bar[1], completed=done, note=note)
        elif now - self._spoke_s >= _QUIET_S:
            self._spoke_s = now
            self._say(self._line(now, note))

    def finish(self) -> None:
        """Close the bar, or say how long it took."""
        elapsed = duration(self._clock() - self._began_s)
        if not self._bar:
            self._say(f"{self._name}: {self._done} of {self._total} in {elapsed}")
        self._close_bar()

    def _line(self, now: float, note: str) -> str:
        """Percent, time left and note in one line."""
        first_s, first_done = self._first or (now, 0)
        pace = (self._done - first_done) / (now - first_s) if now > first_s else 0.0
        left = f", {duration((self._total - self._done) / pace)} left" if pace > 0 else ""
        percent = 100 * self._done // max(self._total, 1)
        text = f"{self._name}: {percent} % ({self._done} of {self._total}){left}"
        return f"{text}, {note}" if note else text

    def _say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def _close_bar(self) -> None:
        if self._bar:
            self._bar[0].stop()
            self._bar = None


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(7.2), duration(75), duration(3720)
    ('7 s', '1 min 15 s', '1 h 02 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _open_bar(stream: TextIO, name: str, total: int) -> tuple[RichProgress, TaskID]:
    """A live bar with elapsed and remaining time."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as RichProgress

    bar = RichProgress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=Console(file=stream),
    )
    bar.start()
    return bar, bar.add_task(name, total=total, note="")


@final
class RecordedProgress:
    """Passes everything on, and keeps the newest state in a file for ``python -m flows status``.

    Args:
        inner: Who else is told.
        path: The file, written at most every two seconds.
    """

    def __init__(self, inner: Progress, path: Path) -> None:
        """Tell ``inner`` and keep ``path``."""
        self._inner, self._path = inner, path
        self._state: dict[str, object] = {}
        self._written_s = 0.0

    def start(self, name: str, total: int) -> None:
        """Begin."""
        self._inner.start(name, total)
        self._state = {"stage": name, "total": total, "done": 0, "note": "", "began": time.time()}
        self._write()

    def advance(self, done: int, note: str = "") -> None:
        """Go on."""
        self._inner.advance(done, note)
        first = self._state.setdefault("first", [time.time(), done])
        self._state.update(done=done, note=note, first=first)
        if time.monotonic() - self._written_s >= 2.0:
            self._write()

    def finish(self) -> None:
        """End."""
        self._inner.finish()
        self._write()

    def _write(self) -> None:
        self._written_s = time.monotonic()
        write_json(self._path, {**self._state, "now": time.time()})
