"""A run that is killed a hundred times at moments drawn evenly: does it end with the same bytes?

    python -m benchmarks.kills --kills 100 --seed 0 --json kills.json      # an hour or more
    python -m benchmarks.kills --kills 20 --cluster

A copy of this checkout does one small run undisturbed: that of the tests, of a space of two
blocks, with candidates trained in processes of their own. Then fresh copies do the same run, which
is killed by SIGKILL again and again, and begun again by the same command until it is done. What is
struck is drawn among

- ``run``: the process of the run alone; what it has left behind must end by itself;
- ``worker``: a process that trains;
- ``server``: the Prefect server of the run; ``tether``: the process that holds that server;

with ``--cluster``, where two workers of a Dask cluster on loopback train, among

- ``run`` and ``server`` as above, ``worker``: a process of Dask, ``piece``: the process that
  trains for one, and ``scheduler``; another cluster is started when that is gone.

Unless it is the run itself that was struck, it must go on, or end in one line that is no defect
(status 2). The moment is drawn evenly over the seconds that an undisturbed run would still take;
for ``worker`` and ``piece`` over those that it trains in. A run is struck ``--each`` times at
most, then it is let through: else none would ever get to its end.

After each completed run these must be as in the undisturbed one: the bytes of all files below
``runs/smoke`` (candidates, front, weights, finalists, metrics) except the page
``report/index.html``, which shows how long stages took; the scores in ``.edgenas/store``, all of
them and none handed in twice; MLflow's runs of candidates, one each with the same last metrics,
below one finished search, and as many versions of models. Times, process ids, MLflow's ids and
Prefect's rows differ by their nature; in Prefect no flow run may be left that seems to go on.

Ctrl-C ends it with what was found so far. Seconds are those of a machine that does what else it
does. One copy in four begins without the databases of MLflow and Prefect, so that their creation
is struck, too.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np

from benchmarks.clusters import BenchmarkError, Cluster, running
from benchmarks.end_to_end import parents
from benchmarks.results import Result, machine, save, warn_if_busy
from benchmarks.run_copies import NOT_OURS, Copy, copy_checkout, differences
from flows.checkup.processes import Process, processes
from tasks.pipeline.stages import STAGES
from tasks.run.workspace import read_json

TARGETS = ("run", "worker", "server", "tether")
CLUSTER_TARGETS = ("run", "worker", "piece", "server", "scheduler")
TRAINING = ("search", "finetune")
"""Stages that have processes for it."""
PATIENCE = 8.0
"""So many times as long as an undisturbed run, a run is taken to hang."""
END_S = 60.0
"""Within which a process that has lost its run must have ended, or counts as an orphan."""
LOOK_S = 0.2


# -- what is struck, and when -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kill:
    """One that was done.

    Attributes:
        target: What was struck.
        stage: Where the run was.
        outcome: ``again``: the command was needed once more; ``alone``: the run went on to its
            end, or to another stage; ``open``: something else ended it before that showed.
        left_s: Seconds until all processes had ended, where the run was struck.
    """

    target: str
    stage: str
    outcome: str = "open"
    left_s: float | None = None


def settled(struck: Sequence[Kill], status: int) -> list[Kill]:
    """What became of the kills of one process, the last of which ended it unless all is well.

    >>> first, last = Kill("server", "search"), Kill("run", "finetune")
    >>> [one.outcome for one in settled([first, first, last], -9)]
    ['alone', 'alone', 'again']
    """
    if status == 0:
        return [replace(one, outcome="alone") for one in struck]
    return [
        replace(one, outcome="alone" if one.stage != struck[-1].stage else "open")
        for one in struck[:-1]
    ] + [replace(one, outcome="again") for one in struck[-1:]]


def target_of(process: Process, run: int) -> str | None:
    """What a process of a run's folder is.

    >>> target_of(Process(7, 5, "python -m tasks.run.piece_process 3 5"), run=1)
    'piece'
    """
    if process.number == run:
        return "run"
    if "tether.py" in process.command:
        return "tether"
    if "prefect.server.api.server" in process.command:
        return "server"
    if "tasks.run.piece_process" in process.command:
        return "piece"
    return "worker" if "multiprocessing.spawn" in process.command else None


def stage_of(said: str, begun: Sequence[str]) -> str:
    """Where a run is: by what it has said since it was started, and the stages that are begun.

    >>> stage_of("", ["search"]), stage_of("prepare: nothing changed, kept", ["search"])
    ('start', 'search')
    """
    lines = [line.partition(":")[0] for line in said.splitlines()]
    if not any(line in STAGES for line in lines):
        return "start"
    return next(iter(begun), "between stages" if "report" not in lines else "end")


@dataclass(frozen=True, slots=True)
class Course:
    """Seconds of an undisturbed run: all, and those of each stage."""

    total: float
    stages: dict[str, float]

    def left(self, done: Sequence[str], within: Sequence[str] = STAGES) -> float:
        """Seconds of stages that are not done; of all, those of beginning and ending beside."""
        beside = self.total - sum(self.stages.values()) if tuple(within) == STAGES else 0.0
        return beside + sum(self.stages[name] for name in within if name not in done)


# -- a campaign ---------------------------------------------------------------------------------


@final
class Clusters:
    """The Dask cluster of a campaign, if there shall be one; another when that one is gone."""

    def __init__(self, wanted: bool) -> None:
        self._wanted, self._stack = wanted, contextlib.ExitStack()
        self._now: Cluster | None = None

    def address(self) -> str | None:
        """Of one that lives."""
        if not self._wanted:
            return None
        if self._now is None or self._now.scheduler.poll() is not None:
            self.close()
            self._now = self._stack.enter_context(running(2))
        return self._now.address

    def processes(self) -> Iterator[tuple[str, int]]:
        """Those of Dask that may be struck, by target."""
        if self._now is None or self._now.scheduler.poll() is not None:
            return
        yield "scheduler", self._now.scheduler.pid
        for number, parent in parents().items():
            if parent == self._now.workers.pid and "multiprocessing.spawn" in _command(number):
                yield "worker", number

    def close(self) -> None:
        """End it."""
        self._now = None
        self._stack.close()


def _command(number: int) -> str:
    try:
        return Path(f"/proc/{number}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


@final
class Campaign:
    """Runs and kills, until there are enough of these."""

    def __init__(self, folder: Path, seed: int, wanted: int, each: int, cluster: bool) -> None:
        self.folder, self.wanted, self._each = folder, wanted, each
        self._rng = np.random.default_rng(seed)
        self.clusters = Clusters(cluster)
        self._targets = CLUSTER_TARGETS if cluster else TARGETS
        self.kills: list[Kill] = []
        self.wrong: list[str] = []
        self.copies, self.orphans = 0, 0
        self._template, self._log = folder / "template", folder / "run.log"
        self._run: subprocess.Popen[bytes] | None = None

    def undisturbed(self) -> None:
        """Do the run once: how long it takes and what must come out.

        Raises:
            BenchmarkError: It failed.
        """
        copy = self._fresh(with_stores=False)
        began = time.monotonic()
        run = self._run = copy.start(self._log, None)
        if run.wait():
            raise BenchmarkError(f"an undisturbed run must end well, but got: {self._last()}")
        stages = read_json(copy.state / "timings.json")
        self.course = Course(time.monotonic() - began, stages)
        self.right = copy.outcome()
        self._make_stores()

    def _make_stores(self) -> None:
        """Both databases, empty, to copy from."""
        copy = Copy(self.folder / "stores-of")
        shutil.copytree(self._template, copy.root)
        create = (
            "from pathlib import Path; from flows.server import main; main(); "
            "from tasks.tracking.tracking_store import prepare_store; prepare_store(Path())"
        )
        environment = {k: v for k, v in os.environ.items() if not k.startswith(NOT_OURS)}
        subprocess.run(
            [sys.executable, "-c", create],
            cwd=copy.root,
            env=environment,
            check=True,
            capture_output=True,
        )
        shutil.move(copy.root / ".edgenas", self.folder / "stores")
        shutil.rmtree(copy.root)

    def _fresh(self, *, with_stores: bool) -> Copy:
        if not self._template.exists():
            self._template.mkdir()
            copy_checkout(self._template)
        copy = Copy((self.folder / f"copy{self.copies}").resolve())
        shutil.copytree(self._template, copy.root)
        if with_stores:
            shutil.copytree(self.folder / "stores", copy.root / ".edgenas")
        copy.watch_scores()
        return copy

    def disturbed(self) -> None:
        """One copy of its own, killed until it gets through."""
        self.copies += 1
        copy = self._fresh(with_stores=self.copies % 4 != 0)
        left = min(self._each, self.wanted - len(self.kills))
        began, first = time.monotonic(), len(self.kills)
        while True:
            at = len(self.kills)
            status = self._until_end(copy, left - (at - first))
            struck = self.kills[at:]
            self.kills[at:] = settled(struck, status)
            if status == 0:
                break
            if not struck:
                self._note(copy, f"status {status} though nothing was struck: {self._last()}")
                raise BenchmarkError(self.wrong[-1])
            if struck[-1].target != "run" and status != 2:
                self._note(copy, f"status {status} after {struck[-1]}: {self._last()}")
        found = differences(copy.outcome(), self.right)
        if found:
            self._note(copy, f"not as undisturbed: {'; '.join(found)}")
        took = time.monotonic() - began
        if len(self.kills) == first:  # the machine has become quicker, and moments come too late
            self.course = Course(took, read_json(copy.state / "timings.json"))
        print(
            f"run {self.copies}: {len(self.kills) - first} kills, {took:.0f} s, "
            f"{'; '.join(found) or 'all is as it must be'}",
            flush=True,
        )
        if not found:
            shutil.rmtree(copy.root)

    def _note(self, copy: Copy, what: str) -> None:
        kept = self.folder / f"wrong{len(self.wrong)}.log"
        shutil.copyfile(self._log, kept)
        self.wrong.append(f"{copy.root.name}: {what} ({kept})")
        print(f"  {self.wrong[-1]}", flush=True)

    def _until_end(self, copy: Copy, left: int) -> int:
        """The command once, with as many kills as there are left; its status."""
        run = self._run = copy.start(self._log, self.clusters.address())
        while left and run.poll() is None:
            target = str(self._rng.choice(self._targets))
            if not self._sleep(copy, run, target):
                break
            number = self._pick(copy, run, target)
            if number is None:
                continue
            stage = stage_of(self._log.read_text(errors="replace"), copy.begun())
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
            self.kills.append(Kill(target, stage))
            print(f"  kill {len(self.kills)}: {target} in {stage}", flush=True)
            left -= 1
            if target == "run":
                run.wait()
                gone = self._gone(copy)
                self.kills[-1] = replace(self.kills[-1], left_s=gone)
        try:
            status = run.wait(PATIENCE * self.course.total)
        except subprocess.TimeoutExpired:
            self._note(copy, "it hangs")
            run.kill()
            status = run.wait()
        if not self.kills or self.kills[-1].target != "run" or status != -signal.SIGKILL:
            self._gone(copy)
        return status

    def _sleep(self, copy: Copy, run: subprocess.Popen[bytes], target: str) -> bool:
        """Wait for a moment that is drawn; False: the run has ended before."""
        if target in ("worker", "piece"):
            who = "piece" if self._targets == CLUSTER_TARGETS else "worker"
            _wait(lambda: self._pick(copy, run, who) or run.poll() is not None)
            rest = self.course.left(copy.done(), TRAINING)
        else:
            rest = self.course.left(copy.done())
        moment = time.monotonic() + float(self._rng.uniform(0, rest))
        _wait(lambda: run.poll() is not None or time.monotonic() > moment)
        return run.poll() is None

    def _pick(self, copy: Copy, run: subprocess.Popen[bytes], target: str) -> int | None:
        """A process that is such a target; None: there is none now."""
        found = [
            (target_of(one, run.pid), one.number)
            for one in processes(copy.root)
            if one.parent == run.pid or target_of(one, run.pid) != "worker"
        ]
        if target in ("scheduler", "worker") and self._targets == CLUSTER_TARGETS:
            found = list(self.clusters.processes())
        numbers = sorted(number for what, number in found if what == target)
        return int(self._rng.choice(numbers)) if numbers else None

    def _gone(self, copy: Copy) -> float:
        """Seconds until no process of the run is left; orphans are counted, and ended.

        Those that train for Dask's workers are kept by these for a minute.
        """
        began = time.monotonic()

        def left() -> list[Process]:
            return [one for one in processes(copy.root) if target_of(one, 0) != "piece"]

        _wait(lambda: not left() or time.monotonic() - began > END_S)
        for one in left():
            self.orphans += 1
            self._note(copy, f"orphan after {END_S:.0f} s: {one.command[:120]}")
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.number, signal.SIGKILL)
        return time.monotonic() - began

    def _last(self) -> str:
        """The last line that a run has said."""
        return (self._log.read_text(errors="replace").splitlines() or [""])[-1]

    def close(self) -> None:
        """End what still runs."""
        if self._run is not None and self._run.poll() is None:
            self._run.kill()
            self._run.wait()
        self.clusters.close()


def _wait(over: Callable[[], Any]) -> Any:
    """Look until it is so; what was seen."""
    while not (seen := over()):
        time.sleep(LOOK_S)
    return seen


def print_result(campaign: Campaign, seconds: float) -> None:
    """The result for people."""
    kills = campaign.kills
    targets = sorted({one.target for one in kills})
    print(f"{len(kills)} kills in {campaign.copies} runs, {seconds / 60:.0f} min")
    for target in targets:
        ends = Counter(one.outcome for one in kills if one.target == target)
        stages = Counter(one.stage for one in kills if one.target == target)
        where = ", ".join(f"{name} {count}" for name, count in stages.most_common())
        print(
            f"  {target:<10}{sum(ends.values()):3d}: went on {ends['alone']}, command again "
            f"{ends['again']}, ended before it showed {ends['open']}; {where}"
        )
    stages = Counter(one.stage for one in kills)
    print("  by stage: " + ", ".join(f"{name} {count}" for name, count in stages.most_common()))
    left = [one.left_s for one in kills if one.left_s is not None]
    if left:
        print(f"  all processes had ended {max(left):.1f} s after the run at most")
    print(f"  orphans {campaign.orphans}, other things that are wrong {len(campaign.wrong)}")
    print("\n".join(campaign.wrong) or "  every completed run was as the undisturbed one")


def parser() -> argparse.ArgumentParser:
    """The options."""
    top = argparse.ArgumentParser(
        prog="python -m benchmarks.kills",
        description="A run that is killed again and again, beside one that is not.",
    )
    top.add_argument("--kills", type=int, default=100)
    top.add_argument("--each", type=int, default=8, help="kills of one run at most (default 8)")
    top.add_argument("--seed", type=int, default=0)
    top.add_argument("--cluster", action="store_true", help="train by a Dask cluster of two")
    top.add_argument("--json", type=Path, metavar="OUT")
    return top


def main() -> None:
    """Run, kill, compare, print, write.

    Raises:
        BenchmarkError: A run did not end as it must.
    """
    options = parser().parse_args()
    warn_if_busy()
    about = machine(["distributed", "prefect", "mlflow", "tensorflow"])
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="edgenas-kills-"))
    campaign = Campaign(folder, options.seed, options.kills, options.each, options.cluster)
    try:
        campaign.undisturbed()
        total, stages = campaign.course.total, campaign.course.stages
        shares = ", ".join(f"{name} {took:.0f}" for name, took in stages.items())
        print(f"undisturbed: {total:.0f} s ({shares})", flush=True)
        began = time.monotonic()
        with contextlib.suppress(KeyboardInterrupt):  # what was found so far is told
            while len(campaign.kills) < options.kills:
                campaign.disturbed()
        seconds = time.monotonic() - began
    finally:
        campaign.close()
        if not campaign.wrong:
            shutil.rmtree(folder)
    print_result(campaign, seconds)
    result: Result = {
        "machine": about,
        "undisturbed_s": total,
        "runs": campaign.copies,
        "seconds": seconds,
        "orphans": campaign.orphans,
        "wrong": campaign.wrong,
        "kills": [asdict(one) for one in campaign.kills],
    }
    save(options.json, result)
    if campaign.wrong:
        raise BenchmarkError(
            f"runs must survive, but {len(campaign.wrong)} did not; see {folder}."
        )


if __name__ == "__main__":
    main()
