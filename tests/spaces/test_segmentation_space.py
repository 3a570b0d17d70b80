from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest

from spaces.families.blocks import Block, lower_block
from spaces.families.segmentation.space import SegmentationSpace
from spaces.graph import Op, OpGraph, OpKind
from spaces.heads.segmentation import segmentation
from spaces.menu import load_baselines, load_space
from spaces.space import Architecture, SpaceError
from spaces.walk import prune, sample

_SPACES = ["autoseg_edgetpu", "deeplab_edgetpu_v2", "segmentation_small"]


def _space(name: str) -> SegmentationSpace:
    space = load_space(name)
    assert isinstance(space, SegmentationSpace)
    return space


def _baseline(space: str, name: str) -> OpGraph:
    return load_space(space).lower(load_baselines(space)[name])


def _split(graph: OpGraph) -> tuple[list[Op], list[Op]]:
    """Ops of the backbone, and those of the head."""
    head = [op for op in graph.ops if op.name.startswith(("bifpn/", "deeplab/"))]
    return [op for op in graph.ops if op not in head], head


@pytest.mark.parametrize(
    ("baseline", "macs", "trainable"),
    [
        # derived from the block tables of the release at 512 pixels
        ("xs", 1_534_276_608, 1_824_760),
        ("s", 1_937_469_440, 2_066_652),
        ("m", 4_135_389_184, 4_648_564),
    ],
)
def test_counts_of_released_autoseg_backbones_match(
    baseline: str, macs: int, trainable: int
) -> None:
    backbone, _ = _split(_baseline("autoseg_edgetpu", baseline))
    assert sum(op.macs for op in backbone) == macs
    assert sum(op.trainable_parameters for op in backbone) == trainable


def test_released_bifpn_is_as_its_arithmetic() -> None:
    _, head = _split(_baseline("autoseg_edgetpu", "xs"))
    # derived: maps of 64, 32, ..., 2 pixels; separable convolutions of 96 channels
    places = [side**2 for side in (64, 32, 16, 8, 4, 2)]
    node = 9 * 96 + 96 * 96
    cells = 4 * (sum(places[:-1]) + sum(places[1:])) * node
    laterals = 96 * (places[0] * 40 + places[1] * 84 + places[2] * 480)
    downsampled, fusion, classifier = places[2] * 480 * 96, places[0] * node, places[0] * 9 * 96
    assert sum(op.macs for op in head) == cells + laterals + downsampled + fusion + classifier


@pytest.mark.parametrize("classes", [32, 151])
@pytest.mark.parametrize(
    ("size", "coarse", "fine", "classifier_macs", "top"),
    [
        # derived: golden counts of the classifiers, their last widths at strides 32 and 16
        ("xs", 192, 144, 707_483_392, 1280),
        ("s", 256, 160, 1_198_003_968, 1280),
        ("m", 320, 192, 1_835_638_784, 1344),
    ],
)
def test_deeplab_networks_are_as_their_arithmetic(
    size: str, coarse: int, fine: int, classifier_macs: int, top: int, classes: int
) -> None:
    name, branch, low = (size, 128, 48) if classes == 32 else (f"{size}_151", 160, 64)
    backbone, head = _split(_baseline("deeplab_edgetpu_v2", name))
    # derived: five branches at 16 x 16, three of them dilated, one of the mean alone
    branches = 4 * coarse * branch + 3 * 9 * coarse
    both = branch + low
    decoder = fine * low + 9 * both + both * 256 + 9 * 256 + 256 * 256
    weights = branches + coarse * branch + 5 * branch * branch + decoder
    norms = 2 * (6 * branch + low + both + 3 * 256)
    macs = 256 * (branches + 5 * branch * branch) + coarse * branch + 1024 * decoder
    assert sum(op.macs for op in head) == macs
    assert sum(op.trainable_parameters for op in head) == weights + norms
    # derived: without its top, and every map has 16/7 of its side at 512 pixels
    rest = classifier_macs - top * 1001 - 49 * coarse * top
    assert sum(op.macs for op in backbone) == rest * Fraction(16, 7) ** 2


def test_dilations_are_multiples_of_the_released_five() -> None:
    graph = _baseline("deeplab_edgetpu_v2", "s")
    dilated = {op.dilation for op in graph.ops if op.dilation != (1, 1)}
    assert dilated == {(5, 5), (10, 10), (15, 15)}
    assert (graph.output.output_shape, graph.output.activation) == ((1, 32, 32, 256), "relu")


def test_dw_first_mixes_space_before_it_expands() -> None:
    block = Block("b", "dw_first", 96, kernel_size=5, strides=2, expansion=6)
    ops = lower_block(block, ("x", (1, 32, 32, 84)))
    # derived: block table of the released Autoseg XS, rows 11 and 12
    assert [(op.name, op.kernel_size[0], op.output_shape[1:]) for op in ops] == [
        ("b/depthwise", 5, (16, 16, 84)),
        ("b/pointwise", 1, (16, 16, 84)),
        ("b/expand", 1, (16, 16, 504)),
        ("b/project", 1, (16, 16, 96)),
    ]
    assert [op.activation for op in ops] == ["relu", "none", "relu", "none"]


def test_dw_first_has_no_residual() -> None:
    block = Block("b", "dw_first", 64, kernel_size=3, strides=1, expansion=4)
    assert lower_block(block, ("x", (1, 8, 8, 64)))[-1].name == "b/project"


@pytest.mark.parametrize("name", _SPACES)
def test_endpoints_are_outputs_of_blocks(name: str) -> None:
    space, rng = _space(name), np.random.default_rng(0)
    for _ in range(10):
        graph = space.lower(sample(space, rng))
        for level, end in graph.endpoints:
            assert end.endswith(("stem", "/project", "/add"))
            side = space.input_shape[1] // 2 ** int(level[1:])
            assert graph.op(end).output_shape[1:3] == (side, side)


@pytest.mark.parametrize("name", _SPACES)
@pytest.mark.parametrize("size", [(130, 97), (48, 256), (33, 47), (5, 3)])
def test_any_size_will_do(name: str, size: tuple[int, int]) -> None:
    space, rng = _space(name).for_input((1, *size, 3)), np.random.default_rng(0)
    for _ in range(10):
        one = sample(space, rng)
        graph = space.lower(one)
        shapes = {op.name: op.output_shape for op in graph.ops}
        for op in graph.ops:
            if op.kind is OpKind.ADD:
                assert shapes[op.inputs[0]] == shapes[op.inputs[1]] == op.output_shape
        stride = int(one.values["head/stride"])
        height, width = (-(-side // stride) for side in size)
        assert graph.output.output_shape[1:3] == (height, width)
        whole = segmentation(graph, 3, size)
        assert whole.output.output_shape == (1, *size)


@pytest.mark.parametrize("name", _SPACES)
def test_smallest_and_largest_bound_the_macs(name: str) -> None:
    space, rng = _space(name), np.random.default_rng(0)
    low, high = (space.lower(end).macs for end in (space.smallest(), space.largest()))
    drawn = [space.lower(sample(space, rng)).macs for _ in range(60)]
    assert low <= min(drawn) <= max(drawn) <= high


def test_small_space_is_light_enough_to_train() -> None:
    space = _space("segmentation_small")
    low, high = (space.lower(end).macs for end in (space.smallest(), space.largest()))
    assert space.input_shape == (1, 128, 128, 3)
    assert low < 5e6 < 60e6 < high < 120e6


def test_heads_of_two_kinds_share_no_weights() -> None:
    space = _space("segmentation_small")
    for kind in ("bifpn", "deeplab"):
        graph = segmentation(space.lower(prune(space, {"head/kind": kind})), 3, (128, 128))
        _, head = _split(graph)
        assert {op.variant for op in head} == {graph.op("logits").variant} == {kind}


def test_choices_of_one_kind_are_dead_in_the_other() -> None:
    space = _space("autoseg_edgetpu")
    names = {
        kind: {
            name.removeprefix("head/")
            for name in prune(space, {"head/kind": kind}).values
            if name.startswith("head/")
        }
        for kind in ("bifpn", "deeplab")
    }
    shared = {"kind", "stride", "channels", "repeats"}
    assert names["bifpn"] == shared | {"coarsest_stride"}
    assert names["deeplab"] == shared | {"dilation", "low_channels", "decoder_channels"}


@pytest.mark.parametrize("value", [3, [2], None, "2"])
def test_a_stride_that_is_not_offered_is_refused_in_many_too(value: object) -> None:
    space = _space("segmentation_small")
    values = {**prune(space, {}).values, "head/stride": value}
    odd = Architecture.of(space.name, values)  # type: ignore[arg-type]
    for lower in (space.lower, lambda one: space.lower_many([one])):
        with pytest.raises(SpaceError, match=r"head/stride must be one of 2, 4, but got"):
            lower(odd)


def test_finer_heads_read_finer_maps() -> None:
    space = _space("segmentation_small")
    for kind, op in (("bifpn", "bifpn/lateral1"), ("deeplab", "deeplab/low1")):
        fine = space.lower(prune(space, {"head/kind": kind, "head/stride": 2}))
        coarse = space.lower(prune(space, {"head/kind": kind, "head/stride": 4}))
        assert fine.op(op).inputs == ("stem",)
        assert op not in {one.name for one in coarse.ops}


def test_sums_stand_in_for_concatenations_where_weights_are_shared() -> None:
    space = _space("segmentation_small")
    graph = space.lower(prune(space, {"head/kind": "deeplab"}))
    assert OpKind.CONCATENATION not in {op.kind for op in graph.ops}
    wide = dataclasses.replace(space.head, low_channels=(16,))
    other = dataclasses.replace(space, head=wide)
    graph = other.lower(prune(other, {"head/kind": "deeplab"}))
    assert OpKind.CONCATENATION in {op.kind for op in graph.ops}
