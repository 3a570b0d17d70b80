"""What the places of large spaces offer, and how large their shared weights become."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from spaces.families.blocks import IBN_DW, IBN_FUSED, IBN_FUSED_GROUPED, IBN_GROUPED, SKIP
from spaces.families.ibn.bounds import DENSE_OPS, bounded, shared_weights
from spaces.families.ibn.choices import BlockChoices, Stage
from spaces.families.ibn.space import IbnSpace
from spaces.menu import load_baselines, load_space, load_trainable
from spaces.walk import architecture, sample

BOUNDED = ("mobilenet_edgetpu_v2", "autoseg_edgetpu")
_OPS = (IBN_DW, IBN_FUSED, IBN_GROUPED, IBN_FUSED_GROUPED)


def _stages() -> tuple[Stage, ...]:
    first = BlockChoices(_OPS, (3, 5), None, (2, 4), (8, 16), 2)
    more = BlockChoices((SKIP, *_OPS), (3, 5), None, (2, 4), (8, 16))
    return (Stage((8, 16), (first, more)), Stage((16, 32), (first,)))


def _block_weights(name: str) -> Counter[str]:
    """Kernels of the largest block of each baseline of a space."""
    space, most = load_space(name), Counter[str]()
    for baseline, point in load_baselines(name).items():
        blocks: Counter[str] = Counter()
        for op in space.lower(point).ops:
            if op.name.startswith("stage"):
                blocks[op.name.rpartition("/")[0]] += op.weights
        most[baseline] = max(blocks.values())
    return most


@pytest.mark.parametrize(
    ("op", "weights"),
    [
        # derived: 16 channels in, 32 out, 5x5, expansion 2 to 4, at most 16 channels a group
        (IBN_FUSED, 25 * 16 * 64 + 64 * 32),
        (IBN_GROUPED, 16 * 64 + 25 * 16 * 64 + 64 * 32),
        # at expansion 2 a group of 16 expanded channels reads 8
        (IBN_FUSED_GROUPED, 25 * 8 * 64 + 64 * 32),
    ],
)
def test_shared_weights_have_the_largest_size_in_each_dimension(op: str, weights: int) -> None:
    assert shared_weights(op, 16, 32, 5, (2, 4), 16) == weights


def test_windows_give_way_before_expansions_and_the_smallest_stay() -> None:
    def fused(most_weights: int) -> tuple[int, int]:
        place = bounded(_stages(), (16,), most_weights)[0].blocks[0]
        bound = next(one for one in place.bounds if one.op == IBN_FUSED)
        return bound.kernel, bound.expansion

    # derived: 16 channels in and out; 5x5 and 3x3 at expansion 4, 3x3 at expansion 2
    sizes = [25 * 16 * 64 + 64 * 16, 9 * 16 * 64 + 64 * 16, 9 * 16 * 32 + 32 * 16]
    assert [fused(size) for size in sizes] == [(5, 4), (3, 4), (3, 2)]
    assert [fused(size - 1) for size in sizes] == [(3, 4), (3, 2), (3, 2)]


def test_what_gives_way_is_not_offered_to_that_op_only() -> None:
    space = IbnSpace("test", (1, 16, 16, 3), (16,), (3,), 2, bounded(_stages(), (16,), 9_000), ())
    rng = np.random.default_rng(0)
    seen = Counter[tuple[str, int, int]]()
    for _ in range(300):
        values = sample(space, rng).values
        parts = (values[f"stage1/block0/{part}"] for part in ("op", "kernel", "expansion"))
        seen[tuple(parts)] += 1  # type: ignore[index]
    assert {(kernel, expansion) for op, kernel, expansion in seen if op == IBN_FUSED} == {(3, 2)}
    assert {(kernel, expansion) for op, kernel, expansion in seen if op == IBN_DW} == {
        (3, 2), (3, 4), (5, 2), (5, 4),
    }  # fmt: skip


@pytest.mark.parametrize("name", BOUNDED)
def test_bound_is_one_and_a_half_of_the_largest_released_block(name: str) -> None:
    module = __import__(f"spaces.catalog.{name}", fromlist=["MOST_SHARED_WEIGHTS"])
    assert max(_block_weights(name).values()) * 3 // 2 == module.MOST_SHARED_WEIGHTS


@pytest.mark.parametrize("name", (*BOUNDED, "deeplab_edgetpu_v2"))
def test_published_networks_stay_points_of_the_space(name: str) -> None:
    space = load_space(name)
    for point in load_baselines(name).values():
        assert architecture(space, point.values) == point


def test_late_full_convolutions_have_small_windows() -> None:
    space = load_space("mobilenet_edgetpu_v2")
    assert isinstance(space, IbnSpace)
    for stage in space.stages[4:]:
        for place in stage.blocks:
            assert {place.kernels_of(op) for op in DENSE_OPS} == {(3,)}
            assert place.kernels_of(IBN_DW) == (3, 5, 7)
    for place in space.stages[1].blocks:
        assert place.kernels_of(IBN_FUSED) == (3, 5, 7)


@pytest.mark.parametrize(
    ("name", "classes", "millions"),
    [("mobilenet_edgetpu_v2", 1000, 120), ("autoseg_edgetpu", 32, 60)],
)
@pytest.mark.usefixtures("tensorflow")
def test_shared_weights_of_a_space_of_real_size_fit(
    name: str, classes: int, millions: int
) -> None:
    from spaces.trainable.supernet import shared_shapes
    from tasks.learning.problem import problem_of_space

    space = load_trainable(name)
    complete = problem_of_space(space, classes).complete
    shapes = shared_shapes(complete(space.lower(one)) for one in space.extremes())
    total = sum(map(math.prod, shapes.values()))
    released = max(space.lower(one).total_parameters for one in load_baselines(name).values())
    assert released < total <= millions * 1e6
