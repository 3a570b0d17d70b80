"""How candidates are scored; one file of ``tasks/evaluators`` each."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from spaces.space import Architecture
from tasks.candidates.records import Record
from tasks.run.params import ProblemParams, RuntimeParams, SearchParams
from tasks.run.things import names_in
from tasks.run.workspace import Workspace

AUTO = "auto"
"""Not an evaluator: what the gate (:mod:`tasks.candidates.gate`) recommends."""


class EvaluatorError(ValueError):
    """An evaluator that does not exist, or that has nothing to score with."""


@dataclass(frozen=True, slots=True)
class Bench:
    """All that an evaluator needs; small, for it is sent to other processes.

    Attributes:
        epochs: Passes over train that a candidate of its own gets.
    """

    problem: ProblemParams
    space: str
    search: SearchParams
    runtime: RuntimeParams
    workspace: Workspace
    epochs: int


class Evaluator(Protocol):
    """Scores of architectures, a record each: the problem's metrics, or status and reason."""

    @property
    def together(self) -> int:
        """How many are best scored by one call."""

    def context(self) -> Mapping[str, object]:
        """All that a score depends on besides the architecture."""

    def score_many(self, points: Sequence[Architecture]) -> list[Record]:
        """In the order given; a failure is a record with its reason."""

    def close(self) -> None:
        """End the processes that it started, if any."""


class EvaluatorFactory(Protocol):
    """What ``EVALUATOR`` of a file of ``tasks/evaluators`` is."""

    def __call__(self, bench: Bench) -> Evaluator:
        """One that loads what it needs when it is first asked."""


def evaluator_names() -> tuple[str, ...]:
    """The evaluators that exist: the files of ``tasks/evaluators``."""
    return names_in("evaluators")


def load_evaluator(name: str) -> EvaluatorFactory:
    """The ``EVALUATOR`` of ``tasks/evaluators/<name>.py``.

    Raises:
        EvaluatorError: There is no such file; the message lists those that exist.
    """
    if name not in evaluator_names():
        raise EvaluatorError(
            f"search.evaluator must be one of {', '.join((AUTO, *evaluator_names()))}, "
            f"but got {name!r}."
        )
    factory: EvaluatorFactory = importlib.import_module(f"tasks.evaluators.{name}").EVALUATOR
    return factory


def failure(error: Exception) -> Record:
    """The record of a candidate that could not be scored.

    Raises:
        Exception: ``error`` itself, where no candidate is at fault: memory ran out.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        raise error  # the latter is TensorFlow's; not to be remembered
    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return {"status": "failed", "reason": reason}


def checked(outputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Outputs that are finite.

    Raises:
        ArithmeticError: They are not.
    """
    if not all(np.isfinite(one).all() for one in outputs):
        raise ArithmeticError("outputs must be finite, but got NaN or infinity")
    return outputs
