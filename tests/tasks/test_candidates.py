"""The store of scores forgets nothing and mixes nothing up; numbers describe a candidate."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hw.cost_model import load_cost_model
from hw.device import load_device
from spaces.families.blocks import IBN_DW, IBN_FUSED, IBN_GROUPED, SKIP
from spaces.heads.classification import classification
from spaces.menu import load_space
from spaces.space import Architecture
from spaces.walk import prune, sample
from tasks.candidates.records import ScoreStore, costs, describe, digest
from tasks.run.workspace import WorkspaceError

ROOT = Path(__file__).parents[2]
SPACE = load_space("mobilenet_edgetpu_v2_small")
CONTEXT = {"supernet": "abc", "threads": 2}


def _points(count: int, seed: int = 0) -> list[Architecture]:
    rng = np.random.default_rng(seed)
    return [sample(SPACE, rng) for _ in range(count)]


def test_score_that_was_put_is_got(tmp_path: Path) -> None:
    one, other = _points(2)
    store = ScoreStore(tmp_path / "new" / "folder" / "scores.db", CONTEXT)
    assert store.get(one) is None
    store.put(one, {"top1": 0.1 + 0.2, "note": None})
    assert store.get(one) == {"top1": 0.1 + 0.2, "note": None}  # to the last bit
    assert store.get(other) is None
    assert len(store) == 1


def test_first_score_counts(tmp_path: Path) -> None:
    (one,) = _points(1)
    store = ScoreStore(tmp_path / "scores.db", CONTEXT)
    store.put(one, {"top1": 0.5})
    store.put(one, {"top1": 0.9})
    assert store.get(one) == {"top1": 0.5}
    assert len(store) == 1


def test_scores_survive_reopening_and_the_order_of_the_context(tmp_path: Path) -> None:
    (one,) = _points(1)
    ScoreStore(tmp_path / "scores.db", CONTEXT).put(one, {"top1": 0.5})
    again = ScoreStore(tmp_path / "scores.db", dict(reversed(CONTEXT.items())))
    assert again.get(one) == {"top1": 0.5}


def test_contexts_are_kept_apart(tmp_path: Path) -> None:
    one, other = _points(2)
    first = ScoreStore(tmp_path / "scores.db", CONTEXT)
    second = ScoreStore(tmp_path / "scores.db", {**CONTEXT, "threads": 4})
    first.put(one, {"top1": 0.5})
    assert second.get(one) is None
    second.put(one, {"top1": 0.6})
    second.put(other, {"top1": 0.7})
    assert first.get(one) == {"top1": 0.5}
    assert (len(first), len(second)) == (1, 2)


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
sys.path.insert(0, {tests!r})
import test_candidates as tests
store = tests.ScoreStore(Path({path!r}), tests.CONTEXT)
for number, point in enumerate(tests._points(1000)):
    store.put(point, {{"top1": number}})
    print(number, flush=True)
"""


def test_what_a_killed_writer_had_put_is_there(tmp_path: Path) -> None:
    path = tmp_path / "scores.db"
    program = WRITER.format(root=str(ROOT), tests=str(Path(__file__).parent), path=str(path))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        for _ in range(20):
            writer.stdout.readline()
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.stdout.read().split()
    last = int(rest[-1]) if rest else 19
    assert writer.returncode == -signal.SIGKILL
    assert last < 999
    store = ScoreStore(path, CONTEXT)
    scores = [store.get(point) for point in _points(last + 1)]
    assert scores == [{"top1": number} for number in range(last + 1)]
    assert len(store) in (last + 1, last + 2)  # one may be written, but not yet announced
    store.put(_points(1, seed=99)[0], {"top1": -1})
    assert store.get(_points(1, seed=99)[0]) == {"top1": -1}
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


class _Small(sqlite3.Connection):
    """A data base on a disk of eight pages."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.execute("PRAGMA max_page_count = 8")


def _fill_up(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda path, timeout: connect(path, timeout=timeout, factory=_Small)
    )


def test_full_disk_is_told_in_one_line_and_what_was_put_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ScoreStore(tmp_path / "scores.db", CONTEXT)
    points = _points(100)
    with monkeypatch.context() as patch:
        _fill_up(patch)
        with pytest.raises(
            WorkspaceError, match=r"the disk must have room for .*scores\.db, but it is full"
        ):
            for point in points:
                store.put(point, {"top1": 0.5})
    kept = len(store)
    assert 0 < kept < 100
    assert all(store.get(point) for point in points[:kept])
    store.put(points[-1], {"top1": 0.5})  # room again
    assert len(store) == kept + 1


def test_other_troubles_of_the_store_are_not_called_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "scores.db").mkdir()
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        ScoreStore(tmp_path / "scores.db", CONTEXT)


def test_digest_depends_on_values_and_not_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [2, None]}) == digest({"b": [2, None], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    assert digest("a", "b") != digest("ab")
    assert len(digest("a")) == 64


def _described() -> Architecture:
    decisions: dict[str, int | str] = {
        "stem/channels": 16,
        "stage[12]/channels": 32,
        "stage3/channels": 64,
        "*/op": IBN_DW,
        "*/expansion": 2,
        "*/kernel": 3,
        "stage1/block0/kernel": 5,
        "stage1/block1/op": IBN_FUSED,
        "stage2/block0/op": IBN_GROUPED,
        "stage2/block0/expansion": 4,
        "stage2/block0/channels_per_group": 32,
        "stage2/block1/op": SKIP,
        "stage3/block1/op": SKIP,
    }
    return prune(SPACE, decisions)


def test_description_is_of_the_live_blocks() -> None:
    # derived: four blocks; dw 5, fused 3, grouped 3 of expansion 4, dw 3
    assert describe(classification(SPACE.lower(_described()), 10)) == {
        "depth": 4,
        "mean_kernel": 3.5,
        "mean_expansion": 2.5,
        "mean_width": (32 + 32 + 32 + 64) / 4,
        "share_dw": 0.5,
        "share_fused": 0.25,
        "share_grouped": 0.25,
    }


def test_costs_are_those_of_the_report_and_counts_of_the_graph() -> None:
    graph = classification(SPACE.lower(_described()), 10)
    report = load_cost_model("analytic", load_device("coral_usb3")).estimate(graph)
    found = costs(graph, report)
    assert found["latency_ms"] == report.latency_ms > 0
    assert found["weight_bytes"] == report.weight_bytes > 0
    assert (found["macs"], found["parameters"]) == (graph.macs, graph.trainable_parameters)
    assert set(found) == {
        "latency_ms",
        "energy_mj",
        "peak_memory_bytes",
        "weight_bytes",
        "streamed_bytes",
        "macs",
        "parameters",
    }
