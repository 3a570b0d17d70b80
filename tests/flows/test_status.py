"""What is said of a run, from files alone, while it goes on, when it was cut off, and after it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from flows.status import lines
from tasks.pipeline.stages import STAGES, alone
from tasks.run.workspace import Workspace, write_json

FRONT = [
    {"id": "aaa", "architecture": {}, "name": None, "top1": 0.9, "latency_ms": 0.5},
    {"id": "bbb", "architecture": {}, "name": "largest", "top1": 0.95, "latency_ms": 1.25},
]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """One where the search is half-way, after 90 s for 60 candidates."""
    workspace = Workspace.of(None, tmp_path)
    for stage in ("prepare", "train_supernet"):
        write_json(workspace.state / f"{stage}.json", {})
    write_json(workspace.state / "timings.json", {"prepare": 2.0, "train_supernet": 200.0})
    counts = {"proposed": 72, "done": 63, "failed": 1, "front": FRONT}
    write_json(workspace.state / "search-0123" / "now.json", counts)
    tell(workspace, "search", 64)
    return workspace


def tell(workspace: Workspace, stage: str, done: int) -> None:
    """Progress as a run keeps it."""
    now = time.time()
    progress: dict[str, Any] = {"stage": stage, "total": 100, "done": done, "note": "best"}
    times = {"began": now - 100, "first": [now - 90, 4], "now": now}
    write_json(workspace.state / "progress.json", progress | times)


def test_a_search_that_goes_on_shows_counts_front_and_time_left(workspace: Workspace) -> None:
    with alone(workspace):
        told = list(lines(workspace))
    assert told == [
        "prepare         done in 2 s",
        "train_supernet  done in 3 min 20 s",
        "search          64 of 100, 54 s left, best",  # 60 in 90 s, 36 to go
        "                72 proposed, 63 done, 1 failed",
        "                front by top-1 accuracy, shared weights, validation:",
        "                largest          95.00 %    1.250 ms",
        "                aaa              90.00 %    0.500 ms",
        "finetune        not yet",
        "select          not yet",
        "report          not yet",
    ]


def test_a_search_that_was_cut_off_says_how_to_go_on(workspace: Workspace) -> None:
    told = list(lines(workspace))
    assert told[2] == "search          stopped at 64 of 100; the same command takes it up"


def test_results_of_before_are_not_taken_for_those_of_this_run(workspace: Workspace) -> None:
    write_json(workspace.state / "report.json", {})
    assert list(lines(workspace))[-1] == "report          not yet"


def test_a_stage_that_loads_its_libraries_is_starting(workspace: Workspace) -> None:
    tell(workspace, "train_supernet", 100)
    with alone(workspace):
        assert list(lines(workspace))[2] == "search          starting"


def test_pictures_that_are_read_count_as_prepare(tmp_path: Path) -> None:
    workspace = Workspace.of(None, tmp_path)
    (workspace.state / "prepare-0123").mkdir(parents=True)
    tell(workspace, "prepare: pictures", 10)
    with alone(workspace):
        assert next(lines(workspace)).startswith("prepare         10 of 100, ")


def test_nothing_has_run(tmp_path: Path) -> None:
    told = list(lines(Workspace.of(None, tmp_path)))
    assert told == [f"{stage:<16}not yet" for stage in STAGES]
    assert list(tmp_path.iterdir()) == []
