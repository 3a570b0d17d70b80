"""The space around MobileNetV2: depthwise inverted bottlenecks only, the family to compare with.

Kernel, expansion, depth and width are chosen as in the mobile spaces built on it since; the
published networks have kernel 3 and expansion 6 (1 in the first block).

Source: Sandler et al. 2018, arXiv:1801.04381, table 2; widths 0.35 to 1.4 as published with
tensorflow/models ``slim/nets/mobilenet``, where the top convolution is never narrower than 1280.
"""

from __future__ import annotations

from spaces.families.blocks import IBN_DW, SKIP, round_channels
from spaces.families.ibn.choices import BlockChoices, Stage
from spaces.families.ibn.space import IbnSpace
from spaces.space import Architecture
from spaces.walk import prune

_WIDTHS = {
    "w0.35": 0.35,
    "w0.5": 0.5,
    "w0.75": 0.75,
    "w1.0": 1.0,
    "w1.3": 1.3,
    "w1.4": 1.4,
}
# Columns c, n and s of table 2, after the first row.
_ROWS = ((24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
_STEM, _FIRST, _TOP = 32, 16, 1280


def _top(width: float) -> int:
    return round_channels(_TOP * max(1.0, width))


def _scaled(channels: int) -> tuple[int, ...]:
    return tuple(sorted({round_channels(channels * width) for width in _WIDTHS.values()}))


def _stage(channels: int, repeats: int, strides: int) -> Stage:
    first = BlockChoices((IBN_DW,), (3, 5, 7), expansions=(3, 6), strides=strides)
    more = BlockChoices((SKIP, IBN_DW), (3, 5, 7), expansions=(3, 6))
    return Stage(_scaled(channels), (first, *[more] * (repeats - 1)))


SPACE = IbnSpace(
    name="mobilenet_v2",
    input_shape=(1, 224, 224, 3),
    stem_widths=_scaled(_STEM),
    stem_kernels=(3,),
    stem_strides=2,
    stages=(
        Stage(_scaled(_FIRST), (BlockChoices((IBN_DW,), expansions=(1,)),)),
        *(_stage(*row) for row in _ROWS),
    ),
    top_widths=tuple(sorted({_top(width) for width in _WIDTHS.values()})),
    activation="relu6",
)


def _published(width: float) -> Architecture:
    channels = (_FIRST, *(row[0] for row in _ROWS))
    return prune(
        SPACE,
        {
            "stem/channels": round_channels(_STEM * width),
            "top/channels": _top(width),
            "*/op": IBN_DW,
            "*/kernel": 3,
            "*/expansion": 6,
            "stage1/*/expansion": 1,
            **{f"stage{n}/channels": round_channels(c * width) for n, c in enumerate(channels, 1)},
        },
    )


BASELINES = {name: _published(width) for name, width in _WIDTHS.items()}
