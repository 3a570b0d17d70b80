"""The whole flow for real, on the smallest space: what it leaves, what it keeps, what it says."""

from __future__ import annotations

import json
import os
import pty
import re
import sqlite3
import subprocess
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from tasks.learning.interpreter import predict
from tasks.learning.pixels import normalise
from tasks.pipeline.stages import STAGES
from tasks.run.workspace import read_npz
from tasks.tracking.tracker import prepare_store

RUN = ("run", "--profile", "smoke")
# A line of progress, the only thing that goes to standard error.
PROGRESS = re.compile(rf"(?:{'|'.join(STAGES)})(?:: images)?: \d+ .*")
NOISE = re.compile(r"Traceback|tensorflow|XNNPACK|fully_quantize|[IWE]0000 |INFO|WARNING", re.I)


@pytest.fixture(scope="module")
def first(checkout: Any) -> subprocess.CompletedProcess[str]:
    """A run in a checkout where nothing has run."""
    done: subprocess.CompletedProcess[str] = checkout.run(*RUN)
    assert done.returncode == 0, done.stderr
    return done


def kept(output: str) -> list[str]:
    """Stages that a run did not run again."""
    return re.findall(r"^(\w+): nothing changed, kept", output, re.M)


def on_terminal(checkout: Any, *words: str) -> tuple[int, str]:
    """Exit status and screen of a run on a terminal."""
    ours, theirs = pty.openpty()
    process = checkout.start(*words, stdout=theirs, stderr=theirs)
    os.close(theirs)
    screen = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        try:
            while part := terminal.read(4096):
                screen += part
        except OSError:  # how a terminal ends
            pass
    return process.wait(300), screen.decode()


def test_person_sees_progress_and_where_the_results_are(
    first: subprocess.CompletedProcess[str], checkout: Any
) -> None:
    strange = [line for line in first.stderr.splitlines() if not PROGRESS.fullmatch(line)]
    assert strange == []
    assert NOISE.search(first.stdout) is None
    report = checkout.root / "runs" / "smoke" / "report" / "index.html"
    assert f"Report    {report}" in first.stdout
    assert b"<html" in report.read_bytes()


def test_native_output_is_kept_in_a_log(
    first: subprocess.CompletedProcess[str], checkout: Any
) -> None:
    log = checkout.root / ".edgenas" / "log" / "run.log"
    assert "XNNPACK" in log.read_text()


def test_results_are_whole_and_leave_no_drafts(
    first: subprocess.CompletedProcess[str], checkout: Any
) -> None:
    records = checkout.json("search", "candidates.json")
    assert [record["trial"] for record in records] == list(range(6))
    assert {record["status"] for record in records} == {"done"}
    finalists = [path.name for path in (checkout.root / "runs/smoke/finalists").iterdir()]
    assert len(finalists) == 2 and set(finalists) <= {record["id"] for record in records}
    hidden = [name for name in checkout.digests() if "/." in f"/{name}"]
    assert hidden == []


@pytest.mark.filterwarnings("ignore")  # MLflow and its dependencies deprecate things of each other
def test_candidates_in_mlflow_are_those_of_the_file(
    first: subprocess.CompletedProcess[str], checkout: Any
) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(prepare_store(checkout.root).uri)
    experiment = client.get_experiment_by_name("edgenas")
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    candidates = {r.data.tags["candidate_id"]: r for r in runs if "candidate_id" in r.data.tags}
    records = {record["id"]: record for record in checkout.json("search", "candidates.json")}
    assert set(candidates) == set(records)
    for name, record in records.items():
        for metric in ("top1", "latency_ms", "peak_memory_bytes", "macs", "on_pareto", "rank"):
            assert candidates[name].data.metrics[metric] == record[metric], (name, metric)
    assert {run.info.status for run in runs} == {"FINISHED"}


@pytest.mark.filterwarnings("ignore")
def test_registered_models_predict_as_their_files_do(
    first: subprocess.CompletedProcess[str], checkout: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", prepare_store(checkout.root).uri)
    versions = mlflow.MlflowClient().search_model_versions("name = 'edgenas-coral_usb3'")
    front = checkout.json("selection", "front.json")
    chosen = {model["id"] for model in front if model["on_pareto"]}
    assert {version.tags["candidate_id"] for version in versions} == chosen
    images = read_npz(checkout.root / "runs/smoke/data/test.npz")["images"][:20]
    for version in versions:
        model = mlflow.pyfunc.load_model(f"models:/{version.name}/{version.version}")
        name = version.tags["candidate_id"]
        path = checkout.root / "runs/smoke/finalists" / name / "int8.tflite"
        (direct,) = predict(path, {"input": normalise(images)}, ("probabilities",))
        np.testing.assert_allclose(model.predict(images), direct)


def test_status_tells_counts_and_front(
    first: subprocess.CompletedProcess[str], checkout: Any
) -> None:
    told = checkout.run("status", "--profile", "smoke").stdout
    assert len(re.findall(r"^\w+ +done in \d+", told, re.M)) == len(STAGES)
    assert "6 proposed, 6 done, 0 failed" in told
    best = max(record["top1"] for record in checkout.json("search", "candidates.json"))
    assert f"{100 * best:.2f} %" in told


def test_prefect_shows_what_was_asked_for_and_nothing_that_a_run_holds_open(
    first: subprocess.CompletedProcess[str], checkout: Any
) -> None:
    query = (
        "SELECT flow.name, flow_run.name, parameters FROM flow_run JOIN flow ON flow.id = flow_id"
    )
    with closing(sqlite3.connect(checkout.root / ".edgenas" / "prefect" / "prefect.db")) as found:
        shown = {flow: (name, json.loads(given)) for flow, name, given in found.execute(query)}
    spec = {"profile": "smoke", "overrides": [], "tracking": True}
    assert shown == {
        "edge_nas": ("edge_nas, smoke", spec | {"keep": None}),
        **{name: (f"{name}, smoke", {"spec": spec}) for name in STAGES},
    }


def test_second_run_keeps_every_stage(
    first: subprocess.CompletedProcess[str], checkout: Any
) -> None:
    before = checkout.digests()
    again = checkout.run(*RUN)
    assert (again.returncode, kept(again.stdout)) == (0, list(STAGES))
    assert checkout.digests() == before


def test_target_that_nothing_meets_is_said_before_training(
    first: subprocess.CompletedProcess[str], checkout: Any
) -> None:
    before = checkout.digests()
    done = checkout.run(*RUN, "--set", "cost.target_latency_ms=0.001", "supernet.steps=31")
    assert done.returncode == 2
    assert re.fullmatch(
        r"error: smoke: .* latency_ms <= 0\.001, but got none in .*\n", done.stderr
    )
    assert checkout.digests() == before


def test_unreadable_picture_is_named_and_changes_nothing(
    first: subprocess.CompletedProcess[str], checkout: Any
) -> None:
    before = checkout.digests()
    for name in ("cats/a.png", "dogs/b.png"):
        path = checkout.root / "data" / "mine" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"no picture")
    mine = ("--stage", "prepare", "--set", "data.format=image_folder", "data.source=data/mine")
    done = checkout.run(*RUN, *mine)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: every picture must be readable, but got 'cats/a.png'")
    assert checkout.digests() == before


@pytest.mark.slow
def test_larger_budget_reruns_the_search_and_what_follows(
    first: subprocess.CompletedProcess[str], checkout: Any
) -> None:
    # One finalist saves time; what follows a changed search runs again in any case.
    changed = ("--set", "search.budget=7", "finetune.finalists=1")
    status, screen = on_terminal(checkout, *RUN, *changed)
    assert (status, kept(screen.replace("\r", ""))) == (0, ["prepare", "train_supernet"])
    assert "7/7" in screen and NOISE.search(screen) is None
    assert len(checkout.json("search", "candidates.json")) == 7
