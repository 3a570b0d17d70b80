"""Costs finalists and candidates of a search on other chips than the one it was for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hw.tflite.model import TfliteError
from spaces.space import architecture
from tasks.candidates.candidate import read_candidates
from tasks.candidates.carried import Carried, carried
from tasks.candidates.coster import Coster
from tasks.candidates.finished import FILE, FinishedModel
from tasks.estimate_cost import estimate_file
from tasks.learning.networks import deployed_graph
from tasks.learning.protocols import Problem
from tasks.run.manifest import DataManifest
from tasks.run.params import CostParams, SpaceParams
from tasks.run.workspace import Workspace


def run(
    devices: Sequence[str],
    space: SpaceParams,
    problem: Problem,
    models: Sequence[FinishedModel],
    workspace: Workspace,
) -> tuple[Carried, ...]:
    """What becomes of ``models``, the finalists, and of the candidates on each of ``devices``."""
    manifest = DataManifest.read(workspace)
    metric = problem.metric
    records = [
        one
        for one in read_candidates(workspace, metric.name)
        if one.is_done and one.score is not None
    ]
    scores = np.array([one.score for one in records], np.float64)
    losses = 1 - scores if metric.goal == "max" else scores
    here = np.array([one.value("latency_ms") for one in records], np.float64)
    found = []
    for device in devices:
        cost = CostParams(device=device)
        coster = Coster(space.name, manifest, cost, problem)
        points = [architecture(coster.space, one.architecture) for one in records]
        there = coster.columns(points, ("latency_ms",))["latency_ms"] if points else here
        files = tuple(_latency(model.id, cost, manifest, problem, workspace) for model in models)
        found.append(carried(device, files, losses, here, there))
    return tuple(found)


def _latency(
    name: str, cost: CostParams, manifest: DataManifest, problem: Problem, workspace: Workspace
) -> float | None:
    """Of a finalist's file; None: the chip does not run it."""
    folder = workspace.finalists / name
    graph = deployed_graph(folder, manifest, problem)
    try:
        return estimate_file(folder / FILE, cost, graph, problem.deployed).latency_ms
    except TfliteError:
        return None
