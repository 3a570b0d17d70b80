from __future__ import annotations

import numpy as np
import pytest

from spaces.families.blocks import Block, legal_groups, lower_block, round_channels
from spaces.families.ibn.choices import BlockChoices, Stage
from spaces.families.ibn.space import IbnSpace
from spaces.graph import ShapeError
from spaces.size import count_upper_bound
from spaces.space import SpaceError
from spaces.walk import architecture, every, prune, sample

_SOURCE = ("x", (1, 14, 14, 64))


def _macs_and_weights(op: str, channels_per_group: int | None = None) -> tuple[int, int]:
    ops = lower_block(Block("b", op, 64, 3, 1, 4, channels_per_group), _SOURCE)
    return sum(one.macs for one in ops), sum(one.weights for one in ops)


def _space(**block: object) -> IbnSpace:
    first = BlockChoices(strides=2, **block)  # type: ignore[arg-type]
    more = BlockChoices(
        ops=("skip", *first.ops), kernels=first.kernels, start_kernels=first.start_kernels
    )
    return IbnSpace(
        "test", (1, 32, 32, 3), (16,), (3,), 2, (Stage((16, 24), (first, more, more)),), (64,)
    )


@pytest.mark.parametrize(
    ("op", "per_group", "weights"),
    [
        # derived: expansion, spatial mixing and projection of 64 channels at expansion 4, 3x3
        ("ibn_dw", None, 64 * 256 + 9 * 256 + 256 * 64),
        ("ibn_fused", None, 9 * 64 * 256 + 256 * 64),
        ("ibn_fused_grouped", 64, 9 * 16 * 256 + 256 * 64),
        ("ibn_grouped", 64, 64 * 256 + 9 * 64 * 256 + 256 * 64),
    ],
)
def test_weights_of_the_four_blocks(op: str, per_group: int | None, weights: int) -> None:
    assert _macs_and_weights(op, per_group) == (14 * 14 * weights, weights)


@pytest.mark.parametrize(
    ("op", "weights"),
    [
        # derived: 64 channels at expansion 4; windows of 5 before the expansion, of 3 behind it
        ("ibn_extra_dw", 25 * 64 + 64 * 256 + 9 * 256 + 256 * 64),
        ("ibn_dw", 64 * 256 + 9 * 256 + 256 * 64),
        ("ibn_conv_next", 25 * 64 + 64 * 256 + 256 * 64),
        ("ibn_ffn", 64 * 256 + 256 * 64),
    ],
)
def test_weights_of_the_universal_blocks(op: str, weights: int) -> None:
    ops = lower_block(Block("b", op, 64, 3, 1, 4, start_kernel_size=5), _SOURCE)
    assert sum(one.weights for one in ops) == weights
    assert sum(one.macs for one in ops) == 14 * 14 * weights
    assert ops[-1].name == "b/add"
    assert {one.variant for one in ops[:-1]} == {"ibn_dw"}  # they share what they have in common


@pytest.mark.parametrize(
    ("op", "strided"), [("ibn_extra_dw", "b/depthwise"), ("ibn_conv_next", "b/start_depthwise")]
)
def test_universal_blocks_stride_in_their_last_window(op: str, strided: str) -> None:
    ops = lower_block(Block("b", op, 64, 3, 2, 4, start_kernel_size=5), _SOURCE)
    assert [one.name for one in ops if one.strides == (2, 2)] == [strided]
    assert ops[-1].output_shape == (1, 7, 7, 64)


def test_what_has_no_window_cannot_stride() -> None:
    with pytest.raises(ShapeError, match=r"b: strides of ibn_ffn must be 1.*but got 2"):
        lower_block(Block("b", "ibn_ffn", 64, 1, 2, 4), _SOURCE)
    with pytest.raises(SpaceError, match=r"offers ibn_ffn.*must have strides 1, but got 2"):
        BlockChoices(("ibn_ffn",), strides=2)
    with pytest.raises(SpaceError, match="must offer start_kernels, but got none"):
        BlockChoices(("ibn_conv_next",))


def test_a_pair_of_convolutions_is_two_with_an_activation_each() -> None:
    ops = lower_block(Block("b", "conv_pair", 64, 3, 1, 1), _SOURCE)
    assert [(one.name, one.kernel_size[0], one.activation) for one in ops] == [
        ("b/expand", 3, "relu"),
        ("b/project", 1, "relu"),
    ]


def test_each_universal_block_decides_the_windows_that_it_has() -> None:
    space = _space(
        ops=("ibn_dw", "ibn_extra_dw", "ibn_conv_next"), kernels=(3, 5), start_kernels=(3, 5)
    )
    point = prune(space, {"*/op": "ibn_conv_next", "*/block1/op": "skip"})
    parts = [name for name in point.values if name.startswith("stage1/block0/")]
    assert parts == [f"stage1/block0/{part}" for part in ("expansion", "op", "start_kernel")]
    point = prune(space, {"*/op": "ibn_extra_dw", "stage*/kernel": 5, "*/block1/op": "skip"})
    (block,) = space.blocks(point.values)
    assert (block.start_kernel_size, block.kernel_size) == (3, 5)


def test_group_convolution_stands_between_depthwise_and_fused() -> None:
    # derived, in thousands, for 64 channels: fused, 64 channels a group, depthwise
    rounded = [
        round(_macs_and_weights(op, per_group)[1] / 1000)
        for op, per_group in (("ibn_fused", None), ("ibn_fused_grouped", 64), ("ibn_dw", None))
    ]
    assert rounded == [164, 53, 35]


def test_residual_needs_equal_shapes_and_permission() -> None:
    def names(**changes: object) -> list[str]:
        settings: dict[str, object] = {"out_channels": 64, "strides": 1, **changes}
        block = Block("b", "ibn_dw", kernel_size=3, expansion=4, **settings)  # type: ignore[arg-type]
        return [op.name for op in lower_block(block, _SOURCE)]

    assert "b/add" in names()
    assert "b/add" not in names(out_channels=72)
    assert "b/add" not in names(strides=2)
    assert "b/add" not in names(residual=False)


def test_channels_per_group_must_divide_expanded_channels() -> None:
    with pytest.raises(ShapeError, match=r"must divide the expanded channels.*=256.*=48"):
        _macs_and_weights("ibn_grouped", 48)


def test_unknown_op_lists_the_known_ones() -> None:
    with pytest.raises(ShapeError, match=r"b: op must be one of ibn_dw.*but got 'tucker'"):
        _macs_and_weights("tucker")


@pytest.mark.parametrize(
    ("op", "in_channels", "expansion", "per_group", "legal"),
    [
        ("ibn_fused_grouped", 32, 4, 64, True),
        ("ibn_fused_grouped", 16, 4, 64, False),  # one group is the fused block
        ("ibn_fused_grouped", 32, 6, 64, False),  # 3 groups do not divide 32
        ("ibn_grouped", 32, 6, 64, True),  # they divide 192
        ("ibn_grouped", 40, 4, 64, False),  # 64 does not divide 160
    ],
)
def test_legal_groups(
    op: str, in_channels: int, expansion: int, per_group: int, legal: bool
) -> None:
    assert legal_groups(op, in_channels, expansion, per_group) is legal


@pytest.mark.parametrize(
    ("channels", "rounded"), [(11.2, 16), (5.6, 8), (3.2, 8), (448.0, 448), (115.2, 112)]
)
def test_channels_round_to_eights_but_not_far_below(channels: float, rounded: int) -> None:
    # published: channels of MobileNetV2 0.35 (stem 16, first 8, last 448 of 1.4), EfficientNet-L
    assert round_channels(channels) == rounded


def test_skip_ends_a_stage() -> None:
    space = _space(ops=("ibn_dw",), kernels=(3, 5))
    one = prune(space, {"stage1/block0/op": "ibn_dw", "stage1/block1/op": "skip"})
    assert not [name for name in one.values if "block2" in name or name == "stage1/block1/kernel"]
    assert len(space.blocks(one.values)) == 1


def test_expanding_the_output_offers_no_groups() -> None:
    with pytest.raises(SpaceError, match="must offer no grouped op, but got ops=ibn_grouped"):
        BlockChoices(("ibn_grouped",), expands_output=True)


def test_fused_block_at_expansion_one_has_no_kernel() -> None:
    space = _space(ops=("ibn_fused", "ibn_dw"), kernels=(3, 5), expansions=(1, 4))
    kernels = {
        (one.values["stage1/block0/op"], one.values["stage1/block0/expansion"]): (
            one.values.get("stage1/block0/kernel")
        )
        for one in every(space)
    }
    assert kernels[("ibn_fused", 1)] is None
    assert kernels[("ibn_dw", 1)] == kernels[("ibn_fused", 4)] == 5


def test_every_lists_each_architecture_once() -> None:
    space = _space(ops=("ibn_dw",), kernels=(3, 5))
    # derived: 2 widths; 2 kernels; then skip, or 2 kernels and (skip or 2 kernels)
    listed = list(every(space))
    assert len(listed) == len(set(listed)) == 2 * 2 * (1 + 2 * (1 + 2))
    assert len(listed) <= count_upper_bound(space)
    rng = np.random.default_rng(0)
    assert {sample(space, rng) for _ in range(500)} == set(listed)


def test_largest_and_smallest_bound_the_parameters() -> None:
    space = _space(ops=("ibn_dw", "ibn_fused"), kernels=(3, 5), expansions=(2, 4))
    ends = (space.smallest(), space.largest())
    low, high = (space.lower(end).total_parameters for end in ends)
    rng = np.random.default_rng(0)
    counts = [space.lower(sample(space, rng)).total_parameters for _ in range(50)]
    assert low <= min(counts) <= max(counts) <= high


def test_missing_illegal_and_dead_decisions_are_refused() -> None:
    space = _space(ops=("ibn_dw",), kernels=(3, 5))
    values = sample(space, np.random.default_rng(0)).values
    without = {name: value for name, value in values.items() if name != "stem/kernel"}
    with pytest.raises(SpaceError, match=r"stem/kernel must be decided.*Choose one of 3"):
        architecture(space, without)
    with pytest.raises(SpaceError, match="stem/kernel must be one of 3, but got 4"):
        architecture(space, {**values, "stem/kernel": 4})
    with pytest.raises(SpaceError, match="decisions must be live, but got 'stage9/channels'"):
        architecture(space, {**values, "stage9/channels": 8})


def test_equal_values_of_another_type_give_the_same_id() -> None:
    space = _space(ops=("ibn_dw",), kernels=(3, 5))
    one = sample(space, np.random.default_rng(0))
    floats = {n: float(v) if isinstance(v, int) else v for n, v in one.decisions}
    assert architecture(space, floats).id == one.id


def test_pruning_with_an_idle_pattern_is_refused() -> None:
    with pytest.raises(SpaceError, match="no live choice fits 'stage7/"):
        prune(_space(ops=("ibn_dw",)), {"stage7/*": 3})


def test_input_must_be_one_image() -> None:
    with pytest.raises(ShapeError, match=r"test: input_shape must be \(1, H, W, C\)"):
        _space(ops=("ibn_dw",)).for_input((32, 32, 3))
