"""How many architectures a second one core costs, and how soon a ``.tflite`` is answered.

    python -m benchmarks.cost_speed --tflite MODEL.tflite --json cost_speed.json      # a minute

Inside the clock: lowering, the classification head, the analytic cost model; drawing the
architectures is outside. *First*: nothing was lowered before. *Again*: other architectures of the
same space, once it has seen as many. The peer is a loop over ``lower`` and ``estimate``, one graph
each, in the same round. With ``--tflite``, reading and estimating a file in a process that did it
before, and the whole command ``python -m hw estimate`` from its start to its end, with the peak
of its resident memory.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.results import ROOT, Result, machine, said, save, spread, warn_if_busy
from hw.cost_model import load_cost_model
from hw.device import load_device
from hw.protocols import CostModel
from hw.tflite.reader import read_tflite
from spaces.families.ibn.space import _lowered
from spaces.heads.classification import classification, classification_many
from spaces.menu import load_space
from spaces.space import Architecture, SearchSpace
from spaces.walk import sample

SPACES = ("mobilenet_edgetpu_v2", "mobilenet_edgetpu_v2_small", "nas_bench_201")
CLASSES = 10
CHUNK = 1024
BAR_PER_SECOND = 20_000


def seconds(work: Callable[[], object]) -> float:
    """Wall time of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def cost_all(space: SearchSpace, model: CostModel, points: Sequence[Architecture]) -> None:
    """As the product does it: in chunks."""
    for begin in range(0, len(points), CHUNK):
        batch = space.lower_many(points[begin : begin + CHUNK])
        model.estimate_many(classification_many(batch, CLASSES))


def cost_each(space: SearchSpace, model: CostModel, points: Sequence[Architecture]) -> None:
    """The peer: one graph at a time."""
    for point in points:
        model.estimate(classification(space.lower(point), CLASSES))


def rates(name: str, model: CostModel, count: int, looped: int, seed: int) -> dict[str, float]:
    """Architectures a second: first, again, and in the loop."""
    known = load_space(name)
    rng = np.random.default_rng(seed)
    points = [sample(known, rng) for _ in range(2 * count)]
    space = known.for_input(known.input_shape)  # the same, but it has lowered nothing yet
    _lowered.cache_clear()
    return {
        "first": count / seconds(lambda: cost_all(space, model, points[:count])),
        "again": count / seconds(lambda: cost_all(space, model, points[count:])),
        "loop": looped / seconds(lambda: cost_each(space, model, points[:looped])),
    }


def of_space(name: str, model: CostModel, options: argparse.Namespace) -> Result:
    """Rounds of a space, printed."""
    rounds = [
        rates(name, model, options.count, options.looped, seed) for seed in range(options.rounds)
    ]
    found = {key: spread([one[key] for one in rounds]) for key in rounds[0]}
    ratio = spread([one["again"] / one["loop"] for one in rounds])
    words = ", ".join(f"{key} {said(value, 0)}" for key, value in found.items())
    print(f"{name}: {words} architectures a second; {said(ratio, 1)} times the loop")
    return {"per_second": found, "again_over_loop": ratio}


def of_file(path: Path, device: str, rounds: int) -> Result:
    """A file: warm milliseconds, and seconds and peak MB of the command."""
    model = load_cost_model("analytic", load_device(device))

    def estimate() -> None:
        read = read_tflite(path)
        model.estimate(read.graph, dict(read.unsupported))

    estimate()
    warm = spread([1e3 * seconds(estimate) for _ in range(10 * rounds)])
    runs = [command(path, device) for _ in range(rounds + 1)][1:]  # the first fills the disk cache
    took, peak = (spread(values) for values in zip(*runs, strict=True))
    print(f"{path.name}: warm {said(warm)} ms; python -m hw estimate {said(took)} s, ", end="")
    print(f"{said(peak, 0)} MB at its peak")
    return {"warm_ms": warm, "command_seconds": took, "command_peak_mb": peak}


# A process of its own, because a child counts the memory of the one that starts it as its own.
_LAUNCHER = """
import resource, subprocess, sys, time
start = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
took = time.perf_counter() - start
print(took, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def command(path: Path, device: str) -> tuple[float, float]:
    """Wall seconds and peak resident megabytes of ``python -m hw estimate``."""
    words = [sys.executable, "-m", "hw", "estimate", str(path.resolve()), "--device", device]
    launch = [sys.executable, "-I", "-c", _LAUNCHER, *words]
    told = subprocess.run(launch, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    took, kilobytes = map(float, told.split())
    return took, kilobytes / 1e3


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost_speed")
    parser.add_argument("--spaces", nargs="+", default=SPACES, metavar="NAME")
    parser.add_argument("--device", default="coral_usb3", metavar="D")
    parser.add_argument("--count", type=int, default=20_000, help="architectures of a round")
    parser.add_argument("--looped", type=int, default=200, help="those of them in the loop")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tflite", type=Path, metavar="MODEL.tflite", help="a quantized model")
    parser.add_argument("--json", type=Path, metavar="OUT")
    options = parser.parse_args()
    warn_if_busy()
    about = machine(["numpy"])
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    model = load_cost_model("analytic", load_device(options.device))
    result: Result = {name: of_space(name, model, options) for name in options.spaces}
    if options.tflite is not None:
        result["tflite"] = of_file(options.tflite, options.device, options.rounds)
    save(options.json, {"machine": about, "bar_per_second": BAR_PER_SECOND, "results": result})


if __name__ == "__main__":
    main()
