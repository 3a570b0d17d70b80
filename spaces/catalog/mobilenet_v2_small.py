"""The space around MobileNetV2 for small inputs (32 to 96 pixels).

As :mod:`spaces.catalog.mobilenet_v2`, but the stem and the first strided stage keep the
resolution, the usual form for 32 pixels: the backbone reduces 8 times instead of 32 times. Widths
go down to a tenth; the top convolution keeps its 1280 channels, as in every published width up
to 1.

Source: Sandler et al. 2018, arXiv:1801.04381, table 2; strides changed as said.
"""

from __future__ import annotations

from spaces.families.blocks import IBN_DW, SKIP, round_channels
from spaces.families.ibn.choices import BlockChoices, Stage
from spaces.families.ibn.space import IbnSpace
from spaces.space import Architecture
from spaces.walk import prune

_WIDTHS = {
    "w0.1": 0.1,
    "w0.25": 0.25,
    "w0.35": 0.35,
    "w0.5": 0.5,
    "w0.75": 0.75,
    "w1.0": 1.0,
}
# Columns c, n and s of table 2, after the first row; the first 2 of column s is 1 here.
_ROWS = ((24, 2, 1), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
_STEM, _FIRST, _TOP = 32, 16, 1280


def _scaled(channels: int) -> tuple[int, ...]:
    return tuple(sorted({round_channels(channels * width) for width in _WIDTHS.values()}))


def _stage(channels: int, repeats: int, strides: int) -> Stage:
    first = BlockChoices((IBN_DW,), (3, 5), expansions=(3, 6), strides=strides)
    more = BlockChoices((SKIP, IBN_DW), (3, 5), expansions=(3, 6))
    return Stage(_scaled(channels), (first, *[more] * (repeats - 1)))


SPACE = IbnSpace(
    name="mobilenet_v2_small",
    input_shape=(1, 32, 32, 3),
    stem_widths=_scaled(_STEM),
    stem_kernels=(3,),
    stem_strides=1,
    stages=(
        Stage(_scaled(_FIRST), (BlockChoices((IBN_DW,), expansions=(1,)),)),
        *(_stage(*row) for row in _ROWS),
    ),
    top_widths=(_TOP,),
    activation="relu6",
)


def _scaled_network(width: float) -> Architecture:
    channels = (_FIRST, *(row[0] for row in _ROWS))
    return prune(
        SPACE,
        {
            "stem/channels": round_channels(_STEM * width),
            "*/op": IBN_DW,
            "*/kernel": 3,
            "*/expansion": 6,
            "stage1/*/expansion": 1,
            **{f"stage{n}/channels": round_channels(c * width) for n, c in enumerate(channels, 1)},
        },
    )


BASELINES = {name: _scaled_network(width) for name, width in _WIDTHS.items()}
