"""Scores with slices of the trained supernet: quick, and to be believed when the gate says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

from spaces.space import Architecture
from tasks.candidates.evaluator import Bench, checked, failure
from tasks.candidates.records import Record
from tasks.data.arrays import load_split
from tasks.learning.exported import fitted
from tasks.learning.inputs import inputs_in_batches
from tasks.learning.problem import open_problem
from tasks.learning.shared_weights import load_supernet
from tasks.run.manifest import DataManifest
from tasks.run.workspace import sha256_file


@final
class Shared:
    """See :class:`tasks.candidates.evaluator.Evaluator`."""

    together = 1

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._loaded: tuple[Any, ...] | None = None

    def context(self) -> Mapping[str, object]:
        """The weights, the data, and how much of it is looked at."""
        bench, workspace = self._bench, self._bench.workspace
        return {
            "supernet": sha256_file(workspace.supernet / "weights.npz"),
            "data": DataManifest.read(workspace).told_of_splits,
            "problem": bench.problem.model_dump(mode="json"),
            "calibration_images": bench.search.calibration_images,
            "validation_images": bench.search.validation_images,
            "threads": bench.runtime.threads,
        }

    def score_many(self, points: Sequence[Architecture]) -> list[Record]:
        """One after the other."""
        return [self._safely(point) for point in points]

    def close(self) -> None:
        """The supernet goes with its last user."""

    def _safely(self, point: Architecture) -> Record:
        try:
            return dict(self.score(point))
        except Exception as error:  # one bad candidate must not end the search
            return failure(error)

    def score(self, point: Architecture) -> Mapping[str, float]:
        """The problem's metrics on validation, batch statistics recalibrated on train."""
        if self._loaded is None:
            self._loaded = self._load()
        net, problem, calibration, held = self._loaded
        graph = net.graph(point)
        batches = inputs_in_batches(problem, calibration, graph, whole=True)
        statistics = net.recalibrate(point, batches)
        batches = inputs_in_batches(problem, held, graph)
        whole = net.graph(point, problem.deployed)
        known = fitted(problem, whole)
        outputs = net.predict(point, batches, statistics, problem.deployed, known)
        scores: Mapping[str, float] = problem.score(checked(outputs), held, whole)
        return scores

    def _load(self) -> tuple[Any, ...]:
        from tasks.learning.training import configure_tensorflow

        bench = self._bench
        configure_tensorflow(bench.runtime.threads, bench.runtime.deterministic)
        problem = open_problem(bench.problem, bench.workspace)
        return (
            load_supernet(bench.space, problem, bench.workspace),
            problem,
            load_split(bench.workspace, "train", bench.search.calibration_images),
            load_split(bench.workspace, "validation", bench.search.validation_images),
        )


EVALUATOR = Shared
