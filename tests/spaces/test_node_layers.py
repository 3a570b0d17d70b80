"""One layer: what it is made of, and what it refuses."""

from __future__ import annotations

import pytest

from spaces.families.blocks import IBN_DW, IBN_FUSED, IBN_FUSED_GROUPED, SKIP
from spaces.families.spaghetti.layers import (
    EXTRA,
    SEPARABLE,
    TUCKER,
    Layer,
    LayerChoices,
    lower_layer,
)
from spaces.graph import Op, OpKind, ShapeError
from spaces.space import SpaceError

_SOURCE = ("before", (1, 10, 7, 16))


def _lowered(op: str, out_channels: int = 16, strides: int = 1, **more: int) -> tuple[Op, ...]:
    return lower_layer(Layer("n", op, out_channels, 5, strides, **more), _SOURCE)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("op", "weights"),
    [
        # derived, 16 channels in and out, window 5: kernels one behind another
        (SEPARABLE, (25 * 16, 16 * 16)),
        (EXTRA, (16 * 8, 25 * 8, 8 * 16)),
        (IBN_DW, (16 * 64, 25 * 64, 64 * 16)),
        (IBN_FUSED, (25 * 16 * 64, 64 * 16)),
        (IBN_FUSED_GROUPED, (25 * 8 * 64, 64 * 16)),
    ],
)
def test_weights_of_each_op(op: str, weights: tuple[int, ...]) -> None:
    groups = 2 if op == IBN_FUSED_GROUPED else 1
    ops = _lowered(op, expansion=4, groups=groups)
    assert tuple(one.weights for one in ops if one.weights) == weights
    assert ops[-1].kind is OpKind.ADD
    assert {one.variant for one in ops if one.weights} == {op}


def test_weights_of_tucker() -> None:
    layer = Layer("n", TUCKER, 32, 3, 2, input_ratio=0.5, output_ratio=0.75)
    ops = lower_layer(layer, _SOURCE)
    # derived: 16 -> 8, 3 x 3 to 24, to 32
    assert [op.weights for op in ops] == [16 * 8, 9 * 8 * 24, 24 * 32]
    assert ops[-1].output_shape == (1, 5, 4, 32)


@pytest.mark.parametrize("op", [SEPARABLE, EXTRA, TUCKER, IBN_DW, IBN_FUSED])
def test_no_residual_where_shapes_differ_or_it_is_off(op: str) -> None:
    for ops in (
        _lowered(op, strides=2, expansion=2),
        _lowered(op, out_channels=24, expansion=2),
        lower_layer(Layer("n", op, 16, 3, 1, expansion=2, residual=False), _SOURCE),
    ):
        assert OpKind.ADD not in {one.kind for one in ops}


def test_kernels_of_dense_ops_may_differ() -> None:
    choices = LayerChoices((IBN_DW, IBN_FUSED, TUCKER), (3, 5), dense_kernels=(3,))
    assert choices.offered("kernel", IBN_DW, 16, 16) == (3, 5)
    assert choices.offered("kernel", IBN_FUSED, 16, 16) == (3,)
    assert choices.values["kernel"] == (3, 5)


def test_parts_without_effect_are_not_offered() -> None:
    choices = LayerChoices((SKIP, SEPARABLE, IBN_FUSED_GROUPED), groups=(3,))
    for part in ("expansion", "groups", "input_ratio"):
        assert choices.offered(part, SEPARABLE, 24, 24) == ()
    assert choices.offered("kernel", SKIP, 24, 24) == ()
    assert choices.offered("op", "", 16, 16) == (SKIP, SEPARABLE)  # 3 divides 24, not 16
    assert choices.offered("op", "", 24, 24) == (SKIP, SEPARABLE, IBN_FUSED_GROUPED)


def test_unknown_ops_are_refused() -> None:
    with pytest.raises(SpaceError, match=r"ops of a layer must be among .*, but got 'mixer'"):
        LayerChoices(("mixer",))
    with pytest.raises(ShapeError, match=r"n: op must be one of .*, but got 'skip'"):
        _lowered(SKIP)
    with pytest.raises(SpaceError, match="expansions of a layer must be at least 2, but got 1"):
        LayerChoices((IBN_DW,), expansions=(1, 4))
