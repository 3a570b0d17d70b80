"""A problem on data that there is, added as a stranger would: one file, and a profile beside it.

The file lies in a folder of its own, which counts as one more place of ``tasks/problems``; nothing
else is touched. What all problems say of themselves is looked at for each of them.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

import tasks.problems
from tasks import check_profile
from tasks.candidates import objectives
from tasks.data.kind import kind_names
from tasks.learning.problem import (
    load_problem,
    open_problem,
    problem_names,
    problems_of,
    spaces_for,
)
from tasks.run.params import Params, ParamsError, ProblemParams
from tasks.run.params_file import load_params
from tasks.run.progress import SilentProgress
from tests.prepared import prepared
from tests.samples import small_space

FILE = Path(__file__).parents[2] / "params.yaml"
SOURCE = '''
"""Pictures with a class, scored by the mean over classes: the rare ones count as much."""

from typing import Annotated

import numpy as np
from pydantic import Field

from tasks.learning.protocols import Metric
from tasks.problems.classification import Classification
from tasks.run.params import Block


class Options(Block):
    """Which classes count."""

    fewest: Annotated[int, Field(ge=1)] = 1


class Balanced(Classification):
    """As classification in all but the metric."""

    name = "balanced"
    metric = Metric("mean_recall", "mean recall", "max")
    options = Options

    def score(self, outputs, arrays, graph):
        """Share of right answers of each class, mean over those with samples enough."""
        labels, right = arrays["labels"], outputs[0].argmax(1) == arrays["labels"]
        counts = np.bincount(labels)
        counted = np.flatnonzero(counts >= self.setting.options.fewest)
        return {"mean_recall": float(np.mean([right[labels == one].mean() for one in counted]))}


PROBLEM = Balanced
'''
PROFILE = """
  balanced:
    problem: {name: balanced, fewest: 2}
    select: {objectives: {mean_recall: max, latency_ms: min}}
"""


@pytest.fixture
def params_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The stranger's ``params.yaml``, with the file of the problem in place."""
    folder = tmp_path / "problems"
    folder.mkdir()
    (folder / "balanced.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.setattr(tasks.problems, "__path__", [*tasks.problems.__path__, str(folder)])
    path = Path(shutil.copyfile(FILE, tmp_path / "params.yaml"))
    path.write_text(path.read_text(encoding="utf-8") + PROFILE, encoding="utf-8")
    objectives.metrics.cache_clear()
    yield path
    objectives.metrics.cache_clear()
    sys.modules.pop("tasks.problems.balanced", None)
    vars(tasks.problems).pop("balanced", None)


@pytest.fixture
def params(params_file: Path) -> Params:
    return load_params(params_file, "balanced")


def test_its_profile_passes_all_checks_and_is_told_before_a_run(params: Params) -> None:
    said = list(check_profile.run(params, SilentProgress()))
    assert said[0].startswith("data: ") and ", for balanced, 10 classes" in said[0]
    assert any("coral_usb3" in line for line in said)


def test_it_shares_data_and_spaces_with_the_problem_that_was_there(
    params: Params, tmp_path: Path
) -> None:
    assert problems_of("classification") == ("balanced", "classification")
    assert spaces_for("balanced") == spaces_for("classification")
    workspace = prepared("classification", tmp_path)
    labels = np.array([0, 0, 0, 0, 1, 1, 2])
    answers = np.eye(3, dtype=np.float32)[[0, 0, 0, 1, 1, 0, 0]]
    problem = open_problem(params.problem, workspace)
    space = small_space("classification")
    graph = problem.complete(space.lower(space.smallest()))
    scores = problem.score((answers,), {"labels": labels}, graph)
    assert scores == {"mean_recall": (3 / 4 + 1 / 2) / 2}  # of the third class there is one
    other = open_problem(ProblemParams(), workspace)
    assert other.metric.name == "top1"


def test_its_metric_is_an_objective_of_its_own(params: Params) -> None:
    goals = objectives.parse(params.select.objectives, "balanced")
    assert [goal.name for goal in goals] == ["mean_recall", "latency_ms"]
    with pytest.raises(objectives.ObjectiveError, match="'top1', which classification is scored"):
        objectives.parse(("top1:max",), "balanced")


def test_its_options_are_its_own(params_file: Path) -> None:
    found = load_params(params_file, None, ["problem.name=balanced"]).problem
    assert found.model_dump() == {"name": "balanced", "fewest": 1}
    with pytest.raises(ParamsError, match=r"problem.fewest must be at least 1, but got 0"):
        load_params(params_file, "balanced", ["problem.fewest=0"])
    with pytest.raises(ParamsError, match=r"one of balanced. Of detection there are name, pred"):
        load_params(params_file, "detection", ["problem.fewest=3"])


@pytest.mark.parametrize("name", problem_names())
def test_each_problem_says_what_it_learns_from_and_which_networks_it_takes(name: str) -> None:
    kind = load_problem(name)
    assert kind.name == name
    assert kind.kinds and set(kind.kinds) <= set(kind_names())
    assert spaces_for(name)
    assert kind.default_classes((1, 224, 224, 3)) >= 2


@pytest.mark.parametrize("name", problem_names())
def test_the_file_shows_each_option_of_a_problem(name: str) -> None:
    tree = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    block = (tree if name == "classification" else tree["profiles"][name])["problem"]
    assert list(block) == ["name", *load_problem(name).options.model_fields]
