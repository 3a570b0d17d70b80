"""Spaces of which a person offers less, and how many architectures are left."""

from __future__ import annotations

import numpy as np
import pytest

from spaces.catalog import mobilenet_edgetpu_v2_small, nas_bench_201
from spaces.menu import load_baselines
from spaces.narrowed import NarrowedSpace, narrowed, offered
from spaces.size import count_upper_bound, estimated_count
from spaces.space import SpaceError
from spaces.walk import every, mutate, neighbours, prune, sample

SPACE = mobilenet_edgetpu_v2_small.SPACE
OFFERS = {"*/op": ["ibn_dw", "ibn_fused", "skip"], "*/kernel": [3], "stage1/channels": [16, 24]}


def test_nothing_else_is_drawn_mutated_or_near() -> None:
    space, rng = NarrowedSpace(SPACE, OFFERS), np.random.default_rng(0)
    points = [sample(space, rng) for _ in range(50)]
    points += [mutate(space, point, rng, changes=3) for point in points]
    points += [*neighbours(space, points[0]), space.largest(), space.smallest()]
    for point in points:
        for name, value in point.decisions:
            if name.endswith("/op"):
                assert value in OFFERS["*/op"]
            if name.endswith("/kernel"):
                assert value == 3
        assert point.values["stage1/channels"] in (16, 24)


def test_architectures_are_those_of_the_whole_space() -> None:
    space = NarrowedSpace(SPACE, OFFERS)
    point = sample(space, np.random.default_rng(0))
    assert point.space == SPACE.name
    assert space.lower(point) == SPACE.lower(point)
    published = load_baselines(SPACE.name)
    grouped = prune(SPACE, {"*/op": "ibn_grouped"})
    assert space.lower(grouped) == SPACE.lower(grouped)  # it is not proposed, but can be built
    kept = offered(space, published | {"grouped": grouped})
    assert kept and "grouped" not in kept
    assert offered(SPACE, published) == published


def test_the_last_pattern_wins_and_nothing_asked_changes_nothing() -> None:
    space = NarrowedSpace(SPACE, {"*/op": ["ibn_dw"], "stage1/*/op": ["ibn_fused"]})
    point = sample(space, np.random.default_rng(0))
    assert point.values["stage1/block0/op"] == "ibn_fused"
    assert point.values["stage2/block0/op"] == "ibn_dw"
    assert narrowed(SPACE, {}) is SPACE


@pytest.mark.parametrize(
    ("offers", "said"),
    [
        ({"*/operation": ["ibn_dw"]}, r"'\*/operation' must fit the name of a choice"),
        ({"*/op": ["ibn_dw", "mbconv"]}, r"must be among .*ibn_dw.*, but got 'mbconv'"),
        ({"*/op": []}, "must keep one of"),
        ({"stage1/block0/op": ["skip"]}, "stage1/block0/op must be among .*, but got 'skip'"),
        ({"*/op": ["skip"]}, "stage1/block0/op must keep one of"),
    ],
)
def test_what_fits_nothing_is_refused(offers: dict[str, list[str]], said: str) -> None:
    with pytest.raises(SpaceError, match=said):
        NarrowedSpace(SPACE, offers)


def test_a_combination_that_leaves_nothing_is_explained() -> None:
    offers = {"stem/channels": [8], "*/expansion": [2], "stage1/block0/op": ["ibn_grouped"]}
    offers["stage1/block0/channels_per_group"] = [32]
    with pytest.raises(SpaceError, match=r"stage1/block0/op must be one of .* after stem/chan"):
        NarrowedSpace(SPACE, offers)


def test_an_op_is_not_offered_where_nothing_offered_after_it_fits() -> None:
    space = NarrowedSpace(SPACE, {"stem/channels": [8], "*/expansion": [2]})
    for seed in range(20):
        point = sample(space, np.random.default_rng(seed))
        assert point.values["stage1/block0/op"] in ("ibn_dw", "ibn_fused")  # 16 channels: 1 group
        SPACE.lower(point)


def test_small_spaces_are_counted_exactly_and_narrow_ones_closely() -> None:
    assert estimated_count(nas_bench_201.SPACE, walks=10) == (15_625.0, 0.0)
    tight = {"stage*/channels": [32], "*/expansion": [2], "*/kernel": [3], "stem/*": [8, 3]}
    tight |= {"*/channels_per_group": [16], "stage2/*/op": ["ibn_dw"], "stage3/*/op": ["ibn_dw"]}
    space = NarrowedSpace(SPACE, tight)
    count, error = estimated_count(space)
    exact = len(list(every(space)))
    assert abs(count - exact) <= 4 * error + 1e-9
    assert exact <= count_upper_bound(space)
