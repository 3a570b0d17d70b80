"""Quantization after training: ours beside a public quantizer's, on finalists of a finished run.

    pip install litert-quantizer                      # the peer; nothing else here imports it
    python -m benchmarks.quantizers                   # of the default run
    python -m benchmarks.quantizers --profile mine    # of runs/mine

Every finalist's ``float.tflite`` is quantized anew by LiteRT's own quantizer (int8 weights by
channel, int8 activations, ranges from the same samples of train as ours, ``--peer`` naming how it
sets the ranges of weights) and scored on validation, beside ``ptq.tflite`` as the run left it. A
file that it cannot make is a row with its reason. Differences are in points of the problem's
metric; below them is the mean and its standard error over finalists.
"""

from __future__ import annotations

import argparse
import io
import os
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import numpy as np
from numpy.typing import NDArray

from benchmarks.results import ROOT, Result, machine, save
from tasks.data.arrays import load_split
from tasks.learning.interpreter import score_file
from tasks.learning.networks import deployed_graph
from tasks.learning.problem import open_problem
from tasks.run.manifest import DataManifest
from tasks.run.params_file import load_params
from tasks.run.workspace import Workspace, read_json

PACKAGES = ("ai-edge-litert", "litert-quantizer", "numpy")
PEERS = ("MIN_MAX_UNIFORM_QUANT", "OCTAV", "MSE")
"""How it sets the ranges of weights; those of activations are the least and greatest seen."""


def peer(floating: bytes, samples: Mapping[str, NDArray[Any]], algorithm: str) -> bytes:
    """A full-integer file by litert-quantizer from a float one.

    Args:
        floating: A ``.tflite`` with one signature.
        samples: Its inputs [n, ...] by name, to observe ranges on.
        algorithm: One of :data:`PEERS`.
    """
    from litert_quantizer import algorithm_manager, quantizer, recipe

    named = getattr(algorithm_manager.AlgorithmName, algorithm)
    made = quantizer.Quantizer(floating, recipe.static_wi8_ai8(algorithm_key=named))
    count = len(next(iter(samples.values())))
    rows = [{name: array[at : at + 1] for name, array in samples.items()} for at in range(count)]
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):  # it tells each op
        ranges = made.calibrate({"serving_default": rows}, num_threads=1)
        return bytes(made.quantize(ranges).quantized_model)


def measure(workspace: Workspace, params: Any, algorithm: str) -> Result:
    """A row a finalist, printed as it comes."""
    problem = open_problem(params.problem, workspace)
    manifest = DataManifest.read(workspace)
    held = load_split(workspace, "validation")
    seen = load_split(workspace, "train", params.finetune.calibration_images)
    metric, rows = problem.metric.name, []
    for folder in sorted(workspace.finalists.iterdir()):
        graph = deployed_graph(folder, manifest, problem)
        known = read_json(folder / "metrics.json")
        row: dict[str, Any] = {name: known[f"{metric}_{name}"] for name in ("float", "ptq")}
        try:
            made = peer(
                (folder / "float.tflite").read_bytes(), problem.inputs(seen, graph), algorithm
            )
            row["peer"] = score_file(problem, made, held, graph)[metric]
            told = f"{100 * row['peer']:.2f}, ours {100 * (row['ptq'] - row['peer']):+.2f}"
        except Exception as error:  # a peer's failure is its result
            row["reason"] = told = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        rows.append({"id": folder.name, **row})
        before = ", ".join(f"{name} {100 * row[name]:.2f}" for name in ("float", "ptq"))
        print(f"{folder.name}: {before}, peer {told}", flush=True)
    gains = [100 * (row["ptq"] - row["peer"]) for row in rows if "peer" in row]
    if len(gains) > 1:
        error = np.std(gains, ddof=1) / np.sqrt(len(gains))
        print(f"ours less the peer's: {np.mean(gains):+.2f} points, standard error {error:.2f}")
    return {"metric": metric, "peer": algorithm, "rows": rows, "machine": machine(PACKAGES)}


def main() -> None:
    """Measure, print, write."""
    top = argparse.ArgumentParser(prog="python -m benchmarks.quantizers")
    top.add_argument("--profile", help="whose finished run; default: that of params.yaml")
    top.add_argument("--peer", choices=PEERS, default=PEERS[0])
    top.add_argument("--set", dest="overrides", nargs="+", default=[], metavar="KEY=VALUE")
    top.add_argument("--json", type=Path, metavar="OUT")
    given = top.parse_args()
    params = load_params(ROOT / "params.yaml", given.profile, given.overrides)
    save(given.json, measure(Workspace.of(given.profile, ROOT), params, given.peer))


if __name__ == "__main__":
    main()
