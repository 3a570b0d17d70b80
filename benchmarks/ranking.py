"""How well scores of a search order networks: Kendall's tau against long trainings of the same.

    python -m benchmarks.ranking --profile mine --networks 12 --epochs 3 9 27
    python -m benchmarks.ranking --profile cifar10 --set data.source=FOLDER supernet.steps=300

The networks are those that a gate looks at (:mod:`tasks.candidates.gate`): small and large ones of
each kind of op throughout, then random ones evenly over latency. Each is trained alone from
scratch for every number of epochs, by the recipe of a search's candidates, and scored on
validation in floating point. The longest trainings are the truth; the first ``--repeat`` of them
are repeated with another seed, to know its noise. Where the profile has a supernet
(``supernet.steps``) it is trained as the pipeline does it; then networks are also scored by its
slices (``shared``), and the shorter trainings begin from slices as well (``sliced``).

Printed for each way and length: tau with a 90 % bootstrap interval, beside the tau of
multiply-accumulates and the ceiling that a perfect score would reach on so noisy a truth; the bias
of each kind of op (mean of score less truth, centred) in points with its standard error; and what
beginning from slices wins over beginning at random, on average over networks.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

from benchmarks.results import Result, machine, save, warn_if_busy
from spaces.space import Architecture
from tasks import prepare_dataset, train_supernet
from tasks.candidates import gate
from tasks.candidates.candidate import Candidate
from tasks.candidates.coster import Coster
from tasks.candidates.evaluator import Bench, load_evaluator
from tasks.candidates.records import Record
from tasks.learning.problem import open_problem
from tasks.run.manifest import DataManifest
from tasks.run.params import Params
from tasks.run.params_file import load_params
from tasks.run.progress import SilentProgress
from tasks.run.workspace import Workspace

PACKAGES = ("tensorflow", "tf-keras", "numpy")


def scored(
    name: str, bench: Bench, points: Sequence[Architecture], epochs: int, seed: int = 0
) -> list[Record]:
    """Scores by an evaluator; prints the time that they took."""
    search = bench.search.model_copy(update={"seed": bench.search.seed + seed})
    evaluator = load_evaluator(name)(replace(bench, epochs=epochs, search=search))
    began = time.monotonic()
    scores = evaluator.score_many(points)
    evaluator.close()
    took = time.monotonic() - began
    length = "" if name == "shared" else f", {epochs} epochs, seed {seed}"
    print(f"{name}: {len(points)} networks{length}: {took:.0f} s", flush=True)
    return scores


def measure(
    params: Params, count: int, lengths: Sequence[int], repeat: int, folder: Path
) -> Result:
    """Prepare the data, train, and judge each shorter length by the longest."""
    workspace = Workspace(folder / "results", folder / "state", folder)
    prepare_dataset.run(params.data, workspace, SilentProgress())
    problem = open_problem(params.problem, workspace)
    manifest = DataManifest.read(workspace)
    coster = Coster(params.space.name, manifest, params.cost, problem)
    points = gate.networks(
        coster.space,
        count,
        params.search.seed,
        coster.within(),
        lambda point: float(coster.costs(point)["latency_ms"]),
    )
    bench = Bench(
        params.problem, params.space.name, params.search, params.runtime, workspace, epochs=1
    )
    *shorter, longest = sorted(lengths)
    metric = problem.metric.name
    truth = scored("trained", bench, points, longest)
    again = scored("trained", bench, points[:repeat], longest, seed=1)
    found: dict[str, Any] = {}
    for way, epochs in _ways(params, workspace, shorter):
        scores = scored(way, bench, points, epochs)
        rows = [
            Candidate(point.id, {}, metric=metric, **coster.costs(point)).scored(score)
            for point, score in zip(points, scores, strict=True)
        ]
        name = way if way == "shared" else f"{way}, {epochs} epochs"
        verdict = gate.verdict(rows, truth, metric, again)
        found[name] = {**verdict, "scores": [score.get(metric) for score in scores]}
    return {
        "problem": params.problem.name,
        "source": str(params.data.source),
        "longest": longest,
        "truth": [score.get(metric) for score in truth],
        "repeated": [score.get(metric) for score in again],
        "by": found,
        "machine": machine(PACKAGES),
    }


def _ways(
    params: Params, workspace: Workspace, shorter: Sequence[int]
) -> Iterator[tuple[str, int]]:
    """Evaluators and epochs; the supernet is trained when the first is asked for."""
    ways = ["trained"]
    if params.supernet.steps:
        began = time.monotonic()
        train_supernet.run(
            params.problem,
            params.space,
            params.supernet,
            params.cost,
            params.runtime,
            workspace,
            SilentProgress(),
        )
        took = time.monotonic() - began
        print(f"supernet: {params.supernet.steps} steps: {took:.0f} s", flush=True)
        yield "shared", 0
        ways.append("sliced")
    for epochs in shorter:
        for way in ways:
            yield way, epochs


def told(result: Result) -> str:
    """The figures, a line a way and a line a kind."""
    lines: list[str] = []
    found: Any = result["by"]
    for name, one in found.items():
        if "tau" not in one:
            lines.append(f"{name}: {'; '.join(one['reasons'])}")
            continue
        low, high = one["tau_interval"]
        ceiling = one["tau_ceiling"]
        top = "unknown" if ceiling is None else f"{ceiling:.2f}"
        lines.append(
            f"{name}, against {result['longest']} epochs: tau {one['tau']:.2f} "
            f"({low:.2f} to {high:.2f}) on {one['networks']} networks, MACs "
            f"{one['tau_macs']:.2f}, ceiling {top}"
        )
        for kind, bias in one["bias"].items():
            lines.append(
                f"  {kind}: {100 * bias['bias']:+.1f} points, standard error "
                f"{100 * bias['error']:.1f}, {bias['networks']} networks"
            )
        if name.startswith("sliced"):
            lines.append(f"  {_gain(one['scores'], found[name.replace('sliced', 'trained')])}")
    return "\n".join(lines)


def _gain(sliced: Sequence[float | None], alone: Mapping[str, Any]) -> str:
    """What beginning from slices wins, in points."""
    pairs = zip(sliced, alone["scores"], strict=True)
    gains = [100 * (one - other) for one, other in pairs if None not in (one, other)]
    error = np.std(gains, ddof=1) / np.sqrt(len(gains))
    return (
        f"from slices against from scratch: {np.mean(gains):+.1f} points, standard error "
        f"{error:.1f}, better for {sum(gain > 0 for gain in gains)} of {len(gains)}"
    )


def parser() -> argparse.ArgumentParser:
    """The options."""
    top = argparse.ArgumentParser(prog="python -m benchmarks.ranking")
    top.add_argument("--profile")
    top.add_argument("--set", dest="overrides", nargs="+", default=[], metavar="KEY=VALUE")
    top.add_argument("--networks", type=int, default=12)
    top.add_argument("--epochs", type=int, nargs="+", default=[3, 9, 27])
    top.add_argument("--repeat", type=int, default=4, help="networks trained with two seeds")
    top.add_argument("--json", type=Path)
    return top


def main() -> None:
    """Measure and print."""
    given = parser().parse_args()
    warn_if_busy()
    params = load_params(Path("params.yaml"), given.profile, given.overrides)
    with TemporaryDirectory() as folder:
        result = measure(params, given.networks, given.epochs, given.repeat, Path(folder))
    print(told(result))
    save(given.json, result)


if __name__ == "__main__":
    main()
