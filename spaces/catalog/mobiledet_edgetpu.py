"""The space around MobileDet-EdgeTPU with SSDLite levels, with the released detector as its point.

A stem, seven stages (strides 2 to 32) and the four coarser levels that SSD adds (strides 64 to
512), for 320 pixels; predictions come from the last stages of strides 16 and 32 and from those
four. Every layer is a depthwise or a fused inverted bottleneck or a Tucker layer, and every one
but the first of a stage may be skipped.

Published (header of the release's configuration): 1.53 G multiply-adds and 4.20 M parameters with
predictors of 90 classes and background. Our counts of that agree: 1.533 G, and 4.196 M if the
moving statistics of batch normalisations are counted, 4.147 M if they are not.

Sources: Xiong et al. 2021, arXiv:2004.14525; tensorflow/models ``research/object_detection``,
``models/ssd_mobiledet_feature_extractor.py`` and
``samples/configs/ssdlite_mobiledet_edgetpu_320x320_coco_sync_4x4.config``.
"""

from __future__ import annotations

from spaces.families.blocks import IBN_DW, IBN_FUSED, SKIP
from spaces.families.spaghetti.layers import EXTRA, TUCKER, LayerChoices
from spaces.families.spaghetti.space import Node, SpaghettiSpace
from spaces.space import Architecture, Value
from spaces.walk import prune

_OPS = (IBN_DW, IBN_FUSED, TUCKER)
_RATIOS = (0.25, 0.75)


def _layer(ops: tuple[str, ...], residual: bool = True) -> LayerChoices:
    return LayerChoices(ops, (3, 5), (4, 8), (), _RATIOS, _RATIOS, residual)


def _stage(number: int, level: int, layers: int, *widths: int) -> Node:
    more = [_layer((SKIP, *_OPS))] * (layers - 1)
    before = f"stage{number - 1}" if number > 1 else "stem"
    return Node(
        f"stage{number}", (level,), widths, (_layer(_OPS, residual=False), *more), (before,)
    )


def _extra(number: int, *widths: int) -> Node:
    layer = LayerChoices((EXTRA,), residual=False)
    before = f"extra{number - 1}" if number > 1 else "stage7"
    return Node(f"extra{number}", (5 + number,), widths, (layer,), (before,))


PROBLEMS = ("detection",)

SPACE = SpaghettiSpace(
    name="mobiledet_edgetpu",
    input_shape=(1, 320, 320, 3),
    stem_widths=(16, 24, 32, 40, 48),
    stem_kernels=(3, 5),
    nodes=(
        _stage(1, 1, 1, 8, 16, 24, 32),
        _stage(2, 2, 4, 16, 24, 32, 40),
        _stage(3, 3, 4, 24, 32, 40, 48, 64),
        _stage(4, 4, 4, 48, 56, 72, 96, 120),
        _stage(5, 4, 4, 48, 72, 96, 120, 144),
        _stage(6, 5, 4, 80, 104, 120, 160, 200),
        _stage(7, 5, 1, 96, 144, 192, 240, 384),
        _extra(1, 256, 384, 512),
        _extra(2, 128, 192, 256),
        _extra(3, 128, 192, 256),
        _extra(4, 64, 96, 128),
    ),
    outputs=("stage5", "stage7", "extra1", "extra2", "extra3", "extra4"),
)

_WIDTHS = (16, 16, 40, 72, 96, 120, 384)
_EXTRA_WIDTHS = (512, 256, 256, 128)
# By stage: f8 is ibn_fused, d8 ibn_dw of expansion 8; k5 behind it is the kernel, else 3.
_LAYERS = (
    "t",
    "f8 f4 f8 f4",
    "f8k5 f4 f4 f4",
    "d8 d8 f4 f4",
    "d8k5 d8k5 d8 d8",
    "d8k5 d8 d4k5 d8",
    "d8k5",
)


def _decided(prefix: str, code: str) -> dict[str, Value]:
    if code == "t":
        return {
            f"{prefix}/op": TUCKER,
            f"{prefix}/input_ratio": 0.25,
            f"{prefix}/output_ratio": 0.75,
        }
    return {
        f"{prefix}/op": IBN_FUSED if code[0] == "f" else IBN_DW,
        f"{prefix}/expansion": int(code[1]),
        f"{prefix}/kernel": 5 if code.endswith("k5") else 3,
    }


def _released() -> Architecture:
    decisions: dict[str, Value] = {"stem/channels": 32, "*/kernel": 3}
    for number, channels in enumerate(_EXTRA_WIDTHS, 1):
        decisions[f"extra{number}/channels"] = channels
    for number, (channels, layers) in enumerate(zip(_WIDTHS, _LAYERS, strict=True), 1):
        decisions[f"stage{number}/channels"] = channels
        for index, code in enumerate(layers.split()):
            decisions |= _decided(f"stage{number}/layer{index}", code)
    return prune(SPACE, decisions)


BASELINES = {"edgetpu": _released()}
