"""Objectives become losses in one place."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from tasks.candidates import objectives
from tasks.candidates.candidate import Candidate
from tasks.candidates.objectives import Objective, ObjectiveError, known, loss_table, losses, parse
from tasks.learning.problem import load_problem
from tasks.learning.protocols import Metric
from tasks.run.params import SelectParams

CANDIDATES = [
    Candidate("a", {}, metric="top1", score=0.9, latency_ms=2.0),
    Candidate("b", {}, metric="top1", score=0.8, latency_ms=1.0),
]


def test_names_and_goals_are_read() -> None:
    assert parse(["top1:max", "latency_ms:min"]) == (
        Objective("top1", "max"),
        Objective("latency_ms", "min"),
    )


def test_default_objectives_are_known() -> None:
    assert [one.name for one in parse(SelectParams().objectives)] == ["top1", "latency_ms"]


def test_lower_losses_are_better_for_either_goal() -> None:
    goals = parse(["top1:max", "latency_ms:min"])
    # derived: what is to be large changes its sign
    assert losses(CANDIDATES[0], goals) == {"top1": -0.9, "latency_ms": 2.0}
    np.testing.assert_array_equal(loss_table(CANDIDATES, goals), [[-0.9, 2.0], [-0.8, 1.0]])


def test_table_of_no_candidates_has_the_columns_all_the_same() -> None:
    assert loss_table([], parse(["top1:max", "macs:min"])).shape == (0, 2)


def test_the_metric_of_every_problem_may_be_an_objective() -> None:
    for problem, metric in objectives.metrics().items():
        assert load_problem(problem).metric.name == metric
        assert parse([f"{metric}:max"], problem) == parse([f"{metric}:max"])
        assert metric in known() and known(problem)[0] == metric


def test_the_metrics_are_known_without_tensorflow() -> None:
    code = (
        "import sys; from tasks.candidates.objectives import known; known(); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "tasks.candidates.objectives" in done.stdout and "tensorflow" not in done.stdout.split()


@pytest.fixture
def two_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    owned = {"detection": Metric("map50", "mAP50", "max"), "naming": Metric("top1", "", "max")}
    monkeypatch.setattr(
        objectives, "metrics", lambda: {name: metric.name for name, metric in owned.items()}
    )
    monkeypatch.setattr(
        objectives, "load_problem", lambda name: SimpleNamespace(metric=owned[name])
    )


def test_another_problems_metric_is_refused_with_a_cure(two_problems: None) -> None:
    with pytest.raises(ObjectiveError) as caught:
        parse(["top1:max", "latency_ms:min"], "detection")
    (line,) = str(caught.value).splitlines()
    assert line.startswith("an objective of detection must be one of map50, latency_ms, ")
    assert "but got 'top1', which naming is scored by." in line
    # derived: what is asked for, with the own metric in its place, is accepted
    cure = yaml.safe_load("{" + line.partition("{")[2].removesuffix("."))
    goals = (Objective("map50", "max"), Objective("latency_ms", "min"))
    assert parse(SelectParams(objectives=cure).objectives, "detection") == goals


def test_without_a_problem_any_metric_will_do(two_problems: None) -> None:
    assert [one.name for one in parse(["top1:max", "map50:max"])] == ["top1", "map50"]


def test_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(ObjectiveError, match=r"one of top1, .*latency_ms, .* but got 'speed' in"):
        parse(["speed:max"])


@pytest.mark.parametrize("name", ["energy_mj", "macs"])
def test_missing_value_names_the_candidate(name: str) -> None:
    with pytest.raises(ObjectiveError, match=f"{name} must have a value .* candidate b has none"):
        losses(CANDIDATES[1], parse([f"{name}:min"]))
