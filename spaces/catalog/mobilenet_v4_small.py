"""The space of MobileNetV4 for small inputs (8 to 96 pixels), trainable on two cores.

Stem, three stages that each halve the resolution, and a top convolution, as the other spaces for
small inputs. Every block chooses among the four forms of a universal inverted bottleneck and the
windows of its one or two depthwise convolutions; the first stage also offers full convolutions,
which the published networks have there. The convolution behind the mean is left out: of a small
network it would be most of the weights.

Source: Qin et al. 2024, arXiv:2404.10518.
"""

from __future__ import annotations

from spaces.families.blocks import (
    IBN_CONV_NEXT,
    IBN_DW,
    IBN_EXTRA_DW,
    IBN_FUSED,
    SKIP,
    UIB_OPS,
)
from spaces.families.ibn.choices import BlockChoices, Stage
from spaces.families.ibn.space import IbnSpace
from spaces.space import Architecture, Value
from spaces.walk import prune


def _block(ops: tuple[str, ...], strides: int = 1) -> BlockChoices:
    return BlockChoices(ops, (3, 5), (3,), (2, 4), (), strides, start_kernels=(3, 5))


_STRIDED = (IBN_DW, IBN_EXTRA_DW, IBN_CONV_NEXT)
_FIRST, _MORE = _block(_STRIDED, 2), _block((SKIP, *UIB_OPS))

SPACE = IbnSpace(
    name="mobilenet_v4_small",
    input_shape=(1, 32, 32, 3),
    stem_widths=(8, 16),
    stem_kernels=(3,),
    stem_strides=1,
    stages=(
        Stage((8, 16, 24, 32), (_block((IBN_FUSED, *_STRIDED), 2), _MORE)),
        Stage((16, 32, 48, 64), (_FIRST, _MORE, _MORE)),
        Stage((32, 64, 96, 128), (_FIRST, _MORE, _MORE)),
    ),
    top_widths=(64, 128, 256),
)

_ROWS = {"s": (16, 32, 64), "m": (24, 48, 96), "l": (32, 64, 128)}
_RECIPES: dict[str, dict[str, Value]] = {
    # Hand-made: depthwise blocks alone, and the order of the published networks, which begin with
    # a full convolution, have both depthwise ones where they stride, and the first alone at last.
    "ib": {"*/op": IBN_DW},
    "conv": {
        "*/op": IBN_DW,
        "*/block0/op": IBN_EXTRA_DW,
        "stage1/block0/op": IBN_FUSED,
        "stage[23]/block2/op": IBN_CONV_NEXT,
    },
}


def _made(size: str, recipe: dict[str, Value]) -> Architecture:
    widths = {f"stage{number}/channels": width for number, width in enumerate(_ROWS[size], 1)}
    return prune(
        SPACE,
        {"*/expansion": 4, "stem/channels": 16, "top/channels": 256, **recipe, **widths},
    )


BASELINES = {
    f"{name}_{size}": _made(size, recipe) for name, recipe in _RECIPES.items() for size in _ROWS
}
