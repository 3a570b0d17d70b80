"""A real PostgreSQL on loopback, where Debian's binaries and a driver are installed."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.server import free_port, tethered

BINARIES = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
OWNER = "me"
GUARDED = "guarded"
"""The only one who needs a password."""
_PEOPLE = ("postgres", "nobody")
_START_SECONDS = 60.0
_LINE = f"host all {GUARDED} 127.0.0.1/32 scram-sha-256\n"


class Postgres:
    """A server with a folder of its own; it does not outlive this process."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries, self._folder = binaries, folder
        self._person = _person()
        self._numbers = itertools.count()
        self.port = free_port()
        self._running = contextlib.ExitStack()
        if self._person:
            os.chown(folder, self._person.pw_uid, self._person.pw_gid)
        made = ["-D", str(folder / "data"), "-U", OWNER, "-A", "trust", "-N", "-E", "UTF8"]
        subprocess.run(
            self._command("initdb", *made, "--locale=C"), check=True, capture_output=True
        )
        rules = folder / "data" / "pg_hba.conf"
        rules.write_text(_LINE + rules.read_text())

    def start(self) -> None:
        """Returns when it lets people in."""
        options = {"port": self.port, "fsync": "off", "unix_socket_directories": self._folder}
        words = [f"-c{name}={value}" for name, value in options.items()]
        data = ["-D", str(self._folder / "data"), "-h", "127.0.0.1"]
        command = self._command("postgres", *data, *words)
        self._running.enter_context(tethered(command, {}, self._folder / "log" / "server.log"))
        deadline = time.monotonic() + _START_SECONDS
        ready = self._command("pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port))
        while subprocess.run(ready, check=False).returncode:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def stop(self) -> None:
        """Ends it; what was committed stays."""
        self._running.close()

    def new_database(self) -> str:
        """The address of a database in which nothing is."""
        name = f"database_{next(self._numbers)}"
        self.tell("postgres", f"CREATE DATABASE {name}")
        return self.url(name)

    def url(self, name: str, person: str = OWNER, scheme: str = "postgresql") -> str:
        """The address of a database for a person, with the password if there is one."""
        return f"{scheme}://{person}@127.0.0.1:{self.port}/{name}"

    def tell(self, name: str, *statements: str) -> list[Any]:
        """What a database answers to the last of some statements."""
        from sqlalchemy import create_engine, text
        from sqlalchemy.pool import NullPool

        engine = create_engine(self.url(name), poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in statements:
                answer = connection.execute(text(statement))
            return list(answer.all()) if answer.returns_rows else []

    def _command(self, name: str, *words: str) -> list[str]:
        """As somebody else where we are root, for whom it does not work."""
        command = [str(self._binaries / name), *words]
        if self._person is None:
            return command
        ids = [f"--reuid={self._person.pw_uid}", f"--regid={self._person.pw_gid}"]
        return ["setpriv", *ids, "--clear-groups", *command]


def _person() -> pwd.struct_passwd | None:
    """Whom a server runs as; None: as we do."""
    if os.geteuid():
        return None
    known = {one.pw_name: one for one in pwd.getpwall()}
    found = next((known[name] for name in _PEOPLE if name in known), None)
    if found is None or shutil.which("setpriv") is None:
        pytest.skip("PostgreSQL does not run as root, and there is nobody else")
    return found


@contextlib.contextmanager
def running() -> Iterator[Postgres]:
    """A server of its own, or the test is skipped."""
    if BINARIES is None:
        pytest.skip("PostgreSQL is not installed here")
    if importlib.util.find_spec("psycopg2") is None:
        pytest.skip("psycopg2 is not installed here")
    # Not in pytest's own folder, which nobody else may enter.
    with tempfile.TemporaryDirectory(prefix="edgenas-postgres-") as folder:
        server = Postgres(BINARIES, Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()
