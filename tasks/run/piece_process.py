"""The process in which a Dask worker has pieces of work done, one after the other.

It is started by :mod:`tasks.run.at_worker`, speaks with the worker over a pipe, and ends when the
worker does, or when nothing has come for a while: it holds TensorFlow and a data set in memory.
"""

from __future__ import annotations

import pickle
import signal
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from typing import Any, Final

from tasks.run.workers import follow

IDLE_S: Final = 60.0


def serve(pipe: Connection[Any, Any]) -> None:
    """Do what comes until nothing does for :data:`IDLE_S`, or the other end is closed."""
    while pipe.poll(IDLE_S):
        try:
            piece = pipe.recv_bytes()
        except EOFError:
            return
        pipe.send(_done(piece, pipe))


def _done(piece: bytes, pipe: Connection[Any, Any]) -> tuple[str, bytes]:
    """``"done"`` with the result, or ``"failed"`` with exception and traceback."""
    try:
        work, argument = pickle.loads(piece)
        result = work(argument, lambda steps, note: pipe.send(("report", (steps, note))))
        return "done", pickle.dumps(result)
    except Exception as error:
        text = traceback.format_exc()
        try:
            made = pickle.dumps((error, text))
            pickle.loads(made)
            return "failed", made
        except Exception:  # it may hold anything, or want more than it holds
            told = RuntimeError(f"{type(error).__name__}: {error}")
            return "failed", pickle.dumps((told, text))


def main() -> None:
    """Serve the pipe whose number is given; then comes that of the worker's process."""
    number, parent = map(int, sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the worker's
    threading.Thread(target=follow, args=(parent,), daemon=True).start()
    serve(Connection(number))


if __name__ == "__main__":
    main()
