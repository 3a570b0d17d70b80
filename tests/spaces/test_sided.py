"""The side of pictures as a choice of a space, and spaces in which it is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spaces.catalog import mobilenet_edgetpu_v2_small
from spaces.graph import OpBatch
from spaces.menu import load_algorithm, load_baselines, load_trainable, names_in
from spaces.narrowed import NarrowedSpace
from spaces.search_support.replay import ask_many
from spaces.sided import SIDE, SidedSpace, checked, offered, parted, scaled_size, sided
from spaces.size import estimated_count
from spaces.space import Architecture, SpaceError
from spaces.walk import architecture, mutate, neighbours, sample

SPACE: Any = mobilenet_edgetpu_v2_small.SPACE.for_input((1, 48, 48, 3))
SIDES = (24, 32, 48)


def _drawn(space: Any, count: int) -> list[Architecture]:
    rng = np.random.default_rng(0)
    return [sample(space, rng) for _ in range(count)]


def _unsided(point: Architecture) -> Architecture:
    return Architecture.of(point.space, {k: v for k, v in point.decisions if k != SIDE})


def _same(one: OpBatch, other: OpBatch) -> None:
    for name in ("live", "last_reader", "first_input"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    names = ("kind", "input_hwc", "output_hwc", "kernel_size", "strides", "groups", "constant")
    for name in (*names, "activation"):
        mine, theirs = getattr(one, name), getattr(other, name)
        np.testing.assert_array_equal(mine[one.live], theirs[other.live])


def test_without_the_choice_nothing_changes() -> None:
    plain = sided(SPACE)
    assert plain.choices == SPACE.choices
    assert plain.input_shape == SPACE.input_shape
    points = _drawn(plain, 5)
    assert points == _drawn(SPACE, 5)
    for point in [*points, plain.largest(), plain.smallest()]:
        assert plain.lower(point) == SPACE.lower(point)
        assert checked(plain, point.values) == point
    assert (plain.largest(), plain.smallest()) == (SPACE.largest(), SPACE.smallest())
    assert list(plain.extremes()) == list(SPACE.extremes())
    _same(plain.lower_many(points), SPACE.lower_many(points))
    assert offered(plain, load_baselines(SPACE.name)) == load_baselines(SPACE.name)
    assert plain.lower_many([]).live.shape == SPACE.lower_many([]).live.shape


def test_spaces_of_texts_are_left_alone() -> None:
    texts = load_trainable("mobilebert_small")
    assert sided(texts) is texts
    with pytest.raises(SpaceError, match="input/side must be offered of a space for pictures"):
        sided(texts, SIDES)


def test_an_architecture_is_lowered_for_its_side() -> None:
    space = SidedSpace(SPACE, SIDES)
    for point in _drawn(space, 8):
        side = point.values[SIDE]
        expected = SPACE.for_input((1, side, side, 3)).lower(_unsided(point))
        assert space.lower(point) == expected
        # Whether sides are offered is no matter to what is read later.
        assert sided(SPACE).lower(point) == expected
        assert checked(sided(SPACE), point.values) == checked(space, point.values) == point
        assert point.id != _unsided(point).id
    assert space.lower(_unsided(point)) == SPACE.lower(_unsided(point))


def test_many_are_lowered_as_one_by_one() -> None:
    space = SidedSpace(SPACE, SIDES)
    points = _drawn(space, 40)
    points[7] = _unsided(points[7])
    assert len({point.values.get(SIDE) for point in points}) == 4
    _same(space.lower_many(points), OpBatch.of([space.lower(point) for point in points]))
    alike = [point for point in points if point.values.get(SIDE) == 32]
    _same(space.lower_many(alike), OpBatch.of([space.lower(point) for point in alike]))


def test_the_longer_side_follows() -> None:
    space = SidedSpace(SPACE.for_input((1, 48, 64, 3)), (24, 48))
    shapes = {space.lower(point).input_shape for point in space.at_sides(SPACE.smallest())}
    assert shapes == {(1, 24, 32, 3), (1, 48, 64, 3)}
    assert scaled_size(96, (256, 192)) == (128, 96)


def test_the_side_is_decided_first_and_reached_by_every_walk() -> None:
    space, rng = SidedSpace(SPACE, (48, 24, 32, 24)), np.random.default_rng(0)
    assert space.choices[0].values == space.sides == SIDES
    assert {point.values[SIDE] for point in _drawn(space, 30)} == set(SIDES)
    point = _drawn(space, 1)[0]
    seen = {mutate(space, point, rng).values[SIDE] for _ in range(400)}
    assert seen == set(SIDES)
    near = [one for one in neighbours(space, point) if one.values[SIDE] != point.values[SIDE]]
    assert {_unsided(one) for one in near} == {_unsided(point)}
    assert len(near) == 2
    assert space.largest().values[SIDE] == 48
    assert space.smallest().values[SIDE] == 24


def test_hand_made_networks_are_looked_at_at_the_largest_side() -> None:
    published = load_baselines(SPACE.name)
    found = offered(SidedSpace(SPACE, (24, 32)), published)
    assert {name: _unsided(point) for name, point in found.items()} == published
    assert {point.values[SIDE] for point in found.values()} == {32}


def test_sides_and_fewer_ops_go_together() -> None:
    offers = {"*/op": ["ibn_dw", "skip"], SIDE: [24, 48]}
    sides, rest = parted(offers)
    space = SidedSpace(NarrowedSpace(SPACE, rest), sides)
    for point in _drawn(space, 10):
        ops = {value for name, value in point.decisions if name.endswith("/op")}
        assert ops <= {"ibn_dw", "skip"}
        assert checked(space, point.values) == point
    small = SPACE.for_input((1, 24, 24, 3))
    grouped = {**load_baselines(SPACE.name)["edgetpu_v2_l"].values, SIDE: 24}
    built = space.lower(Architecture.of(SPACE.name, grouped))  # it is not proposed
    assert built == small.lower(load_baselines(SPACE.name)["edgetpu_v2_l"])


def test_there_are_as_many_times_the_architectures() -> None:
    count, error = estimated_count(sided(SPACE))
    more, wide = estimated_count(SidedSpace(SPACE, SIDES))
    assert abs(more - 3 * count) < 4 * (3 * error + wide)


@pytest.mark.parametrize("name", names_in("search"))
def test_algorithms_look_at_other_sides(name: str) -> None:
    space = SidedSpace(SPACE, SIDES)
    algorithm = load_algorithm(name)(
        space, np.random.default_rng(0), ("error", "latency_ms"), None, (space.largest(),)
    )
    seen = set()
    for _ in range(10):
        for trial in ask_many(algorithm, 4):
            assert architecture(space, trial.architecture.values) == trial.architecture
            side = float(trial.architecture.values[SIDE])
            seen.add(side)
            size = float(len(trial.architecture.decisions))
            algorithm.tell(trial, {"error": 1 / size, "latency_ms": side * size})
    assert len(seen) > 1  # an algorithm may learn that one between two others is of no use


@pytest.mark.parametrize(
    ("sides", "said"),
    [
        ((24, 64), r"whole numbers of pixels from 8 to 48, .* but got 64"),
        ((4,), "but got 4"),
        ((24.0,), "but got 24.0"),
        (("small",), "but got 'small'"),
    ],
)
def test_sides_that_cannot_be_are_refused(sides: tuple[Any, ...], said: str) -> None:
    with pytest.raises(SpaceError, match=said):
        SidedSpace(SPACE, sides)


def test_sides_that_bend_the_proportions_are_refused() -> None:
    with pytest.raises(SpaceError, match=r"of 48x64 pictures .* got 32\. .*tiple of 3"):
        SidedSpace(SPACE.for_input((1, 48, 64, 3)), (32,))
    with pytest.raises(SpaceError, match="must list one side at least"):
        parted({SIDE: []})
    point = Architecture.of(SPACE.name, {**SPACE.smallest().values, SIDE: "32"})
    with pytest.raises(SpaceError, match="must be a whole number of pixels, but got '32'"):
        sided(SPACE).lower(point)


def test_local_search_tries_a_network_at_the_other_sides_first() -> None:
    space = SidedSpace(SPACE, SIDES)
    begun = space.largest()
    search = load_algorithm("local_search")(
        space, np.random.default_rng(0), ("a",), initial=[begun]
    )
    search.tell(search.ask(), {"a": 0.0})
    asked = [search.ask().architecture for _ in range(3)]
    assert {_unsided(point) for point in asked[:2]} == {_unsided(begun)}
    assert {point.values[SIDE] for point in asked[:2]} == {24, 32}
    assert asked[2].values[SIDE] == 48 and _unsided(asked[2]) != _unsided(begun)
