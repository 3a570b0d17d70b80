"""What a person should know before an hour of search: the data, the networks, the time it takes.

Reads data and settings as a run would, in a folder for a while, and trains nothing. Times are
those of :mod:`tasks.candidates.workload`: of two cores of 2.8 GHz, from the graphs alone.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from hw.text import table
from spaces.graph import OpGraph
from spaces.menu import load_baselines
from spaces.search_support.dominance import is_on_front
from spaces.sided import offered, parted
from spaces.size import estimated_count
from spaces.space import Architecture
from spaces.walk import sample
from tasks.candidates.coster import Coster
from tasks.candidates.courses import as_many_as_learn
from tasks.candidates.evaluator import AUTO
from tasks.candidates.other_devices import other_devices
from tasks.candidates.rungs import LEAST_STEPS, Rungs
from tasks.candidates.workload import CORES, step_seconds, training_seconds
from tasks.data import losses, remarks
from tasks.data.arrays import load_split
from tasks.data.dataset import DataError
from tasks.data.losses import Loss
from tasks.learning import recipes
from tasks.learning.problem import open_problem
from tasks.pipeline import data_sheet, preflight
from tasks.prepare_dataset import run as prepare
from tasks.run.manifest import DataManifest
from tasks.run.params import Params
from tasks.run.progress import Progress, duration
from tasks.run.workspace import Workspace

_DRAWN: Final = 60  # random networks; a cost takes a millisecond
_SHOWN: Final = 8  # of the front


def run(params: Params, progress: Progress) -> Iterator[str]:
    """Lines for people, the first ones as soon as the data is read.

    Raises:
        ValueError: The run would be refused, as :func:`tasks.pipeline.preflight.check` or the data
            says; or would stop at what it loses. The lines before say more.
    """
    lenient = {"allowed_loss": 1.0, "on_unreadable": "skip"}
    preflight.check(params.model_copy(update={"data": params.data.model_copy(update=lenient)}))
    with tempfile.TemporaryDirectory(prefix="edgenas-check-") as folder:
        workspace = Workspace(Path(folder, "run"), Path(folder, "state"), Path(folder, "store"))
        began = time.monotonic()
        told = prepare(params.data.model_copy(update=lenient), workspace, progress)
        manifest = DataManifest.of(told)
        took = time.monotonic() - began
        problem, train = open_problem(params.problem, workspace), load_split(workspace, "train")
        yield from data_sheet.lines(manifest, train, params, problem)
        yield from (f"  {line}" for line in remarks.lines(told))
        _refuse(manifest, params)
        preflight.check_target(params, workspace)
        ahead = _Ahead.of(params, manifest, workspace)
        yield ""
        yield from ahead.networks()
        yield ""
        yield from ahead.stages(took)


def _refuse(manifest: DataManifest, params: Params) -> None:
    """Refuse what a run would stop at.

    Raises:
        DataError: It would.
    """
    losses.check([Loss(**one) for one in manifest.lost], params.data.allowed_loss)
    unusable = manifest.unreadable
    if unusable is not None and unusable.count and params.data.on_unreadable == "fail":
        raise DataError(
            f"every sample must be usable, but {unusable.count} are not, the first "
            f"{unusable.names[0]!r}. Repair or remove them, or set data.on_unreadable to skip."
        )


@dataclasses.dataclass(frozen=True, slots=True)
class _Ahead:
    """What a search begins with.

    Attributes:
        params: All of them.
        facts: Of the data.
        coster: Of the space, sized for the data.
        named: Networks that have a name.
        drawn: Random ones within the limits.
    """

    params: Params
    facts: recipes.Facts
    coster: Coster
    named: dict[Architecture, str]
    drawn: tuple[Architecture, ...]

    @staticmethod
    def of(params: Params, manifest: DataManifest, workspace: Workspace) -> _Ahead:
        """From prepared data."""
        problem = open_problem(params.problem, workspace)
        coster = Coster(params.space.name, manifest, params.cost, problem, params.space.offers)
        space, within = coster.space, coster.within()
        baselines = offered(space, load_baselines(params.space.name))
        named = {space.smallest(): "smallest", space.largest(): "largest"}
        named |= {point: name for name, point in baselines.items()}
        rng = np.random.default_rng([params.search.seed, 11])
        drawn = dict.fromkeys(sample(space, rng) for _ in range(_DRAWN))
        kept = tuple(point for point in drawn if within(point))
        return _Ahead(params, recipes.facts_of(manifest), coster, named, kept or tuple(named))

    def networks(self) -> Iterator[str]:
        """What the cost model allows: of networks at each latency the largest."""
        cost = self.params.cost
        space, device = self.params.space.name, Path(cost.device).stem
        count, _ = estimated_count(self.coster.space)
        sides, rest = parted(self.params.space.offers)
        narrow = f", of pictures at {len(sides)} sizes" if len(sides) > 1 else ""
        narrow += ", narrowed by space.choices" if rest or len(sides) == 1 else ""
        others = other_devices(cost)
        device += "".join(f" and {one.name}" for one in others)
        yield (
            f"networks: {space} (about {count:.0e} architectures{narrow}) on {device}, by the "
            f"cost model {cost.method}, not measured"
        )
        within = self.coster.within()
        points = [point for point in {**self.named, **dict.fromkeys(self.drawn)} if within(point)]
        costs = [self.coster.costs(point) for point in points]
        latencies = ("latency_ms", *(one.latency for one in others))
        front = is_on_front(
            [[*(one[name] for name in latencies), -float(one["macs"])] for one in costs]
        )
        rows = sorted(
            (
                tuple(one[name] for name in latencies),
                one["macs"],
                one["weight_bytes"],
                self.named.get(point, "random"),
            )
            for point, one, kept in zip(points, costs, front, strict=True)
            if kept
        )
        places = np.unique(
            np.linspace(0, len(rows) - 1, min(_SHOWN, len(rows))).round().astype(int)
        )
        there = tuple(f"on {one.name}" for one in others)
        shown = [("  latency ms", *there, "million MACs", "weights kB", "network")]
        for times, macs, weights, name in (rows[place] for place in places):
            took = (f"  {times[0]:.3f}", *(f"{one:.3f}" for one in times[1:]))
            shown.append((*took, f"{macs / 1e6:.2f}", f"{weights / 1e3:.0f}", name))
        yield table(shown)
        yield (
            f"  the front by MACs, which stand for accuracy here, of {len(points)} networks: "
            f"those of a name and random ones within {self._limits()}"
        )

    def _limits(self) -> str:
        asked = [f"{name} {limit:g}" for name, limit in self.coster.asked.items()]
        return f"the limits ({', '.join(asked)})" if asked else "the range of the baselines"

    def stages(self, prepared_s: float) -> Iterator[str]:
        """How long each stage will take."""
        yield (
            f"time on {CORES} cores, {self.speed:g} times as fast as nominal ones "
            f"(runtime.speed; {self._whence()})"
        )
        rows = [("  prepare", duration(prepared_s), "as measured now")]
        if self.params.supernet.steps:
            rows.append(self._supernet())
        if self.params.search.evaluator == "shared":
            rows.append(("  search", "not reckoned", "candidates are slices of the supernet"))
        else:
            rows += [*self._gate(), self._search()]
        rows.append(self._finetune())
        yield table(rows)
        yield "  select and report are not reckoned: they score the finished files"

    @property
    def speed(self) -> float:
        """Of this machine; a nominal one where a run is to measure it."""
        asked = self.params.runtime.speed
        return 1.0 if asked == "auto" else float(asked)

    def _whence(self) -> str:
        if self.params.runtime.speed == "auto":
            return "auto: a run measures it, and trains as much longer as yours is faster"
        return "a run says what yours are"

    def _supernet(self) -> tuple[str, str, str]:
        supernet, space = self.params.supernet, self.coster.space
        size = supernet.batch_size or recipes.batch_size(self.facts)
        ends = [self._graph(space.largest()), self._graph(space.smallest())]
        mean = self._mean_step(size)
        step = sum(step_seconds(one, size) for one in ends) + supernet.random_subnets * mean
        told = f"{supernet.steps} steps of {2 + supernet.random_subnets} networks, in core time"
        seconds = supernet.steps * step / self.speed
        return ("  train_supernet", duration(seconds), told)

    def _gate(self) -> Iterator[tuple[str, str, str]]:
        """Of networks that are trained to judge the supernet, if there is one: a third twice."""
        search, size = self.params.search, recipes.batch_size(self.facts)
        if self.params.supernet.steps and search.evaluator == AUTO and search.gate_networks:
            _, epochs = self._rungs().first(self.coster)
            count = search.gate_networks + search.gate_networks // 3
            told = f"{search.gate_networks} networks of {_said(epochs)}, to judge the supernet"
            yield ("  gate", duration(self._trainings(count, epochs, size)), told)

    def _search(self) -> tuple[str, str, str]:
        """Of candidates that are trained on their own."""
        search = self.params.search
        plan, size = self._rungs(), recipes.batch_size(self.facts)
        count, epochs = plan.first(self.coster)
        seconds = self._trainings(count, epochs, size)
        steps, told = epochs * self._per_epoch(size), [f"{count} candidates of {_said(epochs)}"]
        for rung in range(1, search.rungs):
            kept = self._graphs(plan.promoted(rung, count))
            longer, trained = plan.longer(rung, kept, count), plan.trained(rung, count)
            if longer <= epochs:
                break
            epochs = longer
            seconds += self._trainings(trained, epochs, size)
            told.append(f"{trained} of {_said(epochs)}")
        few = f"; only {steps} steps each: raise search.minutes" if steps < LEAST_STEPS else ""
        own = "if it is not believed, " if self.params.supernet.steps else ""
        return ("  search", duration(seconds), f"{own}{', then '.join(told)}{few}")

    def _finetune(self) -> tuple[str, str, str]:
        finetune = self.params.finetune

        def graphs_of(finalists: int) -> Sequence[OpGraph]:
            return self._graphs(finalists + finetune.baselines)

        finalists, courses = as_many_as_learn(self.facts, graphs_of, finetune, self.speed)
        graphs = graphs_of(finalists)
        count, first = len(graphs), courses.first.floating
        seconds = self._trainings(count, first.epochs, first.batch_size)
        told = f"{count} networks of {_said(first.epochs)}"
        if courses.go_on:
            more = [courses.longer(graph).floating.epochs for graph in graphs]
            mean = round(sum(more) / len(more))
            seconds += self._trainings(courses.go_on, mean, first.batch_size)
            told += f", the better {courses.go_on} of them {mean} more, by their size"
        told += ", then with quantization in the loop"
        return ("  finetune", duration(recipes.WITH_QAT * seconds), told)

    def _rungs(self) -> Rungs:
        return Rungs(self.params.search, self.facts, self.speed)

    def _trainings(self, count: int, epochs: int, size: int) -> float:
        """Wall seconds of ``count`` trainings, side by side."""
        drawn = self._graphs(_DRAWN)
        steps = epochs * self._per_epoch(size)
        return count * training_seconds(drawn, steps, size, self.speed) / len(drawn)

    def _per_epoch(self, size: int) -> int:
        return max(1, self.facts.items // min(size, self.facts.items))

    def _mean_step(self, size: int) -> float:
        return float(np.mean([step_seconds(graph, size) for graph in self._graphs(_DRAWN)]))

    def _graphs(self, count: int) -> Sequence[OpGraph]:
        """So many of the drawn networks, again from the first if they do not suffice."""
        points = [self.drawn[place % len(self.drawn)] for place in range(count)]
        return [self._graph(point) for point in points]

    def _graph(self, point: Architecture) -> OpGraph:
        return self.coster.graph(point)


def _said(epochs: int) -> str:
    """A number of epochs in words."""
    return f"{epochs} epoch" if epochs == 1 else f"{epochs} epochs"
