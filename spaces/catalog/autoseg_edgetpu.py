"""The space around Autoseg-EdgeTPU, with the released networks as points of it; 512 pixels.

The backbone has the skeleton of EfficientNet-B0. Each of its 16 positions is a stage of one block
here, because each has a width of its own: 0.5, 0.75, 1 or 1.5 times the skeleton's channels. The
release lists these networks block by block; that they are points of such a space, and which one,
is inferred from the lists, which fit without remainder. Its README says that groups were searched,
too, though none of its networks has any: both grouped blocks are offered. Windows and expansions
of full and group convolutions are bounded by their weights (:mod:`spaces.families.ibn.bounds`).

The head is a BiFPN in the released networks. Head and backbone are searched together, and a
DeepLabV3+ head is offered beside it.

Source: tensorflow/models ``official/projects/edgetpu/vision``, ``modeling/
mobilenet_edgetpu_v2_model_blocks.py``, ``configs/semantic_segmentation_searched_config.py``.
"""

from __future__ import annotations

from spaces.families.blocks import DW_FIRST, IBN_DW, IBN_FUSED, IBN_FUSED_GROUPED, IBN_GROUPED
from spaces.families.ibn.bounds import bounded
from spaces.families.ibn.choices import BlockChoices, Stage
from spaces.families.ibn.space import IbnSpace
from spaces.families.segmentation.choices import BIFPN, DEEPLAB, HeadChoices
from spaces.families.segmentation.space import SegmentationSpace
from spaces.space import Architecture, Value
from spaces.walk import prune

_SKELETON = (
    # Channels, blocks, stride of the first one.
    (16, 1, 1),
    (24, 2, 2),
    (40, 2, 2),
    (80, 3, 2),
    (112, 3, 1),
    (192, 4, 2),
    (320, 1, 1),
)
_MULTIPLIERS = (0.5, 0.75, 1, 1.5)
_OPS = (IBN_DW, IBN_FUSED, DW_FIRST, IBN_GROUPED, IBN_FUSED_GROUPED)


def _position(channels: int, strides: int, expansions: tuple[int, ...]) -> Stage:
    # Widths are products as they are: the released S has 18 channels where rounding to fours
    # would make 20.
    block = BlockChoices(_OPS, (3, 5), None, expansions, (24, 32, 48, 64, 96), strides)
    return Stage(tuple(int(channels * one) for one in _MULTIPLIERS), (block,))


PROBLEMS = ("segmentation",)

_STEM_WIDTHS = (32,)
_STAGES = tuple(
    _position(channels, 1 if index else strides, (3, 6) if number else (1,))
    for number, (channels, blocks, strides) in enumerate(_SKELETON)
    for index in range(blocks)
)
MOST_SHARED_WEIGHTS = 835_200 * 3 // 2
"""Of an op at a position: one and a half times those of the largest released block, M's eighth."""

SPACE = SegmentationSpace(
    backbone=IbnSpace(
        name="autoseg_edgetpu",
        input_shape=(1, 512, 512, 3),
        stem_widths=_STEM_WIDTHS,
        stem_kernels=(3,),
        stem_strides=2,
        stages=bounded(_STAGES, _STEM_WIDTHS, MOST_SHARED_WEIGHTS),
        top_widths=(),
    ),
    head=HeadChoices(
        kinds=(BIFPN, DEEPLAB),
        strides=(4, 8, 16),
        channels=(48, 64, 96, 128),
        repeats=(1, 2, 3, 4),
        coarsest_strides=(32, 64, 128, 256),
        dilations=(2, 3, 5, 6),
        low_channels=(32, 48, 64),
        decoder_channels=(64, 128, 256),
    ),
)

_SHORT = {"d": IBN_DW, "f": IBN_FUSED, "w": DW_FIRST}


def _released(positions: str) -> Architecture:
    """A released network by its positions: op, kernel, expansion and channels of each."""
    decisions: dict[str, Value] = {}
    for number, position in enumerate(positions.split(), 1):
        op, kernel, expansion = tuple(position[:3])
        decisions[f"stage{number}/channels"] = int(position[4:])
        decisions[f"stage{number}/block0/op"] = _SHORT[op]
        decisions[f"stage{number}/block0/expansion"] = int(expansion)
        if (op, expansion) != ("f", "1"):  # which is a projection alone
            decisions[f"stage{number}/block0/kernel"] = int(kernel)
    decisions |= {"head/kind": BIFPN, "head/stride": 8, "head/channels": 96, "head/repeats": 4}
    return prune(SPACE, {**decisions, "head/coarsest_stride": 256})


BASELINES = {
    "xs": _released(
        "f31:12 f36:24 d33:24 f33:60 d36:40 d53:40 d36:40 f36:120 d36:168 d56:84 d53:84 "
        "w56:288 w53:96 w56:96 w56:96 d53:480"
    ),
    "s": _released(
        "f31:12 f36:36 d53:18 f56:60 d33:60 d56:120 d33:120 d56:120 d36:112 d56:112 d56:112 "
        "w56:192 w56:96 d53:96 w56:192 w53:160"
    ),
    "m": _released(
        "d51:16 f36:36 d33:36 f36:60 d36:60 f56:120 d56:120 f36:80 d36:168 d56:168 w56:168 "
        "w33:192 w56:288 w56:96 w53:192 w53:320"
    ),
}
