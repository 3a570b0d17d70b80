"""What the benchmark of search algorithms says of searches whose worth is known."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks import truths
from benchmarks.peers import PEERS, architecture_of, installed
from benchmarks.search_on_table import (
    Course,
    Setting,
    campaign,
    judge,
    main,
    ours,
    search,
    summary,
    theirs,
)
from benchmarks.truths import Landscape, Table, landscape, ratio
from spaces.catalog.nas_bench_201 import BASELINES, SPACE
from spaces.families.cells.cell import EDGE_OPS
from spaces.space import SpaceError
from spaces.walk import architecture, sample

# Accuracy and latency; the last one does not compile, and all_skip is dominated by all_conv_1x1.
ROWS = {
    "all_conv_3x3": (94.0, 10.0),
    "resnet": (92.0, 6.0),
    "all_conv_1x1": (88.0, 3.0),
    "all_skip": (50.0, 4.0),
    "best": (95.0, -1.0),
}


def _text(name: str) -> str:
    ops = list(BASELINES[name].values.values())
    ops = [ops[at] for at in (0, 1, 3, 2, 4, 5)]  # by node instead of by name
    return "|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|".format(*ops)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["architecture", "accuracy", "latency_ms"])
        writer.writerows([_text(name), *row] for name, row in ROWS.items())
    return path


@pytest.fixture
def truth(table: Path) -> Table:
    return Table(table, "nas_bench_201", "accuracy", ["latency_ms"])


def test_a_table_knows_its_networks_and_its_front(truth: Table) -> None:
    points = [BASELINES[name] for name in ROWS]
    losses = truth.losses([*points, BASELINES["all_pool"]])
    assert losses[:4].tolist() == [[-score, cost] for score, cost in list(ROWS.values())[:4]]
    assert np.isnan(losses[4:]).all()
    assert sorted(truth.best.tolist()) == [[-94.0, 10.0], [-92.0, 6.0], [-88.0, 3.0]]
    # derived: the worst fifth of 50, 88, 92, 94 ends at 50 + 0.6 * 38; 0.8 of 10
    assert truth.reference == pytest.approx([-72.8, 8.0])
    assert ratio(truth, truth.best) == 1.0


def test_a_front_is_judged_by_its_true_losses(truth: Table) -> None:
    points = tuple(BASELINES[name] for name in ("resnet", "all_skip", "resnet", "best"))
    true = truth.losses(points)
    observed = true.copy()
    observed[1] = [-99.0, 4.0]  # a lucky score: on the front as observed, dominated in truth
    found = judge(truth, Course(points, observed, true, 0.5), 4)
    # The front as observed is all_skip alone; its 50 % is beyond the reference, and 44 below 94.
    assert found == {
        "hypervolume": 0.0,
        "dominated": 1.0,
        "regret": 44.0,
        "repeats": 1.0,
        "overhead_ms": 0.5,
    }
    # derived: (92 - 72.8) * (8 - 6) of 15.2 * 5 + 4 * 2
    alone = judge(truth, Course(points, observed, true, 0.5), 1)
    assert alone["hypervolume"] == pytest.approx(38.4 / 84)
    assert alone["dominated"] == 0.0


def test_searches_of_one_seed_are_the_same_and_begin_as_told(truth: Table) -> None:
    setting = Setting(seeds=1, noise=1.0, chunk=3, begin=True)
    first, second = (search(ours("local_search"), truth, 0, 20, setting) for _ in range(2))
    assert first.points == second.points
    assert len(first.points) == 20
    assert set(first.points[:6]) == set(truth.initial)
    good = np.isfinite(first.true).all(axis=1)
    error = (first.observed - first.true)[good]
    assert (error[:, 0] != 0).all() and (error[:, 1] == 0).all()


def test_gains_are_paired_by_seed(truth: Table) -> None:
    found = campaign(ours("random_search"), truth, [5, 10], Setting(seeds=2))
    base = {**found[10], "hypervolume": [0.0, 0.0]}
    told = summary(found[10], base)
    assert told["gain"] == told["hypervolume"] == np.mean(found[10]["hypervolume"])
    assert summary(found[10], found[10])["gain"] == 0


@pytest.mark.parametrize("name", PEERS)
def test_peers_search_the_same_space(truth: Table, name: str) -> None:
    if not installed(name):
        pytest.skip(f"{PEERS[name].package} is not installed")
    course = search(theirs(name), truth, 0, 90, Setting(seeds=1, chunk=4))
    assert len(course.points) == 90
    assert {point.space for point in course.points} == {"nas_bench_201"}
    assert search(theirs(name), truth, 0, 90, Setting(seeds=1, chunk=4)).points == course.points


def test_every_vector_is_an_architecture() -> None:
    found = architecture_of(SPACE, [0, 1, 2, 3, 4, 5])
    assert found == architecture(SPACE, found.values)
    assert list(found.values.values()).count(EDGE_OPS[0]) == 2  # 0, and 5 modulo 5


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> Landscape:
    monkeypatch.setattr(truths, "GENERATIONS", 2)
    monkeypatch.setattr(truths, "CHILDREN", 20)
    monkeypatch.setattr(truths, "DRAWN", 50)
    return Landscape("mobilenet_edgetpu_v2_small", ["latency_ms", "weight_bytes"], "coral_usb3")


def test_the_landscape_prefers_wide_and_deep_networks(made_up: Landscape) -> None:
    largest, smallest = made_up.space.largest(), made_up.space.smallest()
    small, large = made_up.losses([smallest, largest])
    assert large[0] < small[0]
    assert (large[1:] > small[1:]).all()
    assert -100 < large[0] < small[0] < 0


def test_the_landscape_is_the_same_for_the_same_seed(made_up: Landscape) -> None:
    points = [sample(made_up.space, np.random.default_rng(seed)) for seed in range(20)]
    same, other = ([landscape(one.values, seed) for one in points] for seed in (0, 1))
    assert [-row[0] for row in made_up.losses(points).tolist()] == same
    assert same != other
    assert all(abs(a - b) < 10 for a, b in zip(same, other, strict=True))


def test_costs_of_the_landscape_are_those_of_the_cost_model(made_up: Landscape) -> None:
    assert np.isfinite(made_up.losses(made_up.initial)).all()
    assert made_up.best.shape[1] == 3
    assert 0 < ratio(made_up, made_up.losses(made_up.initial)) < 10


def test_a_table_without_the_columns_is_refused(table: Path) -> None:
    with pytest.raises(SpaceError, match="must have columns architecture, top1, latency_ms, but"):
        Table(table, "nas_bench_201", "top1", ["latency_ms"])
    table.write_text("architecture,accuracy,latency_ms\n")
    with pytest.raises(SpaceError, match="must have a complete row"):
        Table(table, "nas_bench_201", "accuracy", ["latency_ms"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--table", "nowhere.csv"], "nowhere.csv"),
        (["--table", "nowhere.csv", "--algorithms", "oracle"], "must be one of coarse_to_fine"),
        (["--table", "nowhere.csv", "--space", "flat"], "a search space must be one of"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(
    words: list[str],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["search_on_table", *words])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def test_the_command_prints_and_writes(
    table: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out.json"
    words = ["--table", str(table), "--algorithms", "local_search", "--budget", "14"]
    monkeypatch.setattr(
        "sys.argv", ["search_on_table", *words, "--seeds", "2", "--json", str(out)]
    )
    main()
    printed = capsys.readouterr().out
    assert [line.split()[:2] for line in printed.splitlines() if line.startswith("local")] == [
        ["local_search", "12"],
        ["local_search", "14"],
    ]
    assert '"local_search"' in out.read_text()
    assert not math.isnan(float(printed.split("local_search")[-1].split()[1]))
