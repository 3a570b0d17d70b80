"""Segmentation of small pictures (48 to 256 pixels), trainable on two cores.

A stem of stride 2, three stages down to stride 16, and a BiFPN or DeepLab head that ends at stride
2 or 4, so that boundaries of a pixel or two survive. A head that is finer reads the stem, too.

``dw_first`` and full convolutions are offered where they pay on two cores: the first at the head
of a stage, where no block has a residual (it never has one, and a block that may be skipped must
begin as the identity); the second in the first stage and at the head of the others. Grouped ones
are offered everywhere. Kernel 5 is for depthwise convolutions only. DeepLab's branches are summed,
not concatenated, so that heads of different widths share their weights.
"""

from __future__ import annotations

from spaces.families.blocks import (
    DW_FIRST,
    IBN_DW,
    IBN_FUSED,
    IBN_FUSED_GROUPED,
    IBN_GROUPED,
    SKIP,
)
from spaces.families.ibn.choices import BlockChoices, Stage
from spaces.families.ibn.space import IbnSpace
from spaces.families.segmentation.choices import BIFPN, DEEPLAB, HeadChoices, Kind
from spaces.families.segmentation.space import SegmentationSpace
from spaces.space import Architecture, Value
from spaces.walk import prune

_GROUPED = (IBN_GROUPED, IBN_FUSED_GROUPED)


def _block(ops: tuple[str, ...], groups: tuple[int, ...], strides: int = 1) -> BlockChoices:
    return BlockChoices(ops, (3, 5), (3,), (2, 4), groups, strides)


def _first(*groups: int) -> BlockChoices:
    return _block((IBN_DW, IBN_FUSED, DW_FIRST, *_GROUPED), groups, strides=2)


_EARLY = _block((SKIP, IBN_DW, IBN_FUSED, *_GROUPED), (16,))
_MIDDLE = _block((SKIP, IBN_DW, *_GROUPED), (16,))
_LATE = _block((SKIP, IBN_DW, *_GROUPED), (16, 32))

PROBLEMS = ("segmentation",)

SPACE = SegmentationSpace(
    backbone=IbnSpace(
        name="segmentation_small",
        input_shape=(1, 128, 128, 3),
        stem_widths=(8, 16),
        stem_kernels=(3,),
        stem_strides=2,
        stages=(
            Stage(widths=(8, 16), blocks=(_first(16), _EARLY)),
            Stage(widths=(16, 24, 32, 40), blocks=(_first(16), _MIDDLE, _MIDDLE)),
            Stage(widths=(32, 48, 64, 96), blocks=(_first(16, 32), _LATE, _LATE)),
        ),
        top_widths=(),
        activation="relu6",
    ),
    head=HeadChoices(
        kinds=(BIFPN, DEEPLAB),
        strides=(2, 4),
        channels=(16, 24, 32, 40),
        repeats=(1, 2),
        coarsest_strides=(16, 32),
        dilations=(1, 2, 3),
        deeplab_activation="relu6",
    ),
)

_SIZES = {
    # Stem, stages, head, cells or convolutions of it, its stride.
    "s": (8, (8, 16, 32), 16, 1, 4),
    "m": (16, (16, 32, 64), 24, 1, 4),
    "l": (16, (16, 40, 96), 32, 1, 2),
    "xl": (16, (16, 40, 96), 40, 2, 2),
}


def _hand_made(size: str, kind: Kind, ops: dict[str, Value]) -> Architecture:
    """A point of growing width: every block, kernel 3, expansion 4."""
    stem, widths, channels, repeats, stride = _SIZES[size]
    head: dict[str, Value] = {"head/coarsest_stride": 32}
    if kind == DEEPLAB:
        head = {"head/dilation": 2}
    return prune(
        SPACE,
        {
            "*/op": IBN_DW,
            **ops,
            "*/kernel": 3,
            "*/expansion": 4,
            "stem/channels": stem,
            **{f"stage{number}/channels": width for number, width in enumerate(widths, 1)},
            "head/kind": kind,
            "head/stride": stride,
            "head/channels": channels,
            "head/repeats": repeats,
            **head,
        },
    )


_DEPTHWISE: dict[str, Value] = {}
_AUTOSEG: dict[str, Value] = {"stage1/*/op": IBN_FUSED, "stage3/block0/op": DW_FIRST}
"""The recipe of the released networks: full convolutions early, dw-first late."""

BASELINES = {
    f"{name}_{size}": _hand_made(size, kind, ops)
    for name, kind, ops in (
        ("depthwise_bifpn", BIFPN, _DEPTHWISE),
        ("depthwise_deeplab", DEEPLAB, _DEPTHWISE),
        ("autoseg", BIFPN, _AUTOSEG),
    )
    for size in _SIZES
}
