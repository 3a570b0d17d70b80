"""Search algorithms on a known truth: how much of what can be had do they find, and how soon.

    python -m benchmarks.search_on_table --table FILE.csv --space nas_bench_201
    python -m benchmarks.search_on_table --landscape --space mobilenet_edgetpu_v2_small
    python -m benchmarks.search_on_table ... --noise 1 --chunk 8 --begin --budget 60

The truth is a table with the columns ``architecture`` (in the notation of the space) and those
named, or the made-up landscape of :mod:`benchmarks.truths`. Every algorithm of ``spaces/search``
runs with the same seeds; so does random search, and NSGA-II of pymoo and Optuna where they are
installed. With ``--noise`` a score is observed with a normal error of that standard deviation,
the same for all algorithms that look at a network with one seed; costs are exact, and ``known``
gives them to those that can use it (``--blind``: not). With ``--begin`` a search starts with
hand-made networks for up to half of its budget, as ours do; then each checkpoint is a search of
its own.

Printed, as means over seeds: the *hypervolume* of the returned front, judged by its true losses,
over the attainable one, with its standard error; what it is above random search, seed by seed, and
in how many seeds; the share of the returned front that is *dominated* in truth; *regret*, what its
best score lacks of the best there is; *repeats*, proposals made before; milliseconds of the
algorithm for an evaluation, without the time that ``known`` takes. The reference point is what the
worst fifth scores, and 0.8 of the largest cost.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from benchmarks.peers import PEERS, installed
from benchmarks.results import Result, machine, save, warn_if_busy
from benchmarks.truths import FloatArray, Landscape, Table, Truth, ratio
from spaces.menu import load_algorithm, names_in
from spaces.search_support.dominance import is_on_front
from spaces.search_support.replay import ask_many
from spaces.space import Architecture, Exhausted, SearchAlgorithm

RANDOM = "random_search"
CHECKPOINTS = (12, 16, 24, 60, 100, 200, 400)
Make = Callable[[Truth, int, Sequence[Architecture], Any], SearchAlgorithm]


@dataclass(frozen=True, slots=True)
class Setting:
    """How searches run.

    Attributes:
        seeds: 0 to this one.
        noise: Standard deviation of a score.
        chunk: Asked before the first is told.
        begin: Whether with hand-made networks.
        blind: Whether costs are told of what was evaluated only.
    """

    seeds: int
    noise: float = 0.0
    chunk: int = 1
    begin: bool = False
    blind: bool = False


@dataclass(frozen=True, slots=True)
class Course:
    """A search: proposals in order, their losses [n, m] as observed and in truth."""

    points: tuple[Architecture, ...]
    observed: FloatArray
    true: FloatArray
    overhead_ms: float


@final
class Costs:
    """Known losses, and the time that they take."""

    def __init__(self, truth: Truth) -> None:
        self._truth, self.seconds = truth, 0.0

    def __call__(self, points: Sequence[Architecture]) -> dict[str, FloatArray]:
        """By name, one value a point."""
        began = time.process_time()
        table = self._truth.losses(points)
        self.seconds += time.process_time() - began
        named = zip(self._truth.objectives, table.T, strict=True)
        return dict(list(named)[-self._truth.costs :])


def ours(name: str) -> Make:
    """An algorithm of ``spaces/search``."""

    def make(
        truth: Truth, seed: int, initial: Sequence[Architecture], known: Any
    ) -> SearchAlgorithm:
        rng = np.random.default_rng(seed)
        return load_algorithm(name)(truth.space, rng, truth.objectives, None, initial, known)

    return make


def theirs(name: str) -> Make:
    """A peer, which takes nothing to begin with."""

    def make(truth: Truth, seed: int, *_: object) -> SearchAlgorithm:
        return PEERS[name](truth.space, np.random.default_rng(seed), truth.objectives)

    return make


def search(make: Make, truth: Truth, seed: int, budget: int, setting: Setting) -> Course:
    """One search to ``budget`` evaluations, or to the end of the space."""
    costs = Costs(truth)
    initial = _first(truth, budget // 2) if setting.begin else ()
    algorithm = make(truth, seed, initial, None if setting.blind else costs)
    points: list[Architecture] = []
    observed, true, took = [], [], 0.0
    while len(points) < budget:
        began = time.process_time()
        try:
            trials = ask_many(algorithm, min(setting.chunk, budget - len(points)))
        except Exhausted:
            break
        took += time.process_time() - began
        rows = truth.losses([trial.architecture for trial in trials])
        for trial, row in zip(trials, rows, strict=True):
            seen = row.copy()
            seen[0] += setting.noise * _error(seed, trial.architecture) if setting.noise else 0
            told = dict(zip(truth.objectives, map(float, seen), strict=True))
            began = time.process_time()
            algorithm.tell(trial, None if np.isnan(row).any() else told)
            took += time.process_time() - began
            points.append(trial.architecture)
            observed.append(seen)
            true.append(row)
    overhead = 1e3 * (took - costs.seconds) / len(points)
    return Course(tuple(points), np.array(observed), np.array(true), overhead)


def _first(truth: Truth, room: int) -> tuple[Architecture, ...]:
    """Hand-made networks of all costs, as many as there is room for."""
    points = truth.initial
    points = [points[int(at)] for at in np.argsort(truth.losses(points)[:, -truth.costs])]
    if len(points) > room:
        points = [points[int(at)] for at in np.linspace(0, len(points) - 1, room).round()]
    return tuple(points)


def _error(seed: int, point: Architecture) -> float:
    """Of one observation, the same whoever makes it."""
    return float(np.random.default_rng([seed, int(point.id, 16)]).normal())


def judge(truth: Truth, course: Course, count: int) -> dict[str, float]:
    """What the first ``count`` evaluations are worth."""
    good = np.isfinite(course.true[:count]).all(axis=1)
    observed, true = course.observed[:count][good], course.true[:count][good]
    front = true[is_on_front(observed)]
    beaten = [
        bool(((truth.best <= row).all(axis=1) & (truth.best < row).any(axis=1)).any())
        for row in front
    ]
    lacking = front[:, 0].min() - truth.best[:, 0].min() if len(front) else math.nan
    return {
        "hypervolume": ratio(truth, front),
        "dominated": float(np.mean(beaten)) if beaten else math.nan,
        "regret": float(lacking),
        "repeats": float(count - len(set(course.points[:count]))),
        "overhead_ms": course.overhead_ms,
    }


def campaign(
    make: Make, truth: Truth, checkpoints: Sequence[int], setting: Setting
) -> dict[int, dict[str, list[float]]]:
    """By checkpoint and measure, one value a seed."""
    found: dict[int, dict[str, list[float]]] = {count: {} for count in checkpoints}
    for seed in range(setting.seeds):
        whole = None if setting.begin else search(make, truth, seed, max(checkpoints), setting)
        for count in checkpoints:
            course = whole or search(make, truth, seed, count, setting)
            for name, value in judge(truth, course, count).items():
                found[count].setdefault(name, []).append(value)
    return found


def summary(found: dict[str, list[float]], base: dict[str, list[float]]) -> Result:
    """Means over seeds, and what the hypervolume is above that of ``base``."""
    gains = np.subtract(found["hypervolume"], base["hypervolume"])
    return {
        **{name: float(np.mean(values)) for name, values in found.items()},
        "standard_error": _standard_error(found["hypervolume"]),
        "gain": float(gains.mean()),
        "gain_standard_error": _standard_error(gains),
        "better": int((gains > 0).sum()),
        "by_seed": found["hypervolume"],
    }


def _written(one: Any) -> Any:
    """As JSON has it: what is no number is null."""
    if isinstance(one, dict):
        return {name: _written(value) for name, value in one.items()}
    if isinstance(one, list):
        return [_written(value) for value in one]
    return None if isinstance(one, float) and math.isnan(one) else one


def _standard_error(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan


def line(name: str, count: int, one: Any, seeds: int) -> str:
    """A row of what is printed."""
    return (
        f"{name:<22}{count:>6}  {one['hypervolume']:.3f} ({one['standard_error']:.3f})  "
        f"{one['gain']:+.3f} ({one['gain_standard_error']:.3f}), {one['better']:>2} of {seeds}  "
        f"{one['dominated']:>9.2f}  {one['regret']:>6.2f}  {one['repeats']:>7.1f}  "
        f"{one['overhead_ms']:>8.2f}"
    )


HEAD = (
    f"{'algorithm':<22}{'evals':>6}  {'hypervolume':<13}  {'above random search':<23}  "
    f"{'dominated':>9}  {'regret':>6}  {'repeats':>7}  {'ms a one':>8}"
)


def compare(
    truth: Truth, names: Sequence[str], checkpoints: Sequence[int], setting: Setting
) -> Result:
    """Run all algorithms and peers, and print each when it is done."""
    makes = {name: ours(name) for name in dict.fromkeys((RANDOM, *names))}
    for name, peer in PEERS.items():
        if setting.begin:
            print(f"{name}: left out, for it takes no networks to begin with")
        elif not installed(name):
            print(f"{name}: left out, for {peer.package} is not installed")
        else:
            makes[name] = theirs(name)
    print(HEAD, flush=True)
    base: dict[int, dict[str, list[float]]] = {}
    results: Result = {}
    for name, make in makes.items():
        found = campaign(make, truth, checkpoints, setting)
        base = base or found
        told = {count: summary(found[count], base[count]) for count in checkpoints}
        for count, one in told.items():
            print(line(name, count, one, setting.seeds), flush=True)
        results[name] = told
    return results


def parser() -> argparse.ArgumentParser:
    """The options."""
    top = argparse.ArgumentParser(prog="python -m benchmarks.search_on_table")
    kind = top.add_mutually_exclusive_group(required=True)
    kind.add_argument("--table", type=Path, metavar="FILE.csv")
    kind.add_argument("--landscape", action="store_true", help="the made-up truth of --space")
    top.add_argument("--space", default="nas_bench_201", metavar="NAME")
    top.add_argument("--maximize", default="accuracy", metavar="COLUMN")
    top.add_argument("--minimize", nargs="+", default=["latency_ms"], metavar="COLUMN")
    top.add_argument("--algorithms", default=",".join(names_in("search")), metavar="A,B,C")
    top.add_argument("--budget", type=int, default=400, metavar="N", help="evaluations")
    top.add_argument("--seeds", type=int, default=20, metavar="K")
    top.add_argument("--noise", type=float, default=0.0, metavar="SD", help="of a score")
    top.add_argument("--chunk", type=int, default=1, help="asked before the first is told")
    top.add_argument("--begin", action="store_true", help="with hand-made networks")
    top.add_argument("--blind", action="store_true", help="costs are not known beforehand")
    top.add_argument("--device", default="coral_usb3", metavar="D", help="of the landscape")
    top.add_argument("--json", type=Path, metavar="OUT")
    return top


def main() -> None:
    """Measure, print, write."""
    given = parser().parse_args()
    warn_if_busy()
    if min(given.budget, given.seeds, given.chunk) < 1:
        parser().error("--budget, --seeds and --chunk must be at least 1.")
    checkpoints = [*(one for one in CHECKPOINTS if one < given.budget), given.budget]
    setting = Setting(given.seeds, given.noise, given.chunk, given.begin, given.blind)
    names = given.algorithms.split(",")
    try:
        for name in names:
            load_algorithm(name)
        truth: Any = (
            Landscape(given.space, given.minimize, given.device)
            if given.landscape
            else Table(given.table, given.space, given.maximize, given.minimize)
        )
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    print(
        f"{given.space}: reference {np.array2string(truth.reference, precision=2)} in losses, "
        f"{len(truth.best)} on the best front; {given.seeds} seeds"
    )
    results = compare(truth, names, checkpoints, setting)
    about = machine(["moocore", "numpy", "scikit-learn"])
    options = {name: str(value) for name, value in vars(given).items()}
    save(given.json, {"machine": about, "options": options, "results": _written(results)})


if __name__ == "__main__":
    main()
