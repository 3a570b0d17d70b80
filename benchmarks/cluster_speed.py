"""How much sooner two workers of a Dask cluster score candidates than one does.

    python -m benchmarks.cluster_speed --profile tiny --json cluster_speed.json      # minutes

Takes the prepared data of a run (of ``--profile``, or the default) and random networks of its
space, and has each trained for ``--epochs``: by a cluster of one worker, by one of two, and
without a cluster by one process and by two. The last ratio is what this machine allows: the same
trainings, of one thread each, by as many processes, with nothing of Dask. Two processors that are
threads of one core are far from 2. Scheduler and workers are started here, on loopback. Inside
the clock: all from the first piece to the last score, with the start of TensorFlow in each
process. All scores must be equal.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.clusters import BenchmarkError, clustered
from benchmarks.results import machine, said, save, spread, warn_if_busy
from spaces.space import Architecture
from spaces.walk import sample
from tasks.candidates.evaluator import Bench
from tasks.candidates.records import Record
from tasks.evaluators.trained import Trained
from tasks.learning.networks import sized
from tasks.run.manifest import DataManifest
from tasks.run.params_file import load_params
from tasks.run.workspace import Workspace

WAYS = ("cluster of 1", "cluster of 2", "1 process here", "2 processes here")


@contextlib.contextmanager
def arranged(way: str) -> Iterator[None]:
    """Have candidates trained in one of :data:`WAYS`."""
    count = next(word for word in way.split() if word.isdecimal())
    if way.startswith("cluster"):
        with clustered(int(count)):
            yield
        return
    os.environ["EDGENAS_WORKERS"] = count
    try:
        yield
    finally:
        del os.environ["EDGENAS_WORKERS"]


def scored(bench: Bench, points: Sequence[Architecture]) -> tuple[float, list[Record]]:
    """Wall seconds and records of all candidates."""
    evaluator, began = Trained(bench), time.perf_counter()
    try:
        records = evaluator.score_many(points)
        return time.perf_counter() - began, records
    finally:
        evaluator.close()


def main() -> None:
    """Measure, print, write.

    Raises:
        BenchmarkError: Scores differ.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster_speed")
    parser.add_argument("--profile", metavar="NAME", help="whose prepared data is used")
    parser.add_argument("--candidates", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=4, help="of each candidate")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="OUT")
    options = parser.parse_args()
    warn_if_busy()
    about = machine(["distributed", "tensorflow"])
    params = load_params(Path("params.yaml"), options.profile)
    workspace = Workspace.of(options.profile)
    parts = (params.problem, params.space.name, params.search, params.runtime, workspace)
    bench = Bench(*parts, options.epochs)
    space, rng = sized(bench.space, DataManifest.read(workspace)), np.random.default_rng(0)
    points = [sample(space, rng) for _ in range(options.candidates)]
    took: dict[str, list[float]] = {way: [] for way in WAYS}
    found: list[list[Record]] = []
    for _ in range(options.rounds):
        for way in WAYS:
            with arranged(way):
                seconds, records = scored(bench, points)
            took[way].append(seconds)
            found.append(records)
            print(f"{way:<16} {seconds:7.1f} s", flush=True)
    if any(records != found[0] for records in found):
        raise BenchmarkError("scores must be the same whoever trains, but differ.")
    two, bound, here = (
        spread([one / both for one, both in zip(took[slow], took[fast], strict=True)])
        for slow, fast in (WAYS[:2], WAYS[2:], (WAYS[1], WAYS[3]))
    )
    print(f"all scores are equal; one worker over two: {said(two)}")
    print(f"what this machine allows, one process over two, no cluster: {said(bound)}")
    print(f"two workers over two processes here: {said(here)}")
    save(
        options.json,
        {"machine": about, "one_over_two": two, "allowed": bound, "two_over_here": here},
    )


if __name__ == "__main__":
    main()
