"""Scores with a brief fine-tuning of a candidate's slice of the trained supernet.

The slice is what a candidate begins with, its batch statistics recalibrated; then it is trained as
:mod:`tasks.evaluators.trained` does it. So shared weights give a start and not the verdict: what
they owe to the other networks has time to go.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, final

from spaces.space import Architecture
from tasks.candidates.evaluator import Bench, failure
from tasks.candidates.records import Record
from tasks.data.arrays import load_split
from tasks.evaluators.trained import BriefTrainer, Trained
from tasks.learning import recipes
from tasks.learning.problem import open_problem
from tasks.learning.shared_weights import load_supernet, slice_of
from tasks.run import teams, workers
from tasks.run.workspace import sha256_file


@final
class Sliced:
    """See :class:`tasks.candidates.evaluator.Evaluator`."""

    together = Trained.together

    def __init__(self, bench: Bench) -> None:
        self._bench, self._alone = bench, Trained(bench)
        self._weights = sha256_file(bench.workspace.supernet / "weights.npz")

    def context(self) -> Mapping[str, object]:
        """The weights, the data and the training."""
        return {
            **self._alone.context(),
            "evaluator": "sliced",
            "supernet": self._weights,
            "calibration_images": self._bench.search.calibration_images,
        }

    def score_many(self, points: Sequence[Architecture]) -> list[Record]:
        """Several side by side."""
        pieces = [(self._bench, self._alone.plan, self._weights, point) for point in points]
        return teams.kept(self.together).run_all(tune_one, pieces, lambda done, note: None)

    def close(self) -> None:
        """End the processes; the next scores start them again."""
        self._alone.close()


def tune_one(
    piece: tuple[Bench, recipes.Plan, str, Architecture], report: workers.Report
) -> Record:
    """The record of one architecture; runs in a process of its own."""
    *shared, point = piece
    try:
        return dict(_tuner(*shared).score(point))
    except Exception as error:  # one bad candidate must not end the search
        return failure(error)


@functools.lru_cache(maxsize=1)
def _tuner(bench: Bench, plan: recipes.Plan, weights: str) -> SliceTuner:
    """One for all candidates of a process; ``weights`` tells one supernet from the next."""
    return SliceTuner(bench, plan)


@final
class SliceTuner:
    """The supernet, and the trainings that begin from it."""

    def __init__(self, bench: Bench, plan: recipes.Plan) -> None:
        self._trainer = BriefTrainer(bench, plan)
        self._problem = open_problem(bench.problem, bench.workspace)
        self._net = load_supernet(bench.space, self._problem, bench.workspace)
        self._calibration = load_split(bench.workspace, "train", bench.search.calibration_images)

    def score(self, point: Architecture) -> Mapping[str, float]:
        """The problem's metrics on validation after training."""
        return self._trainer.score(point, self.weights(point))

    def weights(self, point: Architecture) -> Any:
        """What a candidate begins with, by the names of :mod:`spaces.trainable.keras_model`."""
        return slice_of(self._net, self._problem, point, self._calibration)


EVALUATOR = Sliced
