"""A database for scores that a person names: what is wrong is told in seconds, in one line."""

from __future__ import annotations

import socket
import sys
import time
import types
from pathlib import Path
from typing import Any

import pytest

from flows import __main__ as cli
from flows import given_servers
from flows.checkup import servers
from flows.given_servers import check_store_variable
from tasks.candidates.score_database import VARIABLE, StoreError
from tests.postgres import GUARDED, Postgres

ROOT = Path(__file__).resolve().parents[2]
WORD = "open-sesame"


def refusal(monkeypatch: pytest.MonkeyPatch, url: str) -> str:
    """What is said of a database."""
    monkeypatch.setenv(VARIABLE, url)
    began = time.monotonic()
    with pytest.raises(StoreError) as caught:
        check_store_variable()
    said = str(caught.value)
    assert said.startswith(f"{VARIABLE} must name a PostgreSQL database that answers and that we")
    assert "or unset the variable to keep scores in .edgenas/store" in said
    assert "\n" not in said and WORD not in said
    assert time.monotonic() - began < 10
    return said


def test_without_the_variable_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    check_store_variable()
    monkeypatch.delenv(VARIABLE)
    check_store_variable()
    assert servers._store(Path()) is None


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        (f"postgres://me:{WORD}@host/db", "the scheme 'postgres' from postgres://host/db."),
        (f"mysql://me:{WORD}@host/db", "the scheme 'mysql' from"),
        ("sqlite:///scores.db", "the scheme 'sqlite' from"),
        ("postgresql+asyncpg://host/db", "the scheme 'postgresql+asyncpg' from"),
        ("somewhere", "an address that cannot be read from what is there."),
        (f"postgresql://me:{WORD}@host:port/db", "an address that cannot be read from"),
    ],
)
def test_what_is_no_address_of_postgresql_is_told(
    url: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert f"got {fault}" in refusal(monkeypatch, url)


def test_a_driver_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    said = refusal(monkeypatch, f"postgresql://me:{WORD}@127.0.0.1/db")
    assert "got no Python module psycopg2 to reach it (pip install psycopg2-binary) from" in said


def test_nobody_there_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psycopg2")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        said = refusal(monkeypatch, f"postgresql://me:{WORD}@127.0.0.1:{port}/db")
        assert "Connection refused" in said and f"from postgresql://127.0.0.1:{port}/db." in said


def test_somebody_who_never_answers_is_told_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psycopg2")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        url = f"postgresql://me:{WORD}@127.0.0.1:{listener.getsockname()[1]}/db"
        assert "timeout expired" in refusal(monkeypatch, url)  # the driver gives up before we do
        monkeypatch.setattr(given_servers, "SECONDS", 0.3)
        assert "got silence from postgresql://127.0.0.1:" in refusal(monkeypatch, url)


def test_a_database_that_can_be_used_is_let_through_and_left_as_it_was(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, url := postgres.new_database())
    check_store_variable()
    name = url.rpartition("/")[2]
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    assert postgres.tell(name, tables) == []
    found = servers._store(Path())
    assert found is not None and found.level == "good"
    assert found.said == f"scores: the database of {VARIABLE} can be used"


def test_a_password_is_needed_and_never_told(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = postgres.new_database().rpartition("/")[2]
    postgres.tell(
        name,
        f"CREATE ROLE {GUARDED} LOGIN PASSWORD '{WORD}'",
        f"GRANT ALL ON SCHEMA public TO {GUARDED}",
    )
    monkeypatch.setenv(VARIABLE, postgres.url(name, f"{GUARDED}:{WORD}"))
    check_store_variable()
    for url in (
        postgres.url(name, f"{GUARDED}:{WORD}{WORD}"),
        f"{postgres.url(name, GUARDED)}?password={WORD}{WORD}",
    ):
        assert f'password authentication failed for user "{GUARDED}"' in refusal(monkeypatch, url)
    assert "no password supplied" in refusal(monkeypatch, postgres.url(name, GUARDED))


def test_a_database_that_is_not_there_or_not_ours_to_write_to_is_told(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 'database "nowhere" does not exist' in refusal(monkeypatch, postgres.url("nowhere"))
    name = postgres.new_database().rpartition("/")[2]
    postgres.tell(name, "CREATE ROLE reader LOGIN")
    said = refusal(monkeypatch, postgres.url(name, "reader"))
    assert "permission denied for schema public" in said
    monkeypatch.setenv(VARIABLE, postgres.url(name))
    postgres.tell(name, "CREATE TABLE score (key TEXT PRIMARY KEY, context TEXT)")
    postgres.tell(name, "GRANT SELECT ON score TO reader")
    said = refusal(monkeypatch, postgres.url(name, "reader"))
    assert "of relation" in said and "does not exist" in said  # somebody else's table
    postgres.tell(name, "ALTER TABLE score ADD architecture TEXT, ADD result TEXT")
    said = refusal(monkeypatch, postgres.url(name, "reader"))
    assert "permission denied for table score" in said
    postgres.tell(name, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    said = refusal(monkeypatch, postgres.url(name))
    assert "cannot execute INSERT in a read-only transaction" in said


def test_the_doctor_tells_what_is_wrong_and_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f"postgres://me:{WORD}@host/db")
    found = servers._store(Path())
    assert found is not None and found.level == "bad"
    assert "got the scheme 'postgres' from" in found.said and "unset the variable" in found.cure
    assert found in servers.look(Path())


def test_a_dead_database_is_refused_before_a_server_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    module: Any = types.ModuleType("flows.server")
    module.prefect_server = lambda: pytest.fail("a server was started")
    monkeypatch.setitem(sys.modules, "flows.server", module)
    monkeypatch.setenv(VARIABLE, "postgres://127.0.0.1:9/db")
    assert cli.main(["run", "--profile", "tiny"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {VARIABLE} must name a PostgreSQL database")
    assert said.count("\n") == 1
