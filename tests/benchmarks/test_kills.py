"""What the benchmark of kills makes of what it sees; the kills themselves take an hour."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.kills import (
    CLUSTER_TARGETS,
    TARGETS,
    Course,
    Kill,
    settled,
    stage_of,
    target_of,
)
from benchmarks.run_copies import Copy, copy_checkout, differences
from flows.checkup.processes import Process
from tasks.pipeline.stages import STAGES
from tasks.run.params_file import load_params

RUN = 100
COMMANDS = {
    "run": (RUN, 1, "python -m flows run --profile smoke"),
    "tether": (
        101,
        RUN,
        "python -I flows/tether.py python -m uvicorn prefect.server.api.server:app",
    ),
    "server": (102, 101, "python -m uvicorn --factory prefect.server.api.server:create_app"),
    "worker": (103, RUN, "python -c from multiprocessing.spawn import spawn_main"),
    "piece": (104, 7, "python -P -m tasks.run.piece_process 9 7"),
}


def test_each_target_is_known_by_its_command() -> None:
    assert {target_of(Process(*one), RUN) for one in COMMANDS.values()} == {
        *(set(CLUSTER_TARGETS) | set(TARGETS)) - {"scheduler"}
    }
    assert all(target_of(Process(*one), RUN) == name for name, one in COMMANDS.items())
    helper = "python -c from multiprocessing.resource_tracker import main"
    assert target_of(Process(105, RUN, helper), RUN) is None


@pytest.mark.parametrize(
    ("said", "begun", "stage"),
    [
        ("", [], "start"),
        ("note: anything", ["search"], "start"),
        ("prepare: images: 0 of 1797", ["prepare"], "prepare"),
        ("prepare: nothing changed, kept", ["train_supernet"], "train_supernet"),
        ("search: 6 of 6 in 3 s", [], "between stages"),
        ("search: 6 of 6 in 3 s\nreport: 9 of 9 in 1 s", [], "end"),
    ],
)
def test_where_a_run_is(said: str, begun: list[str], stage: str) -> None:
    assert stage_of(said, begun) == stage


def test_the_last_kill_is_what_ended_a_run() -> None:
    kills = [Kill("server", "search"), Kill("worker", "finetune"), Kill("run", "finetune")]
    assert [one.outcome for one in settled(kills, -9)] == ["alone", "open", "again"]
    assert [one.outcome for one in settled(kills, 0)] == ["alone"] * 3
    assert settled([], 0) == []


def test_what_is_left_of_a_run() -> None:
    course = Course(20.0, dict.fromkeys(STAGES, 2.0))  # six stages, and 8 s beside them
    assert course.left([]) == 20.0
    assert course.left(STAGES) == 8.0
    assert course.left(["search"], ("search", "finetune")) == 2.0


def test_an_outcome_differs_by_file_and_by_store() -> None:
    right: dict[str, Any] = {"files": {"a": "1", "b": "2"}, "scores": [(1,)], "drafts": []}
    assert differences(right, right) == []
    found = {"files": {"a": "9", "c": "3"}, "scores": [(1,), (1,)], "drafts": []}
    assert differences(found, right) == ["files: a, b, c", "scores"]


def test_the_small_run_can_be_asked_for(tmp_path: Path) -> None:
    copy_checkout(tmp_path)
    words = Copy(tmp_path).command()
    profile, settings = words[words.index("--profile") + 1], words[words.index("--set") + 1 :]
    found = load_params(tmp_path / "params.yaml", profile, tuple(settings))
    assert found.search.evaluator == "trained" and found.space.name == "smoke"
    assert (tmp_path / "spaces" / "catalog" / "smoke.py").exists()
