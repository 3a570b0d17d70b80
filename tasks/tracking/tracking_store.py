"""The local MLflow store: created once, under a lock, and found again after the checkout moved.

A fresh database takes MLflow seconds and about fifty migrations, and several processes that meet
one together break each other (one creates the tables another is altering). So it is built aside,
by one process, and moved into place complete. Afterwards a small marker file says which MLflow
release it was prepared for, which spares each later start the import of MLflow.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

STORE_FOLDER = Path(".edgenas", "mlflow")
LOCK_TIMEOUT_S = 300.0
"""Longer than the slowest migration: seconds on a laptop, a minute on a loaded network disk."""

_RELOCATED_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


class TrackingStoreError(ValueError):
    """The tracking database cannot be used as it is."""


@dataclass(frozen=True, slots=True)
class Store:
    """Where runs are kept.

    Attributes:
        uri: MLflow tracking URI, e.g. ``sqlite:////home/me/edgenas/.edgenas/mlflow/mlflow.db``.
        folder: folder of the project's own store; also holds the locks where ``uri`` is foreign.
        is_local: whether ``uri`` is the project's own SQLite file, which is written directly.
    """

    uri: str
    folder: Path
    is_local: bool

    @property
    def database(self) -> Path:
        """SQLite file of the project's own store."""
        return self.folder / "mlflow.db"

    @property
    def artifacts(self) -> Path:
        """Artifact folder of the project's own store."""
        return self.folder / "artifacts"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the store for this process; threads and other processes wait their turn.

        Raises:
            TimeoutError: another process held it longer than ``LOCK_TIMEOUT_S``.
        """
        with _exclusive(self.folder / "lock.db"):
            yield


def prepare_store(root: Path) -> Store:
    """Give the MLflow store of a project, created, migrated and without telemetry.

    A tracking URI that the user set in ``MLFLOW_TRACKING_URI`` is taken instead and left as it is.

    Args:
        root: folder of the project; the store is ``<root>/.edgenas/mlflow``.
    """
    quiet_mlflow()
    folder = root.resolve() / STORE_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    if uri := given_uri(root):
        return Store(uri, folder, is_local=False)
    store = Store(_own_uri(folder), folder, is_local=True)
    if not _is_prepared(store):
        with store.lock():
            if not _is_prepared(store):
                _prepare(store)
    return store


def existing_store(root: Path) -> Store | None:
    """The store of a project, as :func:`prepare_store` gives it; None: nothing was tracked yet."""
    folder = root.resolve() / STORE_FOLDER
    if given_uri(root) is None and not (folder / "mlflow.db").is_file():
        return None
    return prepare_store(root)


def given_uri(root: Path) -> str | None:
    """The tracking URI of the environment, None where it is the project's own or there is none."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    return None if not uri or uri == _own_uri(root.resolve() / STORE_FOLDER) else uri


def _own_uri(folder: Path) -> str:
    return f"sqlite:///{(folder / 'mlflow.db').as_posix()}"


def quiet_mlflow() -> None:
    """Switch off what MLflow would send or say unasked; before MLflow is imported.

    ``MLFLOW_RUN_ID`` is dropped because it overrides the parent of every run.
    """
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.pop("MLFLOW_RUN_ID", None)


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """SQLite's own file lock: it works on every system and dies with the process that holds it."""
    with closing(sqlite3.connect(path, timeout=LOCK_TIMEOUT_S, isolation_level=None)) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise TimeoutError(
                f"the tracking store must be free within {LOCK_TIMEOUT_S:.0f} s, but got "
                f"'{error}' on {path}; end the other process that holds it"
            ) from error
        yield


def _marker(store: Store) -> dict[str, str]:
    return {"mlflow": importlib.metadata.version("mlflow"), "folder": str(store.folder)}


def _read_marker(store: Store) -> dict[str, str]:
    try:
        return dict(json.loads((store.folder / "prepared.json").read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _is_prepared(store: Store) -> bool:
    return store.database.exists() and _read_marker(store) == _marker(store)


def _prepare(store: Store) -> None:
    wanted = _marker(store)
    if not store.database.exists():
        _create(store)
    else:
        if _read_marker(store).get("mlflow") != wanted["mlflow"]:
            _upgrade(store)
        _relocate(store)
    draft = store.folder / "prepared.json.tmp"
    draft.write_text(json.dumps(wanted), "utf-8")
    os.replace(draft, store.folder / "prepared.json")


def _create(store: Store) -> None:
    """Build the database beside its place, so that a kill leaves none rather than a half one."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for name in ("mlflow.store.db.utils", "alembic.runtime.migration"):
        logging.getLogger(name).setLevel(logging.WARNING)
    draft = store.folder / "mlflow.db.new"
    draft.unlink(missing_ok=True)
    uri = f"sqlite:///{draft.as_posix()}"
    opened = SqlAlchemyStore(uri, store.artifacts.as_posix())  # type: ignore[no-untyped-call]
    opened._dispose_engine()  # type: ignore[no-untyped-call]
    os.replace(draft, store.database)


def _upgrade(store: Store) -> None:
    """Bring an existing database to the schema of the installed MLflow, keeping the old file.

    Raises:
        TrackingStoreError: MLflow could not read or upgrade it.
    """
    backup = store.folder / "mlflow.db.before-upgrade"
    shutil.copyfile(store.database, backup)
    command = [sys.executable, "-m", "mlflow", "db", "upgrade", store.uri]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TrackingStoreError(
            f"MLflow {importlib.metadata.version('mlflow')} must be able to upgrade its database, "
            f"but got '{(done.stderr.strip().splitlines() or ['no message'])[-1]}' on "
            f"{store.database}; install the MLflow that wrote it, or move the file away and "
            "synchronise the runs anew"
        )


def _relocate(store: Store) -> None:
    """Point artifact paths at this folder: MLflow stores them absolute, and checkouts move."""
    tail = f"/{STORE_FOLDER.as_posix()}/artifacts"
    here = store.artifacts.as_posix()
    with closing(sqlite3.connect(store.database, timeout=60)) as connection, connection:
        for table, column in _RELOCATED_COLUMNS:
            # Table and column are constants of this file. Only what follows the tail is kept.
            connection.execute(
                f"UPDATE {table} SET {column} = ? || "
                f"substr({column}, instr({column}, ?) + length(?)) WHERE instr({column}, ?) > 0",
                (here, tail, tail, tail),
            )
