"""The store that remembers every score; importing it imports SQLAlchemy."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, final

from sqlalchemy import Column, Connection, MetaData, Table, Text, func, inspect, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateTable

from spaces.space import Architecture
from tasks.candidates.records import Record, digest
from tasks.candidates.score_database import Database, StoreError
from tasks.run.workspace import write_json

TABLE: Final = Table(
    "score",
    MetaData(),
    Column("key", Text, primary_key=True),
    Column("context", Text),
    Column("architecture", Text),
    Column("result", Text),
)
_ASKED: Final = 500
"""Keys in one question; SQLite of old admits 999."""
_LOCK: Final = int.from_bytes(b"edgenas")
Rows = Sequence[Mapping[str, str]]


@final
class ScoreStore:
    """Scores by content: the key names weights, data, evaluation and architecture.

    A score is written once, in a durable transaction, and never evaluated again: not by a resumed
    search, nor by a later one with a larger budget, nor by one on another machine. Where two work
    out the same score at the same time, the first one counts for both.
    """

    def __init__(
        self, database: Database, context: Mapping[str, object], aside: Path | None = None
    ) -> None:
        """Open or create the store.

        Args:
            database: See :func:`tasks.candidates.score_database.opened`.
            context: All that a score depends on but the network.
            aside: A folder of ours, which takes scores that the database could not take; whatever
                store is asked next takes them up from there.

        Raises:
            StoreError: The database cannot be used.
            WorkspaceError: The disk is full.
        """
        self._database, self._context, self._aside = database, digest(dict(context)), aside
        with database.transaction() as connection:
            _make(connection)

    def get(self, architecture: Architecture) -> Record | None:
        """The score of an architecture, or None."""
        return self.get_many([architecture]).get(architecture)

    def put(self, architecture: Architecture, result: Mapping[str, object]) -> Record:
        """Remember a score; returns the one that counts. See :meth:`put_many`."""
        return self.put_many({architecture: result})[architecture]

    def get_many(self, architectures: Iterable[Architecture]) -> dict[Architecture, Record]:
        """The scores of those that have one.

        Raises:
            StoreError: The database cannot be used.
            WorkspaceError: The disk is full.
        """
        keys = {self._key(one): one for one in architectures}
        waiting = self._waiting()
        with self._database.transaction() as connection:
            for rows in waiting.values():
                _insert(connection, rows)
            found = _results(connection, list(keys))
        for path in waiting:
            path.unlink(missing_ok=True)
        return {keys[key]: result for key, result in found.items()}

    def put_many(
        self, results: Mapping[Architecture, Mapping[str, object]]
    ) -> dict[Architecture, Record]:
        """Remember scores, all or none; returns those that count, for the first ones do.

        Raises:
            StoreError: The database cannot be used; the scores are set aside.
            WorkspaceError: The disk is full.
        """
        keys = {self._key(one): one for one in results}
        rows = [
            {
                "key": key,
                "context": self._context,
                "architecture": one.to_json(),
                "result": json.dumps(dict(results[one]), sort_keys=True),
            }
            for key, one in keys.items()
        ]
        try:
            with self._database.transaction() as connection:
                _insert(connection, rows)
                found = _results(connection, list(keys))
        except StoreError:
            self._set_aside(rows)
            raise
        return {keys[key]: result for key, result in found.items()}

    def __len__(self) -> int:
        """Scores in this context."""
        count = select(func.count()).where(TABLE.c.context == self._context)
        with self._database.transaction() as connection:
            return connection.execute(count).scalar_one()

    def _key(self, architecture: Architecture) -> str:
        return digest(self._context, architecture.to_json())

    def _set_aside(self, rows: Rows) -> None:
        """Keep what was worked out for whoever can store it."""
        if self._aside is not None:
            write_json(self._aside / f"aside-{digest(rows)[:12]}.json", rows)

    def _waiting(self) -> dict[Path, Rows]:
        """What was set aside, by file."""
        found: dict[Path, Rows] = {}
        for path in sorted(self._aside.glob("aside-*.json")) if self._aside else ():
            with contextlib.suppress(FileNotFoundError):  # somebody else has just stored it
                found[path] = json.loads(path.read_text("utf-8"))
        return found


def try_out(database: Database) -> None:
    """Do once what a store does, and take it back.

    Raises:
        StoreError: The database does not let us.
    """
    key = f"trial {uuid.uuid4()}"
    with database.transaction() as connection:
        _make(connection)
        _insert(connection, [{"key": key, "context": "", "architecture": "", "result": "{}"}])
        _results(connection, [key])
        connection.rollback()


def _make(connection: Connection) -> None:
    """Create the table where there is none."""
    if inspect(connection).has_table(TABLE.name):
        return  # who may write to it need not be permitted to create one
    if connection.dialect.name == "postgresql":  # where two that create one would collide
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    connection.execute(CreateTable(TABLE, if_not_exists=True))


def _insert(connection: Connection, rows: Rows) -> None:
    """Add rows; of those that are there already, nothing changes."""
    if rows:
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        # In one order: two that insert the same rows wait for each other, and not in a circle.
        ordered = sorted(rows, key=lambda row: row["key"])
        connection.execute(dialect.insert(TABLE).on_conflict_do_nothing(), ordered)


def _results(connection: Connection, keys: Sequence[str]) -> dict[str, Record]:
    """The results that there are, by key."""
    found: dict[str, Record] = {}
    for at in range(0, len(keys), _ASKED):
        asked = TABLE.c.key.in_(keys[at : at + _ASKED])
        rows = connection.execute(select(TABLE.c.key, TABLE.c.result).where(asked))
        found |= {key: json.loads(result) for key, result in rows}
    return found
