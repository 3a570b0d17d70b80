"""Scores the selected models on the test split, once, and writes the page people read."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from spaces.graph import OpGraph
from spaces.sided import SIDE
from tasks import estimate_elsewhere
from tasks import report as report_page
from tasks.candidates import gate
from tasks.candidates.candidate import Candidate, read_candidates
from tasks.candidates.chosen import Selection
from tasks.candidates.finished import FILE, FinishedModel, read_front
from tasks.candidates.judgement import Fidelity
from tasks.data import linear_floor
from tasks.data.arrays import has_split, load_split
from tasks.learning.interpreter import score_file
from tasks.learning.networks import deployed_graph
from tasks.learning.parity import compared, running_benches
from tasks.learning.problem import open_problem
from tasks.learning.protocols import Problem
from tasks.learning.samples import Sample
from tasks.run.manifest import DataManifest
from tasks.run.params import (
    CostParams,
    DataParams,
    FinetuneParams,
    Params,
    ProblemParams,
    ReportParams,
    RuntimeParams,
    SearchParams,
    SelectParams,
    SpaceParams,
    SupernetParams,
)
from tasks.run.progress import Progress
from tasks.run.workspace import Workspace, write_bytes, write_json

Manifest = dict[str, object]
KINDS = ("float", "ptq", "int8")
PACKAGES = ("tensorflow", "tf-keras", "tensorflow-model-optimization", "ai-edge-litert", "numpy")
_LONGER = "the best were then trained anew for longer, beside neighbours of theirs"


def run(
    problem: ProblemParams,
    data: DataParams,
    space: SpaceParams,
    supernet: SupernetParams,
    search: SearchParams,
    cost: CostParams,
    finetune: FinetuneParams,
    select: SelectParams,
    report: ReportParams,
    runtime: RuntimeParams,
    workspace: Workspace,
    progress: Progress,
) -> Manifest:
    """Write ``report/metrics.json`` and ``report/index.html``.

    This is the only place that reads the test split. Without one the validation split is scored,
    and the page says that it is the split the models were chosen by.

    Returns:
        Accuracies of the finalists by kind of file.
    """
    opened = open_problem(problem, workspace)
    models = read_front(workspace, opened.metric.name)
    chosen = Selection.read(workspace).best
    scores = _scores(models, chosen, opened, workspace, progress)
    best = workspace.finalists / str(scores["best"]) / "int8.tflite"
    arrays, graph = load_split(workspace, str(scores["split"])), _graph(chosen, opened, workspace)
    parity = compared(opened, best, arrays, graph, running_benches())
    scores["parity"] = [dataclasses.asdict(one) for one in parity]
    write_json(workspace.report / "metrics.json", scores)
    params = Params(
        problem=problem,
        data=data,
        space=space,
        supernet=supernet,
        search=search,
        cost=cost,
        finetune=finetune,
        select=select,
        report=report,
        runtime=runtime,
    )
    samples = _samples(scores, report.samples, opened, workspace)
    told = _page(params, models, scores, opened, workspace, samples)
    elsewhere = estimate_elsewhere.run(
        cost, report.other_devices, space, opened, models, workspace
    )
    front_here = estimate_elsewhere.front_here(models, opened.metric)
    told = dataclasses.replace(told, parity=parity, elsewhere=elsewhere, front_here=front_here)
    page = report_page.render(told)
    write_bytes(workspace.report / "index.html", page.encode())
    return scores


def _scores(
    models: Sequence[FinishedModel],
    chosen: str,
    problem: Problem,
    workspace: Workspace,
    progress: Progress,
) -> Manifest:
    """Metrics of every file; ``chosen`` was the best on validation, whatever the test says."""
    split = "test" if has_split(workspace, "test") else "validation"
    arrays, metric = load_split(workspace, split), problem.metric.name
    finalists: list[Manifest] = []
    progress.start("report", len(models) * len(KINDS))
    for model in models:
        scores: Manifest = {"id": model.id, "on_pareto": model.on_pareto}
        more: dict[str, dict[str, float]] = {}
        graph = _graph(model.id, problem, workspace)
        for kind in KINDS:
            path = workspace.finalists / model.id / f"{kind}.tflite"
            found = score_file(problem, path, arrays, graph)
            scores[kind], more[kind] = found.pop(metric), found
            progress.advance(len(finalists) * len(KINDS) + KINDS.index(kind) + 1, model.id)
        finalists.append({**scores, "more": more})
    progress.finish()
    best = next(scores for scores in finalists if scores["id"] == chosen)
    floor = _floor(arrays, models[0], problem, workspace)
    return {
        "linear_floor": floor,
        "beats_linear_floor": None if floor is None else float(str(best["int8"])) > floor,
        "split": split,
        "items": len(next(iter(arrays.values()))),
        "metric": metric,
        "best": best["id"],
        "best_int8": best["int8"],
        "finalists": finalists,
    }


def _floor(
    held: Any, any_model: FinishedModel, problem: Problem, workspace: Workspace
) -> float | None:
    """The metric of a linear model on the same split; None: the data has no such model.

    A score of masks or labels asks for a graph, and does not depend on which.
    """
    found = linear_floor.predictions(load_split(workspace, "train"), held)
    if found is None:
        return None
    if "masks" not in held:
        # As scores of classes: the problem looks for the greatest.
        found = np.eye(len(problem.setting.classes), dtype=np.float32)[found]
    graph = _graph(any_model.id, problem, workspace)
    return problem.score((found,), held, graph)[problem.metric.name]


def _samples(
    scores: Mapping[str, Any], samples: int, problem: Problem, workspace: Workspace
) -> tuple[Sample, ...]:
    """The first samples of the split, as the best finalist's float and int8 files see them."""
    from tasks.learning.interpreter import predict

    arrays = {
        name: array[:samples] for name, array in load_split(workspace, scores["split"]).items()
    }
    if not samples:
        return ()
    graph = _graph(scores["best"], problem, workspace)
    folder, inputs = workspace.finalists / scores["best"], problem.inputs(arrays, graph)
    outputs = {
        kind: predict(folder / f"{kind}.tflite", inputs, problem.deployed)
        for kind in ("float", "int8")
    }
    return problem.samples(arrays, outputs, graph)


def _graph(name: str, problem: Problem, workspace: Workspace) -> OpGraph:
    manifest = DataManifest.read(workspace)
    return deployed_graph(workspace.finalists / name, manifest, problem)


def _page(
    params: Params,
    models: Sequence[FinishedModel],
    scores: Mapping[str, Any],
    problem: Problem,
    workspace: Workspace,
    samples: tuple[Sample, ...] = (),
) -> report_page.ReportData:
    """All of the page; ``samples`` are of the best finalist's float and int8 files."""
    manifest = DataManifest.read(workspace)
    metric = problem.metric
    candidates = read_candidates(workspace, metric.name)
    found = Fidelity.read(workspace)
    tested = {entry["id"]: entry for entry in scores["finalists"]}
    origins = {one.id: one.origin for one in candidates}
    return report_page.ReportData(
        title=params.report.title,
        problem=_problem(problem.name, manifest),
        metric=metric,
        device=params.cost.device,
        method=params.cost.method,
        target_latency_ms=params.cost.target_latency_ms,
        candidates=candidates,
        finalists=tuple(
            dataclasses.replace(
                _finalist(model, tested[model.id], scores, problem, workspace),
                origin=origins.get(model.id, "search"),
            )
            for model in models
        ),
        stages=_stages(params, workspace, candidates, models),
        manifest=_data(manifest),
        params=params.model_dump(),
        versions=_versions(),
        commands=_commands(workspace),
        notes=_notes(scores, found),
        machine=f"{platform.machine()}, {params.runtime.threads} TensorFlow threads",
        code_digest=_code(),
        chosen=scores["best"],
        samples=samples,
        most_samples=params.report.samples,
        things=manifest.things,
        linear_floor=scores["linear_floor"],
        gate=report_page.gate_of(found, candidates),
        rungs=report_page.rungs_of(found, candidates),
    )


def _problem(name: str, manifest: DataManifest) -> str:
    """The problem and its data in a few words."""
    name = name.replace("_", " ")
    classes = len(manifest.classes)
    return f"{name} of {manifest.source}" + (f", {classes} classes" if classes else "")


def _finalist(
    model: FinishedModel,
    tested: Mapping[str, Any],
    scores: Mapping[str, Any],
    problem: Problem,
    workspace: Workspace,
) -> report_page.Finalist:
    path = workspace.finalists / model.id / FILE
    graph = _graph(model.id, problem, workspace)
    height_and_width = (graph.input_shape[1], graph.input_shape[-2])
    return report_page.Finalist(
        id=model.id,
        name=model.finalist.name or model.id[:6],  # as MLflow shows it
        score_float=tested["float"],
        score_ptq=tested["ptq"],
        score_int8=tested["int8"],
        split=scores["split"],
        cost=model.cost,
        blocks=report_page.blocks_of(graph),
        file=str(path),
        file_bytes=path.stat().st_size,
        supernet_score=model.finalist.search_score,
        more=tested["more"],
        equal_score=model.finalist.equal_score,
        epochs=model.finalist.epochs,
        input_size=height_and_width if SIDE in model.architecture else None,
    )


def _stages(
    params: Params,
    workspace: Workspace,
    candidates: Sequence[Candidate],
    models: Sequence[FinishedModel],
) -> tuple[report_page.StageCost, ...]:
    from tasks.pipeline.stages import timings

    seconds = timings(Workspace(workspace.root, workspace.state.parent))
    subnets = 2 + params.supernet.random_subnets
    things = DataManifest.read(workspace).things
    reading = "read, cut into tokens" if things == "texts" else "decoded, resized"
    work = {
        "prepare": f"{things} {reading} and split",
        "train_supernet": (
            f"{params.supernet.steps} steps of {subnets} architectures"
            if params.supernet.steps
            else "none: candidates are trained on their own"
        ),
        "search": f"{len(candidates)} candidates costed, scored on validation",
        "finetune": f"{len(models)} models trained to the end and exported",
        "select": f"{len(models)} exported files costed",
    }
    return tuple(
        report_page.StageCost(name, seconds.get(name), text) for name, text in work.items()
    )


def _data(manifest: DataManifest) -> Manifest:
    """The manifest with counts where the page looks for them."""
    splits = manifest.splits
    counted = next((split.counted for split in splits.values() if split.counted), "")
    return {
        **manifest.told,
        "counts": {name: split.per_class or split.items or 0 for name, split in splits.items()},
        "counted": counted or manifest.things,
        "sha256": {
            name: {
                key.removesuffix("_sha256"): value
                for key, value in split.told.items()
                if key.endswith("_sha256")
            }
            for name, split in splits.items()
        },
        "splits": {name: "carved" if split.carved else "given" for name, split in splits.items()},
    }


def _versions() -> dict[str, str]:
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **versions}


def _commands(workspace: Workspace) -> tuple[str, ...]:
    if workspace.root.parent.name == "runs":
        return (f"make search PROFILE={workspace.root.name}", "make ui")
    return ("make search", "dvc repro", "make ui")


def _notes(scores: Mapping[str, Any], found: Fidelity) -> tuple[str, ...]:
    """How the models were chosen, and what the numbers are worth."""
    notes = [*_floor_note(scores), *_fidelity_notes(found)]
    notes.append(
        "Latency is estimated from the exported file for one device profile, not measured."
    )
    if scores["split"] != "test":
        notes.append(
            "There is no test split: the models were chosen by the split they are scored on here."
        )
    return tuple(notes)


def _floor_note(scores: Mapping[str, Any]) -> list[str]:
    floor = scores["linear_floor"]
    if floor is None:
        return []
    said = f"A linear model of the same data reaches {floor:.1%} on this split in seconds."
    if scores["beats_linear_floor"]:
        return [
            f"{said} The best network is {100 * (scores['best_int8'] - floor):.1f} points above."
        ]
    return [
        f"{said} The best network reaches {scores['best_int8']:.1%}: it does not beat that floor. "
        "Do not ship it: give it more time (effort), more data or larger pictures."
    ]


def _fidelity_notes(found: Fidelity) -> list[str]:
    """By what the search decided, and how well that orders networks."""
    notes = []
    if found.gate is not None:
        verdict = gate.told(found.gate).removeprefix("gate: ")
        notes.append(f"{verdict[0].upper()}{verdict[1:]}.")
    if found.evaluator == "trained":
        notes.append(
            "Candidates were scored by short trainings of their own, from scratch, all alike"
            + (f"; {_LONGER}." if found.rungs else ".")
        )
    elif found.evaluator == "sliced":
        notes.append(
            "Candidates were scored by short trainings that begin from their slices of the "
            f"supernet, all alike; {_LONGER}."
        )
    else:
        notes.append(
            "The score of a candidate comes from shared weights, batch statistics recalibrated; "
            "it is no promise. Finalists are trained on their own."
        )
    for rung in found.rungs:
        if rung.tau is not None:
            notes.append(
                f"Trained for {rung.epochs} epochs, {rung.candidates} promoted candidates "
                f"were ordered as before with Kendall tau {rung.tau:.2f}; by MACs "
                f"{rung.tau_macs:.2f}. They are the better ones, so this is a hard test."
            )
    return notes


def _code() -> str:
    from tasks.pipeline.stages import MODULES, code_digest

    return f"sha256:{code_digest(*MODULES)}"
