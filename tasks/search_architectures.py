"""Searches the space: cost as a hard limit, scores by the supernet, every candidate kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, final

import numpy as np

from hw.cost_model import CostModel, load_cost_model
from hw.device import load_device
from spaces.dominance import hypervolume, pareto_ranks
from spaces.graph import OpGraph
from spaces.proposals import CostLimits
from spaces.space import (
    Architecture,
    Exhausted,
    SearchAlgorithm,
    TrainableSpace,
    Trial,
    load_algorithm,
    load_baselines,
)
from tasks import objectives
from tasks.arrays import load_split
from tasks.candidates import Record, ScoreStore, costs, describe
from tasks.params import (
    CostParams,
    ProblemParams,
    RuntimeParams,
    SearchParams,
    SelectParams,
    SpaceParams,
)
from tasks.problem import Problem, open_problem
from tasks.progress import Progress
from tasks.train_supernet import load_supernet, sized
from tasks.workspace import Workspace, read_json, sha256_file, write_json

Manifest = dict[str, object]
SHOWN = "now.json"
"""In the state folder: proposed, failed and front of a search that is going on."""


class SearchError(ValueError):
    """A search that scored nothing."""


def run(
    problem: ProblemParams,
    space: SpaceParams,
    search: SearchParams,
    cost: CostParams,
    select: SelectParams,
    runtime: RuntimeParams,
    workspace: Workspace,
    progress: Progress,
) -> Manifest:
    """Write ``search/{candidates.json,front.json}``: the whole search in one call."""
    session = Search(problem, space, search, cost, select, runtime, workspace)
    progress.start("search", search.budget)
    for chunk in session.chunks():
        session.tell(chunk, session.evaluate(chunk))
        progress.advance(session.done, session.note())
    progress.finish()
    return session.finish()


@final
class Search:
    """A search in chunks: ask, evaluate, tell.

    The order of proposals depends on the seed and on the scores only. Scores are remembered in
    the candidate store, so a search that was cut off is simply run again: what was evaluated is
    looked up, and it goes on from there.
    """

    def __init__(
        self,
        problem: ProblemParams,
        space: SpaceParams,
        search: SearchParams,
        cost: CostParams,
        select: SelectParams,
        runtime: RuntimeParams,
        workspace: Workspace,
    ) -> None:
        """Load what is needed to propose and to cost; TensorFlow only when first evaluating."""
        self._params, self._runtime, self._workspace = search, runtime, workspace
        self._manifest = read_json(workspace.data / "manifest.json")
        self._problem = open_problem(problem, workspace)
        self._objectives = objectives.parse(select.objectives, problem.name)
        self._coster = Coster(space.name, self._manifest, cost, self._problem)
        self._store = ScoreStore(workspace.candidates, self._context())
        self._names = self._named(space.name)
        self._algorithm = self._new_algorithm(search)
        self._evaluator: Evaluator | None = None
        self._space_name = space.name
        self._proposed = 0
        self.records: list[Record] = []

    # -- proposing ------------------------------------------------------------------------------

    def _context(self) -> Mapping[str, object]:
        """All that a score depends on besides the architecture."""
        return {
            "supernet": sha256_file(self._workspace.supernet / "weights.npz"),
            "data": self._manifest["splits"],
            "problem": self._problem.setting.options.model_dump(mode="json"),
            "calibration_images": self._params.calibration_images,
            "validation_images": self._params.validation_images,
            "threads": self._runtime.threads,
        }

    def _named(self, space_name: str) -> dict[Architecture, tuple[str, str]]:
        """Architectures that are always looked at: (name, origin)."""
        space = self._coster.space
        ends = {
            space.largest(): ("largest", "largest"),
            space.smallest(): ("smallest", "smallest"),
        }
        baselines = load_baselines(space_name)
        return ends | {point: (name, "baseline") for name, point in baselines.items()}

    def _new_algorithm(self, search: SearchParams) -> SearchAlgorithm:
        limits = self._coster.limits
        feasible = CostLimits(limits, self._coster.costs) if limits else None
        names = tuple(objective.name for objective in self._objectives)
        rng = np.random.default_rng(search.seed)
        return load_algorithm(search.algorithm)(
            self._coster.space, rng, names, feasible, tuple(self._names)
        )

    @property
    def done(self) -> int:
        """Candidates told so far."""
        return len(self.records)

    def percent(self) -> float:
        """Share of the budget that is told."""
        return 100.0 * self.done / self._params.budget

    def crossed_a_tenth(self) -> bool:
        """Whether the last chunk reached another tenth of the budget."""
        before = max(0, self.done - self._params.chunk)
        return 10 * before // self._params.budget < 10 * self.done // self._params.budget

    def chunks(self) -> Iterator[list[Trial]]:
        """Trials in chunks, each to be evaluated and told before the next is asked for."""
        while self.done < self._params.budget:
            size = min(self._params.chunk, self._params.budget - self.done)
            chunk: list[Trial] = []
            try:
                for _ in range(size):
                    chunk.append(self._algorithm.ask())
            except Exhausted:
                if not chunk:
                    return
            self._proposed += len(chunk)
            self._show()
            yield chunk

    # -- evaluating -----------------------------------------------------------------------------

    def evaluate(self, chunk: Sequence[Trial]) -> list[Record]:
        """One record a trial; a failure is a record with its reason."""
        return [self._evaluate(trial) for trial in chunk]

    def _evaluate(self, trial: Trial) -> Record:
        point = trial.architecture
        name, origin = self._names.get(point, (None, self._params.algorithm))
        record: Record = {
            "id": point.id,
            "architecture": point.values,
            "name": name,
            "origin": origin,
            "trial": trial.number,
            "generation": trial.number // self._params.chunk,
            "status": "done",
            "reason": None,
            self._problem.metric.name: None,
            **self._coster.costs(point),
        }
        score = self._store.get(point)
        if score is None:
            score = self._score(point)
            self._store.put(point, score)
        return record | score

    def _score(self, point: Architecture) -> Record:
        if self._evaluator is None:
            self._evaluator = Evaluator(
                self._space_name, self._problem, self._params, self._runtime, self._workspace
            )
        try:
            return dict(self._evaluator.score(point))
        except Exception as error:  # one bad candidate must not end the search
            if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
                raise  # the latter is TensorFlow's; no candidate's fault, not to be remembered
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            return {"status": "failed", "reason": reason}

    def tell(self, chunk: Sequence[Trial], records: Sequence[Record]) -> None:
        """Give the results to the algorithm, in the order of asking."""
        for trial, record in zip(chunk, records, strict=True):
            good = record["status"] == "done"
            losses = objectives.losses(record, self._objectives) if good else None
            self._algorithm.tell(trial, losses)
            self.records.append(record)
        self._show()

    # -- reporting ------------------------------------------------------------------------------

    def note(self) -> str:
        """The search so far, in a few words."""
        good = [record for record in self.records if record["status"] == "done"]
        if not good:
            return "none scored yet"
        metric = self._problem.metric.name
        best = max(good, key=lambda record: float(record[metric]))
        front = sum(self._ranks(good) == 0)
        lost = f", {self.done - len(good)} failed" if len(good) < self.done else ""
        return (
            f"best {best[metric]:.3f} at {best['latency_ms']:.2f} ms, {front} on the front{lost}"
        )

    def _show(self) -> None:
        """Keep the state of the search where ``python -m flows status`` looks."""
        good = [record for record in self.records if record["status"] == "done"]
        ranks = self._ranks(good) if good else ()
        front = [record for record, rank in zip(good, ranks, strict=True) if rank == 0]
        write_json(
            self._workspace.state / SHOWN,
            {
                "proposed": self._proposed,
                "done": len(good),
                "failed": self.done - len(good),
                "front": front,
            },
        )

    def _ranks(self, good: Sequence[Record]) -> Any:
        return pareto_ranks(objectives.loss_table(good, self._objectives))

    def finish(self) -> Manifest:
        """Rank all candidates and write them."""
        good = [record for record in self.records if record["status"] == "done"]
        for record in self.records:
            record.update(rank=None, on_pareto=False)
        if good:
            for record, rank in zip(good, self._ranks(good), strict=True):
                record.update(rank=int(rank), on_pareto=bool(rank == 0))
        front = [record["id"] for record in good if record["on_pareto"]]
        write_json(self._workspace.search / "candidates.json", self.records)
        summary = {
            "candidates": len(self.records),
            "failed": len(self.records) - len(good),
            "front": front,
            "hypervolume": self._hypervolume(good),
            "device": self._coster.device,
            "method": self._coster.method,
        }
        write_json(self._workspace.search / "front.json", summary)
        return summary

    def _hypervolume(self, good: Sequence[Record]) -> float | None:
        """Relative to the worst value of each objective among the candidates, best at 0."""
        if not good:
            return None
        table = objectives.loss_table(good, self._objectives)
        low, span = table.min(axis=0), np.ptp(table, axis=0)
        scaled = (table - low) / np.where(span > 0, span, 1.0)
        return float(hypervolume(scaled, np.full(scaled.shape[1], 1.0 + 1e-9)))


@final
class Coster:
    """Cost of architectures from their graphs, remembered."""

    def __init__(self, space_name: str, manifest: Any, cost: CostParams, problem: Problem) -> None:
        self.space: TrainableSpace = sized(space_name, manifest)
        self.device, self.method = cost.device, cost.method
        self.limits: dict[str, float] = {}
        if cost.target_latency_ms is not None:
            self.limits["latency_ms"] = cost.target_latency_ms
        if cost.max_weight_bytes is not None:
            self.limits["weight_bytes"] = float(cost.max_weight_bytes)
        self._model: CostModel = load_cost_model(cost.method, load_device(cost.device))
        self._problem = problem
        self._known: dict[Architecture, Record] = {}

    def costs(self, point: Architecture) -> Record:
        """The numbers that :func:`tasks.candidates.describe` and ``costs`` there name."""
        if point not in self._known:
            graph = self._problem.complete(self.space.lower(point))
            self._known[point] = describe(graph) | costs(graph, self._model.estimate(graph))
        return self._known[point]


@final
class Evaluator:
    """Scores of architectures with the supernet's weights."""

    def __init__(
        self,
        space_name: str,
        problem: Problem,
        search: SearchParams,
        runtime: RuntimeParams,
        workspace: Workspace,
    ) -> None:
        from tasks.training import configure_tensorflow

        configure_tensorflow(runtime.threads, runtime.deterministic)
        self._net, self._problem = load_supernet(space_name, problem, workspace), problem
        self._calibration = load_split(workspace, "train", search.calibration_images)
        self._held = load_split(workspace, "validation", search.validation_images)

    def score(self, point: Architecture) -> Mapping[str, float]:
        """The problem's metrics on validation, batch statistics recalibrated on train."""
        graph = self._net.graph(point)
        batches = inputs_in_batches(self._problem, self._calibration, graph, whole=True)
        statistics = self._net.recalibrate(point, batches)
        deployed = self._problem.deployed
        batches = inputs_in_batches(self._problem, self._held, graph)
        outputs = self._net.predict(point, batches, statistics, deployed)
        if not all(np.isfinite(one).all() for one in outputs):
            raise ArithmeticError("outputs must be finite, but got NaN or infinity")
        return self._problem.score(outputs, self._held, self._net.graph(point, deployed))


BATCH_BYTES = 2**23
"""Of inputs that are looked at together: 8 MiB, or 64 samples if that is more."""


def inputs_in_batches(
    problem: Problem, arrays: Mapping[str, Any], graph: OpGraph, whole: bool = False
) -> Iterator[dict[str, Any]]:
    """Inputs of a network in batches of equal size; with ``whole`` a rest is dropped."""
    inputs = problem.inputs(arrays, graph)
    count = len(next(iter(inputs.values())))
    sample_bytes = sum(array.nbytes for array in inputs.values()) // max(1, count)
    size = min(count, max(64, min(256, BATCH_BYTES // max(1, sample_bytes))))
    last = count - size + 1 if whole else count
    for at in range(0, last, size):
        yield {name: array[at : at + size] for name, array in inputs.items()}


def choose_finalists(records: Sequence[Record], count: int, select: SelectParams) -> list[Record]:
    """At most ``count`` candidates that keep most of the front's hypervolume.

    Greedy: each one adds most to what is already there (within (1 - 1/e) of the best subset,
    Nemhauser et al. 1978); once the front is used up, the next rank follows.

    Raises:
        SearchError: No candidate was scored.
    """
    good = [record for record in records if record["status"] == "done"]
    if not good:
        reason = next((record["reason"] for record in records), "no candidates")
        raise SearchError(
            f"a candidate must have been scored to be trained on, but got {len(records)} that "
            f"failed, the first with: {reason}. Train the supernet longer (supernet.steps), or "
            "read search/candidates.json."
        )
    goals = objectives.parse(select.objectives)
    table = objectives.loss_table(good, goals)
    low, span = table.min(axis=0), np.ptp(table, axis=0)
    scaled = (table - low) / np.where(span > 0, span, 1.0)
    corner = np.full(scaled.shape[1], 1.1)
    order = sorted(range(len(good)), key=lambda index: (good[index]["rank"], good[index]["id"]))
    chosen: list[int] = []
    for rank in sorted({record["rank"] for record in good}):
        pool = [index for index in order if good[index]["rank"] == rank]
        while pool and len(chosen) < count:
            best = max(pool, key=lambda i: hypervolume(scaled[[*chosen, i]], corner))
            chosen.append(best)
            pool.remove(best)
    return sorted((good[index] for index in chosen), key=lambda record: record["latency_ms"])
