"""Tables of detectors, language and segmentation networks: costed with their heads, row by row."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from hw.cost_model import load_cost_model
from hw.device import load_device
from spaces.menu import load_baselines, load_space
from spaces.walk import sample
from tasks.cost_architectures import COUNTS, run
from tasks.learning.problem import default_classes, problem_of_space

SPACES = ("spaghettinet_edgetpu", "detection_small", "mobilebert_small", "segmentation_small")


@pytest.mark.parametrize("device", ["coral_usb3", "tensor_g1"])
@pytest.mark.parametrize("name", SPACES)
def test_costs_of_a_table_are_those_of_each_whole_graph(
    name: str, device: str, tmp_path: Path
) -> None:
    space, rng = load_space(name), np.random.default_rng(0)
    points = [*list(load_baselines(name).values())[:2], sample(space, rng), sample(space, rng)]
    with (tmp_path / "in.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["architecture"], *([point.to_json()] for point in points)])
    assert run(name, tmp_path / "in.csv", device, tmp_path / "out.csv").count == len(points)
    problem = problem_of_space(space, default_classes(space))
    model = load_cost_model("analytic", load_device(device))
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row, point in zip(rows, points, strict=True):
        report = model.estimate(problem.complete(space.lower(point)))
        assert report.latency_ms is not None and report.latency_interval_ms is not None
        found = [float(row[f"latency_{part}ms"]) for part in ("", "low_", "high_")]
        expected = [report.latency_ms, *report.latency_interval_ms]
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)
        for column in COUNTS:
            assert int(row[column]) == getattr(report, column)
