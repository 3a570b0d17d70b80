"""Searches the space: cost as a hard limit, scores by an evaluator, every candidate kept.

First the gate, where there is a supernet to be judged; then the candidates, as many as the budget
says; then rungs, each a search of its own whose candidates are trained longer: it begins with the
best of the rung below and goes on with new ones beside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from spaces.graph import OpGraph
from spaces.menu import load_algorithm, load_baselines
from spaces.sided import offered
from spaces.space import Architecture, Exhausted, FloatArray, SearchAlgorithm, Trial
from tasks.candidates import gate, objectives
from tasks.candidates.board import Board
from tasks.candidates.candidate import Candidate, write_candidates
from tasks.candidates.coster import Coster
from tasks.candidates.evaluator import AUTO, Bench, EvaluatorError, load_evaluator
from tasks.candidates.judgement import Agreement, Fidelity, Verdict
from tasks.candidates.machine_speed import speed_of
from tasks.candidates.objectives import COSTS, is_cost
from tasks.candidates.other_devices import elsewhere_of, other_devices
from tasks.candidates.records import Record
from tasks.candidates.rungs import LEAST_STEPS, Rungs
from tasks.candidates.scores import Scores
from tasks.candidates.summary import SearchSummary
from tasks.candidates.volume import corner_of, volume
from tasks.learning import recipes
from tasks.learning.problem import open_problem
from tasks.learning.shared_weights import is_trained
from tasks.run.manifest import DataManifest
from tasks.run.params import (
    CostParams,
    ProblemParams,
    RuntimeParams,
    SearchParams,
    SelectParams,
    SpaceParams,
)
from tasks.run.progress import Progress
from tasks.run.workspace import Workspace, write_json

Manifest = dict[str, object]
SHOWN = "now.json"
"""In the state folder: proposed, failed and front of a search that is going on."""


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
    progress.start("search", session.total)
    for chunk in session.chunks():
        session.tell(chunk, session.evaluate(chunk))
        progress.advance(session.told, session.note())
    progress.finish()
    return session.finish()


GATE = -1


@dataclass(frozen=True, slots=True)
class Chunk:
    """What is evaluated together.

    Attributes:
        rung: 0 at first; above, trainings are longer; ``GATE``: the gate's.
        trials: Of the algorithm of that rung, or of the gate.
    """

    rung: int
    trials: tuple[Trial, ...]


@final
class Search:
    """A search in chunks: ask, evaluate, tell.

    The order of proposals depends on the seed and on the scores only, and scores are remembered
    (:class:`tasks.candidates.scores.Scores`): a search that was cut off is simply run again.
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
        self._manifest = DataManifest.read(workspace)
        self._problem = open_problem(problem, workspace)
        there = tuple(one.latency for one in other_devices(cost))
        self._objectives = objectives.parse(select.objectives, problem.name, there)
        self._coster = Coster(space.name, self._manifest, cost, self._problem, space.offers)
        self._scores = Scores(Bench(problem, space.name, search, runtime, workspace, epochs=1))
        self._facts = recipes.facts_of(self._manifest)
        self._plan = Rungs(search, self._facts, self._speed(problem, space))
        self._budget, self._epochs = self._plan.first(self._coster)
        self._names = self._named(space.name)
        self._algorithm = self._new_algorithm(self._first())
        self.evaluator = self._evaluator_wanted()
        self._gate: Verdict | None = None
        self._rungs: list[Agreement] = []
        self._numbers: dict[Architecture, int] = {}
        self._left_behind: set[Architecture] = set()
        self.told = 0
        self._board = Board(self._objectives)

    def _speed(self, problem: ProblemParams, space: SpaceParams) -> float | None:
        """Of this machine; None where no minutes are shared out."""
        if self._params.epochs is not None or self._params.evaluator == "shared":
            return None
        return speed_of(problem, space.name, self._runtime, self._workspace)

    # -- proposing ------------------------------------------------------------------------------

    def _evaluator_wanted(self) -> str:
        """The evaluator, as far as it is known before the gate.

        Raises:
            EvaluatorError: There is none of that name, or it needs a supernet and there is none.
        """
        wanted, there = self._params.evaluator, is_trained(self._workspace)
        if wanted == AUTO:
            return AUTO if there and self._params.gate_networks else self._without_gate(there)
        load_evaluator(wanted)
        if wanted in ("shared", "sliced") and not there:
            raise EvaluatorError(
                f"search.evaluator: {wanted} must have a trained supernet, but got "
                "supernet.steps=0. Raise it, or use auto or trained."
            )
        return wanted

    @staticmethod
    def _without_gate(there: bool) -> str:
        return "shared" if there else "trained"

    def _named(self, space_name: str) -> dict[Architecture, tuple[str, str]]:
        """Architectures that have a name: (name, origin)."""
        space = self._coster.space
        ends = {
            space.largest(): ("largest", "largest"),
            space.smallest(): ("smallest", "smallest"),
        }
        baselines = offered(space, load_baselines(space_name))
        return ends | {point: (name, "baseline") for name, point in baselines.items()}

    def _first(self) -> list[Architecture]:
        """Those of a name that are looked at before others: half of the budget at most.

        Else there would be nothing left to search. The ends of the space, which tell its range
        and are seldom of use, go first; then baselines, so that those of all latencies stay.
        What is above a limit costs no evaluation, and shows the algorithm the way below it.
        """
        within, room = self._coster.within(), self._budget // 2
        above = [point for point in self._names if not within(point)]
        named = [point for point in self._names if point not in above]
        if len(named) > room:
            named = [point for point in named if self._names[point][1] == "baseline"]
        if len(named) > room:
            named.sort(key=lambda point: float(self._coster.costs(point)["latency_ms"]))
            named = [named[int(at)] for at in np.linspace(0, len(named) - 1, room).round()]
        return named + above

    def _new_algorithm(self, initial: Sequence[Architecture], rung: int = 0) -> SearchAlgorithm:
        feasible = self._coster.within() if self._coster.limits else None
        names = tuple(objective.name for objective in self._objectives)
        rng = np.random.default_rng([self._params.seed, rung] if rung else self._params.seed)
        return load_algorithm(self._params.algorithm)(
            self._coster.space, rng, names, feasible, tuple(initial), self._known_losses
        )

    def _known_losses(self, points: Sequence[Architecture]) -> dict[str, FloatArray]:
        """Losses of those objectives that are costs."""
        goals = {one.name: one.goal for one in self._objectives if is_cost(one.name)}
        columns = self._coster.columns(points, tuple(goals))
        return {name: -columns[name] if goals[name] == "max" else columns[name] for name in goals}

    @property
    def candidates(self) -> list[Candidate]:
        """Those told so far; those of a higher rung in the place of their earlier ones."""
        return self._board.candidates

    @property
    def total(self) -> int:
        """Evaluations planned: the budget, the gate's, and those on higher rungs."""
        extra = self._params.gate_networks if self.evaluator == AUTO else 0
        if self._params.evaluator != "shared":
            extra += sum(
                self._plan.trained(rung, self._budget) for rung in range(1, self._params.rungs)
            )
        return max(self._budget + extra, self.told)

    def percent(self) -> float:
        """Share of the evaluations that is told."""
        return 100.0 * self.told / self.total

    def crossed_a_tenth(self) -> bool:
        """Whether the last chunk reached another tenth of the evaluations."""
        before = max(0, self.told - self._params.chunk)
        return 10 * before // self.total < 10 * self.told // self.total

    def chunks(self) -> Iterator[Chunk]:
        """Chunks of trials, each to be evaluated and told before the next is asked for."""
        if self._budget < self._params.budget:
            print(
                f"search: {self._budget} candidates instead of {self._params.budget}, for "
                f"search.minutes={self._params.minutes:g} do not give each of so many "
                f"{LEAST_STEPS} training steps",
                flush=True,
            )
        if self.evaluator == AUTO:
            yield Chunk(GATE, self._gate_trials())
        yield from self._asked(0, self._budget)
        rungs = self._params.rungs if self._params.evaluator != "shared" else 1
        for rung in range(1, rungs):
            count = self._plan.trained(rung, self._budget)
            kept = self._board.best(self._plan.promoted(rung, self._budget))
            if not kept:
                return
            longer = self._plan.longer(rung, self._graphs(kept), self._budget)
            if longer <= self._epochs:
                return
            self._epochs = longer
            points = [self._point(one) for one in kept]
            self._algorithm = self._new_algorithm(points, rung)
            self._left_behind = set(self._numbers) - set(points)
            yield from self._asked(rung, len(kept))
            yield from self._asked(rung, count - len(kept))
            self._rungs.append(self._board.agreement(rung, self._epochs))

    def _asked(self, rung: int, count: int) -> Iterator[Chunk]:
        """The next ``count`` proposals of the algorithm, in chunks."""
        while count > 0:
            trials = self._ask(min(self._params.chunk, count))
            if not trials:
                return
            count -= len(trials)
            self._show()
            yield Chunk(rung, trials)

    def _ask(self, count: int) -> tuple[Trial, ...]:
        """At most ``count`` trials; fewer where the space is used up.

        On a higher rung what was left behind below is not asked again.
        """
        trials: list[Trial] = []
        try:
            while len(trials) < count:
                trial = self._algorithm.ask()
                if trial.architecture in self._left_behind:
                    self._algorithm.tell(trial, None)
                    continue
                trials.append(trial)
        except Exhausted:
            pass
        for trial in trials:
            self._numbers.setdefault(trial.architecture, len(self._numbers))
        return tuple(trials)

    def _gate_trials(self) -> tuple[Trial, ...]:
        """Networks of every kind of op."""
        found = gate.networks(
            self._coster.space,
            self._params.gate_networks,
            self._params.seed,
            self._coster.within(),
            lambda point: float(self._coster.costs(point)["latency_ms"]),
        )
        return tuple(Trial(number, point) for number, point in enumerate(found))

    def _graphs(self, candidates: Sequence[Candidate]) -> list[OpGraph]:
        return [self._coster.graph(self._point(one)) for one in candidates]

    def _point(self, one: Candidate) -> Architecture:
        return Architecture.of(self._coster.space.name, one.architecture)

    # -- evaluating -----------------------------------------------------------------------------

    def evaluate(self, chunk: Chunk) -> list[Candidate]:
        """One a trial; a failure is one with its reason."""
        points = [trial.architecture for trial in chunk.trials]
        name = self.evaluator if chunk.rung == 0 or self.evaluator == "sliced" else "trained"
        if chunk.rung == GATE:
            self._alone(points)
            name = "shared"
        scores = self._scores.of(points, name, self._epochs)
        return [
            self._unscored(point, chunk.rung, name).scored(score)
            for point, score in zip(points, scores, strict=True)
        ]

    def _unscored(self, point: Architecture, rung: int, evaluator: str) -> Candidate:
        number = self._numbers.get(point)
        name, origin = self._names.get(point, (None, self._params.algorithm))
        costs = self._coster.costs(point)
        there = elsewhere_of(costs)
        return Candidate(
            id=point.id,
            architecture=point.values,
            name=name,
            origin=origin,
            trial=number,
            generation=None if number is None else number // self._params.chunk,
            rung=rung,
            evaluator=evaluator,
            epochs=None if evaluator == "shared" else self._epochs,
            metric=self._problem.metric.name,
            elsewhere=there,
            **{name: cost for name, cost in costs.items() if name not in there},
        )

    def tell(self, chunk: Chunk, candidates: Sequence[Candidate]) -> None:
        """Take the results; the algorithm is told of new candidates, in the order of asking."""
        self.told += len(chunk.trials)
        if chunk.rung == GATE:
            self._judge(chunk, candidates)
        else:
            for trial, one in zip(chunk.trials, candidates, strict=True):
                losses = objectives.losses(one, self._objectives) if one.is_done else None
                self._algorithm.tell(trial, losses)
                self._board.add(one)
        self._show()

    def _judge(self, chunk: Chunk, shared: Sequence[Candidate]) -> None:
        """Train the gate's networks alone, and decide on the evaluator."""
        alone, repeated = self._alone([trial.architecture for trial in chunk.trials])
        found = gate.verdict(shared, alone, self._problem.metric.name, repeated)
        self.evaluator = "shared" if found.passed else "trained"
        self._gate = replace(found, epochs=self._epochs, evaluator=self.evaluator)
        print(gate.told(found), flush=True)

    def _alone(self, points: Sequence[Architecture]) -> tuple[list[Record], list[Record]]:
        """Scores of networks trained alone, and of the first third once more by another seed."""
        again = points[: len(points) // 3]
        alone = self._scores.of(points, "trained", self._epochs)
        return alone, self._scores.of(again, "trained", self._epochs, seed=1)

    # -- reporting ------------------------------------------------------------------------------

    def note(self) -> str:
        """The search so far, in a few words."""
        return self._board.note()

    def _show(self) -> None:
        """Keep the state of the search where ``python -m flows status`` looks."""
        write_json(
            self._workspace.state / SHOWN,
            {
                "proposed": len(self._numbers),
                "done": len(self._board.good),
                "failed": self._board.failed,
                "front": [one.told() for one in self._board.front],
            },
        )

    def finish(self) -> Manifest:
        """Rank all candidates and write them."""
        self._scores.close()
        self._board.rank()
        front = self._board.front
        costs = self._coster.costs(self._coster.space.largest())
        largest = {name: costs[name] for name in (*COSTS, *self._coster.elsewhere)}
        write_candidates(self._workspace, self.candidates)
        plan = recipes.brief_plan(self._facts, self._params, self._epochs)
        Fidelity(
            evaluator=self.evaluator,
            training=plan.told() if self.evaluator != "shared" else None,
            speed=self._plan.speed,
            gate=self._gate,
            rungs=tuple(self._rungs),
        ).write(self._workspace)
        figures = self._gate.figures if self._gate else None
        summary = SearchSummary(
            candidates=len(self.candidates),
            failed=self._board.failed,
            front=tuple(one.id for one in front),
            hypervolume=volume(front, self._objectives, corner_of(self._objectives, largest)),
            largest=largest,
            evaluator=self.evaluator,
            gate_tau=figures.tau if figures else None,
            gate_tau_macs=figures.tau_macs if figures else None,
            gate_tau_ceiling=figures.tau_ceiling if figures else None,
            gate_passed=None if self._gate is None else self._gate.passed,
            rung_tau=tuple(one.tau for one in self._rungs if one.tau is not None),
            rung_tau_macs=tuple(one.tau_macs for one in self._rungs if one.tau_macs is not None),
            device=self._coster.device,
            method=self._coster.method,
        )
        summary.write(self._workspace)
        return summary.told()
