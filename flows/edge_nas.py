"""The whole pipeline: data, supernet, search, quantization-aware fine-tuning, front, report.

Which problem it runs is a matter of the parameters; nothing here depends on it.

    make search                                    # the embedded default, about 4 minutes
    make search PROBLEM=segmentation               # another problem, on data made up for it
    python -m flows run --profile tiny             # to see everything work once, about 2 minutes
    python -m flows run --stage search             # one stage, from the results before it

On two cores the default ends with at least five int8 models on the front, the best of them at 97 %
or more on digits it has never seen.
"""

from __future__ import annotations

from collections.abc import Sequence
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

from flows.console import keep_native_output_in
from tasks import version_artifacts
from tasks.data import remarks
from tasks.pipeline.preflight import check_target
from tasks.pipeline.session import ROOT, Session, closing_lines, open_session, table_of
from tasks.pipeline.stages import Claim, alone, call, claimed, complete, timed
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
def evaluate_candidates(number: int, search: Search, chunk: Chunk) -> list[Manifest]:
    """A chunk of candidates; one that fails is a record with its reason."""
    return search.evaluate(chunk)


@task(cache_policy=NO_CACHE)
def version_run(session: Session) -> str:
    """The outcome under DVC, where it is to be."""
    if not session.is_as_written:
        return "not under DVC: parameters were set for this run alone"
    return version_artifacts.run(ROOT, session.profile, session.params)


@task(cache_policy=NO_CACHE)
def register_models(session: Session) -> list[str]:
    """The front in MLflow's model registry."""
    return session.tracking.register(session) if session.tracking else []


def search_in_chunks(claim: Claim, session: Session) -> Manifest:
    """The search loop: ask, evaluate as a Prefect task, mirror to MLflow, tell."""
    p = session.params
    search = Search(p.problem, p.space, p.search, p.cost, p.select, p.runtime, claim.workspace)
    shown = cast(UUID, create_progress_artifact(0.0, key="search", description="Evaluated"))
    session.progress.start("search", search.total)
    with session.mirrored() as log:
        for chunk in search.chunks():
            session.progress.advance(search.told, search.note())
            records = evaluate_candidates(search.told, search, chunk)
            search.tell(chunk, records)
            if chunk.rung >= 0:
                log(records)
            session.progress.advance(search.told, search.note())
            if search.crossed_a_tenth():
                update_progress_artifact(shown, search.percent())
    session.progress.finish()
    manifest = search.finish()
    if session.tracking:
        session.tracking.tracker.sync(session.tracking.parent, search.records)
        session.tracking.log_stage("search", {}, [claim.workspace.search / "fidelity.json"])
    return manifest


def run_stage(
    name: str, profile: str | None, overrides: tuple[str, ...], tracking: bool
) -> Session:
    """Run a stage, unless nothing that it depends on has changed."""
    try:
        return _run_stage(name, profile, overrides, tracking)
    except Exception as error:
        error.add_note(f"stage {name}")
        raise


def _run_stage(
    name: str, profile: str | None, overrides: tuple[str, ...], tracking: bool
) -> Session:
    session = open_session(profile, overrides, tracking)
    with claimed(name, session.params, session.workspace) as claim:
        if claim.kept is not None:
            print(f"{name}: nothing changed, kept", flush=True)
            remarks.tell(name, claim.kept)
            return session
        with timed(name, session.workspace):
            if name == "search":
                manifest = search_in_chunks(claim, session)
            else:
                manifest = do_stage(name, claim, session)
        complete(claim, session.params, session.workspace, manifest)
    remarks.tell(name, manifest)
    if session.tracking:
        session.tracking.log_stage(name, manifest)
    return session


@flow(name="prepare", flow_run_name="prepare, profile {profile}")
def prepare(profile: str | None, overrides: tuple[str, ...], tracking: bool) -> None:
    """Read the data, split it, write one manifest."""
    run_stage("prepare", profile, overrides, tracking)


@flow(name="train_supernet", flow_run_name="train_supernet, profile {profile}")
def train_supernet(profile: str | None, overrides: tuple[str, ...], tracking: bool) -> None:
    """Train the network that holds all candidates."""
    run_stage("train_supernet", profile, overrides, tracking)


@flow(name="search", flow_run_name="search, profile {profile}")
def search(profile: str | None, overrides: tuple[str, ...], tracking: bool) -> None:
    """Propose candidates, score and cost them."""
    run_stage("search", profile, overrides, tracking)


@flow(name="finetune", flow_run_name="finetune, profile {profile}")
def finetune(profile: str | None, overrides: tuple[str, ...], tracking: bool) -> None:
    """Train the best to the end, quantize, convert."""
    run_stage("finetune", profile, overrides, tracking)


@flow(name="select", flow_run_name="select, profile {profile}")
def select(profile: str | None, overrides: tuple[str, ...], tracking: bool) -> None:
    """Compare the finalists as they run on the device."""
    session = run_stage("select", profile, overrides, tracking)
    create_table_artifact(table_of(session), key="front", description="Finished models")


@flow(name="report", flow_run_name="report, profile {profile}")
def report(profile: str | None, overrides: tuple[str, ...], tracking: bool) -> None:
    """Score the chosen on the test split, write the page, register the models."""
    session = run_stage("report", profile, overrides, tracking)
    models = register_models(session)
    page = session.workspace.report / "index.html"
    create_link_artifact(page.resolve().as_uri(), link_text="The report", key="report")
    create_markdown_artifact("\n".join(f"- `{uri}`" for uri in models), key="models")
    if session.tracking:
        session.tracking.log_stage("report", {}, [page])


@flow(name="edge_nas", flow_run_name="edge_nas, profile {profile}")
def edge_nas(
    profile: str | None = None, overrides: tuple[str, ...] = (), tracking: bool = True
) -> list[str]:
    """All stages in order; returns where the results are.

    A scheduled run reads the annotations elsewhere: like those of the flows above they must be
    made of builtins.
    """
    keep_native_output_in()
    session = open_session(profile, overrides, tracking)
    with alone(session.workspace):
        with session.tracked():
            prepare(profile, overrides, tracking)
            check_target(session.params, session.workspace)
            train_supernet(profile, overrides, tracking)
            search(profile, overrides, tracking)
            finetune(profile, overrides, tracking)
            select(profile, overrides, tracking)
            report(profile, overrides, tracking)
        versioned = version_run(session)
    return closing_lines(session, versioned)


FLOWS = {
    flow_.name: flow_ for flow_ in (prepare, train_supernet, search, finetune, select, report)
}


def run_all(
    profile: str | None, overrides: Sequence[str], stage: str | None, tracking: bool
) -> None:
    """What ``python -m flows run`` does."""
    if stage:
        with open_session(profile, overrides, tracking).tracked():
            FLOWS[stage](profile, tuple(overrides), tracking)
    else:
        print("\n".join(edge_nas(profile, tuple(overrides), tracking)), flush=True)
