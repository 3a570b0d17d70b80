"""Old searches in the project's own MLflow store: which may go, and how they go.

A parent run may go when there are newer ones of its name in its experiment. Of a run that a
registered model came from, only the candidates go: the model's lineage, with the report of its
search, stays.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tasks.tracking.run_store import CANDIDATE_TAG, PARENT_TAG, batches
from tasks.tracking.sqlite_run_store import SqliteRunStore
from tasks.tracking.tracking_store import STORE_FOLDER

_ROWS: Final = (
    ("latest_metrics", "run_uuid"),
    ("metrics", "run_uuid"),
    ("params", "run_uuid"),
    ("tags", "run_uuid"),
    ("logged_model_metrics", "run_id"),
    ("inputs", "source_id"),
    ("inputs", "destination_id"),
    ("runs", "run_uuid"),
)
"""Tables with rows of a run, and the column that names it; the run itself is the last."""
_BUSY_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class OldRuns:
    """What may go.

    Attributes:
        parents: Searches of which nothing stays.
        runs: All runs that go, these included.
        folders: Of their artifacts.
        bytes: About those of the database.
    """

    parents: int
    runs: tuple[str, ...]
    folders: tuple[Path, ...]
    bytes: int


def old_runs(root: Path, keep: int) -> OldRuns | None:
    """What may go of the own store of a project; None: there is none, or MLflow changed its form.

    Args:
        root: The project.
        keep: How many searches of a name stay in an experiment, 1 or more; those that go on stay.
    """
    database = root / STORE_FOLDER / "mlflow.db"
    if not database.is_file() or not SqliteRunStore.knows(database):
        return None
    with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as db:
        old = _old_parents(db, keep)
        models = _with_models(db)
        going: list[str] = []
        for parent in old:
            children = _children(db, parent)
            is_kept = parent in models or any(child in models for child, _ in children)
            going += [child for child, is_candidate in children if is_candidate or not is_kept]
            going += [] if is_kept else [parent]
        gone = set(going)
        folders = [path for path in _folders(db, going) if path.is_dir()]
        (count,) = db.execute("SELECT COUNT(*) FROM runs").fetchone()
        share = len(going) / count if count else 0.0
        size = int(share * rows_bytes(db, {table for table, _ in _ROWS}))
    return OldRuns(sum(one in gone for one in old), tuple(going), tuple(folders), size)


def remove(root: Path, old: OldRuns) -> None:
    """Remove runs for good, their artifacts first.

    Raises:
        sqlite3.Error: The database stays busy; nothing of it changed.
    """
    for folder in old.folders:
        shutil.rmtree(folder, ignore_errors=True)
    database = root / STORE_FOLDER / "mlflow.db"
    with _transaction(database) as db:
        for table, column in _ROWS:
            for batch in batches(old.runs):
                marks = ", ".join("?" * len(batch))
                db.execute(f"DELETE FROM {table} WHERE {column} IN ({marks})", batch)
    shrink(database)


def rows_bytes(db: sqlite3.Connection, tables: Collection[str]) -> int:
    """What tables and their indexes take of a file; 0 where this SQLite does not tell."""
    marks = ", ".join("?" * len(tables))
    query = (
        "SELECT sum(pgsize) FROM dbstat WHERE name IN "
        f"(SELECT name FROM sqlite_master WHERE tbl_name IN ({marks}))"
    )
    try:
        return int(db.execute(query, tuple(tables)).fetchone()[0] or 0)
    except sqlite3.OperationalError:
        return 0


def shrink(database: Path) -> None:
    """Give free pages back to the disk, if nobody else is at the file now."""
    with closing(sqlite3.connect(database, timeout=5, isolation_level=None)) as db:
        try:
            db.execute("VACUUM")
        except sqlite3.OperationalError:
            return  # the pages are used again, at least


@contextmanager
def _transaction(database: Path) -> Iterator[sqlite3.Connection]:
    """All or nothing; rows that other tables refer to stay, with an error."""
    with closing(sqlite3.connect(database, timeout=_BUSY_S, isolation_level=None)) as db:
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")


def _old_parents(db: sqlite3.Connection, keep: int) -> list[str]:
    """Searches that are over and have ``keep`` newer ones of their name.

    A run whose search had been done before has no candidates of its own: so the newest that has
    some stays as well.
    """
    query = (
        "SELECT run_uuid, status, experiment_id, name, run_uuid IN (SELECT parent.value FROM tags "
        "AS parent JOIN tags AS one ON one.run_uuid = parent.run_uuid AND one.key = ? "
        "WHERE parent.key = ?) FROM runs "
        "WHERE run_uuid NOT IN (SELECT run_uuid FROM tags WHERE key = ?) "
        "AND run_uuid IN (SELECT run_uuid FROM tags WHERE key = 'edgenas.run_key') "
        "ORDER BY max(start_time, coalesce(end_time, 0)) DESC"
    )
    old: list[str] = []
    seen: Counter[tuple[int, str]] = Counter()
    has_candidates: set[tuple[int, str]] = set()
    rows = db.execute(query, (CANDIDATE_TAG, PARENT_TAG, PARENT_TAG))
    for run, status, experiment, name, candidates in rows:
        key = (experiment, name)
        seen[key] += 1
        is_first = bool(candidates) and key not in has_candidates
        if candidates:
            has_candidates.add(key)
        if seen[key] > keep and not is_first and status != "RUNNING":
            old.append(run)
    return old


def _with_models(db: sqlite3.Connection) -> set[str]:
    """Runs that a registered model, or one that was logged, came from."""
    query = "SELECT run_id FROM model_versions UNION SELECT source_run_id FROM logged_models"
    return {row[0] for row in db.execute(query) if row[0]}


def _children(db: sqlite3.Connection, parent: str) -> list[tuple[str, bool]]:
    """Runs below a search, and whether each is a candidate."""
    query = (
        "SELECT run_uuid, run_uuid IN (SELECT run_uuid FROM tags WHERE key = ?) "
        "FROM tags WHERE key = ? AND value = ?"
    )
    return [
        (run, bool(one)) for run, one in db.execute(query, (CANDIDATE_TAG, PARENT_TAG, parent))
    ]


def _folders(db: sqlite3.Connection, runs: Sequence[str]) -> Iterator[Path]:
    for batch in batches(runs):
        marks = ", ".join("?" * len(batch))
        query = f"SELECT artifact_uri FROM runs WHERE run_uuid IN ({marks})"
        for (uri,) in db.execute(query, batch):
            if uri and "://" not in uri:
                yield Path(uri).parent
