"""The front over finished models: int8 scores on validation against the exported file's cost."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from hw.report import CostReport
from spaces.search_support.dominance import pareto_ranks
from tasks.candidates import objectives
from tasks.candidates.candidate import Candidate, read_candidates
from tasks.candidates.chosen import Selection
from tasks.candidates.finalist import Finalist, finished_folders
from tasks.candidates.finished import FILE, FinishedModel, write_front
from tasks.candidates.limits import cost_limits
from tasks.candidates.objectives import Objective
from tasks.candidates.other_devices import OtherDevice, is_elsewhere, other_devices
from tasks.candidates.summary import SearchSummary
from tasks.candidates.volume import Corner, corner_of, gain, volume
from tasks.estimate_cost import estimate_file, latency_elsewhere
from tasks.learning.networks import deployed_graph
from tasks.learning.problem import open_problem
from tasks.run.manifest import DataManifest
from tasks.run.params import CostParams, ProblemParams, SelectParams
from tasks.run.progress import Progress
from tasks.run.workspace import Workspace, write_json

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
        TargetMissedError: Every exported file costs more than a target, or does not run on a
            device that decides.
    """
    folders = finished_folders(workspace)
    progress.start("select", len(folders))
    opened = open_problem(problem, workspace)
    metric = opened.metric.name
    candidates = {one.id: one for one in read_candidates(workspace, metric)}
    manifest = DataManifest.read(workspace)
    others = other_devices(cost)
    models = []
    for done, folder in enumerate(folders, 1):
        graph = deployed_graph(folder, manifest, opened)
        report = estimate_file(folder / FILE, cost, graph, opened.deployed)
        finalist = Finalist.read(folder, metric)
        there = {
            one.latency: latency_elsewhere(
                folder / FILE, one.device, cost.method, graph, opened.deployed
            )
            for one in others
        }
        models.append(_finished(finalist, candidates[folder.name], report, there))
        progress.advance(done)
    goals = objectives.parse(select.objectives, problem.name, [one.latency for one in others])
    models = _within(models, cost, goals)
    ranks = pareto_ranks(objectives.loss_table(models, goals))
    models = [
        dataclasses.replace(model, rank=int(rank))
        for model, rank in zip(models, ranks, strict=True)
    ]
    models.sort(key=lambda model: model.cost.known_latency_ms)
    corner = corner_of(goals, SearchSummary.read(workspace).largest)
    summary = _summary(models, goals, metric, corner)
    write_front(workspace, models)
    summary.write(workspace)
    plots = workspace.selection / "plots"
    write_json(plots / "front.json", [_point(model.told(), metric) for model in models])
    scored = [one for one in candidates.values() if one.is_done]
    write_json(plots / "candidates.json", [_point(one.told(), metric) for one in scored])
    progress.finish()
    return summary.told()


def _finished(
    finalist: Finalist,
    candidate: Candidate,
    report: CostReport,
    elsewhere: Mapping[str, float | None],
) -> FinishedModel:
    """A finalist with the costs of its int8 file, beside what the search knew of it."""
    return FinishedModel(
        finalist=finalist,
        architecture=candidate.architecture,
        parameters=candidate.parameters,
        graph_latency_ms=candidate.latency_ms,
        cost=report,
        elsewhere=elsewhere,
    )


def _within(
    models: list[FinishedModel], cost: CostParams, goals: Sequence[Objective]
) -> list[FinishedModel]:
    """Models whose exported file keeps to the limits of all devices.

    And runs on those that have an objective.

    Raises:
        TargetMissedError: There is none.
    """
    limits = dict.fromkeys((one.name for one in goals if is_elsewhere(one.name)), math.inf)
    limits |= cost_limits(cost)
    kept = [model for model in models if _keeps(model, limits)]
    if not kept:
        least = min((model.cost.known_latency_ms for model in models), default=math.nan)
        there = "".join(_least(models, one) for one in other_devices(cost))
        cure = " or cost.devices" if there else ""
        raise TargetMissedError(
            f"at least one finalist must keep to {limits}, but got none; the fastest exported "
            f"file takes {least:.3f} ms{there}. Raise cost.target_latency_ms{cure} or "
            "finetune.finalists."
        )
    return kept


def _least(models: Sequence[FinishedModel], device: OtherDevice) -> str:
    """The fastest file on another device in words."""
    known = [value for model in models if (value := model.value(device.latency)) is not None]
    return f", on {device.name} {min(known):.3f} ms" if known else f", none runs on {device.name}"


def _keeps(model: FinishedModel, limits: Mapping[str, float]) -> bool:
    """Whether no cost is above its limit; one that is unknown keeps to none."""
    pairs = ((model.value(name), limit) for name, limit in limits.items())
    return all(value is not None and value <= limit for value, limit in pairs)


def _summary(
    models: Sequence[FinishedModel], goals: Sequence[Objective], metric: str, corner: Corner
) -> Selection:
    """Of all models; the volume also of those that a search found, and of hand-made ones.

    The two are compared after equal trainings.
    """
    searched = [_equal(model) for model in models if not model.finalist.is_baseline]
    hand_made = [_equal(model) for model in models if model.finalist.is_baseline]
    best = max(models, key=lambda model: (model.score, -model.cost.known_latency_ms))
    return Selection(
        best=best.id,
        metric=metric,
        best_score=best.score,
        best_latency_ms=best.cost.latency_ms,
        models=len(models),
        front=sum(model.on_pareto for model in models),
        hypervolume=volume(models, goals, corner),
        hypervolume_searched=volume(searched, goals, corner),
        hypervolume_hand_made=volume(hand_made, goals, corner),
        hypervolume_gain=gain(searched, hand_made, goals, corner),
    )


def _equal(model: FinishedModel) -> FinishedModel:
    """One as it would be had it stopped after the training that all have had."""
    finalist = model.finalist
    if finalist.equal_score is None:
        return model
    scores = {**finalist.scores, "int8": {finalist.metric: finalist.equal_score}}
    return dataclasses.replace(model, finalist=dataclasses.replace(finalist, scores=scores))


def _point(told: Mapping[str, Any], metric: str) -> dict[str, Any]:
    """What a scatter plot needs of a candidate or a model."""
    keys = ("id", "name", "latency_ms", "macs", metric, "on_pareto")
    return {key: told.get(key) for key in keys}
