"""What of old runs goes and what stays: on an MLflow store and a Prefect database of their own."""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flows import __main__ as cli
from flows import prefect_history, prune
from flows.prune import PruneError
from tasks.tracking import retention
from tasks.tracking.tracker import Tracker, prepare_store

Make = Callable[..., str]


def record(number: int) -> dict[str, Any]:
    return {"id": f"{number:012x}", "status": "done", "top1": 0.5, "depth": 3, "origin": "random"}


@pytest.fixture(scope="module")
def mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty one; it takes seconds to make."""
    return prepare_store(tmp_path_factory.mktemp("mlflow")).database


@pytest.fixture
def root(tmp_path: Path, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / ".edgenas" / "mlflow"
    folder.mkdir(parents=True)
    (folder / "mlflow.db").write_bytes(mlflow_database.read_bytes())
    marker = {**json.loads((mlflow_database.parent / "prepared.json").read_text())}
    (folder / "prepared.json").write_text(json.dumps({**marker, "folder": str(folder)}))
    return tmp_path


@pytest.fixture
def search(root: Path) -> Make:
    """Logs a search of two candidates with a page as artifact."""
    page = root / "page.html"
    page.write_text("x" * 10_000)

    def make(name: str, number: int, status: str = "FINISHED") -> str:
        tracker = Tracker(prepare_store(root), "edgenas")
        parent = tracker.start_run(name, {"seed": number}, {}, run_key=f"{name}-{number}")
        tracker.log_candidates(parent, [record(2 * number), record(2 * number + 1)])
        tracker.log_stage(parent, "report", {"best": 0.5}, {}, [page])
        if status != "RUNNING":
            tracker.finish(parent, status)  # type: ignore[arg-type]
        time.sleep(0.003)  # runs are ordered by milliseconds
        return parent

    return make


def rows(root: Path, table: str, column: str = "run_uuid") -> set[str]:
    with closing(sqlite3.connect(root / ".edgenas/mlflow/mlflow.db")) as db:
        return {row[0] for row in db.execute(f"SELECT {column} FROM {table}")}


def artifacts(root: Path) -> set[str]:
    return {path.name for path in (root / ".edgenas/mlflow/artifacts/edgenas").glob("*")}


def test_the_newest_searches_of_each_name_stay(root: Path, search: Make) -> None:
    a = [search("a", number) for number in range(4)]
    b = search("b", 9)
    old = retention.old_runs(root, 2)
    assert old is not None and old.parents == 2
    assert set(a[:2]) <= set(old.runs) and len(old.runs) == 2 + 4  # with two candidates each
    assert set(old.folders) == {root / ".edgenas/mlflow/artifacts/edgenas" / one for one in a[:2]}
    retention.remove(root, old)
    for table in ("runs", "metrics", "latest_metrics", "tags", "params"):
        assert not rows(root, table) & set(old.runs), table
        assert {*a[2:], b} <= rows(root, "runs")
    assert artifacts(root) == {*a[2:], b}
    again = retention.old_runs(root, 2)
    assert again is not None and again.runs == ()


def test_a_search_that_goes_on_stays_however_old(root: Path, search: Make) -> None:
    going_on, done, _ = search("a", 0, "RUNNING"), search("a", 1), search("a", 2)
    old = retention.old_runs(root, 1)
    assert old is not None and done in old.runs and going_on not in old.runs


def test_candidates_that_the_newest_results_came_from_stay(root: Path, search: Make) -> None:
    gone, first = search("a", 0), search("a", 1)
    tracker = Tracker(prepare_store(root), "edgenas")
    later = [tracker.start_run("a", {}, {}, run_key=f"page {number}") for number in range(2)]
    for run in later:  # whose search had been done before: nothing is logged of it
        tracker.finish(run)
        time.sleep(0.003)
    old = retention.old_runs(root, 1)
    assert old is not None and old.parents == 2 and first not in old.runs
    assert {gone, later[0]} <= set(old.runs) and len(old.runs) == 2 + 2


def test_of_a_search_with_a_registered_model_only_the_candidates_go(
    root: Path, search: Make
) -> None:
    first, _ = search("a", 0), search("a", 1)
    finalist = "f" * 32
    with closing(sqlite3.connect(root / ".edgenas/mlflow/mlflow.db")) as db, db:
        (experiment,) = db.execute("SELECT experiment_id FROM runs LIMIT 1").fetchone()
        db.execute(
            "INSERT INTO runs (run_uuid, name, status, start_time, lifecycle_stage, "
            "artifact_uri, experiment_id) VALUES (?, 'finalist', 'FINISHED', 1, 'active', '', ?)",
            (finalist, experiment),
        )
        parent = ("mlflow.parentRunId", first, finalist)
        db.execute("INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)", parent)
        db.execute("INSERT INTO registered_models (name) VALUES ('edgenas-coral_usb3')")
        db.execute(
            "INSERT INTO model_versions (name, version, source, run_id) "
            "VALUES ('edgenas-coral_usb3', 1, 'x', ?)",
            (finalist,),
        )
    old = retention.old_runs(root, 1)
    assert old is not None and old.parents == 0 and len(old.runs) == 2 and old.folders == ()
    retention.remove(root, old)
    assert {first, finalist} <= rows(root, "runs") and first in artifacts(root)
    assert finalist in rows(root, "model_versions", "run_id")
    assert not rows(root, "runs") & set(old.runs)


def test_a_store_in_a_form_that_is_not_known_is_left_alone(root: Path, search: Make) -> None:
    for number in range(3):
        search("a", number)
    with closing(sqlite3.connect(root / ".edgenas/mlflow/mlflow.db")) as db, db:
        db.execute("ALTER TABLE runs ADD COLUMN new TEXT")
    assert retention.old_runs(root, 1) is None
    assert prune.plan(root, 1) == []


# -- Prefect ------------------------------------------------------------------------------------

TABLES = """
CREATE TABLE flow_run (id TEXT PRIMARY KEY, flow_id TEXT, parameters TEXT, state_type TEXT,
    parent_task_run_id TEXT, start_time TEXT);
CREATE TABLE flow_run_state (id TEXT, flow_run_id TEXT REFERENCES flow_run(id) ON DELETE CASCADE);
CREATE TABLE task_run (id TEXT PRIMARY KEY,
    flow_run_id TEXT REFERENCES flow_run(id) ON DELETE CASCADE);
CREATE TABLE log (flow_run_id TEXT, task_run_id TEXT);
CREATE TABLE artifact (id TEXT, flow_run_id TEXT, task_run_id TEXT);
CREATE TABLE artifact_collection (latest_id TEXT, flow_run_id TEXT, task_run_id TEXT);
CREATE TABLE events (id TEXT, resource_id TEXT);
CREATE TABLE event_resources (event_id TEXT);
"""


@pytest.fixture
def history(root: Path) -> Iterator[Callable[[str, int, str], list[str]]]:
    """Writes a run of the flow, one of a stage below it, and what belongs to both."""
    path = root / prefect_history.DATABASE
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(TABLES)

    def make(profile: str, hour: int, state: str = "COMPLETED") -> list[str]:
        top, stage, link, work = (uuid.uuid4().hex for _ in range(4))
        spec = {"profile": profile}
        with closing(sqlite3.connect(path)) as db, db:
            for run, parent, told in ((top, None, spec), (stage, link, {"spec": spec})):
                db.execute(
                    "INSERT INTO flow_run VALUES (?, 'f', ?, ?, ?, ?)",
                    (run, json.dumps(told), state, parent, f"2026-01-01 {hour:02d}:00:00"),
                )
                db.execute("INSERT INTO flow_run_state VALUES (?, ?)", (uuid.uuid4().hex, run))
                db.execute("INSERT INTO log VALUES (?, NULL)", (run,))
                db.execute("INSERT INTO events VALUES (?, ?)", (run, f"prefect.flow-run.{run}"))
                db.execute("INSERT INTO event_resources VALUES (?)", (run,))
            db.execute("INSERT INTO task_run VALUES (?, ?), (?, ?)", (link, top, work, stage))
            db.execute("INSERT INTO artifact VALUES ('x', NULL, ?)", (work,))
        return [top, stage]

    yield make


def left(root: Path, table: str) -> int:
    with closing(sqlite3.connect(root / prefect_history.DATABASE)) as db:
        return int(db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])


def test_the_newest_flow_runs_of_each_profile_stay(
    root: Path, history: Callable[..., list[str]]
) -> None:
    made = [history("a", hour) for hour in range(4)]
    history("b", 0)
    going_on = history("a", 0, "RUNNING")
    old = prefect_history.old_flows(root, 2)
    assert old is not None and old.flows == 2
    assert set(old.runs) == {*made[0], *made[1]} and going_on[0] not in old.runs
    prefect_history.remove(root, old)
    for table in ("flow_run", "flow_run_state", "log", "events", "event_resources", "task_run"):
        assert left(root, table) == 2 * 4, table
    assert left(root, "artifact") == 4
    assert prefect_history.old_flows(root, 2) == prefect_history.OldFlows(0, (), 0)


def test_a_history_in_another_form_is_left_alone(
    root: Path, history: Callable[..., list[str]]
) -> None:
    history("a", 0), history("a", 1)
    with closing(sqlite3.connect(root / prefect_history.DATABASE)) as db, db:
        db.execute("ALTER TABLE task_run RENAME COLUMN flow_run_id TO run")
    assert prefect_history.old_flows(root, 1) is None


# -- all of it ----------------------------------------------------------------------------------


def test_nothing_goes_before_somebody_says_yes(
    root: Path,
    search: Make,
    history: Callable[..., list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(root)
    for number in range(3):
        search("a", number), history("a", number)
    logs = root / ".edgenas" / "log"
    logs.mkdir()
    for day in range(4):
        (logs / f"defect-2026010{day}-000000-1.txt").write_text("x" * 50)
    (root / ".edgenas/mlflow/mlflow.db.before-upgrade").write_text("old")
    (root / "params.yaml").write_text("profiles:\n  a: {}\n")
    for name in ("a", "gone", "kept"):
        (root / ".edgenas/state/runs" / name).mkdir(parents=True)
    (root / "runs" / "kept").mkdir(parents=True)
    assert cli.main(["prune", "--keep", "1"]) == 0
    told = capsys.readouterr().out
    assert "MLflow: 2 searches, 4 runs below" in told and "Prefect: 2 flow runs" in told
    assert "3 reports of defects" in told and "no more (gone)" in told
    assert "would go; --yes removes it." in told
    assert len(list(logs.iterdir())) == 4 and len(rows(root, "runs")) == 9
    assert cli.main(["prune", "--keep", "1", "--yes"]) == 0
    assert "are gone." in capsys.readouterr().out
    assert [path.name for path in logs.iterdir()] == ["defect-20260103-000000-1.txt"]
    assert len(rows(root, "runs")) == 3 and left(root, "flow_run") == 2
    states = {path.name for path in (root / ".edgenas/state/runs").iterdir()}
    assert states == {"a", "kept"}
    assert not (root / ".edgenas/mlflow/mlflow.db.before-upgrade").exists()
    assert cli.main(["prune", "--keep", "1"]) == 0
    assert capsys.readouterr().out == "Nothing is old enough to go.\n"


@pytest.mark.parametrize("keep", [0, -3])
def test_keeping_nothing_is_refused(
    keep: int, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(root)
    assert cli.main(["prune", f"--keep={keep}"]) == 2
    assert "--keep must be at least 1" in capsys.readouterr().err
    assert cli.main(["schedule", "--cron", "0 3 * * *", f"--keep={keep}"]) == 2
    assert "--keep must be at least 1" in capsys.readouterr().err
    with pytest.raises(PruneError):
        prune.plan(root, keep)


def test_what_cannot_go_is_told(root: Path) -> None:
    def fail() -> None:
        raise OSError("database is locked")

    gone: list[int] = []
    old = [prune.Old("a", 1, fail), prune.Old("b", 2, lambda: gone.append(1))]
    assert prune.remove(old) == ["a: left, for database is locked"]
    assert gone == [1]
