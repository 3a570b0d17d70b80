"""What runs within a Dask worker: it keeps one process of ours, and hands pieces of work to it.

A worker has read nothing of this project and shall not: it lives longer than a version of the
code. So these functions travel to it as they are (see :mod:`tasks.run.cluster`) and use nothing
but Python's own modules. The work is done by a process that the worker starts in the project's
folder. That process reads the code as it is now, has TensorFlow and the threads of its sums to
itself, and can be killed when a piece is not wanted any more, which no thread can.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import multiprocessing
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LOOK_S = 0.3
"""How often a piece is asked for: whether it is still wanted, and what it has to report."""
SUMS = ("TF_", "OMP_", "MKL_", "OPENBLAS_", "KMP_", "XLA_", "PYTHONHASHSEED")
"""Beginnings of variables on which sums depend. Dask sets some of them for its workers."""


def look(root: str, probes: Sequence[str], packages: Sequence[str]) -> dict[str, Any]:
    """What of this process and its machine results depend on.

    Args:
        root: The checkout.
        probes: Paths of small files that must be seen.
        packages: Names of those whose versions count.

    Returns:
        ``python``, ``packages`` (versions by name), ``probes`` (their texts by path, None where
        there is no such file) and ``code``, a digest of the sources.
    """
    found: dict[str, str | None] = {}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    seen: dict[str, str | None] = {}
    for path in probes:
        try:
            seen[path] = Path(path).read_text("utf-8")
        except OSError:
            seen[path] = None
    total = hashlib.sha256()
    for room in ("spaces", "hw", "tasks"):
        for source in sorted(Path(root, room).rglob("*")):
            if source.suffix in (".py", ".yaml"):
                content = hashlib.sha256(source.read_bytes()).hexdigest()
                total.update(f"{source.relative_to(root)}\0{content}\n".encode())
    return {
        "python": ".".join(platform.python_version_tuple()[:2]),
        "packages": found,
        "probes": seen,
        "code": total.hexdigest(),
    }


def variables() -> dict[str, str]:
    """Those of this process on which sums depend."""
    return {name: value for name, value in os.environ.items() if name.startswith(SUMS)}


def work_on(order: dict[str, Any], number: int, piece: bytes) -> tuple[str, Any]:
    """Have one piece of work done by the process that this worker keeps.

    Args:
        order: What all pieces of a call share: ``team`` and ``call`` (names), ``topic`` (where
            progress is told), ``root`` (of the code), ``folder`` (to work in), ``variables``,
            ``packages`` and ``ours``, what :func:`look` found where the run is.
        number: Of the piece.
        piece: Function and argument, pickled.

    Returns:
        ``"done"`` or ``"failed"`` with a pickled result or exception, or ``"other"`` with what
        :func:`look` found here, where that is not as in the run.

    Raises:
        ChildProcessError: The process ended in the midst of it.
        InterruptedError: Nobody wants the piece any more.
    """
    from distributed import get_worker

    worker: Any = get_worker()
    key = worker.get_current_task()
    kept = getattr(worker, "edgenas", None)
    if kept is None or kept[0] != order["team"] or kept[1].poll() is not None:
        _end(worker)
        here = look(order["root"], (), order["packages"])
        if here != order["ours"]:
            return "other", here
        kept = worker.edgenas = _started(order)
    _, process, pipe = kept
    try:
        pipe.send_bytes(piece)
        while True:
            if pipe.poll(LOOK_S):
                what, told = pipe.recv()
                if what != "report":
                    return what, told
                steps, note = told
                worker.log_event(order["topic"], [order["call"], number, steps, note])
            if not _is_wanted(worker, key):
                _end(worker)
                raise InterruptedError("the piece is not wanted any more")
    except (EOFError, BrokenPipeError, ConnectionResetError):
        status = process.wait()
        _end(worker)
        raise ChildProcessError(f"its process ended with status {status}") from None


def _is_wanted(worker: Any, key: Any) -> bool:
    """Whether somebody waits for the piece, and the worker goes on."""
    task = worker.state.tasks.get(key)
    over = ("closing", "closed", "failed", "stopped")
    return task is not None and task.state != "cancelled" and worker.status.name not in over


def _started(order: dict[str, Any]) -> tuple[str, subprocess.Popen[bytes], Any]:
    """A fresh process of ours, and the pipe to it."""
    sums = tuple(order["sums"])
    own = {name: value for name, value in os.environ.items() if not name.startswith(sums)}
    paths = [order["root"], *filter(None, [os.environ.get("PYTHONPATH")])]
    ours, theirs = multiprocessing.Pipe()
    number = theirs.fileno()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "tasks.run.piece_process", str(number), str(os.getpid())],
        cwd=order["folder"],
        env={**own, **order["variables"], "PYTHONPATH": os.pathsep.join(paths)},
        pass_fds=[number],
        stdin=subprocess.DEVNULL,
    )
    theirs.close()
    return order["team"], process, ours


def _end(worker: Any) -> None:
    """Kill the process that a worker keeps, if any."""
    kept = getattr(worker, "edgenas", None)
    if kept is not None:
        _, process, pipe = kept
        process.kill()
        process.wait()
        pipe.close()
    worker.edgenas = None
