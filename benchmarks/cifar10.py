"""The searched front against the MobileNetV2 width family on small photographs.

    python -m benchmarks.cifar10 --data FOLDER --seeds 3 --json OUT.json

FOLDER holds ``train/<class>/*`` and ``validation/<class>/*``. For each seed: the profile
``cifar10`` of params.yaml from start to end, then MobileNetV2 for small inputs at several widths,
by the same recipe for as many epochs as a finalist, with the same quantization-aware phase,
export, scoring and cost model. Both fronts are compared by hypervolume: int8 validation error
against predicted latency, reference point 60 % and 1.5 ms.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spaces.menu import load_baselines, load_space
from spaces.search_support.dominance import hypervolume
from tasks.candidates.candidate import BASELINE, Candidate
from tasks.estimate_cost import estimate_file
from tasks.learning import recipes
from tasks.learning.problem import open_problem
from tasks.pipeline import stages
from tasks.run.manifest import DataManifest
from tasks.run.params import Params
from tasks.run.params_file import load_params
from tasks.run.progress import ConsoleProgress, SilentProgress
from tasks.run.workspace import Workspace, read_json

FAMILY = "mobilenet_v2_small"
REFERENCE = (0.6, 1.5)
"""Error (share) and latency (ms) that no useful model exceeds."""

Point = dict[str, Any]


def searched(params: Params, workspace: Workspace) -> list[Point]:
    """Run the pipeline; its finalists as points."""
    for name in stages.STAGES:
        with stages.claimed(name, params, workspace) as claim:
            if claim.kept is None:
                manifest = stages.call(claim, params, ConsoleProgress())
                stages.complete(claim, params, workspace, manifest)
    return [
        {key: model[key] for key in ("id", "top1_float", "top1_ptq", "top1_int8", "latency_ms")}
        for model in read_json(workspace.selection / "front.json")
    ]


def family(params: Params, workspace: Workspace, widths: Sequence[str]) -> list[Point]:
    """Train the width family from scratch; its members as points."""
    from tasks.candidates.courses import Course
    from tasks.candidates.finishing import Setting, Trainer, finished

    outcome = read_json(workspace.state / "finetune.json")["manifest"]
    facts = recipes.facts_of(DataManifest.read(workspace))
    floating = recipes.plan(facts, params.finetune, int(outcome["training"]["epochs"]))
    course = Course(floating, recipes.quantized_plan(facts, params.finetune, floating))
    trainer = Trainer(
        Setting(
            params.problem,
            params.space.model_copy(update={"name": FAMILY, "choices": {}}),
            params.search,
            params.cost,
            params.finetune,
            params.runtime,
            workspace,
            course,
            sliced=False,
        )
    )
    problem = open_problem(params.problem, workspace)
    space = load_space(FAMILY).for_input(problem.setting.input_shape)
    points = []
    for width in widths:
        point = load_baselines(FAMILY)[width]
        graph = problem.complete(space.lower(point))
        hand_made = Candidate(point.id, point.values, width, BASELINE, metric="top1")
        folder = finished(workspace, hand_made)
        if not folder.exists():
            trainer.finish(hand_made, SilentProgress())
        metrics = read_json(folder / "metrics.json")
        cost = estimate_file(folder / "int8.tflite", params.cost, graph, problem.deployed)
        scores = {key: metrics[key] for key in ("top1_float", "top1_ptq", "top1_int8")}
        points.append({"id": width, **scores, "latency_ms": cost.latency_ms})
        print(json.dumps(points[-1]), flush=True)
    return points


def volume(points: Sequence[Point]) -> float:
    """Hypervolume of int8 error and latency, as a share of the reference box."""
    losses = np.asarray([(1 - point["top1_int8"], point["latency_ms"]) for point in points])
    return hypervolume(losses, np.asarray(REFERENCE)) / (REFERENCE[0] * REFERENCE[1])


def one_seed(arguments: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Both fronts and their hypervolumes for one seed."""
    overrides = [
        f"data.source={arguments.data}",
        *[f"{block}.seed={seed}" for block in ("supernet", "search", "finetune")],
        *arguments.overrides,
    ]
    params = load_params(Path("params.yaml"), "cifar10", overrides)
    base = Path(arguments.work) / f"seed{seed}"
    workspace = Workspace(base / "results", base / "state", base / "store")
    began = time.monotonic()
    ours = searched(params, workspace)
    minutes = (time.monotonic() - began) / 60
    theirs = family(params, workspace, arguments.widths)
    best = max(ours, key=lambda point: float(point["top1_int8"]))
    return {
        "seed": seed,
        "minutes": minutes,
        "best_int8": best["top1_int8"],
        "best_float": best["top1_float"],
        "searched": ours,
        "family": theirs,
        "hypervolume_searched": volume(ours),
        "hypervolume_family": volume(theirs),
    }


def main() -> None:
    """Print a line for each seed, then means and spread."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cifar10", description=__doc__)
    parser.add_argument("--data", required=True, help="folder with train/ and validation/")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--widths", nargs="+", default=["w0.1", "w0.25", "w0.35", "w0.5"])
    parser.add_argument("--work", default="runs/benchmark-cifar10", help="where results are kept")
    parser.add_argument("--set", dest="overrides", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    for seed in range(arguments.seeds):
        rows.append(one_seed(arguments, seed))
        row = {key: value for key, value in rows[-1].items() if key not in ("searched", "family")}
        print(json.dumps(row), flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    for name in ("best_int8", "hypervolume_searched", "hypervolume_family", "minutes"):
        values = [row[name] for row in rows]
        print(f"{name}: {statistics.mean(values):.4f}, {min(values):.4f} to {max(values):.4f}")


if __name__ == "__main__":
    main()
