"""Scores with a training of a candidate's own: short, from scratch, by the finalists' recipe.

Each is a piece of work for a process of its own, and depends on the seed and the architecture
alone. Nothing is shared, so no kind of op is favoured by how weights were shared; what is left is
that a short training is not a long one, which is why the search promotes the better ones to longer
trainings, rung by rung (successive halving, arXiv:1502.07943).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, final

from spaces.space import Architecture
from tasks.candidates.evaluator import Bench, checked, failure
from tasks.candidates.records import Record
from tasks.data.arrays import load_split
from tasks.learning import recipes
from tasks.learning.first_weights import FirstWeights
from tasks.learning.inputs import inputs_in_batches
from tasks.learning.networks import sized
from tasks.learning.problem import open_problem
from tasks.run import teams, workers
from tasks.run.manifest import DataManifest
from tasks.run.progress import SilentProgress


@final
class Trained:
    """See :class:`tasks.candidates.evaluator.Evaluator`."""

    together = 8  # processes start once for them, which takes seconds

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        manifest = DataManifest.read(bench.workspace)
        self.plan = recipes.brief_plan(recipes.facts_of(manifest), bench.search, bench.epochs)
        self._data = manifest.told_of_splits

    def context(self) -> Mapping[str, object]:
        """The data and the training."""
        return {
            "evaluator": "trained",
            "data": self._data,
            "problem": self._bench.problem.model_dump(mode="json"),
            "training": self.plan.told(),
            "validation_images": self._bench.search.validation_images,
            "threads": workers.threads(self._bench.runtime.threads),
        }

    def score_many(self, points: Sequence[Architecture]) -> list[Record]:
        """Several side by side."""
        data = json.dumps(self._data, sort_keys=True)
        pieces = [(self._bench, self.plan, data, point) for point in points]
        return teams.kept(self.together).run_all(train_one, pieces, lambda done, note: None)

    def close(self) -> None:
        """End the processes; the next scores start them again."""
        teams.kept(self.together).close()


Piece = tuple[Bench, recipes.Plan, str, Architecture]


def train_one(piece: Piece, report: workers.Report) -> Record:
    """The record of one architecture; runs in a process of its own."""
    bench, plan, data, point = piece
    try:
        return dict(_trainer(bench, plan, data).score(point))
    except Exception as error:  # one bad candidate must not end the search
        return failure(error)


@functools.lru_cache(maxsize=2)
def _trainer(bench: Bench, plan: recipes.Plan, data: str) -> BriefTrainer:
    """One for all candidates of a process; ``data`` tells whether it is still the same."""
    return BriefTrainer(bench, plan)


@final
class BriefTrainer:
    """The data and the recipe of many short trainings."""

    def __init__(self, bench: Bench, plan: recipes.Plan) -> None:
        from tasks.learning.training import Batches, configure_tensorflow

        workspace = bench.workspace
        configure_tensorflow(workers.threads(bench.runtime.threads), bench.runtime.deterministic)
        self._plan, self._workspace = plan, workspace
        self._problem = open_problem(bench.problem, workspace)
        self._space = sized(bench.space, DataManifest.read(workspace))
        self._held = load_split(workspace, "validation", bench.search.validation_images)
        train = load_split(workspace, "train")
        self._beginning = FirstWeights(train)
        self._batches = Batches(
            self._problem, train, plan.batch_size, plan.recipe.seed, plan.augment
        )

    def score(self, point: Architecture, weights: Any = None) -> Mapping[str, float]:
        """The problem's metrics on validation after training, from ``weights`` if given."""
        import tf_keras as keras

        from spaces.trainable.keras_model import build_model, set_weights
        from tasks.learning.exported import network_of
        from tasks.learning.quantization import deployed_outputs
        from tasks.learning.training import Checkpoint, train_model

        keras.backend.clear_session()
        keras.utils.set_random_seed(self._plan.recipe.seed)
        problem = self._problem
        graph = problem.complete(self._space.lower(point))
        model = build_model(graph, self._plan.dropout, outputs=problem.trained)
        if weights is None:
            self._beginning.give(model, graph)
        else:
            set_weights(model, weights)
        checkpoint = Checkpoint(self._workspace.state / f"{point.id}-brief.npz", every=10**9)
        train_model(
            model, graph, problem, self._batches, self._plan.recipe, checkpoint, SilentProgress()
        )
        network = network_of(model, graph, problem)
        outputs = deployed_outputs(network, inputs_in_batches(problem, self._held, graph))
        return problem.score(checked(outputs), self._held, graph)


EVALUATOR = Trained
