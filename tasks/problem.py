"""What a machine learning task must say of itself; one file of ``tasks/problems`` each."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from spaces.graph import OpBatch, OpGraph


class ProblemError(ValueError):
    """A problem that does not exist."""


@dataclass(frozen=True, slots=True)
class Metric:
    """What is optimised: name as tracked, words for people, and which way is better."""

    name: str
    label: str
    goal: Literal["max", "min"]


class Problem(Protocol):
    """A problem, without its data's size: those are arguments."""

    @property
    def name(self) -> str:
        """The module name in ``tasks/problems``."""

    @property
    def metric(self) -> Metric:
        """The accuracy-like objective."""

    @property
    def trained_output(self) -> str:
        """The op whose output the loss reads; ops after it are appended at export."""

    def complete(self, backbone: OpGraph, classes: int) -> OpGraph:
        """Backbone and head as one graph: what is deployed and costed."""

    def complete_many(self, backbones: OpBatch, classes: int) -> OpBatch:
        """The same of each graph of a batch."""

    def score(self, outputs: NDArray[Any], labels: NDArray[np.int32]) -> float:
        """The metric of outputs [n, ...] against labels [n]."""


def load_problem(name: str) -> Problem:
    """The ``PROBLEM`` of ``tasks/problems/<name>.py``.

    Raises:
        ProblemError: There is no such file; the message lists those that exist.
    """
    package = importlib.import_module("tasks.problems")
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    if name not in names:
        raise ProblemError(f"a problem must be one of {', '.join(names)}, but got {name!r}.")
    problem: Problem = importlib.import_module(f"tasks.problems.{name}").PROBLEM
    return problem
