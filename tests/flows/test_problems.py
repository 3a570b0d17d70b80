"""Every problem by the same flow: what it leaves, what is said of it, and what is refused."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flows import __main__ as cli
from flows import server
from hw.report import CostReport
from tasks.candidates.chosen import Selection
from tasks.candidates.finalist import Finalist
from tasks.candidates.finished import FinishedModel, write_front
from tasks.learning.problem import load_problem, problem_names
from tasks.pipeline.session import closing_lines, open_session, table_of
from tasks.run.spec import RunSpec
from tasks.run.workspace import Workspace, write_json
from tasks.tracking.tracker import prepare_store

ROOT = Path(__file__).resolve().parents[2]
OTHERS = tuple(name for name in problem_names() if name != "classification")
SMALL: dict[str, dict[str, Any]] = {
    "supernet": {"steps": 12, "warmup_steps": 2, "checkpoint_steps": 4},
    "search": {"budget": 4, "chunk": 2, "calibration_images": 32, "validation_images": 32},
    "finetune": {
        "finalists": 1,
        "baselines": 0,
        "epochs": 1,
        "qat_epochs": 1,
        "batch_size": 128,
        "calibration_images": 16,
    },
}


# -- refused ------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder where nothing has run, and no server may be started."""
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    with (tmp_path / "params.yaml").open("a") as params:
        params.write("\n  a: {extends: b}\n  b: {extends: a}\n  c: {extends: segmentatoin}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(server, "prefect_server", lambda: pytest.fail("a server was started"))
    return tmp_path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--profile", "a"], "profiles must not extend themselves, but got a -> b -> a"),
        (["--profile", "c"], "profiles.c.extends must be one of a, b, bccd, c, cifar10, "),
        (
            ["--set", "data.format=scenes_boxes"],
            "data.format must be one for classification (digits, image_folder, keras, npz, tfds), "
            "but got 'scenes_boxes', which is for detection.",
        ),
        (
            ["--profile", "detection", "--set", "data.format=mask_folder"],
            "data.format must be one for detection (coco, scenes_boxes, voc), but got "
            "'mask_folder', which is for segmentation.",
        ),
        (["--profile", "detection", "--set", "data.format=yolo"], "data.format must be one of "),
        (
            ["--profile", "text_classification", "--set", "space.name=segmentation_small"],
            "space.name must name a space for text_classification (mobilebert_edgetpu, "
            "mobilebert_small), but got 'segmentation_small'.",
        ),
        (["--set", "problem.name=depth"], "problem.name must be one of classification, "),
        (
            ["--profile", "segmentation", "--set", "select.objectives=[top1:max]"],
            "Set select.objectives to {mean_iou: max}.",
        ),
        (
            ["--profile", "question_answering", "--set", "data.format=squad"],
            "data.source must be the path of ",
        ),
    ],
)
def test_what_does_not_fit_the_problem_is_refused_in_one_line(
    words: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(folder.rglob("*"))
    assert cli.main(["run", *words]) == 2
    out, error = capsys.readouterr()
    assert (out, error.count("\n")) == ("", 1)
    assert error.startswith("error: ") and message in error
    assert sorted(folder.rglob("*")) == before


# -- said ---------------------------------------------------------------------------------------


@pytest.fixture
def finished(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Makes the session of a problem of which one model is finished."""

    def make(problem: str) -> Any:
        workspace = Workspace.of(problem, folder)
        metric = load_problem(problem).metric.name
        known = {"float": 0.75, "ptq": 0.5, "int8": 0.625}
        scores = {kind: {metric: score} for kind, score in known.items()}
        finalist = Finalist("abc", None, "random", metric, None, scores, "qat", {})
        report = CostReport(
            *("coral_usb3", "analytic", 1.5, None, None, None, None, 3000, 0, 2_000_000),
            host_ops=(),
            per_op=(),
        )
        write_front(workspace, [FinishedModel(finalist, {}, None, None, report, rank=0)])
        Selection("abc", metric, 0.5, 1.5, models=1, front=1).write(workspace)
        tested = {"best": "abc", "best_int8": 0.625, "split": "test"}
        write_json(workspace.report / "metrics.json", tested)
        return open_session(RunSpec(problem, tracking=False))

    monkeypatch.setattr("tasks.pipeline.session.ROOT", folder)
    return make


@pytest.mark.parametrize("problem", OTHERS)
def test_the_end_of_a_run_names_the_problems_metric(
    problem: str, finished: Callable[[str], Any]
) -> None:
    session, metric = finished(problem), load_problem(problem).metric
    told = closing_lines(session, "not under DVC")
    assert any(
        line.startswith(f"Best      62.50 % {metric.label}, int8 on test: ") for line in told
    )
    (row,) = table_of(session)
    assert row[f"{metric.name} int8 %"] == 62.5 and row["latency ms"] == 1.5


# -- run ----------------------------------------------------------------------------------------


def with_small_profiles(checkout: Any) -> Any:
    """A checkout with a profile ``small_<problem>`` for each problem."""
    with (checkout.root / "params.yaml").open("a") as params:
        for problem in OTHERS:
            profile = {"extends": problem, **SMALL}
            params.write(f"\n  small_{problem}: {json.dumps(profile)}\n")
    return checkout


@pytest.fixture(scope="module")
def small(new_checkout: Callable[[], Any]) -> Any:
    return with_small_profiles(new_checkout())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # MLflow and its dependencies deprecate things of each other
@pytest.mark.parametrize("problem", OTHERS)
def test_a_problem_runs_from_its_data_to_registered_models(problem: str, small: Any) -> None:
    from mlflow.tracking import MlflowClient

    done = small.run("run", "--profile", f"small_{problem}")
    assert done.returncode == 0, done.stderr
    metric = load_problem(problem).metric
    assert f" % {metric.label}, int8 on " in done.stdout
    results = small.root / "runs" / f"small_{problem}"
    candidates = json.loads((results / "search" / "candidates.json").read_text())
    client = MlflowClient(prepare_store(small.root).uri)
    experiment = client.get_experiment_by_name(f"edgenas-{problem}")
    runs = client.search_runs([experiment.experiment_id], "tags.stage = 'search'")
    found = {run.data.tags["candidate_id"]: run.data.metrics[metric.name] for run in runs}
    assert found == {record["id"]: record[metric.name] for record in candidates}
    assert {run.data.tags["problem"] for run in runs} == {problem}
    versions = client.search_model_versions()
    names = {one.name for one in versions if one.tags["problem"] == problem}
    assert len(names) == 1 and next(iter(names)).startswith(f"edgenas-{problem}-")
    status = small.run("status", "--profile", f"small_{problem}").stdout
    assert f"front by {metric.label}, " in status


@pytest.mark.slow
@pytest.mark.parametrize("problem", OTHERS)
def test_a_problem_killed_in_training_ends_with_the_same_bytes(
    problem: str, small: Any, new_checkout: Callable[[], Any]
) -> None:
    words, results = ("run", "--profile", f"small_{problem}"), f"runs/small_{problem}"
    whole = small.run(*words)
    assert whole.returncode == 0, whole.stderr
    checkout = with_small_profiles(new_checkout())
    state = checkout.root / ".edgenas" / "state" / "runs" / f"small_{problem}"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    for begun in ("train_supernet-*/supernet.npz", "search-*/now.json", "finetune-*"):
        process, deadline = checkout.start(*words, **quiet), time.monotonic() + 600
        while process.poll() is None and not any(state.glob(begun)):
            assert time.monotonic() < deadline, begun
            time.sleep(0.02)
        time.sleep(3.0 if begun == "finetune-*" else 0.0)
        assert process.poll() is None, f"the run ended before it could be killed in {begun}"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert checkout.left_over() == []
    last = checkout.run(*words)
    assert last.returncode == 0, last.stderr
    assert checkout.digests(results) == small.digests(results)
    with closing(sqlite3.connect(prepare_store(checkout.root).database)) as db:
        assert {row[0] for row in db.execute("SELECT status FROM runs")} == {"FINISHED"}
