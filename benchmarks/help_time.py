"""How soon each command answers ``--help``, beside what Python itself takes to start.

python -m benchmarks.help_time --json help_time.json          # about half a minute
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.results import ROOT, machine, said, save, spread, warn_if_busy

ROOMS = ("flows", "hw", "spaces")
_COMMAND = re.compile(r"^ {4}([a-z_]+)(?:\s|$)", re.MULTILINE)


def help_of(words: Sequence[str]) -> str:
    """What ``python -m WORDS --help`` prints."""
    command = [sys.executable, "-m", *words, "--help"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def commands() -> list[str]:
    """Every command, as the help of its room lists it."""
    listed = [f"{room} {name}" for room in ROOMS for name in _COMMAND.findall(help_of([room]))]
    return [*ROOMS, *listed]


def seconds(arguments: Sequence[str], repeats: int) -> list[float]:
    """Wall time of Python with these arguments, after one call that warms the disk's cache."""
    took = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True)
        took.append(time.perf_counter() - start)
    return took[1:]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.help_time")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="OUT")
    options = parser.parse_args()
    warn_if_busy()
    about = machine()
    times = {"python -c pass": spread(seconds(["-c", "pass"], options.repeats))}
    for command in commands():
        arguments = ["-m", *command.split(), "--help"]
        times[f"python -m {command}"] = spread(seconds(arguments, options.repeats))
    for name, took in times.items():
        print(f"{name:<28}{said(took)} s")
    slowest = max(times, key=lambda name: times[name]["median"])
    print(f"slowest: {slowest}, {times[slowest]['median']:.2f} s")
    save(options.json, {"machine": about, "seconds": times, "slowest": slowest})


if __name__ == "__main__":
    main()
