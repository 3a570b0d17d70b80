"""Runs killed at any moment: the same command ends with the bytes of an undisturbed one."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.pipeline.stages import STAGES, is_running
from tasks.run.workspace import Workspace
from tasks.tracking.tracker import prepare_store

pytestmark = pytest.mark.slow
RUN = ("run", "--profile", "smoke")
# Where the kills strike; those of one stage at different moments of it.
STRUCK = (
    "prepare",
    "train_supernet",
    "train_supernet",
    "search",
    "search",
    "finetune",
    "finetune",
)
PATIENCE_S = 600.0


def watch_scores(checkout: Any) -> None:
    """Make the store of scores write down each score that is handed to it, also a second one."""
    store = checkout.root / ".edgenas" / "store"
    store.mkdir(parents=True)
    with closing(sqlite3.connect(store / "candidates.db")) as db, db:
        db.execute(
            "CREATE TABLE score (key TEXT PRIMARY KEY, context TEXT, architecture TEXT, "
            "result TEXT)"
        )
        db.execute("CREATE TABLE handed (architecture TEXT)")
        db.execute(
            "CREATE TRIGGER watch BEFORE INSERT ON score "
            "BEGIN INSERT INTO handed VALUES (new.architecture); END"
        )


def scored(checkout: Any) -> Counter[str]:
    """How often each architecture was scored."""
    with closing(sqlite3.connect(checkout.root / ".edgenas/store/candidates.db")) as db:
        return Counter(row[0] for row in db.execute("SELECT architecture FROM handed"))


def wait_for(process: subprocess.Popen[str], stage: str, state: Path) -> None:
    """Return when a stage is being worked on, or the run has ended."""
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None and not any(state.glob(f"{stage}-*")):
        assert time.monotonic() < deadline, f"{stage} must begin"
        time.sleep(0.02)


def started(checkout: Any) -> Any:
    return checkout.start(*RUN, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def parents(root: Path) -> list[tuple[str, str]]:
    """Status and kind of all runs in MLflow."""
    with closing(sqlite3.connect(prepare_store(root).database)) as db:
        return db.execute(
            "SELECT status, EXISTS (SELECT 1 FROM tags WHERE tags.run_uuid = runs.run_uuid AND "
            "key = 'mlflow.parentRunId') FROM runs"
        ).fetchall()


@pytest.fixture(scope="module")
def undisturbed(new_checkout: Callable[[], Any]) -> tuple[dict[str, str], dict[str, float]]:
    """Digests of a run's files, and the seconds of its stages."""
    checkout = new_checkout()
    done = checkout.run(*RUN)
    assert done.returncode == 0, done.stderr
    timings = checkout.root / ".edgenas" / "state" / "runs" / "smoke" / "timings.json"
    return checkout.digests(), json.loads(timings.read_text())


def test_killed_runs_end_as_an_undisturbed_one(
    undisturbed: tuple[dict[str, str], dict[str, float]], new_checkout: Callable[[], Any]
) -> None:
    digests, seconds = undisturbed
    checkout, rng = new_checkout(), np.random.default_rng(0)
    watch_scores(checkout)
    state = checkout.root / ".edgenas" / "state" / "runs" / "smoke"
    kills = 0
    for number, stage in enumerate(STRUCK):
        process = started(checkout)
        wait_for(process, stage, state)
        # The first strike of a stage leaves it little time; so it is met again.
        share = rng.uniform(0.0, 0.4) if stage in STRUCK[number + 1 :] else rng.uniform(0.4, 0.95)
        time.sleep(share * seconds[stage])
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
        assert checkout.left_over() == [], f"after the kill in {stage}"
    assert kills >= 6
    last = checkout.run(*RUN)
    assert last.returncode == 0, last.stderr
    assert checkout.digests() == digests
    assert checkout.left_over() == []
    twice = {name: times for name, times in scored(checkout).items() if times > 1}
    assert twice == {}
    _check_mirrors(checkout)


def _check_mirrors(checkout: Any) -> None:
    """MLflow has each candidate once; neither it nor Prefect shows anything as going on."""
    records = checkout.json("search", "candidates.json")
    with closing(sqlite3.connect(prepare_store(checkout.root).database)) as db:
        query = "SELECT value FROM tags WHERE key = 'candidate_id'"
        names = [row[0] for row in db.execute(query)]
    assert sorted(names) == sorted(record["id"] for record in records)
    assert {status for status, _ in parents(checkout.root)} == {"FINISHED"}
    with closing(sqlite3.connect(checkout.root / ".edgenas" / "prefect" / "prefect.db")) as db:
        ends = Counter(row[0] for row in db.execute("SELECT state_type FROM flow_run"))
    assert set(ends) == {"COMPLETED", "CRASHED"}


@pytest.mark.parametrize("stage", ["train_supernet", "search", "finetune"])
def test_ctrl_c_leaves_no_process_and_no_traceback(
    stage: str, new_checkout: Callable[[], Any]
) -> None:
    checkout = new_checkout()
    process = checkout.start(*RUN, "--set", "supernet.steps=60")
    wait_for(process, stage, checkout.root / ".edgenas" / "state" / "runs" / "smoke")
    time.sleep(1.5)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of its group
    out, error = process.communicate(timeout=60)
    assert checkout.left_over(seconds=5) == []
    assert process.returncode == 130, error
    assert "Traceback" not in out + error and "error" not in error
    assert {status for status, child in parents(checkout.root) if not child} == {"KILLED"}


@pytest.mark.parametrize("stage", ["train_supernet", "search", "finetune"])
def test_a_terminated_run_leaves_no_process(stage: str, new_checkout: Callable[[], Any]) -> None:
    checkout = new_checkout()
    process = checkout.start(*RUN, "--set", "supernet.steps=60")
    wait_for(process, stage, checkout.root / ".edgenas" / "state" / "runs" / "smoke")
    time.sleep(1.5)
    process.terminate()  # the run alone: its workers and its server have to notice
    out, error = process.communicate(timeout=60)
    assert checkout.left_over(seconds=5) == []
    assert process.returncode in (-signal.SIGTERM, 128 + signal.SIGTERM), error
    assert "Traceback" not in out + error
    assert {status for status, child in parents(checkout.root) if not child} == {"KILLED"}


def asked(port: str, path: str, body: dict[str, Any]) -> Any:
    """What a Prefect server answers."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/{path}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read() or "null")


def cancel(checkout: Any) -> str:
    """Cancel the run of the flow that goes on, as Prefect's page does; returns its id."""
    (port,) = {
        found[1]
        for command in checkout.processes()
        if "prefect.server" in command and (found := re.search(r"--port (\d+)", command))
    }
    only = {"flows": {"name": {"any_": ["edge_nas"]}}, "flow_runs": {"state": {"type": {}}}}
    only["flow_runs"]["state"]["type"] = {"any_": ["RUNNING"]}
    (run,) = asked(port, "flow_runs/filter", only)
    state = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
    asked(port, f"flow_runs/{run['id']}/set_state", state)
    return str(run["id"])


def state_of(checkout: Any, run: str) -> str:
    """Of a flow run, as Prefect shows it."""
    path = checkout.root / ".edgenas" / "prefect" / "prefect.db"
    with closing(sqlite3.connect(path, timeout=60)) as db:
        query = "SELECT state_type FROM flow_run WHERE id = ?"
        return str(db.execute(query, (run,)).fetchone()[0])


@pytest.mark.parametrize("stage", ["train_supernet", "finetune"])
def test_a_run_that_is_cancelled_at_prefects_page_ends(
    stage: str, new_checkout: Callable[[], Any]
) -> None:
    checkout = new_checkout()
    process = checkout.start(*RUN, "--set", "supernet.steps=400", "finetune.epochs=60")
    wait_for(process, stage, checkout.root / ".edgenas" / "state" / "runs" / "smoke")
    time.sleep(1.5)
    run = cancel(checkout)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "The run was cancelled." in error and "Traceback" not in out + error
    assert checkout.left_over(seconds=5) == []
    assert state_of(checkout, run) == "CANCELLED"
    assert {status for status, child in parents(checkout.root) if not child} == {"KILLED"}


def test_a_scheduled_run_that_is_cancelled_ends_and_the_schedule_stays(
    new_checkout: Callable[[], Any],
) -> None:
    checkout = new_checkout()
    log = checkout.root / "schedule.log"
    words = ("schedule", "--cron", "* * * * *", "--profile", "smoke")
    with log.open("w") as output:
        process = checkout.start(
            *words, "--set", "supernet.steps=4000", stdout=output, stderr=output
        )
        state = checkout.root / ".edgenas" / "state" / "runs" / "smoke"
        wait_for(process, "train_supernet", state)
        time.sleep(1.5)
        run = cancel(checkout)
        deadline = time.monotonic() + 90
        while is_running(Workspace.of("smoke", checkout.root)) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not is_running(Workspace.of("smoke", checkout.root)), log.read_text()
        assert process.poll() is None, log.read_text()
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)
    assert checkout.left_over(seconds=10) == []
    assert state_of(checkout, run) in ("CANCELLED", "CRASHED")  # as its runner found the time


def test_every_stage_is_struck_or_too_short_to_be() -> None:
    assert set(STAGES) - set(STRUCK) == {"select", "report"}
