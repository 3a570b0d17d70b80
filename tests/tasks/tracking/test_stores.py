"""One store in MLflow for all processes, written as MLflow itself writes it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tasks.tracking import tracker as tracking
from tasks.tracking.client_run_store import ClientRunStore
from tasks.tracking.run_store import RunNote
from tasks.tracking.sqlite_run_store import SqliteRunStore
from tasks.tracking.tracker import (
    Store,
    Tracker,
    TrackingStoreError,
    prepare_store,
)
from tests.tasks.tracking.conftest import CHECKOUT, start

# MLflow and its dependencies deprecate things of each other; no matter of ours.
pytestmark = pytest.mark.filterwarnings("ignore")


def test_processes_meeting_a_fresh_store_share_it(fresh_root: Path) -> None:
    ended = json.loads((fresh_root / "ended.json").read_text("utf-8"))
    assert [code for _, _, code in ended] == [0, 0, 0, 0], ended
    assert len({out.strip() for out, _, _ in ended}) == 1
    assert {err for _, err, _ in ended} == {""}


def test_a_prepared_store_is_found_fast_and_without_mlflow(root: Path) -> None:
    prepare_store(root)
    code = (
        "import sys, pathlib, time\n"
        "from tasks.tracking.tracker import Mirror, Tracker, prepare_store\n"
        "begin = time.process_time()\n"
        "t = Tracker(prepare_store(pathlib.Path(sys.argv[1])), 'search')\n"
        "p = t.start_run('search', {}, {}, run_key='k')\n"
        "t.finish(p)\n"
        "print(time.process_time() - begin, 'mlflow' in sys.modules)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(root)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert float(out[0]) < 0.3
    assert out[1] == "False"


def test_telemetry_is_off(store: Store) -> None:
    from mlflow.telemetry.utils import is_telemetry_disabled

    assert store.is_local
    assert is_telemetry_disabled()


def test_a_users_tracking_uri_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    store = prepare_store(tmp_path)
    assert store.uri == "http://127.0.0.1:5000"
    assert not store.is_local
    assert not store.database.exists()


def test_artifacts_open_after_the_checkout_moved(root: Path, tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    tracker = Tracker(prepare_store(root), "search")
    parent = start(tracker)
    page = tmp_path / "index.html"
    page.write_text("<p>front</p>", "utf-8")
    tracker.log_stage(parent, "report", {}, {}, [page])
    moved = tmp_path / "another place"
    shutil.move(root / ".edgenas", moved / ".edgenas")
    client = MlflowClient(prepare_store(moved).uri)
    there = Path(client.download_artifacts(parent, "report/index.html"))
    assert there.read_text("utf-8") == "<p>front</p>"
    assert Path(client.get_run(parent).info.artifact_uri).is_relative_to(moved)


def test_a_database_mlflow_cannot_upgrade_is_reported_with_a_cure(root: Path) -> None:
    store = prepare_store(root)
    (store.folder / "prepared.json").unlink()
    with contextlib.closing(sqlite3.connect(store.database)) as db, db:
        db.execute("UPDATE alembic_version SET version_num = 'from_the_future'")
    with pytest.raises(TrackingStoreError, match=r"must be able to upgrade.*but got.*move the"):
        prepare_store(root)
    assert (store.folder / "mlflow.db.before-upgrade").exists()


def test_unknown_columns_lead_to_the_public_client(store: Store) -> None:
    assert SqliteRunStore.knows(store.database)
    with contextlib.closing(sqlite3.connect(store.database)) as db, db:
        db.execute("ALTER TABLE runs ADD COLUMN novelty TEXT")
    assert not SqliteRunStore.knows(store.database)
    assert isinstance(tracking._open_run_store(store, "search", "top1"), ClientRunStore)


def _essence(run: Any) -> dict[str, Any]:
    """All of a run that is not its identity or a clock."""
    found = run.to_dictionary()
    info = found["info"]
    for key in ("run_id", "run_uuid"):
        info.pop(key, None)
    info["artifact_uri"] = info["artifact_uri"].replace(run.info.run_id, "<id>")
    info["timed"] = (info.pop("start_time") is not None, info.pop("end_time") is not None)
    return found


def _notes(ids: Sequence[str | None]) -> list[RunNote]:
    return [
        RunNote(
            key=f"{n}",
            run_id=run_id,
            name=f"run {n}",
            status=("FINISHED", "FAILED", "RUNNING")[n % 3],
            params={"depth": str(n), "long": "x" * 6001},
            metrics={
                "top1": (n / 10,),
                "loss": (3.0, 2.0, 1.0 / (n + 1)),
                "void": (float("nan"),),
            },
            tags={"candidate_id": f"c{n}", "space": "toy", "quoted": "it's \u00b5"},
        )
        for n, run_id in enumerate(ids)
    ]


@pytest.fixture
def books(store: Store) -> Iterator[dict[str, tuple[Any, list[str]]]]:
    """The same notes written, and partly rewritten, by both books into one database."""
    both = {}
    for kind in (SqliteRunStore, ClientRunStore):
        book = kind(store, kind.__name__, "top1")
        ids = book.write(_notes([None] * 6))
        time.sleep(0.002)
        again = [
            dataclasses.replace(
                note, params={**note.params, "depth": "99", "late": "1"}, tags={"space": "other"}
            )
            for note in _notes(ids)
        ]
        book.write([dataclasses.replace(again[0], status="FAILED"), again[1]])
        book.write([RunNote(key="", run_id=ids[2], metrics={"top1": (0.9,)})])
        both[kind.__name__] = (book, ids)
    yield both


def test_rows_say_what_mlflows_own_client_says(
    books: Mapping[str, tuple[Any, list[str]]], client: Any
) -> None:
    told: dict[str, list[Any]] = {}
    for name, (_, ids) in books.items():
        experiment = client.get_experiment_by_name(name)
        runs = [_essence(client.get_run(run_id)) for run_id in ids]
        for run in runs:
            assert run["info"].pop("experiment_id") == experiment.experiment_id
            run["info"]["artifact_uri"] = run["info"]["artifact_uri"].replace(name, "<name>")
        history = [
            [(m.step, m.value) for m in client.get_metric_history(run_id, key)]
            for run_id in ids
            for key in ("top1", "loss")
        ]
        location = experiment.artifact_location.replace(name, "<name>")
        told[name] = [runs, history, location, experiment.tags, experiment.lifecycle_stage]
    assert told["SqliteRunStore"] == told["ClientRunStore"]
    assert told["SqliteRunStore"][0][0]["data"]["params"]["depth"] == "0"


@pytest.mark.parametrize(
    "query",
    [
        "metrics.top1 > 0.15",
        "params.depth = '3'",
        "tags.space = 'other'",
        "attributes.status = 'FAILED'",
        "attributes.run_name = 'run 4'",
    ],
)
def test_searches_find_the_same_runs(
    books: Mapping[str, tuple[Any, list[str]]], client: Any, query: str
) -> None:
    found = []
    for name in books:
        experiment = client.get_experiment_by_name(name).experiment_id
        runs = client.search_runs([experiment], query, order_by=["metrics.loss DESC"])
        found.append([run.data.tags["candidate_id"] for run in runs])
    assert found[0] == found[1] != []


def test_books_find_the_same_runs(books: Mapping[str, tuple[Any, list[str]]]) -> None:
    found = []
    for book, ids in books.values():
        states = book.find({"space": "toy", "quoted": "it's \u00b5"})
        assert list(book.find({"candidate_id": "c3"})) == [ids[3]]
        found.append([(ids.index(run_id), status) for run_id, status in states.items()])
    assert sorted(found[0]) == sorted(found[1])
    assert len(found[0]) == 4
