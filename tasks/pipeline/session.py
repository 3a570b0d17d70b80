"""What one run of the pipeline holds open: parameters, workspace, progress, and the tracker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.candidates.chosen import Selection
from tasks.candidates.finished import FILE, read_front
from tasks.candidates.other_devices import other_devices
from tasks.candidates.records import digest
from tasks.learning.problem import load_problem, open_problem
from tasks.pipeline import named_files
from tasks.run.params import Params
from tasks.run.params_file import load_params
from tasks.run.progress import ConsoleProgress, Progress, RecordedProgress
from tasks.run.spec import RunSpec
from tasks.run.workspace import Workspace, read_json
from tasks.tracking.tracker import (
    FinalistModel,
    Mirror,
    Store,
    Tracker,
    experiment_name,
    prepare_store,
    register_finalist,
    registered_name,
)

KINDS = ("float", "ptq", "int8")
STAGE_TAGS = ("evaluator", "gate_passed", "beats_linear_floor")
"""Of the outcome of stages, what searches are filtered by in MLflow."""
ROOT = Path()
"""The project: commands are run from its folder."""


@dataclass(frozen=True, slots=True)
class Session:
    """One run.

    Attributes:
        spec: What was asked for.
        params: All parameters, profile and overrides applied.
        workspace: Where its files are.
        progress: Told how far it is.
        tracking: The MLflow side, or None where the run is not tracked.
    """

    spec: RunSpec
    params: Params
    workspace: Workspace
    progress: Progress
    tracking: Tracking | None

    def mirrored(self) -> AbstractContextManager[Callable[[Sequence[Mapping[str, Any]]], None]]:
        """See :meth:`Tracking.mirrored`; without tracking, a function that does nothing."""
        return self.tracking.mirrored() if self.tracking else nullcontext(lambda records: None)

    def tracked(self) -> AbstractContextManager[None]:
        """See :meth:`Tracking.closed_at_the_end`; without tracking, nothing."""
        return self.tracking.closed_at_the_end() if self.tracking else nullcontext()


@dataclass(frozen=True, slots=True)
class Tracking:
    """MLflow, opened on the parent run of this search."""

    store: Store
    tracker: Tracker
    parent: str

    @contextmanager
    def closed_at_the_end(self) -> Iterator[None]:
        """Leaves the parent run finished, failed or killed, as the block ends."""
        try:
            yield
        except Exception:
            self.tracker.finish(self.parent, "FAILED")
            raise
        except BaseException:
            self.tracker.finish(self.parent, "KILLED")
            raise
        self.tracker.finish(self.parent)

    def log_stage(
        self, stage: str, manifest: Mapping[str, Any], artifacts: Sequence[Path] = ()
    ) -> None:
        """A stage's outcome on the parent run: metrics are its numbers and curves."""
        numbers = {key: value for key, value in manifest.items() if _is_metric(value)}
        tags = {key: manifest[key] for key in STAGE_TAGS if key in manifest}
        self.tracker.log_stage(self.parent, stage, numbers, {}, artifacts, tags)

    @contextmanager
    def mirrored(self) -> Iterator[Callable[[Sequence[Mapping[str, Any]]], None]]:
        """A function that hands candidate records to MLflow without waiting for it."""
        with Mirror(self.tracker, self.parent) as mirror:

            def log(records: Sequence[Mapping[str, Any]]) -> None:
                for record in records:
                    mirror.put(record)

            yield log

    def register(self, session: Session) -> list[str]:
        """The models of the front in the registry; returns their addresses."""
        workspace, device = session.workspace, Path(session.params.cost.device).stem
        problem = open_problem(session.params.problem, workspace)
        ends_in_probabilities = problem.deployed == ("probabilities",)
        tested = read_json(workspace.report / "metrics.json")
        scores = {entry["id"]: entry for entry in tested["finalists"]}
        addresses = []
        for model in read_front(workspace, problem.metric.name):
            if not model.on_pareto:
                continue
            score = scores[model.id]
            entry = FinalistModel(
                registered_name=registered_name(problem.name, device),
                candidate_id=model.id,
                tflite=workspace.finalists / model.id / FILE,
                labels=problem.setting.classes,
                metrics={
                    "latency_ms": model.cost.known_latency_ms,
                    **{k: value for k, value in model.elsewhere.items() if value is not None},
                    **{f"{tested['split']}_{kind}": score[kind] for kind in KINDS},
                },
                tags=_tags(session.params),
                outputs="probabilities" if ends_in_probabilities else "raw",
            )
            addresses.append(register_finalist(self.store, self.parent, entry).uri)
        return addresses


def _tags(params: Params) -> dict[str, str]:
    """What runs and models are filtered by."""
    others = [device for device, _ in params.cost.devices]
    return {
        "space": params.space.name,
        "device": params.cost.device,
        **({"devices": ", ".join(others)} if others else {}),
        "problem": params.problem.name,
    }


def _is_metric(value: object) -> bool:
    """Whether MLflow can draw it: a number, or a list of numbers."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(one, float) for one in value)
    return isinstance(value, int | float) and not isinstance(value, bool)


def open_session(spec: RunSpec) -> Session:
    """Read the parameters and open what a run needs; once a run, which hands it to its stages.

    Raises:
        ParamsError: The parameters cannot be used.
    """
    params = load_params(ROOT / "params.yaml", spec.profile, spec.overrides)
    workspace = Workspace.of(spec.profile, ROOT)
    return Session(
        spec=spec,
        params=params,
        workspace=workspace,
        progress=RecordedProgress(ConsoleProgress(), workspace.state / "progress.json"),
        tracking=_track(params, spec) if spec.tracking else None,
    )


def _track(params: Params, spec: RunSpec) -> Tracking:
    store, problem = prepare_store(ROOT), params.problem.name
    tracker = Tracker(store, experiment_name(problem), load_problem(problem).metric.name)
    settings = {
        f"{block}.{key}": value
        for block, values in params.model_dump().items()
        for key, value in values.items()
        if not isinstance(value, dict)
    }
    parent = tracker.start_run(
        spec.name, settings, _tags(params), run_key=run_key(spec.name, params)
    )
    return Tracking(store, tracker, parent)


def run_key(name: str, params: Params) -> str:
    """What a search is known by in MLflow: its parameters, and what the files they name hold."""
    return digest(name, params.model_dump(), named_files.all_contents(params))


def table_of(session: Session) -> list[dict[str, Any]]:
    """The finished models as rows for people."""
    metric = load_problem(session.params.problem.name).metric.name
    return [
        {
            "model": model.finalist.name or model.id,
            "on front": "yes" if model.on_pareto else "no",
            **{f"{metric} {kind} %": round(100 * model.finalist.score(kind), 2) for kind in KINDS},
            "latency ms": round(model.cost.known_latency_ms, 3),
            **{
                f"{one.name} ms": None
                if (ms := model.value(one.latency)) is None
                else round(ms, 3)
                for one in other_devices(session.params.cost)
            },
            "million MACs": round((model.cost.macs or 0) / 1e6, 2),
            "weights kB": round((model.cost.weight_bytes or 0) / 1e3, 1),
        }
        for model in read_front(session.workspace, metric)
    ]


def closing_lines(session: Session, versioned: str) -> list[str]:
    """What a person wants to know at the end of a run."""
    workspace = session.workspace
    scores = read_json(workspace.report / "metrics.json")
    chosen = Selection.read(workspace)
    best = workspace.finalists / scores["best"] / "int8.tflite"
    label = load_problem(session.params.problem.name).metric.label
    return [
        "",
        f"Front     {chosen.front} int8 models of {chosen.models} finalists",
        f"Best      {100 * scores['best_int8']:.2f} % {label}, int8 on {scores['split']}: {best}",
        *_floor_line(scores),
        f"Report    {(workspace.report / 'index.html').resolve()}",
        "Pages     make ui, for the candidates in MLflow and the run in Prefect",
        f"Versions  {versioned}",
    ]


def _floor_line(scores: Mapping[str, Any]) -> list[str]:
    """What a linear model reaches, where there is one for the data."""
    floor = scores.get("linear_floor")
    if floor is None:
        return []
    beaten = "" if scores["beats_linear_floor"] else "; the best network does NOT beat it"
    return [f"Floor     {100 * floor:.2f} % by a linear model of the same data{beaten}"]
