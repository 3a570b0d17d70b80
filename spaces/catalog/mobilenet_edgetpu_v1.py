"""The space around MobileNetEdgeTPU (V1), with its five published widths as points of it.

Blocks are fused early and depthwise late; here each one chooses. The first block of each pair of
rows in the release (expansion 8) and its three repeats (expansion 4) form one stage. The first
block of stage 5 has stride 1 and equal channels, yet no residual: the release switches it off.

Source: tensorflow/models ``official/projects/edgetpu/vision/modeling``,
``mobilenet_edgetpu_v1_model.py``; channels are rounded as in
:func:`spaces.families.blocks.round_channels`, the top convolution's, too.
"""

from __future__ import annotations

from spaces.families.blocks import IBN_DW, IBN_FUSED, SKIP, round_channels
from spaces.families.ibn.choices import BlockChoices, Stage
from spaces.families.ibn.space import IbnSpace
from spaces.space import Architecture
from spaces.walk import prune

_WIDTHS = {"dm0.75": 0.75, "dm1": 1.0, "dm1.25": 1.25, "dm1.5": 1.5, "dm1.75": 1.75}
_STEM, _CHANNELS, _TOP = 32, (16, 32, 48, 96, 96, 160, 192), 1280
_OPS = (IBN_DW, IBN_FUSED)


def _scaled(channels: int) -> tuple[int, ...]:
    return tuple(sorted({round_channels(channels * width) for width in _WIDTHS.values()}))


def _stage(channels: int, repeats: int, strides: int, residual: bool = True) -> Stage:
    first = BlockChoices(_OPS, (3, 5), expansions=(4, 8), strides=strides, residual=residual)
    more = BlockChoices((SKIP, *_OPS), (3, 5), expansions=(4, 8))
    return Stage(_scaled(channels), (first, *[more] * repeats))


SPACE = IbnSpace(
    name="mobilenet_edgetpu_v1",
    input_shape=(1, 224, 224, 3),
    stem_widths=_scaled(_STEM),
    stem_kernels=(3,),
    stem_strides=2,
    stages=(
        Stage(_scaled(_CHANNELS[0]), (BlockChoices((IBN_FUSED,), expansions=(1,)),)),
        _stage(_CHANNELS[1], 3, strides=2),
        _stage(_CHANNELS[2], 3, strides=2),
        _stage(_CHANNELS[3], 3, strides=2),
        _stage(_CHANNELS[4], 3, strides=1, residual=False),
        _stage(_CHANNELS[5], 3, strides=2),
        _stage(_CHANNELS[6], 0, strides=1),
    ),
    top_widths=_scaled(_TOP),
)


def _published(width: float) -> Architecture:
    return prune(
        SPACE,
        {
            "stem/channels": round_channels(_STEM * width),
            "top/channels": round_channels(_TOP * width),
            "*/kernel": 3,
            "stage6/*/kernel": 5,
            "*/expansion": 4,
            "*/block0/expansion": 8,
            "stage1/block0/expansion": 1,
            "*/op": IBN_DW,
            "stage[123]/*/op": IBN_FUSED,
            **{
                f"stage{n}/channels": round_channels(c * width) for n, c in enumerate(_CHANNELS, 1)
            },
        },
    )


BASELINES = {name: _published(width) for name, width in _WIDTHS.items()}
