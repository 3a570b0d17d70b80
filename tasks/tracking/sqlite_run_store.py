"""Runs written straight into the rows of the project's own MLflow database.

One transaction serves a whole batch: a fraction of a millisecond for a run, where MLflow's client
takes 25 ms, and no import of MLflow (3 s). It is used only while the tables have exactly the
columns it knows, and a test holds its runs against those that MLflow's own client writes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import final

from tasks.tracking.run_store import (
    CANDIDATE_TAG,
    PARENT_TAG,
    RunNote,
    batches,
    experiment_tags,
    now_ms,
)
from tasks.tracking.tracking_store import Store

_KNOWN_COLUMNS = {
    "experiments": "experiment_id name artifact_location lifecycle_stage creation_time "
    "last_update_time workspace",
    "experiment_tags": "key value experiment_id",
    "runs": "run_uuid name source_type source_name entry_point_name user_id status start_time "
    "end_time source_version lifecycle_stage artifact_uri experiment_id deleted_time",
    "params": "key value run_uuid",
    "tags": "key value run_uuid",
    "metrics": "key value timestamp run_uuid step is_nan",
    "latest_metrics": "key value timestamp step is_nan run_uuid",
}


@final
class SqliteRunStore:
    """Rows of the project's own MLflow database, written without MLflow."""

    def __init__(self, store: Store, experiment: str, metric: str) -> None:
        """Find the experiment or create it."""
        self._database = store.database
        self._artifacts = store.artifacts
        self._experiment_id, self._location = self._open_experiment(
            experiment, experiment_tags(metric)
        )

    @property
    def experiment_id(self) -> str:
        """See :class:`RunStore`."""
        return str(self._experiment_id)

    @staticmethod
    def knows(database: Path) -> bool:
        """Whether the tables have exactly the columns this class fills."""
        with closing(sqlite3.connect(database, timeout=60)) as connection:
            return all(
                {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
                == set(columns.split())
                for table, columns in _KNOWN_COLUMNS.items()
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """One write transaction; waits for other writers (a server, other processes)."""
        with closing(
            sqlite3.connect(self._database, timeout=60, isolation_level=None)
        ) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _open_experiment(self, name: str, tags: Mapping[str, str]) -> tuple[int, str]:
        with self._transaction() as db:
            query = "SELECT experiment_id, artifact_location FROM experiments WHERE name = ?"
            found = db.execute(query, (name,)).fetchone()
            if found is None:
                time_ms = now_ms()
                db.execute(
                    "INSERT INTO experiments (name, artifact_location, lifecycle_stage, "
                    "creation_time, last_update_time) VALUES (?, ?, 'active', ?, ?)",
                    (name, (self._artifacts / name).as_posix(), time_ms, time_ms),
                )
                found = db.execute(query, (name,)).fetchone()
            db.execute(
                "UPDATE experiments SET lifecycle_stage = 'active' WHERE experiment_id = ?",
                (found[0],),
            )
            db.executemany(
                "INSERT OR IGNORE INTO experiment_tags (key, value, experiment_id) "
                "VALUES (?, ?, ?)",
                [(key, value, found[0]) for key, value in tags.items()],
            )
        return int(found[0]), str(found[1])

    def find(self, tags: Mapping[str, str]) -> dict[str, str]:
        """See :class:`RunStore`."""
        query = (
            "SELECT run_uuid, status FROM runs WHERE experiment_id = ? "
            "AND lifecycle_stage = 'active'"
        )
        values: list[str | int] = [self._experiment_id]
        for pair in tags.items():
            query += " AND run_uuid IN (SELECT run_uuid FROM tags WHERE key = ? AND value = ?)"
            values += pair
        with closing(sqlite3.connect(self._database, timeout=60)) as db:
            return dict(db.execute(query + " ORDER BY start_time DESC", values).fetchall())

    def children(self, parent: str) -> dict[str, str]:
        """See :class:`RunStore`."""
        query = (
            "SELECT candidate.value, candidate.run_uuid FROM tags AS parent "
            "JOIN tags AS candidate ON candidate.run_uuid = parent.run_uuid "
            "AND candidate.key = ? WHERE parent.key = ? AND parent.value = ?"
        )
        with closing(sqlite3.connect(self._database, timeout=60)) as db:
            return dict(db.execute(query, (CANDIDATE_TAG, PARENT_TAG, parent)).fetchall())

    def write(self, notes: Sequence[RunNote]) -> list[str]:
        """See :class:`RunStore`; one transaction for all."""
        ids = [note.run_id or _derived_id(note.key) for note in notes]
        pairs = list(zip(ids, notes, strict=True))
        time_ms = now_ms()
        with self._transaction() as db:
            self._write_runs(db, pairs, time_ms)
            db.executemany(
                "INSERT OR IGNORE INTO params (key, value, run_uuid) VALUES (?, ?, ?)",
                [(k, v[:6000], i) for i, note in pairs for k, v in note.params.items()],
            )
            db.executemany(
                "INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?) "
                "ON CONFLICT (key, run_uuid) DO UPDATE SET value = excluded.value",
                [(k, v[:8000], i) for i, note in pairs for k, v in note.tags.items()],
            )
            self._write_metrics(db, pairs, time_ms)
        return ids

    def _write_runs(
        self, db: sqlite3.Connection, pairs: Iterable[tuple[str, RunNote]], time_ms: int
    ) -> None:
        """Insert runs that are new, reopen or close those that are not."""
        # One millisecond apart, so that the table's default order is the order of trials.
        rows = [(i, note, time_ms + n) for n, (i, note) in enumerate(pairs) if note.status]
        db.executemany(
            "INSERT INTO runs (run_uuid, name, status, start_time, end_time, artifact_uri, "
            "experiment_id, source_type, source_name, entry_point_name, user_id, source_version, "
            "lifecycle_stage) VALUES (?, ?, ?, ?, ?, ?, ?, 'UNKNOWN', '', '', 'unknown', '', "
            "'active') ON CONFLICT (run_uuid) DO UPDATE SET lifecycle_stage = 'active', "
            "deleted_time = NULL, status = excluded.status, end_time = CASE WHEN "
            "status = excluded.status THEN end_time ELSE excluded.end_time END",
            [
                (
                    i,
                    note.name,
                    note.status,
                    start_ms,
                    None if note.status == "RUNNING" else start_ms,
                    f"{self._location}/{i}/artifacts",
                    self._experiment_id,
                )
                for i, note, start_ms in rows
            ],
        )
        db.executemany(
            "INSERT OR IGNORE INTO tags (key, value, run_uuid) VALUES ('mlflow.runName', ?, ?)",
            [(note.name, i) for i, note, _ in rows],
        )

    def _write_metrics(
        self, db: sqlite3.Connection, pairs: Iterable[tuple[str, RunNote]], time_ms: int
    ) -> None:
        """Append the points of metrics whose last value differs from the one on record."""
        pairs = list(pairs)
        known = dict(self._latest(db, [i for i, _ in pairs]))
        rows = [
            (key, value, time_ms, i, step)
            for i, note in pairs
            for key, points in note.series()
            if known.get((i, key)) != points[-1][1]
            for step, value in points
        ]
        db.executemany(
            "INSERT OR IGNORE INTO metrics (key, value, timestamp, run_uuid, step, is_nan) "
            "VALUES (?, ?, ?, ?, ?, 0)",
            rows,
        )
        db.executemany(
            "INSERT INTO latest_metrics (key, value, timestamp, run_uuid, step, is_nan) "
            "VALUES (?, ?, ?, ?, ?, 0) ON CONFLICT (key, run_uuid) DO UPDATE SET "
            "value = excluded.value, timestamp = excluded.timestamp, step = excluded.step",
            rows,
        )

    @staticmethod
    def _latest(
        db: sqlite3.Connection, run_ids: Sequence[str]
    ) -> Iterator[tuple[tuple[str, str], float]]:
        for batch in batches(run_ids):
            marks = ", ".join("?" * len(batch))
            query = f"SELECT run_uuid, key, value FROM latest_metrics WHERE run_uuid IN ({marks})"
            for run_id, key, value in db.execute(query, batch):
                yield (run_id, key), value

    def add_artifacts(self, run_id: str, folder: str, paths: Iterable[Path]) -> None:
        """See :class:`RunStore`."""
        target = Path(self._location, run_id, "artifacts", folder)
        target.mkdir(parents=True, exist_ok=True)
        for path in paths:
            if path.is_dir():
                shutil.copytree(path, target / path.name, dirs_exist_ok=True)
            else:
                draft = target / f".{path.name}.{os.getpid()}"
                shutil.copyfile(path, draft)
                os.replace(draft, target / path.name)


def _derived_id(key: str) -> str:
    """Run id of 32 hex digits; two processes with the same key write the same run."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]
