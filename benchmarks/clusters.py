"""Dask clusters on loopback, started as a person does: a scheduler, then its workers."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass

from flows.server import free_port
from flows.tether import ask_for_death_signal
from tasks.run import cluster, scheduler

START_SECONDS = 120.0


class BenchmarkError(ValueError):
    """What is measured is not as it must be."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running one.

    Attributes:
        address: Of its scheduler.
        scheduler: The process.
        workers: The process that starts the workers, each in one of its own, and starts those
            again that end.
    """

    address: str
    scheduler: subprocess.Popen[bytes]
    workers: subprocess.Popen[bytes]


@contextlib.contextmanager
def running(workers: int) -> Iterator[Cluster]:
    """A cluster of so many workers, in folders where nothing of ours is.

    Raises:
        BenchmarkError: It did not come up.
    """
    address = f"tcp://127.0.0.1:{free_port()}"
    host, port = address.removeprefix("tcp://").split(":")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        started = []
        for words in (
            ["scheduler", "--host", host, "--port", port],
            ["worker", address, "--nworkers", str(workers), "--nthreads", "1"],
        ):
            command = [sys.executable, "-m", "dask", *words, "--no-dashboard"]
            child = stack.enter_context(
                subprocess.Popen(
                    command,
                    cwd=folder,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    preexec_fn=ask_for_death_signal,  # also if this process is killed
                )
            )
            stack.callback(child.terminate)
            started.append(child)
        _wait_for(address, workers)
        yield Cluster(address, *started)


@contextlib.contextmanager
def clustered(workers: int) -> Iterator[None]:
    """A cluster of so many workers, named in the environment."""
    with running(workers) as found:
        os.environ[scheduler.VARIABLE] = found.address
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
