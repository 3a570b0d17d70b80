"""Costs learned from a bench, judged on networks of the same space that the fit has not seen.

    python -m benchmarks.calibrate_bench --device ethos_u55_128 --judge 300 --seed 1 --out DIR

Networks that tell most are chosen, written with random weights, measured and fitted as
``python -m flows calibrate --bench`` does it. Then others are drawn at random with ``--seed``,
measured by the same bench, and compared with what the fitted profile says, beside the line in MACs
that was fitted to the same networks, and the family's laws before the fit. On a bench that times,
some of the judged networks are timed again: no estimate can be nearer than they are to themselves.

Rows stay in ``DIR``: a second run measures only what is missing. Its time is then no longer that
of the whole.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import time
from pathlib import Path

import numpy as np

from benchmarks.results import machine, save
from benchmarks.validation.section import LATENCY, Section, latency_row
from hw.calibrating.calibration import judge
from hw.columns import FloatArray
from hw.cost_model import load_cost_model
from hw.device import load_device
from hw.measuring.bench import BenchSettings, load_bench
from hw.protocols import Device
from hw.tflite.reader import read_tflite
from spaces.menu import load_space
from spaces.space import Architecture
from spaces.walk import sample
from tasks import calibrate_device
from tasks.measure_networks import Plan, Row, beside, measured, run

AGAIN = 10
"""Networks that are timed again."""


def estimated(device: Device, files: list[Path]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Latencies and the ends of their intervals by a device's own cost model, ``[n]`` each."""
    model = load_cost_model("analytic", device)
    reports = [model.estimate(read_tflite(path).graph) for path in files]
    rows = []
    for report in reports:
        latency = report.known_latency_ms
        rows.append((latency, *(report.latency_interval_ms or (latency, latency))))
    latency, low, high = np.array(rows, np.float64).T
    return latency, low, high


def noise_percent(plan: Plan, rows: list[Row]) -> float:
    """Mean difference of some networks from themselves, timed again."""
    bench = load_bench(plan.bench, plan.settings)
    changes = []
    for row in rows[:AGAIN]:
        found = bench.measure(plan.folder.parent / row.tflite).latency_ms
        assert found is not None and row.latency_ms is not None
        changes.append(abs(found / row.latency_ms - 1))
    return 100 * float(np.mean(changes))


def main() -> None:
    """Print the table."""
    options = _options()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    options.out.mkdir(parents=True, exist_ok=True)
    target = options.out / f"{options.bench}-{options.device}-{options.space}.yaml"
    settings = BenchSettings(runs=options.runs, device=options.device)
    plan = Plan(
        options.space,
        options.bench,
        options.device,
        options.networks,
        0,
        None,
        settings,
        *beside(target),
    )
    begin = time.perf_counter()
    learned = run(plan, print)
    measuring = time.perf_counter() - begin
    found = calibrate_device.run(options.device, plan.table, target)
    whole = time.perf_counter() - begin
    line = found.device.macs_line
    assert line is not None

    others = _others(plan, learned, options.judge, options.seed)
    apart = target.with_suffix(f".judged{options.seed}.yaml")
    folder, table = beside(apart)
    judging = dataclasses.replace(plan, folder=folder, table=table)
    rows = [row for row in measured(judging, others, print) if row.latency_ms is not None]
    files = [options.out / row.tflite for row in rows]
    told = np.array([row.latency_ms for row in rows], np.float64)
    latency, low, high = estimated(load_device(target), files)
    macs = np.array([read_tflite(path).macs for path in files], np.float64)
    by_line = line.fixed_ms + line.slope_ms_per_gmac * macs / 1e9
    before = estimated(load_device(options.device), files)[0]
    inside = float(((low <= told) & (told <= high)).mean())
    judged = (
        latency_row("learned", len(told), [judge(latency, told)], [judge(by_line, told)]),
        latency_row("before the fit", len(told), [judge(before, told)], [judge(by_line, told)]),
    )
    text = (
        f"{options.networks} networks of {options.space}; share in the 90 % interval "
        f"{inside:.2f}; measured in {measuring:.0f} s, the whole in {whole:.0f} s. "
        f"Cross-validated: {found.scores.mape_percent:.1f} %."
    )
    if not load_bench(options.bench, settings).concurrent:
        text += f" Timed again, networks differ by {noise_percent(judging, rows):.1f} %."
    section = Section(f"{options.bench}, {options.device}", text, LATENCY, judged)
    print(section.words())
    save(options.json, {"machine": machine(["numpy"]), "sections": [section.record()]})


def _others(
    plan: Plan, learned: tuple[Row, ...], count: int, seed: int
) -> tuple[Architecture, ...]:
    space, rng = load_space(plan.space), np.random.default_rng([seed, 1])
    seen = {row.architecture for row in learned}
    found: dict[Architecture, None] = {}
    while len(found) < count:
        point = sample(space, rng)
        if point.to_json() not in seen:
            found[point] = None
    return tuple(found)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibrate_bench")
    parser.add_argument("--bench", default="vela", metavar="NAME")
    parser.add_argument("--device", default="ethos_u55_128", metavar="D")
    parser.add_argument("--space", default="mobilenet_edgetpu_v2_small", metavar="NAME")
    parser.add_argument("--networks", type=int, default=60)
    parser.add_argument("--judge", type=int, default=60, help="networks to judge on")
    parser.add_argument("--seed", type=int, default=1, help="of those")
    parser.add_argument("--runs", type=int, default=100, help="timings of a network, where timed")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--json", type=Path, metavar="OUT")
    return parser.parse_args()


if __name__ == "__main__":
    main()
