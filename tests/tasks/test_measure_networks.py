"""Networks chosen by a design, measured and kept: resumed, with the reason of a failure."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from hw.device import load_device
from hw.measuring.bench import BenchError, BenchSettings
from hw.report import CostReport
from hw.tflite.reader import read_tflite
from spaces.menu import load_space
from tasks import measure_networks
from tasks.calibrate_device import run as calibrate
from tasks.candidates.architecture_table import TableError
from tasks.candidates.design import DesignError, chosen, order, pooled
from tasks.learning.problem import problem_of_space
from tasks.measure_networks import COLUMNS, Plan, beside, run

SPACE, DEVICE = "mobilenet_v2_small", "ethos_u55_128"


class Scale:
    """A bench that takes a microsecond for each thousand multiply-accumulates."""

    concurrent = False
    summary, version = "made up", "1"

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.broken: set[int] = set()
        self.gone = ""

    def missing(self) -> str | None:
        return self.gone or None

    def measure(self, tflite: Path) -> CostReport:
        self.seen.append(tflite.name)
        if len(self.seen) - 1 in self.broken:
            raise BenchError(f"{tflite}: must run, but got\nnothing.")
        model = read_tflite(tflite)
        return CostReport(
            "scale", "measured", 0.1 + model.macs / 1e6, None, None, None, None, None, None,
            model.macs, (), (),
        )  # fmt: skip


@pytest.fixture(autouse=True)
def small_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.candidates.design.POOL", 60)


@pytest.fixture
def scale(monkeypatch: pytest.MonkeyPatch) -> Scale:
    bench = Scale()
    monkeypatch.setattr(measure_networks, "load_bench", lambda name, settings: bench)
    return bench


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    places = beside(tmp_path / "my.yaml")
    return Plan(SPACE, "scale", DEVICE, 12, 0, None, BenchSettings(), *places)


def table(plan: Plan) -> list[dict[str, str]]:
    with plan.table.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_second_call_measures_what_is_missing(scale: Scale, plan: Plan) -> None:
    said: list[str] = []
    first = run(dataclasses.replace(plan, count=5), said.append)
    assert len(scale.seen) == 5 and said[-1].startswith("5 of 5: ")
    again = run(plan, said.append)
    assert len(scale.seen) == 12 == len(set(scale.seen))
    assert again[:5] == first
    assert [row["tflite"] for row in table(plan)] == [row.tflite for row in again]
    assert run(plan, said.append) == again and len(scale.seen) == 12


def test_what_was_measured_becomes_a_profile(
    scale: Scale, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hw.calibrating.calibration.FOLDS", 3)
    monkeypatch.setattr("hw.calibrating.calibration.REPEATS", 1)
    scale.broken = {3}
    rows = run(plan, lambda _: None)
    assert [bool(row.failed) for row in rows] == [at == 3 for at in range(12)]
    found = calibrate(DEVICE, plan.table, tmp_path / "my.yaml")
    assert found.device.calibration is not None and found.device.calibration.count == 11
    assert load_device(tmp_path / "my.yaml") == found.device


def test_a_failure_is_a_row_and_is_tried_again(scale: Scale, plan: Plan) -> None:
    scale.broken = {1}
    rows = run(plan, lambda _: None)
    (failed,) = [row for row in table(plan) if row["failed"]]
    assert failed["latency_ms"] == "" and failed["failed"].endswith("must run, but got nothing.")
    assert rows[1].failed == failed["failed"]
    healed = run(plan, lambda _: None)
    assert len(scale.seen) == 13 and not any(row.failed for row in healed)
    assert len(table(plan)) == 12


def test_a_bench_that_measures_nothing_ends_it(scale: Scale, plan: Plan) -> None:
    scale.broken = set(range(12))
    with pytest.raises(BenchError, match=r"but got none of the first 5: .*must run") as caught:
        run(plan, lambda _: None)
    assert "\n" not in str(caught.value) and len(table(plan)) == 5
    scale.gone = "a board must be plugged in"
    with pytest.raises(BenchError, match=r"plugged in, but got none\."):
        run(plan, lambda _: None)


@pytest.mark.parametrize("change", [{"device": "ethos_u85_512"}, {"bench": "other"}])
def test_rows_of_something_else_are_refused(
    scale: Scale, plan: Plan, change: dict[str, str]
) -> None:
    run(dataclasses.replace(plan, count=2), lambda _: None)
    with pytest.raises(TableError, match=r"line 2, column bench: must be of .*Name another --out"):
        run(dataclasses.replace(plan, **change), lambda _: None)
    plan.table.write_text("tflite,latency_ms\na.tflite,1\n")
    with pytest.raises(TableError, match=f"columns must be {','.join(COLUMNS)}, but got tflite"):
        run(plan, lambda _: None)


# --- the design --------------------------------------------------------------------------------


def test_a_design_begins_with_the_ends_and_is_the_beginning_of_a_larger_one() -> None:
    space, device = load_space(SPACE), load_device(DEVICE)
    problem = problem_of_space(space, 10)
    few, many = (chosen(space, problem, device, count, 0) for count in (6, 12))
    assert many[:6] == few and len(set(many)) == 12
    macs = [problem.complete(space.lower(point)).macs for point in many]
    assert macs[0] == min(macs) and macs[1] == max(macs)
    assert chosen(space, problem, device, 6, 1)[2:] != few[2:]


def test_a_design_leaves_less_unknown_than_chance_does() -> None:
    rng = np.random.default_rng(0)
    known = np.concatenate([rng.normal(0, 1, (180, 3)), rng.normal(6, 1, (20, 3))])
    picked = order(known, 10, ())

    def far(rows: list[int]) -> float:
        gaps = np.linalg.norm(known[:, None] - known[rows][None], axis=2)
        return float(gaps.min(axis=1).max())

    by_chance = np.mean([far(list(rng.choice(200, 10, replace=False))) for _ in range(20)])
    assert far(picked) < by_chance
    assert any(row >= 180 for row in picked)


@pytest.mark.parametrize(("count", "words"), [(0, "from 1 up"), (10**6, "must be at most")])
def test_a_number_of_networks_that_there_is_not(
    count: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = load_space(SPACE)
    monkeypatch.setattr("tasks.candidates.design.pooled", lambda *_: pooled(space, 20, 0))
    with pytest.raises(DesignError, match=words):
        chosen(space, problem_of_space(space, 10), load_device(DEVICE), count, 0)
