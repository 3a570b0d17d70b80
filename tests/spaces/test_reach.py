"""Which networks of a space are trained together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from spaces.families.ibn.choices import BlockChoices, Stage
from spaces.families.ibn.space import IbnSpace
from spaces.menu import load_baselines, load_trainable, names_in
from spaces.space import Architecture
from spaces.trainable.reach import FAMILY_FACTOR, MACS, PARAMETERS, Reach, family_limits
from spaces.walk import architecture, every, neighbours, sample

_FIRST = BlockChoices(("ibn_dw", "ibn_fused"), (3, 5), expansions=(2, 4), strides=2)
_MORE = BlockChoices(("skip", "ibn_dw"), (3,), expansions=(2,))
SPACE = IbnSpace("test", (1, 16, 16, 3), (8,), (3,), 2, (Stage((8, 16, 24), (_FIRST, _MORE)),), ())
REAL = ("mobilenet_edgetpu_v2", "autoseg_edgetpu", "spaghettinet_edgetpu", "mobilebert_edgetpu")
SLOW = {"spaghettinet_edgetpu": pytest.mark.slow}
SMALL = tuple(name for name in names_in("catalog") if "small" in name)


def macs(point: Architecture) -> Mapping[str, float]:
    return {MACS: SPACE.lower(point).macs}


def reach_of(name: str) -> Reach:
    """Without a head."""
    space = load_trainable(name)

    def sizes(point: Architecture) -> Mapping[str, float]:
        graph = space.lower(point)
        return {MACS: graph.macs, PARAMETERS: graph.trainable_parameters}

    return Reach(space, sizes, family_limits(load_baselines(name).values(), sizes))


def test_without_limits_all_networks_are_within() -> None:
    reach = Reach(SPACE)
    assert (reach.largest(), reach.smallest()) == (SPACE.largest(), SPACE.smallest())
    assert reach.limits == {}
    drawn = [reach.sample(np.random.default_rng(7)) for _ in range(3)]
    assert drawn == [sample(SPACE, np.random.default_rng(7)) for _ in range(3)]


def test_the_largest_within_limits_is_close_to_them() -> None:
    sizes = sorted(macs(one)[MACS] for one in every(SPACE))
    for limit in sizes[len(sizes) // 3 :: 7]:
        reach = Reach(SPACE, macs, {MACS: limit})
        found = reach.largest()
        assert reach.allows(found)
        assert architecture(SPACE, found.values) == found
        assert 0.7 * limit < macs(found)[MACS] <= limit
        for one in neighbours(SPACE, found):
            assert not reach.allows(one) or macs(one)[MACS] <= macs(found)[MACS]
        assert found == Reach(SPACE, macs, {MACS: limit}).largest()


def test_a_limit_that_the_largest_keeps_changes_nothing() -> None:
    limit = macs(SPACE.largest())[MACS]
    assert Reach(SPACE, macs, {MACS: limit}).largest() == SPACE.largest()
    assert Reach(SPACE, macs, {MACS: limit - 1}).largest() != SPACE.largest()


def test_where_nothing_is_within_the_smallest_is_left() -> None:
    reach = Reach(SPACE, macs, {MACS: 1.0})
    assert reach.largest() == reach.sample(np.random.default_rng(0)) == SPACE.smallest()


def test_what_is_drawn_is_within_even_where_little_is() -> None:
    sizes = sorted(macs(one)[MACS] for one in every(SPACE))
    reach, rng = Reach(SPACE, macs, {MACS: sizes[len(sizes) // 6]}), np.random.default_rng(0)
    drawn = [reach.sample(rng) for _ in range(40)]
    assert all(reach.allows(one) for one in drawn)
    assert len(set(drawn)) > 1
    assert not all(reach.allows(sample(SPACE, rng)) for _ in range(40))


def test_limits_are_a_multiple_of_the_largest_published_sizes() -> None:
    name = "mobilenet_edgetpu_v2"
    graph = load_trainable(name).lower(load_baselines(name)["l"])
    assert FAMILY_FACTOR == 3
    assert reach_of(name).limits == {
        MACS: 3 * graph.macs,
        PARAMETERS: 3 * graph.trainable_parameters,
    }


def test_published_networks_that_do_not_fit_the_input_do_not_count() -> None:
    def sizes(point: Architecture) -> Mapping[str, float]:
        return {**macs(point), PARAMETERS: 7}

    fit, other = SPACE.smallest(), Architecture.of("another", {})
    assert family_limits([fit, other], sizes) == {MACS: 3 * macs(fit)[MACS], PARAMETERS: 21}
    assert family_limits([other], sizes) == {}


@pytest.mark.parametrize("name", [pytest.param(name, marks=SLOW.get(name, ())) for name in REAL])
def test_teachers_of_real_spaces_keep_to_their_family(name: str) -> None:
    space, reach = load_trainable(name), reach_of(name)
    largest = space.lower(reach.largest())
    published = [space.lower(one) for one in load_baselines(name).values()]
    assert largest.macs <= 3 * max(one.macs for one in published)
    assert largest.trainable_parameters <= 3 * max(one.trainable_parameters for one in published)
    # A teacher is no smaller than those that it teaches.
    rng = np.random.default_rng(0)
    drawn = [space.lower(reach.sample(rng)) for _ in range(10)]
    assert largest.macs >= max(one.macs for one in (*published, *drawn))


@pytest.mark.parametrize("name", REAL)
def test_published_networks_are_within_reach(name: str) -> None:
    reach = reach_of(name)
    assert all(reach.allows(one) for one in load_baselines(name).values())


@pytest.mark.parametrize("name", SMALL)
def test_small_spaces_are_trained_as_a_whole(name: str) -> None:
    space, reach = load_trainable(name), reach_of(name)
    assert reach.largest() == space.largest()
    drawn = [reach.sample(np.random.default_rng(3)) for _ in range(5)]
    assert drawn == [sample(space, np.random.default_rng(3)) for _ in range(5)]
