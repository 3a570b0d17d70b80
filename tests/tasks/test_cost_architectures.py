"""Costs of a table: the numbers of the cost model, beside what the table held."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from hw.cost_model import load_cost_model
from hw.device import load_device
from spaces.graph import ShapeError
from spaces.heads.classification import classification
from spaces.menu import load_baselines, load_space
from spaces.space import SpaceError
from spaces.walk import sample
from tasks.candidates.architecture_table import TableError
from tasks.cost_architectures import COSTS, COUNTS, Costed, run


def table(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", ["nas_bench_201", "mobilenet_edgetpu_v2_small"])
def test_costs_are_those_of_each_graph_with_its_head(name: str, tmp_path: Path) -> None:
    space, rng = load_space(name), np.random.default_rng(0)
    points = [*load_baselines(name).values(), *(sample(space, rng) for _ in range(6))]
    texts = [*load_baselines(name), *(point.to_json() for point in points[-6:])]
    source = table(tmp_path / "in.csv", [{"architecture": text} for text in texts])
    costed = run(name, source, "coral_usb3", tmp_path / "out.csv", classes=7)
    assert costed == Costed(len(points), has_energy=True)
    model = load_cost_model("analytic", load_device("coral_usb3"))
    for row, point in zip(read(tmp_path / "out.csv"), points, strict=True):
        report = model.estimate(classification(space.lower(point), 7))
        assert report.latency_ms is not None
        assert float(row["latency_ms"]) == pytest.approx(report.latency_ms, abs=1e-6)
        for column in COUNTS:
            assert int(row[column]) == getattr(report, column)


def test_columns_are_kept_and_costs_added(tmp_path: Path) -> None:
    rows = [
        {"id": "1", "latency_ms": "9.5", "architecture": "best", "note": 'a, "b"'},
        {"id": "2", "latency_ms": "8.5", "architecture": "resnet", "note": ""},
    ]
    source = table(tmp_path / "in.csv", rows)
    run("nas_bench_201", source, "coral_usb3", tmp_path / "sub" / "out.csv")
    found = read(tmp_path / "sub" / "out.csv")
    assert list(found[0]) == ["id", "architecture", "note", *COSTS]
    assert [row["note"] for row in found] == ['a, "b"', ""]
    assert 0 < float(found[1]["latency_ms"]) < float(found[0]["latency_ms"]) < 8.5
    assert source.read_text().count("9.5") == 1


def test_what_a_cost_model_does_not_know_is_empty(tmp_path: Path) -> None:
    source = table(tmp_path / "in.csv", [{"architecture": "resnet"}])
    run("nas_bench_201", source, "coral_usb3", tmp_path / "out.csv", method="macs_only")
    (row,) = read(tmp_path / "out.csv")
    assert float(row["latency_ms"]) > 0 and int(row["macs"]) > 0
    assert row["energy_mj"] == row["peak_memory_bytes"] == row["latency_low_ms"] == ""


def test_classes_are_costed(tmp_path: Path) -> None:
    source = table(tmp_path / "in.csv", [{"architecture": "resnet"}])
    macs = []
    for classes in (None, 10, 1001):
        run("nas_bench_201", source, "coral_usb3", tmp_path / "out.csv", classes)
        macs.append(int(read(tmp_path / "out.csv")[0]["macs"]))
    assert macs[0] == macs[1] == macs[2] - 64 * 991  # derived: 64 channels to 991 classes more


def test_mistakes_leave_no_output(tmp_path: Path) -> None:
    source = table(tmp_path / "in.csv", [{"architecture": "resnet"}, {"architecture": "x"}])
    target = tmp_path / "out.csv"
    with pytest.raises(TableError, match="line 3, column architecture"):
        run("nas_bench_201", source, "coral_usb3", target)
    with pytest.raises(SpaceError, match="a search space must be one of"):
        run("resnet", source, "coral_usb3", target)
    source = table(source, [{"architecture": "resnet"}])
    with pytest.raises(ShapeError, match="classes must be at least 2, but got 0"):
        run("nas_bench_201", source, "coral_usb3", target, classes=0)
    with pytest.raises(TableError, match="must be a file, but is something else"):
        run("nas_bench_201", source, "coral_usb3", tmp_path)
    with pytest.raises(TableError, match="must be another file than the input"):
        run("nas_bench_201", source, "coral_usb3", source)
    with pytest.raises(TableError, match="must be writable, but got: "):
        run("nas_bench_201", source, "coral_usb3", source / "out.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]
