"""The space around EfficientNet-EdgeTPU, with S, M and L as points of it.

S was searched; M and L scale its width, depth and input size. Depth is a choice of skipping, so
each stage has the blocks of L; input size is no choice of the space: ``INPUT_SHAPES`` holds it.

Two quirks of the release are kept: its first stage has no residuals, and expands 4 times the
channels it puts out, not those of the stem that enter it.

Source: tensorflow/tpu ``models/official/efficientnet/edgetpu/efficientnet_edgetpu_builder.py``;
(width, depth, size) = S (1, 1, 224), M (1, 1.1, 240), L (1.2, 1.4, 300).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from spaces.families.blocks import IBN_DW, IBN_FUSED, SKIP, round_channels
from spaces.families.ibn.choices import BlockChoices, Stage
from spaces.families.ibn.space import IbnSpace
from spaces.space import Architecture, Value
from spaces.walk import prune


@dataclass(frozen=True, slots=True)
class _Row:
    """A stage of S."""

    repeats: int
    kernel: int
    strides: int
    expansion: int
    channels: int
    op: str


_ROWS = (
    _Row(1, 3, 1, 4, 24, IBN_FUSED),
    _Row(2, 3, 2, 8, 32, IBN_FUSED),
    _Row(4, 3, 2, 8, 48, IBN_FUSED),
    _Row(5, 5, 2, 8, 96, IBN_DW),
    _Row(4, 5, 1, 8, 144, IBN_DW),
    _Row(2, 5, 2, 8, 192, IBN_DW),
)
_STEM, _TOP = 32, 1280
_SCALES = {"s": (1.0, 1.0), "m": (1.0, 1.1), "l": (1.2, 1.4)}
INPUT_SHAPES = {"m": (1, 240, 240, 3), "l": (1, 300, 300, 3)}


def _scaled(channels: int) -> tuple[int, ...]:
    return tuple(sorted({round_channels(channels * width) for width, _ in _SCALES.values()}))


def _block(row: _Row, ops: tuple[str, ...], strides: int = 1) -> BlockChoices:
    first_stage = row is _ROWS[0]
    return BlockChoices(
        ops,
        kernels=(3, 5),
        expansions=(4, 8),
        strides=strides,
        residual=not first_stage,
        expands_output=first_stage,
    )


def _stage(row: _Row) -> Stage:
    ops = (IBN_DW, IBN_FUSED)
    more = _block(row, (SKIP, *ops))
    deepest = max(math.ceil(row.repeats * depth) for _, depth in _SCALES.values())
    return Stage(_scaled(row.channels), (_block(row, ops, row.strides), *[more] * (deepest - 1)))


SPACE = IbnSpace(
    name="efficientnet_edgetpu",
    input_shape=(1, 224, 224, 3),
    stem_widths=_scaled(_STEM),
    stem_kernels=(3,),
    stem_strides=2,
    stages=tuple(_stage(row) for row in _ROWS),
    top_widths=_scaled(_TOP),
)


def _published(width: float, depth: float) -> Architecture:
    decisions: dict[str, Value] = {
        "stem/channels": round_channels(_STEM * width),
        "top/channels": round_channels(_TOP * width),
    }
    for number, (row, stage) in enumerate(zip(_ROWS, SPACE.stages, strict=True), 1):
        repeats = math.ceil(row.repeats * depth)
        decisions |= {
            f"stage{number}/channels": round_channels(row.channels * width),
            f"stage{number}/*/op": row.op,
            f"stage{number}/*/expansion": row.expansion,
            f"stage{number}/*/kernel": row.kernel,
        }
        if repeats < len(stage.blocks):
            decisions[f"stage{number}/block{repeats}/op"] = SKIP
    return prune(SPACE, decisions)


BASELINES = {name: _published(*scale) for name, scale in _SCALES.items()}
