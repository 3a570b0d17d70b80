"""How much sooner two workers of a Dask cluster score candidates than one does.

    python -m benchmarks.cluster_speed --profile tiny --json cluster_speed.json      # minutes

Takes the prepared data of a run (of ``--profile``, or the default) and random networks of its
space, and has each trained for ``--epochs``: by a cluster of one worker, by one of two, and by the
processes that a run has without a cluster. Scheduler and workers are started here, on loopback.
Inside the clock: all from the first piece to the last score, with the start of TensorFlow in each
process. All scores must be equal.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.results import machine, said, save, spread, warn_if_busy
from flows.server import free_port
from spaces.space import Architecture
from spaces.walk import sample
from tasks.candidates.evaluator import Bench
from tasks.candidates.records import Record
from tasks.evaluators.trained import Trained
from tasks.learning.networks import sized
from tasks.run import cluster, scheduler
from tasks.run.manifest import DataManifest
from tasks.run.params_file import load_params
from tasks.run.workspace import Workspace

START_SECONDS = 120.0


class BenchmarkError(ValueError):
    """What is measured is not as it must be."""


@contextlib.contextmanager
def clustered(workers: int) -> Iterator[None]:
    """A cluster of so many workers on loopback, named in the environment."""
    address = f"tcp://127.0.0.1:{free_port()}"
    host, port = address.removeprefix("tcp://").split(":")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        for words in (
            ["scheduler", "--host", host, "--port", port],
            ["worker", address, "--nworkers", str(workers), "--nthreads", "1"],
        ):
            command = [sys.executable, "-m", "dask", *words, "--no-dashboard"]
            child = stack.enter_context(
                subprocess.Popen(
                    command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
            )
            stack.callback(child.terminate)
        _wait_for(address, workers)
        os.environ[scheduler.VARIABLE] = address
        try:
            yield
        finally:
            del os.environ[scheduler.VARIABLE]


def _wait_for(address: str, workers: int) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(scheduler.ClusterError):
            if cluster.count(address) == workers:
                return
        time.sleep(0.2)
    raise BenchmarkError(f"{workers} workers must be there within {START_SECONDS:.0f} s.")


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
    took: dict[int, list[float]] = {count: [] for count in (1, 2, 0)}
    found: list[list[Record]] = []
    for _ in range(options.rounds):
        for count in took:
            with clustered(count) if count else contextlib.nullcontext():
                seconds, records = scored(bench, points)
            took[count].append(seconds)
            found.append(records)
            who = f"cluster of {count}" if count else "processes here"
            print(f"{who:<15} {seconds:7.1f} s", flush=True)
    if any(records != found[0] for records in found):
        raise BenchmarkError("scores must be the same whoever trains, but differ.")
    two = spread([one / both for one, both in zip(took[1], took[2], strict=True)])
    here = spread([both / pool for both, pool in zip(took[2], took[0], strict=True)])
    print(f"all scores are equal; one worker over two: {said(two)}")
    print(f"two workers over processes here: {said(here)}")
    save(options.json, {"machine": about, "one_over_two": two, "two_over_here": here})


if __name__ == "__main__":
    main()
