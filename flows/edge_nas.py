"""The whole pipeline: data, supernet, search, quantization-aware fine-tuning, front, report.

Which problem it runs is a matter of the parameters; nothing here depends on it.

    make search                                    # the embedded default, about 5 minutes
    make search PROBLEM=segmentation               # another problem, on data made up for it
    python -m flows run --profile tiny             # to see everything work once, about 2 minutes
    python -m flows run --stage search             # one stage, from the results before it
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast
from uuid import UUID

from prefect import flow, task
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from flows import prune
from flows.cancelling import ended_if_cancelled, told_as_cancelled
from flows.console import keep_native_output_in
from tasks import version_artifacts
from tasks.candidates.candidate import Candidate
from tasks.candidates.judgement import fidelity_file
from tasks.data import remarks
from tasks.pipeline.preflight import check_target
from tasks.pipeline.session import ROOT, Session, closing_lines, open_session, table_of
from tasks.pipeline.stages import (
    STAGES,
    Claim,
    alone,
    call,
    claimed,
    complete,
    stage_named,
    timed,
)
from tasks.run.disk import said
from tasks.run.spec import RunSpec
from tasks.search_architectures import Chunk, Search

Manifest = dict[str, Any]


def is_transient(_task: object, _run: object, state: Any) -> bool:
    """Whether trying again may help: a busy database or network, not a mistake or a full disk."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, ConnectionError | TimeoutError) or "database is locked" in str(error)


@task(
    task_run_name="{name}",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=5,
    retry_condition_fn=is_transient,
)
def do_stage(name: str, claim: Claim, session: Session) -> Manifest:
    """A stage that is one unit of work."""
    return call(claim, session.params, session.progress)


@task(
    task_run_name="candidates from {number}",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=5,
    retry_condition_fn=is_transient,
)
def evaluate_candidates(number: int, search: Search, chunk: Chunk) -> list[Candidate]:
    """A chunk of candidates; one that fails has its reason."""
    return search.evaluate(chunk)


@task(cache_policy=NO_CACHE)
def version_run(session: Session) -> str:
    """The outcome under DVC, where it is to be."""
    if not session.spec.is_as_written:
        return "not under DVC: parameters were set for this run alone"
    return version_artifacts.run(ROOT, session.spec.profile, session.params)


@task(cache_policy=NO_CACHE)
def register_models(session: Session) -> list[str]:
    """The front in MLflow's model registry."""
    return session.tracking.register(session) if session.tracking else []


@task(cache_policy=NO_CACHE)
def prune_old(keep: int) -> list[str]:
    """What an earlier run left and nobody needs; see :mod:`flows.prune`."""
    old = prune.plan(ROOT, keep)
    left = prune.remove(old)
    freed = said(sum(one.bytes for one in old))
    return [f"Pruned    about {freed} of old runs, {keep} of each name stay", *left]


def search_in_chunks(claim: Claim, session: Session) -> Manifest:
    """The search loop: ask, evaluate as a Prefect task, mirror to MLflow, tell."""
    p = session.params
    search = Search(p.problem, p.space, p.search, p.cost, p.select, p.runtime, claim.workspace)
    shown = cast(UUID, create_progress_artifact(0.0, key="search", description="Evaluated"))
    session.progress.start("search", search.total)
    with session.mirrored() as log:
        for chunk in search.chunks():
            session.progress.advance(search.told, search.note())
            found = evaluate_candidates(search.told, search, chunk)
            search.tell(chunk, found)
            if chunk.rung >= 0:
                log([one.told() for one in found])
            session.progress.advance(search.told, search.note())
            if search.crossed_a_tenth():
                update_progress_artifact(shown, search.percent())
    session.progress.finish()
    manifest = search.finish()
    if session.tracking:
        told = [one.told() for one in search.candidates]
        session.tracking.tracker.sync(session.tracking.parent, told)
        session.tracking.log_stage("search", {}, [fidelity_file(claim.workspace)])
    return manifest


def _unless_kept(name: str, session: Session) -> None:
    """Run a stage, unless nothing that it depends on has changed."""
    with claimed(name, session.params, session.workspace) as claim:
        if claim.kept is not None:
            print(f"{name}: nothing changed, kept", flush=True)
            remarks.tell(name, claim.kept)
            return
        with timed(name, session.workspace):
            if name == "search":
                manifest = search_in_chunks(claim, session)
            else:
                manifest = do_stage(name, claim, session)
        complete(claim, session.params, session.workspace, manifest)
    remarks.tell(name, manifest)
    if session.tracking:
        session.tracking.log_stage(name, manifest)


def _run_name() -> str:
    """Of a flow run: its flow and its profile."""
    given = flow_run.parameters
    spec = given["spec"] if "spec" in given else RunSpec(given["profile"])
    return f"{flow_run.flow_name}, {spec.name}"


def _show_front(session: Session) -> None:
    create_table_artifact(table_of(session), key="front", description="Finished models")


def _show_report(session: Session) -> None:
    models = register_models(session)
    page = session.workspace.report / "index.html"
    create_link_artifact(page.resolve().as_uri(), link_text="The report", key="report")
    create_markdown_artifact("\n".join(f"- `{uri}`" for uri in models), key="models")
    if session.tracking:
        session.tracking.log_stage("report", {}, [page])


SHOWN_AFTER: dict[str, Callable[[Session], None]] = {
    "select": _show_front,
    "report": _show_report,
}
"""What Prefect and MLflow show of a stage that is done, beside its run."""


def _flow_of(name: str) -> Any:
    """The flow of a stage, as a method of a session; it may be run alone."""

    @flow(name=name, flow_run_name=_run_name, description=stage_named(name).does)
    def stage_flow(session: Any, spec: RunSpec) -> None:
        try:
            with ended_if_cancelled():
                _unless_kept(name, session)
        except Exception as error:
            error.add_note(f"stage {name}")
            raise
        if name in SHOWN_AFTER:
            SHOWN_AFTER[name](session)

    return stage_flow


FLOWS = {name: _flow_of(name) for name in STAGES}


def run_stage(name: str, session: Session) -> None:
    """Run a stage as a flow, with what its run holds open.

    The flow is bound to the session as a method is to its object: of such a flow Prefect stores
    and shows the other arguments only, which is what was asked for.
    """
    FLOWS[name].__get__(session, Session)(session.spec)


@flow(name="edge_nas", flow_run_name=_run_name)
def edge_nas(
    profile: str | None = None,
    overrides: tuple[str, ...] = (),
    tracking: bool = True,
    keep: int | None = None,
) -> list[str]:
    """All stages in order; returns where the results are.

    What a deployment (``prefect.yaml``), a schedule or a person at Prefect's page may set are the
    fields of a :class:`RunSpec` one by one, and ``keep``: a page has a box for each. A scheduled
    run reads the annotations elsewhere, so they must be made of builtins.

    Args:
        profile: A profile of ``params.yaml``; null: the default.
        overrides: ``block.key=value`` each, as after ``--set``.
        tracking: Whether MLflow is told.
        keep: How many old runs of each name stay (``python -m flows prune``); null: all.
    """
    keep_native_output_in()
    session = open_session(RunSpec(profile, tuple(overrides), tracking))
    with alone(session.workspace):
        with ended_if_cancelled(), session.tracked():
            for name in STAGES:
                run_stage(name, session)
                if name == "prepare":
                    check_target(session.params, session.workspace)
        versioned = version_run(session)
        pruned = [] if keep is None else prune_old(keep)
    return [*closing_lines(session, versioned), *pruned]


def run_all(spec: RunSpec, stage: str | None) -> None:
    """What ``python -m flows run`` does."""
    if stage:
        session = open_session(spec)
        with told_as_cancelled(), session.tracked():
            run_stage(stage, session)
        return
    with told_as_cancelled():
        print("\n".join(edge_nas(spec.profile, spec.overrides, spec.tracking)), flush=True)
