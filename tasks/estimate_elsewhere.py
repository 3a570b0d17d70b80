"""Costs finalists and candidates of a search on other chips than that of ``cost.device``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from hw.columns import FloatArray
from hw.cost_model import OWN
from spaces.sided import checked
from tasks.candidates.candidate import Candidate, read_candidates
from tasks.candidates.carried import Carried, carried, on_front
from tasks.candidates.coster import Coster
from tasks.candidates.finished import FILE, FinishedModel
from tasks.candidates.other_devices import other_devices
from tasks.estimate_cost import latency_elsewhere
from tasks.learning.networks import deployed_graph
from tasks.learning.protocols import Metric, Problem
from tasks.run.manifest import DataManifest
from tasks.run.params import CostParams, SpaceParams, device_name
from tasks.run.workspace import Workspace


def run(
    cost: CostParams,
    only_reported: Sequence[str],
    space: SpaceParams,
    problem: Problem,
    models: Sequence[FinishedModel],
    workspace: Workspace,
) -> tuple[Carried, ...]:
    """What becomes of ``models``, the finalists, and of the candidates on other devices.

    First those of ``cost.devices``, whose costs are known from the search and the selection; then
    ``only_reported``, which are estimated now.
    """
    records = [
        one
        for one in read_candidates(workspace, problem.metric.name)
        if one.is_done and one.score is not None
    ]
    losses = np.array([_loss(one.score or 0.0, problem.metric) for one in records], np.float64)
    here = np.array([one.value("latency_ms") for one in records], np.float64)
    finalists = [_loss(model.score, problem.metric) for model in models]
    found = []
    for one in other_devices(cost):
        files = tuple(model.value(one.latency) for model in models)
        there = np.array([record.value(one.latency) for record in records], np.float64)
        decided = dataclasses.replace(
            carried(one.device, files, losses, here, there),
            decides=True,
            target_latency_ms=one.target_latency_ms,
        )
        found.append(decided)
    known = {device_name(one) for one in (cost.device, *(one.device for one in found))}
    for device in only_reported:
        if device_name(device) in known:
            continue
        known.add(device_name(device))
        files = _files(device, models, problem, workspace)
        there = _latencies(device, space, problem, records, workspace)
        found.append(carried(device, files, losses, here, there))
    return tuple(
        dataclasses.replace(one, on_front=on_front(finalists, one.latency_ms)) for one in found
    )


def front_here(models: Sequence[FinishedModel], metric: Metric) -> tuple[bool, ...]:
    """Which finalists no other beats by score and latency on ``cost.device``."""
    losses = [_loss(model.score, metric) for model in models]
    return on_front(losses, [model.cost.latency_ms for model in models])


def _loss(score: float, metric: Metric) -> float:
    return 1 - score if metric.goal == "max" else score


def _files(
    device: str, models: Sequence[FinishedModel], problem: Problem, workspace: Workspace
) -> tuple[float | None, ...]:
    """Of the finalists' files; None: the chip does not run it."""
    manifest = DataManifest.read(workspace)
    found = []
    for model in models:
        folder = workspace.finalists / model.id
        graph = deployed_graph(folder, manifest, problem)
        found.append(latency_elsewhere(folder / FILE, device, OWN, graph, problem.deployed))
    return tuple(found)


def _latencies(
    device: str,
    space: SpaceParams,
    problem: Problem,
    records: Sequence[Candidate],
    workspace: Workspace,
) -> FloatArray:
    """Of the candidates' graphs."""
    manifest = DataManifest.read(workspace)
    coster = Coster(space.name, manifest, CostParams(device=device), problem)
    points = [checked(coster.space, one.architecture) for one in records]
    if not points:
        return np.zeros(0)
    return coster.columns(points, ("latency_ms",))["latency_ms"]
