"""What share of their time 64 workers of a Dask cluster are busy, with pieces that sleep.

    python -m benchmarks.cluster_busy --json cluster_busy.json      # a minute or two

Sleeping takes no processor, so a small machine can stand for a large cluster: what is measured is
how fast pieces are handed out and their results taken in. Real are the scheduler, its protocol,
the client, the project's team (``tasks.run.cluster``), what it does within a worker
(``tasks.run.at_worker``), and a process of the project beside each worker. Simulated are the
workers' own processes: all live as threads of this one, with the scheduler and the client, so
they share its processors and one interpreter lock, which a real cluster does not. What Dask
does to watch a worker's process is off, for it would watch this one 64 times.

A first round has each worker start its process, outside the clock. Inside it: all from the call
that hands in ``--pieces`` of 1 to 3 s to its return. A worker is busy while a piece sleeps.
Printed are its share of all worker seconds, the same up to the moment from which fewer pieces
than workers are left, and how long a worker waits between two pieces.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.clusters import BenchmarkError
from benchmarks.naps import Nap, nap
from benchmarks.results import machine, save, warn_if_busy
from tasks.run import cluster, scheduler

BAR = 0.9
SHORTEST_S, LONGEST_S = 1.0, 3.0
WARM_UP_S = 4.0
ALONE = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "60s",
    "distributed.admin.tick.interval": "1s",
}
"""Dask watches the process of each worker; watching one 64 times takes most of a processor."""
CHECK_S = 120.0
"""For the check of all workers, who have 8 s otherwise: here one process does it for all."""


@contextmanager
def simulated(workers: int) -> Iterator[str]:
    """The address of a scheduler whose workers are threads of this process."""
    import dask
    from distributed import LocalCluster

    here = {"processes": False, "protocol": "tcp", "host": "127.0.0.1", "memory_limit": None}
    one = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
    with dask.config.set(ALONE), LocalCluster(**here, **one) as running:
        yield str(running.scheduler_address)


def busy_share(naps: Sequence[Nap], workers: int, began: float, ended: float) -> float:
    """The share of worker seconds in a span of time in which pieces slept.

    >>> busy_share([Nap(1, 0.0, 1.0), Nap(2, 1.0, 3.0)], workers=2, began=0.0, ended=2.0)
    0.5
    """
    slept = sum(max(0.0, min(one.ended, ended) - max(one.began, began)) for one in naps)
    return slept / (workers * (ended - began))


def tail_begins(naps: Sequence[Nap], workers: int) -> float:
    """When fewer pieces than workers come to be left.

    >>> tail_begins([Nap(1, 0.0, 1.0), Nap(2, 0.0, 2.0), Nap(1, 1.0, 3.0)], workers=2)
    2.0
    """
    if len(naps) < workers:
        raise BenchmarkError(f"pieces must be {workers} or more, as many as workers.")
    return sorted(one.ended for one in naps)[len(naps) - workers]


def waits(naps: Sequence[Nap]) -> list[float]:
    """Seconds of each process between a piece and its next.

    >>> waits([Nap(1, 0.0, 1.0), Nap(2, 0.0, 2.0), Nap(1, 1.5, 3.0)])
    [0.5]
    """
    by_process: dict[int, list[Nap]] = defaultdict(list)
    for one in naps:
        by_process[one.process].append(one)
    rows = (sorted(each, key=lambda one: one.began) for each in by_process.values())
    return [b.began - a.ended for row in rows for a, b in itertools.pairwise(row)]


def _silent(done: int, note: str) -> None:
    """Progress that nobody looks at."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was measured.

    Attributes:
        seconds: Of the whole call.
        least_seconds: The same if all workers were always busy.
        last_start_s: Until each worker had begun its first piece.
        busy: Share of all worker seconds.
        busy_before_tail: The same until fewer pieces than workers are left.
        processor_s: What client, scheduler and workers took of it, all in one process.
        wait_ms: Of a worker between two pieces: median, mean, 95th of 100.
    """

    workers: int
    pieces: int
    seconds: float
    least_seconds: float
    last_start_s: float
    busy: float
    busy_before_tail: float
    processor_s: float
    wait_ms: tuple[float, float, float]


def measure(address: str, workers: int, pieces: int, seed: int) -> Found:
    """Warm up, hand out, sum up.

    Raises:
        BenchmarkError: Not all workers have taken part.
    """
    team = cluster.Team(address)
    try:
        began = time.monotonic()
        warm = team.run_all(nap, [WARM_UP_S] * workers * 2, _silent)
        processes, took = len({one.process for one in warm}), time.monotonic() - began
        print(f"first round, {processes} processes: {took:.1f} s", flush=True)
        drawn = np.random.default_rng(seed).uniform(SHORTEST_S, LONGEST_S, pieces)
        start, used = time.time(), time.process_time()
        naps: list[Nap] = team.run_all(nap, [float(one) for one in drawn], _silent)
        end, used = time.time(), time.process_time() - used
    finally:
        team.close()
    by_process = {one.process: one for one in sorted(naps, key=lambda one: -one.began)}
    if len(by_process) != workers:
        raise BenchmarkError(f"{workers} workers must take part, but {len(by_process)} did.")
    between = 1e3 * np.array(waits(naps))
    return Found(
        workers=workers,
        pieces=pieces,
        seconds=end - start,
        least_seconds=float(drawn.sum()) / workers,
        last_start_s=max(one.began for one in by_process.values()) - start,
        busy=busy_share(naps, workers, start, end),
        busy_before_tail=busy_share(naps, workers, start, tail_begins(naps, workers)),
        processor_s=used,
        wait_ms=(
            float(np.median(between)),
            float(between.mean()),
            float(np.quantile(between, 0.95)),
        ),
    )


def parser() -> argparse.ArgumentParser:
    """The options."""
    top = argparse.ArgumentParser(
        prog="python -m benchmarks.cluster_busy",
        description="How busy many workers are, with pieces that sleep.",
    )
    top.add_argument("--workers", type=int, default=64)
    top.add_argument("--pieces", type=int, default=640)
    top.add_argument("--seed", type=int, default=0)
    top.add_argument("--json", type=Path, metavar="OUT")
    return top


def main() -> None:
    """Measure, print, write."""
    options = parser().parse_args()
    warn_if_busy()
    scheduler.SECONDS = CHECK_S  # type: ignore[misc]
    about = machine(["distributed"])
    with simulated(options.workers) as address:
        found = measure(address, options.workers, options.pieces, options.seed)
    print(
        f"{found.pieces} pieces by {found.workers} workers: {found.seconds:.1f} s; "
        f"{found.least_seconds:.1f} s if all were always busy; all had begun after "
        f"{found.last_start_s:.2f} s"
    )
    print(
        f"busy {100 * found.busy:.1f} %, before the tail {100 * found.busy_before_tail:.1f} % "
        f"(bar {100 * BAR:.0f} %)"
    )
    median, mean, late = found.wait_ms
    each = 1e3 * found.processor_s / found.pieces
    print(
        f"a worker waits {median:.0f} ms between two pieces in the median, {mean:.0f} on "
        f"average, {late:.0f} at the 95th of 100; client, scheduler and workers took "
        f"{found.processor_s:.1f} s of one processor, {each:.0f} ms a piece"
    )
    save(options.json, {"machine": about, "bar": BAR, **asdict(found)})


if __name__ == "__main__":
    main()
