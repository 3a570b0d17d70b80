"""What every space to be trained with a supernet promises of its weights; new ones are tested."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest

from spaces.graph import OpGraph, Shape
from spaces.menu import load_trainable, names_in
from spaces.space import SpaceError, TrainableSpace
from spaces.walk import sample

DRAWN, BATCH = 200, 25
"""Random architectures of a space, and how many of them are compared together."""
SLOW = {"autoseg_edgetpu": 50, "deeplab_edgetpu_v2": 50, "mobilebert_edgetpu": 100}
"""Spaces of long networks, of which fewer are drawn."""


def _trainable() -> Iterator[str]:
    for name in names_in("catalog"):
        try:
            yield load_trainable(name).name
        except SpaceError:
            continue


TRAINABLE = tuple(_trainable())

pytestmark = pytest.mark.usefixtures("tensorflow")


@pytest.fixture(params=TRAINABLE)
def space(request: pytest.FixtureRequest) -> TrainableSpace:
    return load_trainable(request.param)


def _shapes(graphs: Iterable[OpGraph]) -> dict[str, Shape]:
    from spaces.trainable.supernet import shared_shapes

    return shared_shapes(graphs)


def _completed(space: TrainableSpace, points: Iterable[Any]) -> Iterator[OpGraph]:
    from tasks.learning.problem import problem_of_space

    problem = problem_of_space(space, 7)
    return (problem.complete(space.lower(one)) for one in points)


def test_most_spaces_can_be_trained() -> None:
    assert {"mobilenet_edgetpu_v2_small", "segmentation_small", "detection_small"} <= {*TRAINABLE}
    assert set(names_in("catalog")) - {*TRAINABLE} == {"nas_bench_201"}


def test_no_architecture_has_a_weight_beyond_the_extremes(space: TrainableSpace) -> None:
    most = _shapes(_completed(space, space.extremes()))
    rng = np.random.default_rng(0)
    for _ in range(0, SLOW.get(space.name, DRAWN), BATCH):
        points = (sample(space, rng) for _ in range(BATCH))
        for name, shape in _shapes(_completed(space, points)).items():
            assert name in most
            assert len(shape) == len(most[name]), name
            assert all(have <= limit for have, limit in zip(shape, most[name], strict=True)), name


def test_ends_are_points_of_the_space_among_the_extremes(space: TrainableSpace) -> None:
    largest, smallest = space.largest(), space.smallest()
    assert largest in set(space.extremes())
    low, high = (space.lower(end).total_parameters for end in (smallest, largest))
    rng = np.random.default_rng(1)
    counts = [space.lower(sample(space, rng)).total_parameters for _ in range(20)]
    assert low <= min(counts) <= max(counts) <= high
