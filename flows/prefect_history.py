"""Old flow runs in the project's own Prefect database: which may go, and how they go.

Written straight into its tables, and only while these have the columns that are known: nothing has
to be started for it. Events go by Prefect's own service after seven days, too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tasks.tracking.retention import rows_bytes, shrink

DATABASE: Final = Path(".edgenas") / "prefect" / "prefect.db"
_BUSY_S: Final = 60.0
_BATCH: Final = 200
_ENDED: Final = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
_KNOWN: Final = {
    "flow_run": {"id", "flow_id", "parameters", "state_type", "parent_task_run_id", "start_time"},
    "task_run": {"id", "flow_run_id"},
    "log": {"flow_run_id", "task_run_id"},
    "artifact": {"flow_run_id", "task_run_id", "id"},
    "artifact_collection": {"flow_run_id", "task_run_id", "latest_id"},
    "events": {"id", "resource_id"},
    "event_resources": {"event_id"},
}
"""Columns that are used here; others may be there."""
_TABLES: Final = (*_KNOWN, "flow_run_state", "task_run_state")
"""With rows of runs."""


@dataclass(frozen=True, slots=True)
class OldFlows:
    """Flow runs that may go, those of their stages included, and about their bytes."""

    flows: int
    runs: tuple[str, ...]
    bytes: int


def old_flows(root: Path, keep: int) -> OldFlows | None:
    """What may go; None: there is no such database, or Prefect changed its form.

    Args:
        root: The project.
        keep: How many runs of a flow and profile stay, 1 or more; those that go on stay.
    """
    path = root / DATABASE
    if not path.is_file():
        return None
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
        if not _knows(db):
            return None
        query = (
            "SELECT id, state_type, row_number() OVER (PARTITION BY flow_id, "
            "coalesce(json_extract(parameters, '$.spec.profile'), "
            "json_extract(parameters, '$.profile')) ORDER BY start_time DESC) FROM flow_run "
            "WHERE parent_task_run_id IS NULL AND start_time IS NOT NULL"
        )
        tops = [one for one, state, at in db.execute(query) if at > keep and state in _ENDED]
        runs = [*tops, *_below(db, tops)]
        (count,) = db.execute("SELECT COUNT(*) FROM flow_run").fetchone()
        share = len(runs) / count if count else 0.0
        return OldFlows(len(tops), tuple(runs), int(share * rows_bytes(db, _TABLES)))


def remove(root: Path, old: OldFlows) -> None:
    """Remove flow runs with tasks, states, logs, artifacts and events.

    Raises:
        sqlite3.Error: The database stays busy; nothing of it changed.
    """
    path = root / DATABASE
    with closing(sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)) as db:
        db.execute("PRAGMA foreign_keys = ON")  # states and tasks go with their runs
        db.execute("BEGIN IMMEDIATE")
        try:
            for batch in _batches(old.runs):
                _remove(db, batch)
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")
    shrink(path)


def _remove(db: sqlite3.Connection, runs: Sequence[str]) -> None:
    marks = ", ".join("?" * len(runs))
    tasks = f"(SELECT id FROM task_run WHERE flow_run_id IN ({marks}))"
    resources = [f"prefect.flow-run.{run}" for run in runs]
    of_runs = f"(SELECT id FROM events WHERE resource_id IN ({marks}))"
    db.execute(f"DELETE FROM event_resources WHERE event_id IN {of_runs}", resources)
    db.execute(f"DELETE FROM events WHERE resource_id IN ({marks})", resources)
    for table in ("log", "artifact_collection", "artifact"):
        db.execute(f"DELETE FROM {table} WHERE flow_run_id IN ({marks})", runs)
        db.execute(f"DELETE FROM {table} WHERE task_run_id IN {tasks}", runs)
    db.execute(f"DELETE FROM flow_run WHERE id IN ({marks})", runs)


def _below(db: sqlite3.Connection, tops: Sequence[str]) -> list[str]:
    """Runs of stages, which are flows of their own, and of what they call."""
    found: list[str] = []
    for batch in _batches(tops):
        marks = ", ".join("?" * len(batch))
        query = (
            "SELECT id FROM flow_run WHERE parent_task_run_id IN "
            f"(SELECT id FROM task_run WHERE flow_run_id IN ({marks}))"
        )
        found += [row[0] for row in db.execute(query, batch)]
    return [*found, *_below(db, found)] if found else []


def _knows(db: sqlite3.Connection) -> bool:
    return all(
        columns <= {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
        for table, columns in _KNOWN.items()
    )


def _batches(items: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]
