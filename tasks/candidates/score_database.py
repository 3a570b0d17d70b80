"""Where scores are kept: a SQLite file of this checkout, or a PostgreSQL database of one's own.

``EDGENAS_STORE`` names the latter. It is in the environment and not in ``params.yaml``, which
holds what changes a result: where scores are remembered changes none.

SQLAlchemy is imported when a database is opened and not before.
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, final

from tasks.run.workspace import explain_full_disk

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

VARIABLE: Final = "EDGENAS_STORE"
CONNECT_SECONDS: Final = 5
"""Within which a server must let us in."""
_LOCKED_SECONDS: Final = 60.0
"""For which a file may be locked by another process."""
_PATIENCE: Final = "SET LOCAL statement_timeout = '60s'"
"""For a row that somebody else holds, as for the lock of a SQLite file."""
_SOCKET: Final = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""A machine that is gone is noticed within half a minute, not within hours."""
_SCHEME: Final = re.compile(r"postgresql(\+psycopg2?)?://")


class StoreError(ValueError, ConnectionError):
    """A database that cannot be used; the message is one line, with the cure.

    It is an error of a connection, too: what meets it in the midst of a run is tried again.
    """


class Database(Protocol):
    """What keeps tables."""

    def transaction(self) -> AbstractContextManager[Connection]:
        """A connection for one transaction: all that is done by it is kept, or nothing is."""


def given() -> str | None:
    """The address of the database that a person named; None: there is none."""
    return os.environ.get(VARIABLE) or None


def opened(file: Path) -> Database:
    """The database that a person named, or else a file.

    Raises:
        StoreError: What was named cannot be a database of ours.
        WorkspaceError: The disk is full.
    """
    url = given()
    return SqliteFile(file) if url is None else PostgresServer(url)


@final
class SqliteFile:
    """A file, safe with many processes of one machine; each transaction is durable."""

    def __init__(self, path: Path) -> None:
        """One that is created at its first transaction.

        Raises:
            WorkspaceError: The disk is full.
        """
        from sqlalchemy import URL, create_engine, event
        from sqlalchemy.pool import NullPool

        self._path = path
        with explain_full_disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        # No connection outlives its transaction: none must be carried into another process.
        self._engine = create_engine(
            URL.create("sqlite", database=str(path)),
            poolclass=NullPool,
            connect_args={"timeout": _LOCKED_SECONDS},
            hide_parameters=True,
        )
        event.listen(self._engine, "connect", _be_durable)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """See :class:`Database`; a full disk, which SQLite tells in its own way, is told as any.

        Raises:
            WorkspaceError: The disk is full.
        """
        from sqlalchemy.exc import OperationalError

        try:
            with self._engine.begin() as connection:
                yield connection
        except (OperationalError, sqlite3.OperationalError) as error:
            said = str(getattr(error, "orig", error))
            if "full" not in said:
                raise
            with explain_full_disk(self._path):
                raise OSError(errno.ENOSPC, said) from error


def _be_durable(connection: Any, _: object) -> None:
    """Settings of a new connection to a SQLite file."""
    deadline = time.monotonic() + _LOCKED_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            # It waits for a lock anywhere but here, where several begin the same file.
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    connection.execute("PRAGMA synchronous=FULL")


@final
class PostgresServer:
    """A database that runs on many machines use at once."""

    def __init__(self, url: str) -> None:
        """``url``: as SQLAlchemy reads it; nobody is asked before the first transaction.

        Raises:
            StoreError: It is no address of PostgreSQL, or its driver is missing.
        """
        self._url = url
        try:
            self._engine = _engine(url)
        except (ValueError, ModuleNotFoundError) as error:
            raise refused(url, _words(url, error)) from None

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """See :class:`Database`.

        Raises:
            StoreError: The server cannot be reached, or does not let us.
        """
        from sqlalchemy import text
        from sqlalchemy.exc import DBAPIError

        try:
            with self._engine.begin() as connection:
                connection.execute(text(_PATIENCE))
                yield connection
        except DBAPIError as error:  # also of a table that is not ours: a person can mend it
            raise refused(self._url, _words(self._url, error)) from error


def refused(url: str, fault: str) -> StoreError:
    """The error of a database that cannot be used; a password in its address is not told."""
    return StoreError(
        f"{VARIABLE} must name a PostgreSQL database that answers and that we may write to, such "
        f"as postgresql://me@host/edgenas, but got {fault} from {_bare(url)}. Start or correct "
        "it, or unset the variable to keep scores in .edgenas/store; what was scored is not "
        "scored again."
    )


def _engine(url: str) -> Engine:
    """An engine that keeps no connection.

    Raises:
        ValueError: The address is none of a PostgreSQL database.
        ModuleNotFoundError: The driver is missing.
    """
    from sqlalchemy import create_engine, make_url
    from sqlalchemy.exc import ArgumentError
    from sqlalchemy.pool import NullPool

    if not _SCHEME.match(url):
        raise ValueError("scheme")
    try:
        address = make_url(url)
    except ArgumentError as error:
        raise ValueError("address") from error
    # Between two transactions hours of training may pass, in which a firewall forgets us.
    return create_engine(
        address, poolclass=NullPool, connect_args=dict(_SOCKET), hide_parameters=True
    )


def _words(url: str, error: Exception) -> str:
    """What an error says, in one line without a password."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import DBAPIError

    if isinstance(error, ModuleNotFoundError):
        package = "psycopg2-binary" if error.name == "psycopg2" else error.name
        return f"no Python module {error.name} to reach it (pip install {package})"
    if not isinstance(error, DBAPIError):
        scheme, found, _ = url.partition("://")
        known = _SCHEME.match(url) or not found
        return "an address that cannot be read" if known else f"the scheme {scheme!r}"
    said = " ".join(str(error.orig).split())[:200]
    address = make_url(url)
    for word in (str(address.password or ""), *address.normalized_query.get("password", ())):
        said = said.replace(word, "***") if word else said
    return f"'{said}'"


def _bare(url: str) -> str:
    """Where a database is, without who comes and by which password."""
    scheme, found, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}" if found else "what is there"
