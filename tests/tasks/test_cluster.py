"""Pieces of work on a real Dask cluster: a scheduler and two workers on loopback."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows import __main__ as cli
from flows.checkup import servers
from spaces.walk import sample
from tasks.candidates.evaluator import Bench
from tasks.evaluators.trained import Trained
from tasks.run import at_worker, cluster, scheduler, teams, workers
from tasks.run.params import ProblemParams, RuntimeParams, SearchParams
from tasks.run.workspace import WorkspaceError
from tests.prepared import prepared
from tests.samples import small_space
from tests.tasks.cluster_pieces import (
    die_once,
    doubled_late,
    end_always,
    end_once,
    fail_oddly,
    fail_on_two,
    ignore,
    linger,
    surroundings,
    telling,
)

LOOPBACK = "127.0.0.1"
OWN = Path("/proc/self/cwd")
"""A folder that each process sees as another one: its own."""
SEVERAL = 12


# -- the cluster --------------------------------------------------------------------------------


class Cluster:
    """A scheduler and its workers, as a person starts them."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._started = folder, list[subprocess.Popen[bytes]]()
        self.address = f"tcp://{LOOPBACK}:{free_port()}"
        port = self.address.rpartition(":")[2]
        self.scheduler = self._start(
            "scheduler", "--host", LOOPBACK, "--port", port, "--no-dashboard"
        )

    def work(self, *options: str) -> subprocess.Popen[bytes]:
        """Start a worker."""
        folder = ["--local-directory", str(self._folder)]
        return self._start("worker", self.address, "--no-dashboard", *folder, *options)

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        # In a folder where nothing of ours is, and by another environment than the run's.
        environment = {**os.environ, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "7"}
        with (self._folder / f"{words[0]}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *words],
                cwd=self._folder,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def waited(self, count: int) -> str:
        """The address, once there are so many workers."""
        until(lambda: _workers(self.address) == count, 60)
        return self.address

    def end(self) -> None:
        """End all, and what they started."""
        for process in self._started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _workers(address: str) -> int:
    try:
        return cluster.count(address)
    except scheduler.ClusterError:  # the scheduler is not there yet
        return -1


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], Any], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a scheduler with two workers, which are started again when killed."""
    running = Cluster(tmp_path_factory.mktemp("two"))
    try:
        running.work("--nworkers", "2", "--nthreads", "1")
        yield running.waited(2)
    finally:
        running.end()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler without workers."""
    running = Cluster(tmp_path_factory.mktemp("empty"))
    try:
        running.waited(0)
        yield running
    finally:
        running.end()


@pytest.fixture
def team(two: str) -> Iterator[cluster.Team]:
    found = cluster.Team(two)
    yield found
    found.close()


# -- what comes back ----------------------------------------------------------------------------


def test_results_come_in_the_order_of_the_pieces_from_one_process_a_worker(
    team: cluster.Team,
) -> None:
    found = team.run_all(doubled_late, range(SEVERAL), ignore)
    assert [result for result, _, _ in found] == [2 * piece for piece in range(SEVERAL)]
    processes = {pair[1:] for pair in found}
    assert len(processes) == len({parent for _, parent in processes}) == 2
    assert {pair[1:] for pair in team.run_all(doubled_late, [0, 1], ignore)} <= processes
    assert team.run_all(doubled_late, [], ignore) == []


def test_progress_is_the_sum_of_what_pieces_reported(team: cluster.Team) -> None:
    told: list[tuple[int, str]] = []
    assert team.run_all(telling, [1, 2, 3], lambda *one: told.append(one)) == [1, 2, 3]
    sums = [done for done, _ in told]
    assert sums == sorted(sums) and sums[0] == 1 and sums[-1] >= 12
    assert {note.split()[0] for _, note in told} == {"1", "2", "3"}
    again: list[int] = []
    team.run_all(telling, [4], lambda done, note: again.append(done))
    assert again[0] == 1  # nothing of the call before


def test_an_exception_is_that_of_the_piece_and_the_team_works_again(team: cluster.Team) -> None:
    with pytest.raises(WorkspaceError, match="two must be left out") as raised:
        team.run_all(fail_on_two, [1, 2, 3], ignore)
    assert "in fail_on_two" in str(raised.value.__cause__)
    with pytest.raises(RuntimeError, match="UnsendableError: 1 and 2"):
        team.run_all(fail_oddly, [0], ignore)
    assert team.run_all(fail_on_two, [1, 3], ignore) == [1, 3]


def test_a_piece_runs_where_and_with_the_variables_that_the_run_has(
    team: cluster.Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    ((folder, variables, knows_dask),) = team.run_all(surroundings, [0], ignore)
    assert Path(folder) == tmp_path and not knows_dask
    assert variables == at_worker.variables() and "OMP_NUM_THREADS" not in variables


# -- what ends in the midst ---------------------------------------------------------------------


def test_a_piece_whose_worker_is_killed_is_done_again(team: cluster.Team, tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in ("one", "two", "three")]
    for path in paths[1:]:
        Path(path).write_text("tried\ntried\n")
    assert team.run_all(die_once, paths, ignore) == ["one", "two", "three"]
    assert Path(paths[0]).read_text() == "tried\n" * 2


def test_a_piece_whose_process_ends_is_done_again(
    team: cluster.Team, two: str, tmp_path: Path
) -> None:
    until(lambda: _workers(two) == 2, 60)  # one was killed by the test before
    assert team.run_all(end_once, [str(tmp_path / "one")], ignore) == ["one"]
    assert Path(tmp_path / "one").read_text() == "tried\n" * 2
    with pytest.raises(scheduler.ClusterError, match=r"must fit onto a worker .* status 3, each"):
        team.run_all(end_always, [0], ignore)


def test_ctrl_c_ends_what_workers_are_at(team: cluster.Team, tmp_path: Path) -> None:
    path = tmp_path / "pid"

    def interrupt() -> None:
        until(lambda: path.exists() and path.read_text(), 60)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        team.run_all(linger, [str(path)], ignore)
    process = int(path.read_text())
    until(lambda: not Path(f"/proc/{process}").exists(), 10)
    assert team.run_all(fail_on_two, [1], ignore) == [1]


def test_a_scheduler_that_goes_away_ends_the_run_in_one_line(tmp_path: Path) -> None:
    running, path = Cluster(tmp_path), tmp_path / "pid"
    try:
        running.work("--nworkers", "1", "--nthreads", "1")
        team = cluster.Team(running.waited(1))

        def end_scheduler() -> None:
            until(lambda: path.exists() and path.read_text(), 60)
            running.scheduler.kill()

        threading.Thread(target=end_scheduler, daemon=True).start()
        with pytest.raises(
            scheduler.ClusterError, match="until the run is done, but it went away"
        ):
            team.run_all(linger, [str(path)], ignore)
        process = int(path.read_text())
        until(lambda: not Path(f"/proc/{process}").exists(), 60)
    finally:
        running.end()


# -- which it is --------------------------------------------------------------------------------


def test_the_variable_decides_who_works(two: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(scheduler.VARIABLE, two)
    assert isinstance(teams.kept(8), cluster.Team) and teams.kept(8) is teams.kept(8)
    assert teams.count(8) == 2 and teams.count(1) == 1
    assert teams.run_all(fail_on_two, [1, 3], ignore) == [1, 3]
    monkeypatch.delenv(scheduler.VARIABLE)
    assert isinstance(teams.kept(8), workers.Team) and teams.count(1) == 1


def test_nothing_of_dask_is_imported_without_the_variable() -> None:
    code = (
        "import sys; from tasks.run import teams; teams.kept(8); teams.count(8); "
        "print({'dask', 'distributed'} & set(sys.modules))"
    )
    environment = {name: text for name, text in os.environ.items() if name != scheduler.VARIABLE}
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=scheduler.ROOT, env=environment, capture_output=True
    )
    assert found.stdout.split() == [b"set()"], found.stderr


# -- mistakes, before any work ------------------------------------------------------------------


@pytest.mark.parametrize("address", ["here", "http://host:8786", "tcp://host", "tcp://me@host:1"])
def test_what_is_no_address_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(scheduler.VARIABLE, address)
    with pytest.raises(scheduler.ClusterError, match="must be the address of a Dask scheduler"):
        scheduler.given()


def test_silence_is_told_in_one_line_within_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(scheduler.ROOT)
    monkeypatch.setattr(scheduler, "SECONDS", 1.0)
    address = f"tcp://{LOOPBACK}:{free_port()}"
    began = time.monotonic()
    with pytest.raises(scheduler.ClusterError):
        cluster.check(address)
    assert time.monotonic() - began < 5
    monkeypatch.setenv(scheduler.VARIABLE, address)
    # What else is looked at takes its time, and is tested elsewhere.
    monkeypatch.setattr("tasks.pipeline.preflight.check", lambda _: None)
    assert cli.main(["run", "--profile", "tiny", "--no-tracking"]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and f"got silence from {address}. Start it" in line


def test_a_scheduler_without_workers_is_refused(empty: Cluster) -> None:
    with pytest.raises(scheduler.ClusterError, match="must have workers, but has none"):
        cluster.check(empty.address)


def test_a_worker_of_several_threads_is_refused(empty: Cluster) -> None:
    process = empty.work("--nworkers", "1", "--nthreads", "2", "--no-nanny")
    with pytest.raises(scheduler.ClusterError, match=r"one thread, .* has 2\. Start"):
        cluster.check(empty.waited(1))
    process.kill()
    empty.waited(0)


def test_a_fit_cluster_is_let_through(two: str, tmp_path: Path) -> None:
    assert cluster.check(two, tmp_path / "a", tmp_path / "b") == 2
    assert not [*tmp_path.rglob("*.tmp")]


def test_a_worker_that_does_not_see_the_workspace_is_refused(
    two: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(scheduler.ClusterError, match=r"must see /proc/.*, but tcp://.* does not"):
        cluster.check(two, OWN)


def test_a_worker_that_finds_other_code_is_refused(
    two: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(scheduler.ROOT)
    monkeypatch.setattr(scheduler, "ROOT", OWN)
    with pytest.raises(scheduler.ClusterError, match="must find the code of this run in /proc/"):
        cluster.check(two)


def test_a_worker_with_another_python_is_refused(
    two: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.python_version_tuple", lambda: ("3", "99", "1"))
    with pytest.raises(scheduler.ClusterError, match=r"must run Python 3\.99, as here, but tcp"):
        cluster.check(two)


def test_a_worker_with_another_tensorflow_is_refused(
    two: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"99.0 of {name}")
    with pytest.raises(scheduler.ClusterError, match=r"must have tensorflow 99\.0 .* has 2\."):
        cluster.check(two)


def test_the_doctor_tells_of_the_cluster(two: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(scheduler.VARIABLE, two)
    assert [one.said for one in servers.look(Path()) if "EDGENAS_CLUSTER" in one.said] == [
        "Dask: the cluster of EDGENAS_CLUSTER has 2 workers, as they must be"
    ]
    monkeypatch.setenv(scheduler.VARIABLE, "here")
    (found,) = [one for one in servers.look(Path()) if one.level == "bad"]
    assert "must be the address of a Dask scheduler" in found.said and "unset" in found.cure


# -- the same bytes -----------------------------------------------------------------------------


@pytest.mark.slow
def test_trainings_give_the_same_records_as_those_of_processes_here(
    two: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = prepared("classification", tmp_path)
    space, search = small_space("classification"), SearchParams(epochs=1)
    bench = Bench(ProblemParams(), space.name, search, RuntimeParams(), workspace, epochs=1)
    points = [space.smallest(), sample(space, np.random.default_rng(0))]

    def records() -> list[Any]:
        evaluator = Trained(bench)
        try:
            return evaluator.score_many(points)
        finally:
            evaluator.close()

    monkeypatch.setenv(scheduler.VARIABLE, two)
    found = records()
    assert all(0 <= one["top1"] <= 1 for one in found)
    monkeypatch.delenv(scheduler.VARIABLE)
    assert found == records()
