"""The space around MobileNetEdgeTPUV2, with the released networks as points of it.

Seven stages of 1, 2, 4, 4, 4, 4, 1 blocks for 224 pixels. Every block chooses among all
variants of the inverted bottleneck, late stages included, where the release has no group
convolution; every block but the first of a stage may be skipped. Windows and expansions of full
and group convolutions are bounded by their weights (:mod:`spaces.families.ibn.bounds`): those of
the last stages have 3x3 windows.

The release declares its first block a fused 3x3 with expansion 1, but its builder then leaves out
the 3x3 convolution: only a 1x1 projection is built. Here, too, ``ibn_fused`` at expansion 1 is the
projection alone, and has no kernel to choose.

Source: tensorflow/models ``official/projects/edgetpu/vision/modeling``,
``mobilenet_edgetpu_v2_model.py`` and ``mobilenet_edgetpu_v2_model_blocks.py``.
"""

from __future__ import annotations

from spaces.families.blocks import BLOCK_OPS, IBN_DW, IBN_FUSED, IBN_FUSED_GROUPED, SKIP
from spaces.families.ibn.bounds import bounded
from spaces.families.ibn.choices import BlockChoices, Stage
from spaces.families.ibn.space import IbnSpace
from spaces.space import Architecture, Value
from spaces.walk import prune

_OPS = tuple(op for op in BLOCK_OPS if op != SKIP)


def _block(
    ops: tuple[str, ...], strides: int = 1, expansions: tuple[int, ...] = (2, 4, 6, 8)
) -> BlockChoices:
    return BlockChoices(ops, (3, 5, 7), None, expansions, (32, 64, 128), strides)


def _stage(widths: tuple[int, ...], blocks: int, strides: int) -> Stage:
    return Stage(widths, (_block(_OPS, strides), *[_block((SKIP, *_OPS))] * (blocks - 1)))


_STEM_WIDTHS = (32, 48, 64)
_STAGES = (
    Stage((16, 24, 32), (_block(_OPS, expansions=(1, 2, 4)),)),
    _stage((32, 48, 64), 2, strides=2),
    _stage((48, 64, 80, 96), 4, strides=2),
    _stage((80, 96, 128, 160, 192), 4, strides=2),
    _stage((112, 144, 160, 192, 240), 4, strides=1),
    _stage((160, 192, 240, 256), 4, strides=2),
    _stage((192, 256, 320, 384), 1, strides=1),
)
MOST_SHARED_WEIGHTS = 1_329_152 * 3 // 2
"""Of an op at a place: one and a half times those of the largest released block, the last of L."""

SPACE = IbnSpace(
    name="mobilenet_edgetpu_v2",
    input_shape=(1, 224, 224, 3),
    stem_widths=_STEM_WIDTHS,
    stem_kernels=(3, 5, 7),
    stem_strides=2,
    stages=bounded(_STAGES, _STEM_WIDTHS, MOST_SHARED_WEIGHTS),
    top_widths=(1280, 1344, 1408),
)


def _released(
    stem: tuple[int, int],
    widths: tuple[int, ...],
    grouped: tuple[str, ...] = ("2/block1", "3/block1", "3/block3"),
    channels_per_group: int = 64,
    top: int = 1280,
    late_kernel: int = 3,
) -> Architecture:
    """A released network: kernel 3, expansion 8 then 4, fused early, depthwise late."""
    decisions: dict[str, Value] = {
        "stem/channels": stem[0],
        "top/channels": top,
        "*/kernel": 3,
        "*/expansion": 4,
        "*/block0/expansion": 8,
        "stage1/block0/expansion": 1,
        "*/op": IBN_DW,
        "stage[123]/*/op": IBN_FUSED,
        "stage4/block0/op": IBN_FUSED,
        "*/channels_per_group": channels_per_group,
        **{f"stage{number}/channels": width for number, width in enumerate(widths, 1)},
        **{f"stage{place}/op": IBN_FUSED_GROUPED for place in grouped},
        "stage[67]/*/kernel": late_kernel,
        "stem/kernel": stem[1],
    }
    return prune(SPACE, decisions)


_TINY_GROUPED = ("2/block1", "3/block0", "3/block1", "3/block2", "3/block3", "4/block0")

BASELINES = {
    "tiny": _released((32, 5), (16, 32, 48, 80, 112, 160, 192), _TINY_GROUPED),
    "xs": _released((32, 5), (16, 32, 48, 96, 144, 160, 192)),
    "s": _released((64, 5), (24, 48, 64, 128, 160, 192, 256)),
    "m": _released((64, 5), (32, 64, 80, 160, 192, 240, 320), top=1344),
    "l": _released((64, 7), (32, 64, 96, 192, 240, 256, 384), channels_per_group=128, top=1408),
    # The bare ModelConfig of the release, which its unit test counts: 5x5 in the last two groups.
    "default": _released((64, 5), (24, 48, 64, 128, 160, 192, 256), late_kernel=5),
}
