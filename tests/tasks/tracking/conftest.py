"""A store of MLflow that four processes made at once, and what stands in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tasks.tracking.tracker import (
    Store,
    Tracker,
    prepare_store,
)

CHECKOUT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def fresh_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four processes meet a store that does not exist; all must get it."""
    root = tmp_path_factory.mktemp("fresh")
    code = (
        "import sys, pathlib; from tasks.tracking.tracker import Tracker, prepare_store; "
        "t = Tracker(prepare_store(pathlib.Path(sys.argv[1])), 'search'); "
        "print(t.start_run('search', {}, {}, run_key='shared'))"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(root)],
            cwd=CHECKOUT,
            env={**os.environ, "MLFLOW_TRACKING_URI": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    ended = [(*process.communicate(timeout=600), process.returncode) for process in started]
    (root / "ended.json").write_text(json.dumps(ended), "utf-8")
    return root


@pytest.fixture
def root(fresh_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the store elsewhere: what a moved checkout is, too."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(fresh_root / ".edgenas", tmp_path / ".edgenas")
    return tmp_path


@pytest.fixture
def store(root: Path) -> Store:
    return prepare_store(root)


@pytest.fixture
def client(store: Store) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(store.uri)


def record(number: int, **changes: object) -> dict[str, object]:
    """A candidate as it stands in search/candidates.json."""
    values: dict[str, object] = {
        "id": f"{number:012x}",
        "architecture": {"kernel": 3},
        "name": None,
        "origin": "random",
        "status": "done",
        "reason": None,
        "trial": number,
        "generation": 0,
        "top1": 0.5 + number / 1000,
        "latency_ms": 1.0 + number,
        "peak_memory_bytes": 100_000 + number,
        "weight_bytes": 200_000,
        "streamed_bytes": 0,
        "macs": 10_000_000,
        "parameters": 190_000,
        "energy_mj": None,
        "depth": 12,
        "mean_kernel": 3.6666667,
        "mean_expansion": 4.5,
        "share_dw": 0.75,
        "share_fused": 0.25,
        "share_grouped": 0.0,
        "mean_width": 57.3333,
        "on_pareto": False,
        "rank": 1,
    }
    return {**values, **changes}


def runs_below(client: Any, parent: str, view: int = 1) -> dict[str, Any]:
    """Candidate id to run."""
    experiments = [client.get_run(parent).info.experiment_id]
    runs = client.search_runs(experiments, f"tags.`mlflow.parentRunId` = '{parent}'", view)
    assert len({run.data.tags["candidate_id"] for run in runs}) == len(runs)
    return {run.data.tags["candidate_id"]: run for run in runs}


def start(tracker: Tracker, key: str = "k") -> str:
    tags = {"space": "toy", "device": "coral_usb3", "problem": "detection"}
    return tracker.start_run("edge search", {"trials": 8}, tags, run_key=key)
