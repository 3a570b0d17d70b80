"""Costs finalists and candidates of a search on other chips than the one it was for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hw.tflite.model import TfliteError
from spaces.space import architecture
from tasks.candidates.carried import Carried, carried
from tasks.candidates.coster import Coster
from tasks.estimate_cost import estimate_file
from tasks.learning.networks import deployed_graph
from tasks.learning.protocols import Problem
from tasks.run.params import CostParams, SpaceParams
from tasks.run.workspace import Workspace, read_json


def run(
    devices: Sequence[str],
    space: SpaceParams,
    problem: Problem,
    models: Sequence[Any],
    workspace: Workspace,
) -> tuple[Carried, ...]:
    """What becomes of ``models``, the finalists, and of the candidates on each of ``devices``."""
    manifest = read_json(workspace.data / "manifest.json")
    metric = problem.metric
    records = [
        one
        for one in read_json(workspace.search / "candidates.json")
        if one["status"] == "done" and one[metric.name] is not None
    ]
    scores = np.array([one[metric.name] for one in records], np.float64)
    losses = 1 - scores if metric.goal == "max" else scores
    here = np.array([one["latency_ms"] for one in records], np.float64)
    found = []
    for device in devices:
        cost = CostParams(device=device)
        coster = Coster(space.name, manifest, cost, problem)
        points = [architecture(coster.space, one["architecture"]) for one in records]
        there = coster.columns(points, ("latency_ms",))["latency_ms"] if points else here
        files = tuple(
            _latency(model["id"], cost, manifest, problem, workspace) for model in models
        )
        found.append(carried(device, files, losses, here, there))
    return tuple(found)


def _latency(
    name: str, cost: CostParams, manifest: Any, problem: Problem, workspace: Workspace
) -> float | None:
    """Of a finalist's file; None: the chip does not run it."""
    folder = workspace.finalists / name
    graph = deployed_graph(folder, manifest, problem)
    try:
        return estimate_file(folder / "int8.tflite", cost, graph, problem.deployed).latency_ms
    except TfliteError:
        return None
