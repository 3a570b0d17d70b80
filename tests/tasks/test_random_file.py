"""Networks whose ops are not written one by one go the way of finalists, with random weights."""

from __future__ import annotations

import numpy as np
import pytest

from hw.tflite.reader import parse_tflite
from hw.tflite.writer import written
from spaces.menu import load_space
from spaces.walk import sample
from tasks.learning.problem import problem_of_space
from tasks.learning.random_file import random_file


def test_picture_networks_are_written() -> None:
    space = load_space("mobilenet_v2_small")
    problem = problem_of_space(space, 10)
    graph = problem.complete(space.lower(sample(space, np.random.default_rng(0))))
    assert random_file(problem, graph, 7, True) == written(graph, 7, True)


@pytest.mark.slow
@pytest.mark.usefixtures("tensorflow")
@pytest.mark.parametrize("name", ["nas_bench_201", "mobilebert_small", "detection_small"])
def test_others_are_converted(name: str) -> None:
    space = load_space(name)
    problem = problem_of_space(space, 3)
    graph = problem.complete(space.lower(sample(space, np.random.default_rng(0))))
    model = parse_tflite(random_file(problem, graph, 0, True), name)
    model.check_quantized()
    assert model.graph.macs == pytest.approx(graph.macs, rel=0.02)
