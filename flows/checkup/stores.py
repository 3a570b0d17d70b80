"""The SQLite files that runs write: whether they can be read, written and believed."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from flows.checkup.finding import Finding, bad, good, note
from flows.prefect_history import DATABASE
from tasks.run.disk import said
from tasks.run.workspace import Workspace
from tasks.tracking.tracking_store import STORE_FOLDER

_SECONDS: Final = 1.0
"""For a look into all pages of a file; a large one is not looked through."""
_LOCK_S: Final = 0.3
_STEPS: Final = 20_000


def look(root: Path) -> Iterator[Finding]:
    """Each of our own databases that is there."""
    mlflow = root / STORE_FOLDER / "mlflow.db"
    scores = Workspace.of(None, root).candidates
    scores = scores if scores.is_absolute() else root / scores
    found = [
        (mlflow, "remake it: move it away; runs that go on write themselves anew."),
        (root / DATABASE, "move it away: it holds the history of runs, and no result."),
        (scores, "move it away: scores are computed anew."),
    ]
    there = [(path, cure) for path, cure in found if path.exists()]
    if not there:
        yield good("stores", "none yet; the first run makes them")
    for path, cure in there:
        yield _of(path, path.relative_to(root), cure)


def _of(path: Path, name: Path, cure: str) -> Finding:
    if not path.is_file() or not os.access(path, os.R_OK | os.W_OK):
        return bad(
            "stores",
            f"{name} must be a file that can be written, but is not.",
            f"chmod u+rw {name}",
        )
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return bad(
            "stores",
            f"{name.parent} must be ours to write to, but is not.",
            f"chmod u+rwx {name.parent}",
        )
    try:
        with closing(sqlite3.connect(path, timeout=_LOCK_S, isolation_level=None)) as db:
            whole = _faults(db)
            db.execute("BEGIN IMMEDIATE")
            db.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        if "locked" in str(error) or "busy" in str(error):
            return note(
                "stores",
                f"{name} is locked by {_holders(path)}.",
                "wait; a run waits a minute. If it stays so, end that process.",
            )
        return bad("stores", f"{name} must be a whole SQLite database, but got: {error}.", cure)
    except sqlite3.DatabaseError as error:
        return bad("stores", f"{name} must be a whole SQLite database, but got: {error}.", cure)
    if whole:
        return bad("stores", f"{name} must be a whole SQLite database, but got: {whole}.", cure)
    return good("stores", f"{name}, {said(path.stat().st_size)}")


def _faults(db: sqlite3.Connection) -> str:
    """What SQLite finds wrong within the time; empty: nothing."""
    deadline = time.monotonic() + _SECONDS
    db.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
    try:
        (said_by_it,) = db.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):
            return ""
        raise
    finally:
        db.set_progress_handler(None, 0)
    return "" if said_by_it == "ok" else " ".join(str(said_by_it).split())


def _holders(path: Path) -> str:
    """Processes that have a file open, where the system tells."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            opened = {os.readlink(one) for one in (process / "fd").iterdir()}
        except OSError:
            continue
        if str(path.resolve()) in opened and process.name != str(os.getpid()):
            found.append(process.name)
    return f"process {', '.join(found)}" if found else "another process"
