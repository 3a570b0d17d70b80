"""Searches in MLflow: no candidate twice, by whatever way it gets there."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tasks.pipeline.session import Tracking
from tasks.tracking.client_run_store import ClientRunStore
from tasks.tracking.run_store import RunNote
from tasks.tracking.sqlite_run_store import SqliteRunStore
from tasks.tracking.tracker import (
    Mirror,
    Store,
    Tracker,
    TrackingError,
)
from tests.tasks.tracking.conftest import record, runs_below, start

# MLflow and its dependencies deprecate things of each other; no matter of ours.
pytestmark = pytest.mark.filterwarnings("ignore")


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
