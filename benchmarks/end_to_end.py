"""A fresh clone to a finished search: seconds of set-up and search, peak memory, what came out.

    python -m benchmarks.end_to_end --json end_to_end.json
    python -m benchmarks.end_to_end --profile tiny --keep

Clones the committed state of this checkout into an empty folder, then runs ``make setup`` and
``make search`` there, each timed. Memory is the sum of the proportional set sizes (PSS: shared
pages counted once) of all processes that ``make`` started, sampled twice a second; what rises and
falls between two samples is not in it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, Self, final

from benchmarks.results import ROOT, Result, machine, save, warn_if_busy
from tasks.run.workspace import read_json

FOREIGN = ("PREFECT_", "MLFLOW_", "DVC_", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "MAKE")
"""Beginnings of variables that a fresh clone must not see."""


def parents() -> dict[int, int]:
    """Parent of every process, by id."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # The command's name may hold brackets; what follows the last one counts.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            found[int(entry.name)] = int(fields[1])
    return found


def tree(root: int, also: set[int]) -> set[int]:
    """``root``, the processes in ``also`` that still live, and everything below any of them."""
    parent_of = parents()
    children = defaultdict(list)
    for process, parent in parent_of.items():
        children[parent].append(process)
    found: set[int] = set()
    todo = [process for process in {root, *also} if process in parent_of]
    while todo:
        process = todo.pop()
        if process not in found:
            found.add(process)
            todo += children[process]
    return found


def pss_bytes(process: int) -> int:
    """Proportional set size; 0 for a process that has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


@final
class PeakMemory:
    """Samples the memory of a process and its descendants until closed.

    Descendants stay in the sum when their parent ends before them.
    """

    def __init__(self, root: int, pause_s: float = 0.5) -> None:
        self.bytes, self.processes = 0, 0
        self._root, self._pause_s = root, pause_s
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Self:
        """Start sampling."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop sampling."""
        self._closing.set()
        self._thread.join()

    def _work(self) -> None:
        known: set[int] = set()
        while not self._closing.wait(self._pause_s):
            known = tree(self._root, known)
            total = sum(map(pss_bytes, known))
            if total > self.bytes:
                self.bytes, self.processes = total, len(known)


def environment() -> dict[str, str]:
    """This process's environment without what belongs to another checkout."""
    return {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}


def timed_make(checkout: Path, log: Path, *words: str) -> dict[str, Any]:
    """Run ``make``: seconds, peak memory and how many processes had it.

    Raises:
        RuntimeError: It failed; the end of its log is given.
    """
    print(f"make {' '.join(words)} ...", flush=True)
    start = time.perf_counter()
    with log.open("wb") as output:
        child = subprocess.Popen(
            ["make", *words],
            cwd=checkout,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        with PeakMemory(child.pid) as peak:
            status = child.wait()
    seconds = time.perf_counter() - start
    if status:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
        raise RuntimeError(f"make {words[0]} must succeed, but got status {status}:\n{tail}")
    return {"seconds": seconds, "peak_bytes": peak.bytes, "processes": peak.processes}


def clone(target: Path) -> str:
    """The committed state of this checkout; returns the commit."""
    git = ("git", "-C", str(ROOT))
    changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, check=True)
    if changed.stdout.strip():
        print("note: this checkout has changes that are not committed; the clone is without them")
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(target)], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, check=True, text=True)
    return head.stdout.strip()


def outcome(checkout: Path, profile: str | None) -> Result:
    """What the search found, and the seconds of each stage."""
    home = Path("runs", profile) if profile else Path("artifacts")
    scores = read_json(checkout / home / "report" / "metrics.json")
    chosen = read_json(checkout / home / "selection" / "metrics.json")
    searched = read_json(checkout / home / "search" / "front.json")
    return {
        "split": scores["split"],
        "images": scores["items"],
        "best_int8": scores["best_int8"],
        "front": chosen["front"],
        "finalists": chosen["models"],
        "best_latency_ms": chosen["best_latency_ms"],
        "candidates": searched["candidates"],
        "candidates_on_front": len(searched["front"]),
        "stage_seconds": read_json(checkout / ".edgenas" / "state" / home / "timings.json"),
    }


def parser() -> argparse.ArgumentParser:
    """The options."""
    top = argparse.ArgumentParser(
        prog="python -m benchmarks.end_to_end",
        description="A fresh clone to a finished search: time, memory, outcome.",
    )
    top.add_argument("--profile", metavar="NAME", help="of params.yaml; default: the default run")
    top.add_argument("--python", default=sys.executable, help="that make sets up with")
    top.add_argument("--keep", action="store_true", help="keep the clone")
    top.add_argument("--json", type=Path, metavar="OUT")
    return top


def print_result(result: Any) -> None:
    """The result for people."""
    found = result["outcome"]
    for name in ("setup", "search"):
        part = result[name]
        print(
            f"make {name:<8}{part['seconds']:8.1f} s, peak {part['peak_bytes'] / 2**30:.2f} GiB "
            f"in {part['processes']} processes"
        )
    stages = ", ".join(f"{name} {took:.0f}" for name, took in found["stage_seconds"].items())
    print(f"stages       {stages} s")
    print(
        f"best int8    {100 * found['best_int8']:.2f} % on {found['split']} "
        f"({found['images']} images), at {found['best_latency_ms']:.3f} ms (estimated)"
    )
    print(f"front        {found['front']} of {found['finalists']} finalists")


def main() -> None:
    """Clone, run, print, write."""
    options = parser().parse_args()
    warn_if_busy()
    about = machine()
    folder = Path(tempfile.mkdtemp(prefix="edgenas-"))
    checkout = folder / "edgenas"
    try:
        commit = clone(checkout)
        interpreter = f"PYTHON={options.python}"
        setup = timed_make(checkout, folder / "setup.log", "setup", interpreter)
        profile = [f"PROFILE={options.profile}"] if options.profile else []
        search = timed_make(checkout, folder / "search.log", "search", interpreter, *profile)
        result: Result = {
            "commit": commit,
            "machine": about,
            "setup": setup,
            "search": search,
            "outcome": outcome(checkout, options.profile),
        }
        print_result(result)
        save(options.json, result)
    finally:
        if options.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
