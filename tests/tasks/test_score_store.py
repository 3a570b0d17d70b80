"""The store of scores forgets nothing and mixes nothing up, in SQLite and in PostgreSQL alike."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from sqlite3 import dbapi2
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection, event
from sqlalchemy.exc import OperationalError

from spaces.menu import load_space
from spaces.space import Architecture
from spaces.walk import sample
from tasks.candidates import score_store, scores
from tasks.candidates.evaluator import Bench
from tasks.candidates.records import Record, digest
from tasks.candidates.score_database import (
    VARIABLE,
    Database,
    PostgresServer,
    SqliteFile,
    StoreError,
    opened,
)
from tasks.candidates.score_store import ScoreStore
from tasks.run.params import ProblemParams, RuntimeParams, SearchParams
from tasks.run.workspace import Workspace, WorkspaceError
from tests.postgres import Postgres

ROOT = Path(__file__).parents[2]
SPACE = load_space("mobilenet_edgetpu_v2_small")
CONTEXT = {"supernet": "abc", "threads": 2}
Open = Callable[[], Database]


@pytest.fixture(params=["sqlite", "postgresql"])
def again(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Opens a database in which nothing was, each time anew, as runs do."""
    monkeypatch.delenv(VARIABLE, raising=False)
    if request.param == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        monkeypatch.setenv(VARIABLE, postgres.new_database())
    return lambda: opened(tmp_path / "new" / "folder" / "scores.db")


@pytest.fixture
def file(tmp_path: Path) -> SqliteFile:
    return SqliteFile(tmp_path / "scores.db")


def points_of(count: int, seed: int = 0) -> list[Architecture]:
    rng = np.random.default_rng(seed)
    return [sample(SPACE, rng) for _ in range(count)]


def test_score_that_was_put_is_got(again: Open) -> None:
    one, other = points_of(2)
    store = ScoreStore(again(), CONTEXT)
    assert store.get(one) is None
    assert store.put(one, {"top1": 0.1 + 0.2, "note": None}) == {"top1": 0.1 + 0.2, "note": None}
    assert store.get(one) == {"top1": 0.1 + 0.2, "note": None}  # to the last bit
    assert store.get(other) is None
    assert len(store) == 1


def test_first_score_counts_and_is_what_the_second_is_told(again: Open) -> None:
    one, other = points_of(2)
    store = ScoreStore(again(), CONTEXT)
    store.put(one, {"top1": 0.5})
    assert store.put_many({other: {"top1": 0.7}, one: {"top1": 0.9}}) == {
        one: {"top1": 0.5},
        other: {"top1": 0.7},
    }
    assert store.get(one) == {"top1": 0.5}
    assert len(store) == 2


def test_scores_survive_reopening_and_the_order_of_the_context(again: Open) -> None:
    (one,) = points_of(1)
    ScoreStore(again(), CONTEXT).put(one, {"top1": 0.5})
    reopened = ScoreStore(again(), dict(reversed(CONTEXT.items())))
    assert reopened.get(one) == {"top1": 0.5}


def test_contexts_are_kept_apart(again: Open) -> None:
    one, other = points_of(2)
    first = ScoreStore(again(), CONTEXT)
    second = ScoreStore(again(), {**CONTEXT, "threads": 4})
    first.put(one, {"top1": 0.5})
    assert second.get(one) is None
    second.put_many({one: {"top1": 0.6}, other: {"top1": 0.7}})
    assert first.get(one) == {"top1": 0.5}
    assert (len(first), len(second)) == (1, 2)


def test_many_are_put_and_got_at_once(again: Open) -> None:
    several = points_of(1200)  # more than one question asks for
    store = ScoreStore(again(), CONTEXT)
    results: dict[Architecture, Any] = {
        point: {"top1": number} for number, point in enumerate(several)
    }
    assert store.put_many(results) == results
    assert store.get_many([*several, *points_of(3, seed=9)]) == results
    assert store.get_many([]) == {} == store.put_many({})


def test_scores_that_cannot_all_be_put_are_put_not_at_all(
    again: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = points_of(2)
    store = ScoreStore(again(), CONTEXT)
    with monkeypatch.context() as patch:
        patch.setattr(score_store, "_results", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            store.put_many({one: {"top1": 0.5}, other: {"top1": 0.6}})
    assert len(store) == 0


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.tasks import test_score_store as tests
store = tests.ScoreStore(tests.opened(Path({path!r})), tests.CONTEXT)
for number, point in enumerate(tests.points_of(1000)):
    store.put(point, {{"top1": number}})
    print(number, flush=True)
"""


def test_what_a_killed_writer_had_put_is_there(again: Open, tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "scores.db"
    program = WRITER.format(root=str(ROOT), path=str(path))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        for _ in range(20):
            writer.stdout.readline()
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.stdout.read().split()
    last = int(rest[-1]) if rest else 19
    assert writer.returncode == -signal.SIGKILL
    assert last < 999
    store = ScoreStore(again(), CONTEXT)
    found = [store.get(point) for point in points_of(last + 1)]
    assert found == [{"top1": number} for number in range(last + 1)]
    assert len(store) in (last + 1, last + 2)  # one may be written, but not yet announced
    store.put(points_of(1, seed=99)[0], {"top1": -1})
    assert store.get(points_of(1, seed=99)[0]) == {"top1": -1}
    if path.exists():
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_several_that_begin_and_put_the_same_at_once_have_the_same_scores(again: Open) -> None:
    several, count = points_of(60), 4
    found: list[dict[Architecture, Record]] = [{} for _ in range(count)]
    together = threading.Barrier(count)

    def work(number: int) -> None:
        together.wait()
        store = ScoreStore(again(), CONTEXT)  # the table is created by one of them
        order = [int(at) for at in np.random.default_rng(number).permutation(len(several))]
        for at in range(0, len(order), 15):
            part = [several[one] for one in order[at : at + 15]]
            found[number] |= store.put_many({point: {"top1": number} for point in part})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(one == found[0] for one in found) and len(found[0]) == 60
    assert ScoreStore(again(), CONTEXT).get_many(several) == found[0]


# -- how much a search asks ---------------------------------------------------------------------


class _Counted:
    """A database that counts what it is asked."""

    def __init__(self, database: Any) -> None:
        self._database = database
        self.transactions, self.statements = 0, list[str]()
        event.listen(database._engine, "before_cursor_execute", self._note)

    def _note(self, connection: object, cursor: object, statement: str, *_: object) -> None:
        self.statements.append(statement.split()[0])

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        self.transactions += 1
        with self._database.transaction() as connection:
            yield connection


class _Evaluator:
    together = 4

    def __init__(self, *_: object) -> None:
        self.asked = list[int]()

    def context(self) -> dict[str, object]:
        return dict(CONTEXT)

    def score_many(self, several: Sequence[Architecture]) -> list[Record]:
        self.asked.append(len(several))
        return [{"top1": len(point.decisions)} for point in several]

    def close(self) -> None:
        pass


def bench_in(folder: Path) -> Bench:
    workspace = Workspace(folder / "artifacts", folder / "state", folder / "store")
    return Bench(ProblemParams(), SPACE.name, SearchParams(), RuntimeParams(), workspace, 1)


@pytest.fixture
def evaluator(monkeypatch: pytest.MonkeyPatch) -> _Evaluator:
    """The one that all searches of a test have."""
    made = _Evaluator()
    monkeypatch.setattr(scores, "load_evaluator", lambda name: lambda bench: made)
    return made


def test_a_chunk_is_asked_for_at_once_and_each_part_is_put_at_once(
    again: Open, tmp_path: Path, evaluator: _Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = _Counted(again())
    monkeypatch.setattr(scores, "opened", lambda file: counted)
    several = points_of(6)
    searched = scores.Scores(bench_in(tmp_path))
    searched.of(several[:1], "any", 1)
    counted.transactions, counted.statements = 0, []
    found = searched.of([*several, several[2]], "any", 1)
    assert evaluator.asked == [1, 4, 1]
    assert found == [{"top1": len(point.decisions)} for point in [*several, several[2]]]
    assert counted.transactions == 3
    asked = [one for one in counted.statements if one != "SET"]
    assert asked == ["SELECT", "INSERT", "SELECT", "INSERT", "SELECT"]
    assert scores.Scores(bench_in(tmp_path)).of(several, "any", 1) == found[:6]
    assert evaluator.asked == [1, 4, 1]


def test_a_search_elsewhere_finds_the_scores_of_one_here(
    postgres: Postgres, tmp_path: Path, evaluator: _Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, postgres.new_database())
    several = points_of(3)
    here = scores.Scores(bench_in(tmp_path / "here")).of(several, "any", 1)
    assert scores.Scores(bench_in(tmp_path / "there")).of(several, "any", 1) == here
    assert evaluator.asked == [3]
    assert not (tmp_path / "here" / "store").exists()


# -- SQLite -------------------------------------------------------------------------------------


def test_a_file_of_before_is_read_and_added_to(tmp_path: Path) -> None:
    one, other = points_of(2)
    context = digest(CONTEXT)
    key = digest(context, one.to_json())
    with closing(sqlite3.connect(tmp_path / "scores.db")) as old, old:
        old.execute("PRAGMA journal_mode=WAL")
        old.execute(
            "CREATE TABLE IF NOT EXISTS score "
            "(key TEXT PRIMARY KEY, context TEXT, architecture TEXT, result TEXT)"
        )
        row = (key, context, one.to_json(), '{"top1": 0.30000000000000004}')
        old.execute("INSERT OR IGNORE INTO score VALUES (?, ?, ?, ?)", row)
    store = ScoreStore(SqliteFile(tmp_path / "scores.db"), CONTEXT)
    assert store.get(one) == {"top1": 0.1 + 0.2}
    store.put(other, {"top1": 0.5})
    assert len(store) == 2


def test_a_file_is_durable_and_nobody_holds_it_open(file: SqliteFile, tmp_path: Path) -> None:
    store = ScoreStore(file, CONTEXT)
    store.put_many({point: {"top1": 1} for point in points_of(3)})
    held = [os.readlink(one) for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]
    assert not [path for path in held if path.startswith(str(tmp_path))]
    with file.transaction() as connection:
        asked = [connection.exec_driver_sql(f"PRAGMA {name}") for name in ("journal_mode",)]
        assert [one.scalar() for one in asked] == ["wal"]
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL


class _Small(sqlite3.Connection):
    """A data base on a disk of eight pages."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.execute("PRAGMA max_page_count = 8")


def _fill_up(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(
        dbapi2, "connect", lambda path, **options: connect(path, **options, factory=_Small)
    )


def test_full_disk_is_told_in_one_line_and_what_was_put_stays(
    file: SqliteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ScoreStore(file, CONTEXT)
    several = points_of(100)
    with monkeypatch.context() as patch:
        _fill_up(patch)
        with pytest.raises(
            WorkspaceError, match=r"the disk must have room for .*scores\.db, but it is full"
        ):
            for point in several:
                store.put(point, {"top1": 0.5})
    kept = len(store)
    assert 0 < kept < 100
    assert all(store.get(point) for point in several[:kept])
    store.put(several[-1], {"top1": 0.5})  # room again
    assert len(store) == kept + 1


def test_other_troubles_of_the_store_are_not_called_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "scores.db").mkdir()
    with pytest.raises(OperationalError, match="unable to open"):
        ScoreStore(SqliteFile(tmp_path / "scores.db"), CONTEXT)


# -- PostgreSQL ---------------------------------------------------------------------------------


def test_nobody_stays_connected(postgres: Postgres) -> None:
    url = postgres.new_database()
    store = ScoreStore(PostgresServer(url), CONTEXT)
    store.put_many({point: {"top1": 1} for point in points_of(3)})
    asked = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{url.rpartition('/')[2]}'"
    assert postgres.tell("postgres", asked) == [(0,)]


def test_who_may_write_need_not_be_permitted_to_create(postgres: Postgres) -> None:
    name = postgres.new_database().rpartition("/")[2]
    (one,) = points_of(1)
    ScoreStore(PostgresServer(postgres.url(name)), CONTEXT)
    postgres.tell(name, "CREATE ROLE writer LOGIN", "GRANT SELECT, INSERT ON score TO writer")
    store = ScoreStore(PostgresServer(postgres.url(name, "writer")), CONTEXT)
    assert store.put(one, {"top1": 0.5}) == {"top1": 0.5}


def test_scores_that_a_server_could_not_take_are_taken_up_when_it_is_back(
    postgres: Postgres, tmp_path: Path, evaluator: _Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, url := postgres.new_database())
    several = points_of(6)
    searched = scores.Scores(bench_in(tmp_path))
    searched.of(several[:1], "any", 1)
    score_many = evaluator.score_many

    def score_and_stop(part: Sequence[Architecture]) -> list[Record]:
        postgres.stop()
        return score_many(part)

    try:
        with monkeypatch.context() as patch:
            patch.setattr(evaluator, "score_many", score_and_stop)
            with pytest.raises(StoreError) as caught:
                searched.of(several, "any", 1)
        said = str(caught.value)
        assert said.startswith(f"{VARIABLE} must name a PostgreSQL database that answers")
        assert "refused" in said and "what was scored is not scored again" in said
        assert "\n" not in said and f"127.0.0.1:{postgres.port}" in said
        assert isinstance(caught.value, ConnectionError)  # so that it is tried again
        assert len(list((tmp_path / "store").glob("aside-*.json"))) == 1
        with pytest.raises(StoreError):
            searched.of(several, "any", 1)
    finally:
        postgres.start()
    assert evaluator.asked == [1, 4]
    found = searched.of(several, "any", 1)
    assert evaluator.asked == [1, 4, 1]  # those of before were not worked out again
    assert not list((tmp_path / "store").glob("aside-*.json"))
    monkeypatch.setenv(VARIABLE, url)
    assert scores.Scores(bench_in(tmp_path / "there")).of(several, "any", 1) == found


def test_scores_that_were_set_aside_go_to_whatever_store_is_next(
    file: SqliteFile, tmp_path: Path
) -> None:
    class Away:
        @contextmanager
        def transaction(self) -> Iterator[Connection]:
            with file.transaction() as connection:
                yield connection
                if self.is_away:
                    raise StoreError("away")

        is_away = False

    several = points_of(3)
    away = Away()
    store = ScoreStore(away, CONTEXT, tmp_path)
    away.is_away = True
    for point in several[:2]:
        with pytest.raises(StoreError):
            store.put(point, {"top1": 0.5})
    other = ScoreStore(file, {"another": "context"}, tmp_path)
    assert other.get(several[0]) is None
    assert list(tmp_path.glob("aside-*.json")) == []
    found = ScoreStore(file, CONTEXT).get_many(several)
    assert found == {point: {"top1": 0.5} for point in several[:2]}
