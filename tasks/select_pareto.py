"""The front over finished models: int8 scores on validation against the exported file's cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spaces.graph import OpGraph
from spaces.search_support.dominance import pareto_ranks
from tasks.candidates import objectives
from tasks.candidates.objectives import Objective
from tasks.candidates.records import Record
from tasks.candidates.volume import Corner, corner_of, volume
from tasks.estimate_cost import estimate_file
from tasks.learning.networks import deployed_graph
from tasks.learning.problem import open_problem
from tasks.learning.protocols import Problem
from tasks.run.manifest import DataManifest
from tasks.run.params import CostParams, ProblemParams, SelectParams
from tasks.run.progress import Progress
from tasks.run.workspace import Workspace, read_json, write_json

Manifest = dict[str, object]


class TargetMissedError(ValueError):
    """No finished model satisfies the limits on its cost."""


def run(
    problem: ProblemParams,
    cost: CostParams,
    select: SelectParams,
    workspace: Workspace,
    progress: Progress,
) -> Manifest:
    """Write ``selection/{front.json,metrics.json,plots/*.json}``.

    Returns:
        The best score, the size of the front and its hypervolume: :mod:`tasks.candidates.volume`.

    Raises:
        TargetMissedError: Every exported file costs more than the target.
    """
    folders = sorted(workspace.finalists.glob("*/metrics.json"))
    progress.start("select", len(folders))
    candidates = {record["id"]: record for record in read_json(_candidates(workspace))}
    manifest = DataManifest.read(workspace)
    opened = open_problem(problem, workspace)
    models = []
    for done, path in enumerate(folders, 1):
        graph = deployed_graph(path.parent, manifest, opened)
        models.append(_model(path, candidates[path.parent.name], cost, opened, graph))
        progress.advance(done)
    models = _within(models, cost)
    goals = objectives.parse(select.objectives, problem.name)
    ranks = pareto_ranks(objectives.loss_table(models, goals))
    for model, rank in zip(models, ranks, strict=True):
        model.update(rank=int(rank), on_pareto=bool(rank == 0))
    models.sort(key=lambda model: float(model["latency_ms"]))
    metric = opened.metric.name
    corner = corner_of(goals, read_json(workspace.search / "front.json")["largest"])
    summary = _summary(models, goals, metric, corner)
    write_json(workspace.selection / "front.json", models)
    write_json(workspace.selection / "metrics.json", summary)
    write_json(workspace.selection / "plots" / "front.json", _points(models, metric))
    write_json(
        workspace.selection / "plots" / "candidates.json", _points(candidates.values(), metric)
    )
    progress.finish()
    return summary


def _candidates(workspace: Workspace) -> Path:
    return workspace.search / "candidates.json"


def _model(
    path: Path, candidate: Record, cost: CostParams, problem: Problem, graph: OpGraph
) -> Record:
    """A finalist's record: scores of its files, cost of its int8 file."""
    metrics, metric = read_json(path), problem.metric.name
    report = estimate_file(path.parent / "int8.tflite", cost, graph, problem.deployed)
    return {
        **metrics,
        metric: metrics[f"{metric}_int8"],
        "architecture": candidate["architecture"],
        "file": "int8.tflite",
        "parameters": candidate["parameters"],
        "graph_latency_ms": candidate["latency_ms"],
        "latency_ms": report.latency_ms,
        "energy_mj": report.energy_mj,
        "peak_memory_bytes": report.peak_memory_bytes,
        "weight_bytes": report.weight_bytes,
        "streamed_bytes": report.streamed_bytes,
        "macs": report.macs,
        "cost": dataclasses.asdict(report),
    }


def _within(models: list[Record], cost: CostParams) -> list[Record]:
    """Models whose exported file keeps to the limits.

    Raises:
        TargetMissedError: There is none.
    """
    limits = {"latency_ms": cost.target_latency_ms, "weight_bytes": cost.max_weight_bytes}
    kept = [
        model
        for model in models
        if all(limit is None or model[name] <= limit for name, limit in limits.items())
    ]
    if not kept:
        least = min((float(model["latency_ms"]) for model in models), default=float("nan"))
        raise TargetMissedError(
            f"at least one finalist must keep to {limits}, but got none; the fastest exported "
            f"file takes {least:.3f} ms. Raise cost.target_latency_ms or finetune.finalists."
        )
    return kept


def _summary(
    models: Sequence[Record], goals: Sequence[Objective], metric: str, corner: Corner
) -> Manifest:
    """Of all models; the volume also of those that a search found, and of hand-made ones."""
    parts = {
        "searched": [model for model in models if model.get("origin") != "baseline"],
        "hand_made": [model for model in models if model.get("origin") == "baseline"],
    }
    best = max(models, key=lambda model: (model[metric], -model["latency_ms"]))
    return {
        "best": best["id"],
        f"best_{metric}": best[metric],
        "best_latency_ms": best["latency_ms"],
        "models": len(models),
        "front": sum(bool(model["on_pareto"]) for model in models),
        "hypervolume": volume(models, goals, corner),
        **{f"hypervolume_{name}": volume(part, goals, corner) for name, part in parts.items()},
    }


def _points(records: Any, metric: str) -> list[Record]:
    """What a scatter plot needs."""
    keys = ("id", "name", "latency_ms", "macs", metric, "on_pareto")
    good = [record for record in records if record.get("status", "done") == "done"]
    return [{key: record.get(key) for key in keys} for record in good]
