"""The mirror in MLflow: one store for all processes, no run twice, and as MLflow writes it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.pipeline.session import Tracking
from tasks.tracking import tracker as tracking
from tasks.tracking.client_run_store import ClientRunStore
from tasks.tracking.run_store import RunNote
from tasks.tracking.sqlite_run_store import SqliteRunStore
from tasks.tracking.tflite_pyfunc import role
from tasks.tracking.tracker import (
    FinalistModel,
    Mirror,
    Store,
    Tracker,
    TrackingError,
    TrackingStoreError,
    experiment_name,
    prepare_store,
    register_finalist,
    registered_name,
)

CHECKOUT = Path(__file__).parents[2]
# MLflow and its dependencies deprecate things of each other; no matter of ours.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="session")
def fresh_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four processes meet a store that does not exist; all must get it."""
    root = tmp_path_factory.mktemp("fresh")
    code = (
        "import sys, pathlib; from tasks.tracking.tracker import Tracker, prepare_store; "
        "t = Tracker(prepare_store(pathlib.Path(sys.argv[1])), 'search'); "
        "print(t.start_run('search', {}, {}, run_key='shared'))"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(root)],
            cwd=CHECKOUT,
            env={**os.environ, "MLFLOW_TRACKING_URI": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    ended = [(*process.communicate(timeout=600), process.returncode) for process in started]
    (root / "ended.json").write_text(json.dumps(ended), "utf-8")
    return root


@pytest.fixture
def root(fresh_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the store elsewhere: what a moved checkout is, too."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(fresh_root / ".edgenas", tmp_path / ".edgenas")
    return tmp_path


@pytest.fixture
def store(root: Path) -> Store:
    return prepare_store(root)


@pytest.fixture
def client(store: Store) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(store.uri)


def record(number: int, **changes: object) -> dict[str, object]:
    """A candidate as it stands in search/candidates.json."""
    values: dict[str, object] = {
        "id": f"{number:012x}",
        "architecture": {"kernel": 3},
        "name": None,
        "origin": "random",
        "status": "done",
        "reason": None,
        "trial": number,
        "generation": 0,
        "top1": 0.5 + number / 1000,
        "latency_ms": 1.0 + number,
        "peak_memory_bytes": 100_000 + number,
        "weight_bytes": 200_000,
        "streamed_bytes": 0,
        "macs": 10_000_000,
        "parameters": 190_000,
        "energy_mj": None,
        "depth": 12,
        "mean_kernel": 3.6666667,
        "mean_expansion": 4.5,
        "share_dw": 0.75,
        "share_fused": 0.25,
        "share_grouped": 0.0,
        "mean_width": 57.3333,
        "on_pareto": False,
        "rank": 1,
    }
    return {**values, **changes}


def runs_below(client: Any, parent: str, view: int = 1) -> dict[str, Any]:
    """Candidate id to run."""
    experiments = [client.get_run(parent).info.experiment_id]
    runs = client.search_runs(experiments, f"tags.`mlflow.parentRunId` = '{parent}'", view)
    assert len({run.data.tags["candidate_id"] for run in runs}) == len(runs)
    return {run.data.tags["candidate_id"]: run for run in runs}


def start(tracker: Tracker, key: str = "k") -> str:
    tags = {"space": "toy", "device": "coral_usb3", "problem": "detection"}
    return tracker.start_run("edge search", {"trials": 8}, tags, run_key=key)


# The store


def test_processes_meeting_a_fresh_store_share_it(fresh_root: Path) -> None:
    ended = json.loads((fresh_root / "ended.json").read_text("utf-8"))
    assert [code for _, _, code in ended] == [0, 0, 0, 0], ended
    assert len({out.strip() for out, _, _ in ended}) == 1
    assert {err for _, err, _ in ended} == {""}


def test_a_prepared_store_is_found_fast_and_without_mlflow(root: Path) -> None:
    prepare_store(root)
    code = (
        "import sys, pathlib, time\n"
        "from tasks.tracking.tracker import Mirror, Tracker, prepare_store\n"
        "begin = time.process_time()\n"
        "t = Tracker(prepare_store(pathlib.Path(sys.argv[1])), 'search')\n"
        "p = t.start_run('search', {}, {}, run_key='k')\n"
        "t.finish(p)\n"
        "print(time.process_time() - begin, 'mlflow' in sys.modules)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(root)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert float(out[0]) < 0.3
    assert out[1] == "False"


def test_telemetry_is_off(store: Store) -> None:
    from mlflow.telemetry.utils import is_telemetry_disabled

    assert store.is_local
    assert is_telemetry_disabled()


def test_a_users_tracking_uri_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    store = prepare_store(tmp_path)
    assert store.uri == "http://127.0.0.1:5000"
    assert not store.is_local
    assert not store.database.exists()


def test_artifacts_open_after_the_checkout_moved(root: Path, tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    tracker = Tracker(prepare_store(root), "search")
    parent = start(tracker)
    page = tmp_path / "index.html"
    page.write_text("<p>front</p>", "utf-8")
    tracker.log_stage(parent, "report", {}, {}, [page])
    moved = tmp_path / "another place"
    shutil.move(root / ".edgenas", moved / ".edgenas")
    client = MlflowClient(prepare_store(moved).uri)
    there = Path(client.download_artifacts(parent, "report/index.html"))
    assert there.read_text("utf-8") == "<p>front</p>"
    assert Path(client.get_run(parent).info.artifact_uri).is_relative_to(moved)


def test_a_database_mlflow_cannot_upgrade_is_reported_with_a_cure(root: Path) -> None:
    store = prepare_store(root)
    (store.folder / "prepared.json").unlink()
    with contextlib.closing(sqlite3.connect(store.database)) as db, db:
        db.execute("UPDATE alembic_version SET version_num = 'from_the_future'")
    with pytest.raises(TrackingStoreError, match=r"must be able to upgrade.*but got.*move the"):
        prepare_store(root)
    assert (store.folder / "mlflow.db.before-upgrade").exists()


def test_unknown_columns_lead_to_the_public_client(store: Store) -> None:
    assert SqliteRunStore.knows(store.database)
    with contextlib.closing(sqlite3.connect(store.database)) as db, db:
        db.execute("ALTER TABLE runs ADD COLUMN novelty TEXT")
    assert not SqliteRunStore.knows(store.database)
    assert isinstance(tracking._open_run_store(store, "search", "top1"), ClientRunStore)


# Both ways of writing


def _essence(run: Any) -> dict[str, Any]:
    """All of a run that is not its identity or a clock."""
    found = run.to_dictionary()
    info = found["info"]
    for key in ("run_id", "run_uuid"):
        info.pop(key, None)
    info["artifact_uri"] = info["artifact_uri"].replace(run.info.run_id, "<id>")
    info["timed"] = (info.pop("start_time") is not None, info.pop("end_time") is not None)
    return found


def _notes(ids: Sequence[str | None]) -> list[RunNote]:
    return [
        RunNote(
            key=f"{n}",
            run_id=run_id,
            name=f"run {n}",
            status=("FINISHED", "FAILED", "RUNNING")[n % 3],
            params={"depth": str(n), "long": "x" * 6001},
            metrics={
                "top1": (n / 10,),
                "loss": (3.0, 2.0, 1.0 / (n + 1)),
                "void": (float("nan"),),
            },
            tags={"candidate_id": f"c{n}", "space": "toy", "quoted": "it's \u00b5"},
        )
        for n, run_id in enumerate(ids)
    ]


@pytest.fixture
def books(store: Store) -> Iterator[dict[str, tuple[Any, list[str]]]]:
    """The same notes written, and partly rewritten, by both books into one database."""
    both = {}
    for kind in (SqliteRunStore, ClientRunStore):
        book = kind(store, kind.__name__, "top1")
        ids = book.write(_notes([None] * 6))
        time.sleep(0.002)
        again = [
            dataclasses.replace(
                note, params={**note.params, "depth": "99", "late": "1"}, tags={"space": "other"}
            )
            for note in _notes(ids)
        ]
        book.write([dataclasses.replace(again[0], status="FAILED"), again[1]])
        book.write([RunNote(key="", run_id=ids[2], metrics={"top1": (0.9,)})])
        both[kind.__name__] = (book, ids)
    yield both


def test_rows_say_what_mlflows_own_client_says(
    books: Mapping[str, tuple[Any, list[str]]], client: Any
) -> None:
    told: dict[str, list[Any]] = {}
    for name, (_, ids) in books.items():
        experiment = client.get_experiment_by_name(name)
        runs = [_essence(client.get_run(run_id)) for run_id in ids]
        for run in runs:
            assert run["info"].pop("experiment_id") == experiment.experiment_id
            run["info"]["artifact_uri"] = run["info"]["artifact_uri"].replace(name, "<name>")
        history = [
            [(m.step, m.value) for m in client.get_metric_history(run_id, key)]
            for run_id in ids
            for key in ("top1", "loss")
        ]
        location = experiment.artifact_location.replace(name, "<name>")
        told[name] = [runs, history, location, experiment.tags, experiment.lifecycle_stage]
    assert told["SqliteRunStore"] == told["ClientRunStore"]
    assert told["SqliteRunStore"][0][0]["data"]["params"]["depth"] == "0"


@pytest.mark.parametrize(
    "query",
    [
        "metrics.top1 > 0.15",
        "params.depth = '3'",
        "tags.space = 'other'",
        "attributes.status = 'FAILED'",
        "attributes.run_name = 'run 4'",
    ],
)
def test_searches_find_the_same_runs(
    books: Mapping[str, tuple[Any, list[str]]], client: Any, query: str
) -> None:
    found = []
    for name in books:
        experiment = client.get_experiment_by_name(name).experiment_id
        runs = client.search_runs([experiment], query, order_by=["metrics.loss DESC"])
        found.append([run.data.tags["candidate_id"] for run in runs])
    assert found[0] == found[1] != []


def test_books_find_the_same_runs(books: Mapping[str, tuple[Any, list[str]]]) -> None:
    found = []
    for book, ids in books.values():
        states = book.find({"space": "toy", "quoted": "it's \u00b5"})
        assert list(book.find({"candidate_id": "c3"})) == [ids[3]]
        found.append([(ids.index(run_id), status) for run_id, status in states.items()])
    assert sorted(found[0]) == sorted(found[1])
    assert len(found[0]) == 4


# Searches and their candidates


def test_a_run_key_takes_up_its_run_and_closes_stale_ones(store: Store, client: Any) -> None:
    tracker = Tracker(store, "search")
    first = start(tracker)
    twin = tracker._book.write(
        [RunNote(key="twin", name="t", status="RUNNING", tags={"edgenas.run_key": "k"})]
    )[0]
    with contextlib.closing(sqlite3.connect(store.database)) as db, db:
        db.execute("UPDATE runs SET start_time = 1 WHERE run_uuid = ?", (twin,))
    tracker.finish(first, "FAILED")
    again = Tracker(store, "search").start_run("x", {"trials": 9}, {}, run_key="k")
    assert again == first
    assert client.get_run(first).info.status == "RUNNING"
    assert client.get_run(first).info.end_time is None
    assert client.get_run(first).data.params == {"trials": "8"}
    assert client.get_run(twin).info.status == "KILLED"
    assert start(tracker, "another key") != first


def test_candidates_carry_params_metrics_and_tags(store: Store, client: Any) -> None:
    tracker = Tracker(store, "search")
    parent = start(tracker)
    tracker.log_candidates(
        parent,
        [
            record(1),
            record(2, name="toy_baseline", origin="baseline", on_pareto=True, rank=0),
            record(3, status="failed", reason="shape error", top1=None),
            record(4, status="infeasible", reason="too large", top1=float("nan")),
        ],
    )
    one, named, failed, infeasible = runs_below(client, parent).values().__reversed__()
    assert one.info.run_name == "000000 d12 dw75 fu25"
    assert one.data.params == {
        "origin": "random",
        "depth": "12",
        "mean_kernel": "3.67",
        "mean_expansion": "4.5",
        "share_dw": "0.75",
        "share_fused": "0.25",
        "share_grouped": "0",
        "mean_width": "57.3",
    }
    assert one.data.metrics["top1"] == pytest.approx(0.501)
    assert one.data.metrics["on_pareto"] == 0.0
    assert "energy_mj" not in one.data.metrics
    expected = {"space": "toy", "device": "coral_usb3", "stage": "search", "on_pareto": "false"}
    assert {**expected, "problem": "detection"}.items() <= one.data.tags.items()
    assert (named.info.run_name, named.data.metrics["on_pareto"]) == ("toy_baseline", 1.0)
    assert (failed.info.status, failed.data.tags["reason"]) == ("FAILED", "shape error")
    assert (infeasible.info.status, infeasible.data.tags["status"]) == ("FINISHED", "infeasible")
    assert "top1" not in infeasible.data.metrics


def test_every_score_of_a_candidate_is_a_metric(store: Store, client: Any) -> None:
    tracker = Tracker(store, "search", "map50")
    parent = start(tracker)
    scores = {"top1": None, "map50": 0.6, "map": 0.3, "share_dw": None, "share_fused": None}
    tracker.log_candidates(parent, [record(1, **scores, depth=7)])
    run = runs_below(client, parent)[f"{1:012x}"]
    assert (run.data.metrics["map50"], run.data.metrics["map"]) == (0.6, 0.3)
    assert not {"top1", "trial", "generation", "depth"} & run.data.metrics.keys()
    assert run.info.run_name == "000000 d7"


def test_a_record_of_unknown_status_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match=r"status must be one of done.*got 'odd' in candidate 0"):
        Tracker(store, "search").log_candidates("p", [record(1, status="odd")])


@pytest.mark.parametrize("book", [SqliteRunStore, ClientRunStore])
def test_a_resumed_search_doubles_nothing(store: Store, client: Any, book: Any) -> None:
    for count in (3, 5):
        tracker = Tracker(store, "search")
        tracker._book = book(store, "search", "top1")
        parent = start(tracker)
        tracker.log_candidates(parent, [record(n) for n in range(count)])
        tracker.log_candidates(parent, [record(n) for n in range(count)])
    assert len(runs_below(client, parent)) == 5
    history = client.get_metric_history(
        runs_below(client, parent)[f"{0:012x}"].info.run_id, "top1"
    )
    assert len(history) == 1


def test_the_front_is_set_at_the_end(store: Store, client: Any) -> None:
    tracker = Tracker(store, "search")
    parent = start(tracker)
    tracker.log_candidates(parent, [record(n, on_pareto=n == 0) for n in range(4)])
    tracker.update_front(parent, [f"{n:012x}" for n in (1, 2)], {f"{n:012x}": n for n in range(3)})
    runs = runs_below(client, parent)
    assert [runs[f"{n:012x}"].data.metrics["on_pareto"] for n in range(4)] == [0, 1, 1, 0]
    assert [runs[f"{n:012x}"].data.metrics["rank"] for n in range(4)] == [0, 1, 2, 1]
    found = client.search_runs([runs[f"{0:012x}"].info.experiment_id], "tags.on_pareto = 'true'")
    assert {run.data.tags["candidate_id"] for run in found} == {f"{n:012x}" for n in (1, 2)}


@pytest.mark.parametrize("book", [SqliteRunStore, ClientRunStore])
def test_sync_repairs_missing_deleted_and_running(store: Store, client: Any, book: Any) -> None:
    tracker = Tracker(store, "search")
    tracker._book = book(store, "search", "top1")
    parent = start(tracker)
    tracker.log_candidates(parent, [record(n) for n in range(3)])
    runs = runs_below(client, parent)
    client.delete_run(runs[f"{0:012x}"].info.run_id)
    client.update_run(runs[f"{1:012x}"].info.run_id, status="RUNNING")
    tags = {"mlflow.parentRunId": parent, "candidate_id": "left over"}
    left = client.create_run(runs[f"{1:012x}"].info.experiment_id, tags=tags).info.run_id
    tracker.sync(parent, [record(n) for n in range(4)])
    assert {run.info.status for run in runs_below(client, parent).values()} == {
        "FINISHED",
        "KILLED",
    }
    assert client.get_run(left).info.status == "KILLED"
    assert len(runs_below(client, parent)) == 5


def test_stages_are_logged_on_the_parent_once(store: Store, client: Any, tmp_path: Path) -> None:
    tracker = Tracker(store, "search")
    parent = start(tracker)
    folder = tmp_path / "plots"
    folder.mkdir()
    (folder / "front.json").write_text("{}", "utf-8")
    for _ in range(2):
        metrics = {"loss": (2.0, 1.0), "top1": 0.5, "energy_mj": None}
        tags = {"gate_passed": False, "evaluator": "trained", "unknown": None}
        tracker.log_stage(parent, "train_supernet", metrics, {"epochs": 2}, [folder], tags)
    run = client.get_run(parent)
    assert run.data.metrics == {"train_supernet/loss": 1.0, "train_supernet/top1": 0.5}
    assert run.data.params == {"trials": "8", "train_supernet.epochs": "2"}
    assert {k: v for k, v in run.data.tags.items() if k.startswith("train_supernet.")} == {
        "train_supernet.gate_passed": "false",
        "train_supernet.evaluator": "trained",
    }
    assert [m.value for m in client.get_metric_history(parent, "train_supernet/loss")] == [
        2.0,
        1.0,
    ]
    assert [a.path for a in client.list_artifacts(parent, "train_supernet/plots")] == [
        "train_supernet/plots/front.json"
    ]


def test_the_parent_run_tells_how_far_the_search_is_to_be_trusted(
    store: Store, client: Any, tmp_path: Path
) -> None:
    tracker = Tracker(store, "search")
    parent = start(tracker)
    kept = tmp_path / "fidelity.json"
    kept.write_text("{}", "utf-8")
    search = {
        "evaluator": "trained",
        "gate_tau": -0.19,
        "gate_tau_macs": 0.64,
        "gate_tau_ceiling": None,
        "gate_passed": False,
        "rung_tau": [0.62, 0.5],
        "rung_tau_macs": [],
        "front": ["3fa9c1"],
    }
    tracking = Tracking(store, tracker, parent)
    tracking.log_stage("search", search, [kept])
    tracking.log_stage("report", {"linear_floor": 0.493, "beats_linear_floor": True})
    run = client.get_run(parent)
    assert run.data.metrics == {
        "search/gate_tau": -0.19,
        "search/gate_tau_macs": 0.64,
        "search/rung_tau": 0.5,
        "report/linear_floor": 0.493,
    }
    assert {k: v for k, v in run.data.tags.items() if k.startswith(("search.", "report."))} == {
        "search.evaluator": "trained",
        "search.gate_passed": "false",
        "report.beats_linear_floor": "true",
    }
    assert [a.path for a in client.list_artifacts(parent, "search")] == ["search/fidelity.json"]


def test_a_candidate_costs_few_milliseconds(store: Store) -> None:
    tracker = Tracker(store, "search")
    parent = start(tracker)
    begin = time.process_time()
    tracker.log_candidates(parent, [record(n) for n in range(512)])
    assert (time.process_time() - begin) / 512 < 0.005


@pytest.mark.parametrize("metric", ["top1", "map50"])
def test_the_saved_view_shows_what_candidates_have(store: Store, client: Any, metric: str) -> None:
    tracker = Tracker(store, f"search by {metric}", metric)
    parent = start(tracker)
    one = record(1, energy_mj=2.0)
    one[metric] = one.pop("top1")
    tracker.log_candidates(parent, [one])
    run = runs_below(client, parent)[f"{1:012x}"]
    experiment = client.get_experiment(run.info.experiment_id)
    assert tracker.page.startswith(f"#/experiments/{experiment.experiment_id}/runs?")
    view = json.loads(experiment.tags["mlflow.sharedViewState.candidates"])
    state = json.loads(view["state"])
    assert state["selectedColumns"][0] == f"metrics.`{metric}`"
    assert {chart.get("yaxis", {}).get("key") for chart in state["compareRunCharts"]} == {
        None,
        metric,
    }
    for column in state["selectedColumns"]:
        kind, name = column.split(".")
        assert name.strip("`") in getattr(run.data, kind), column
    found = client.search_runs([experiment.experiment_id], state["searchFilter"])
    assert [each.info.run_id for each in found] == [run.info.run_id]


# The mirror


def test_the_mirror_writes_all_before_close_returns(store: Store, client: Any) -> None:
    tracker = Tracker(store, "search")
    parent = start(tracker)
    with Mirror(tracker, parent, pause_s=0.01) as mirror:
        changing = record(0)
        for n in range(150):
            changing["id"] = f"{n:012x}"
            mirror.put(changing)
            if n % 50 == 0:
                time.sleep(0.02)
    assert len(runs_below(client, parent)) == 150
    with pytest.raises(TrackingError, match="before close"):
        mirror.put(record(1))


def test_a_failing_mirror_lets_the_search_go_on_and_says_so_at_the_end(store: Store) -> None:
    tracker = Tracker(store, "search")
    mirror = Mirror(tracker, start(tracker), pause_s=0.01)
    mirror.put(record(1, status="odd"))
    time.sleep(0.05)
    mirror.put(record(2))
    with pytest.raises(TrackingError, match=r"must reach MLflow.*got ValueError: status must"):
        mirror.close()
    with pytest.raises(KeyError), Mirror(tracker, "p", pause_s=0.01) as broken:
        broken.put(record(1, status="odd"))
        raise KeyError("the search's own error goes first")


def test_searches_in_several_threads_share_the_store(store: Store, client: Any) -> None:
    parents: list[str] = []

    def search(key: str) -> None:
        tracker = Tracker(store, "search")
        parent = start(tracker, key)
        parents.append(parent)
        for n in range(20):
            tracker.log_candidates(parent, [record(n)])

    threads = [threading.Thread(target=search, args=(f"k{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(parents)) == 3
    assert sum(len(runs_below(client, parent)) for parent in parents) == 60


# Finalists


@pytest.fixture(scope="session")
def tiny_tflite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A full-integer classifier of 8x8x3 images into 4 classes, untrained."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf
    import tf_keras

    tf_keras.utils.set_random_seed(3)
    model = tf_keras.Sequential(
        [
            tf_keras.layers.InputLayer((8, 8, 3), batch_size=1),
            tf_keras.layers.Conv2D(4, 3, strides=2, activation="relu"),
            tf_keras.layers.GlobalAveragePooling2D(),
            tf_keras.layers.Dense(4, activation="softmax"),
        ]
    )
    generator = np.random.default_rng(5)
    pictures = generator.uniform(-1, 1, (16, 1, 8, 8, 3)).astype(np.float32)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([picture] for picture in pictures)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    path = tmp_path_factory.mktemp("tflite") / "int8.tflite"
    path.write_bytes(converter.convert())
    return path


def _direct(tflite: Path, images: np.ndarray) -> np.ndarray:
    """The reference: quantise, run, dequantise, by TensorFlow Lite's own scales."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(tflite))
    interpreter.allocate_tensors()
    source, sink = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    rows = []
    for image in images:
        scale, zero = source["quantization"]
        values = np.round((image / np.float32(127.5) - 1) / scale) + zero
        interpreter.set_tensor(source["index"], np.clip(values, -128, 127).astype(np.int8)[None])
        interpreter.invoke()
        scale, zero = sink["quantization"]
        rows.append((interpreter.get_tensor(sink["index"])[0].astype(np.float32) - zero) * scale)
    return np.array(rows, np.float32)


def test_a_registered_finalist_predicts_as_the_interpreter_does(
    store: Store,
    client: Any,
    tiny_tflite: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import mlflow

    parent = start(Tracker(store, "search"))
    model = FinalistModel(
        "edgenas-test",
        "0123456789ab",
        tiny_tflite,
        labels=("a", "b", "c", "d"),
        metrics={"top1": 0.75, "energy_mj": None},
        tags={"device": "coral_usb3"},
    )
    first = register_finalist(store, parent, model)
    assert (first.version, first.is_new, first.uri) == (1, True, "models:/edgenas-test/1")
    again = register_finalist(store, parent, model)
    assert (again.version, again.is_new) == (1, False)
    other = tmp_path / "other.tflite"
    other.write_bytes(tiny_tflite.read_bytes() + b"\0")
    logits = dataclasses.replace(model, tflite=other, outputs="logits")
    assert register_finalist(store, parent, logits).version == 2

    version = client.get_model_version("edgenas-test", "1")
    assert version.tags["candidate_id"] == "0123456789ab"
    assert version.tags["top1"] == "0.75"
    assert client.get_run(version.run_id).data.metrics == {"top1": 0.75}
    assert client.get_run(version.run_id).info.status == "FINISHED"

    assert not mlflow.is_tracking_uri_set()
    assert "MLFLOW_TRACKING_URI" not in os.environ
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    loaded = mlflow.pyfunc.load_model(first.uri)
    images = np.random.default_rng(7).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    answers = loaded.predict(images)
    assert answers.dtype == np.float32
    np.testing.assert_array_equal(answers, _direct(tiny_tflite, images))
    scores = np.exp(_direct(tiny_tflite, images))
    np.testing.assert_allclose(
        mlflow.pyfunc.load_model("models:/edgenas-test/2").predict(images),
        scores / scores.sum(axis=1, keepdims=True),
        rtol=1e-6,
    )
    with pytest.raises(mlflow.exceptions.MlflowException, match="schema"):
        loaded.predict(images.astype(np.float32))
    signature = loaded.metadata.signature
    assert signature.inputs.inputs[0].shape == (-1, 8, 8, 3)
    assert loaded.metadata.metadata["labels"] == ["a", "b", "c", "d"]


def _language_tflite() -> bytes:
    """Integer inside: tokens, types and mask in; spans (floats) and class numbers out."""
    import tensorflow as tf

    table = tf.random.stateless_normal((20, 4), (1, 2))

    class Network(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec((1, 6), tf.int32, name="input"),
                tf.TensorSpec((1, 1, 1, 6), tf.float32, name="mask"),
                tf.TensorSpec((1, 6), tf.int32, name="types"),
            ]
        )
        def run(self, tokens: Any, mask: Any, types: Any) -> Any:
            features = tf.gather(table, tokens) + tf.cast(types, tf.float32)[..., None]
            spans = tf.reduce_sum(features, -1) + mask[:, 0, 0]
            return {"spans": spans, "kinds": tf.argmax(features, -1, tf.int32)}

    network = Network()
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [network.run.get_concrete_function()], network
    )
    return bytes(converter.convert())


def test_tokens_enter_by_name_and_several_outputs_leave_by_name(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    path = tmp_path / "language.tflite"
    path.write_bytes(_language_tflite())
    parent = start(Tracker(store, "search"))
    model = FinalistModel("edgenas-language", "0123456789ab", path, outputs="raw")
    uri = register_finalist(store, parent, model).uri
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    loaded = mlflow.pyfunc.load_model(uri)
    signature = loaded.metadata.signature
    assert {spec.name: spec.shape for spec in signature.inputs} == {
        "tokens": (-1, 6),
        "types": (-1, 6),
    }
    assert {spec.name: (spec.type, spec.shape) for spec in signature.outputs} == {
        "spans": (np.dtype(np.float32), (-1, 6)),
        "kinds": (np.dtype(np.int32), (-1, 6)),
    }
    tokens = np.array([[1, 2, 3, 0, 0, 0], [4, 5, 6, 7, 8, 9]], np.int32)
    types = np.zeros_like(tokens)
    answers = loaded.predict({"tokens": tokens, "types": types})
    assert (answers["spans"][0, 3:] < -8).all()  # padding is masked
    assert (np.abs(answers["spans"][1]) < 8).all()
    shifted = loaded.predict({"tokens": tokens, "types": types + 1})
    np.testing.assert_allclose(shifted["spans"], answers["spans"] + 4, atol=1e-4)
    np.testing.assert_array_equal(shifted["kinds"], answers["kinds"])
    with pytest.raises(mlflow.exceptions.MlflowException, match="types"):
        loaded.predict({"tokens": tokens})


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("serving_default_input:0", (1, 32, 32, 3), "image"),
        ("input", (1, 64), "tokens"),
        ("serving_default_types:0", (1, 64), "types"),
        ("serving_default_mask:0", (1, 1, 1, 64), "mask"),
        ("args_1", (1, 1, 1, 64), "mask"),
    ],
)
def test_inputs_are_known_by_name_or_shape(
    name: str, shape: tuple[int, ...], expected: str
) -> None:
    assert role({"name": name, "shape": np.array(shape)}) == expected


def test_names_in_the_registry_and_of_experiments_tell_the_problem() -> None:
    assert registered_name("classification", "coral_usb3") == "edgenas-coral_usb3"
    assert registered_name("detection", "coral_usb3") == "edgenas-detection-coral_usb3"
    assert experiment_name("classification") == "edgenas"
    assert experiment_name("segmentation") == "edgenas-segmentation"
