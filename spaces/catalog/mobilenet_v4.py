"""The space around MobileNetV4's convolutional networks: universal inverted bottlenecks (UIB).

A stem and four stages that each halve the resolution. The first stage is one full convolution, the
others begin with a block that strides; behind it every block chooses which of the two depthwise
convolutions of a UIB it has, and their windows. Full convolutions are offered where the published
networks have them, in the first block of the two finest stages.

Conv-S begins its first two stages with a full and a 1x1 convolution that both have an activation
(``conv_pair``), as the release builds them; the paper's table calls them fused. Behind the top
convolution stands the mean, and one more convolution of 1,280 channels behind that.

With 1,000 classes the networks have 3.77, 9.72 and 32.6 million parameters, as those that others
built from the same tables (timm); the paper has 3.8, 9.2 and 31.

Source: Qin et al. 2024, arXiv:2404.10518; block tables of tensorflow/models
``official/vision/modeling/backbones/mobilenet.py``. The hybrid networks, with attention, are no
points of this space.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from spaces.families.blocks import (
    CONV_PAIR,
    IBN_CONV_NEXT,
    IBN_DW,
    IBN_EXTRA_DW,
    IBN_FFN,
    IBN_FUSED,
    SKIP,
    UIB_OPS,
)
from spaces.families.ibn.choices import BlockChoices, OpBound, Stage
from spaces.families.ibn.space import IbnSpace
from spaces.space import Architecture, Value
from spaces.walk import prune

_FULL = (CONV_PAIR, IBN_FUSED)
_STRIDED = (IBN_DW, IBN_EXTRA_DW, IBN_CONV_NEXT)
# At expansion 1 a fused block would be a strided projection alone.
_BOUNDS = (OpBound(IBN_FUSED, 3, 4, least_expansion=2), OpBound(CONV_PAIR, 3, 4))


def _first(ops: Sequence[str], expansions: Sequence[int]) -> BlockChoices:
    return BlockChoices(
        ops=tuple(ops),
        kernels=(3, 5),
        dense_kernels=(3,),
        expansions=tuple(expansions),
        strides=2,
        bounds=_BOUNDS,
        start_kernels=(3, 5) if IBN_EXTRA_DW in ops else (),
    )


_MORE = BlockChoices(
    ops=(SKIP, *UIB_OPS), kernels=(3, 5), expansions=(2, 3, 4, 6), start_kernels=(3, 5)
)


def _stage(widths: tuple[int, ...], ops: Sequence[str], blocks: int) -> Stage:
    return Stage(widths, (_first(ops, (2, 3, 4, 6)), *[_MORE] * (blocks - 1)))


SPACE = IbnSpace(
    name="mobilenet_v4",
    input_shape=(1, 224, 224, 3),
    stem_widths=(24, 32),
    stem_kernels=(3,),
    stem_strides=2,
    stages=(
        Stage((32, 48, 64), (_first(_FULL, (1, 2, 4)),)),
        _stage((48, 64, 80, 96), (*_FULL, *_STRIDED), 2),
        _stage((96, 128, 160, 192), _STRIDED, 11),
        _stage((128, 192, 256, 384, 512), _STRIDED, 13),
    ),
    top_widths=(960,),
    pooled_widths=(1280,),
)

_NAMES = {
    (False, True): IBN_DW,
    (True, True): IBN_EXTRA_DW,
    (True, False): IBN_CONV_NEXT,
    (False, False): IBN_FFN,
}
"""By whether there is a window before the expansion, and behind it."""
_Row = tuple[int, int, int]
"""Windows before and behind the expansion, 0 for none, and the expansion."""


def _ops(number: int, rows: Sequence[_Row]) -> Iterator[tuple[str, Value]]:
    """Decisions of the blocks of a stage."""
    for index, (start, middle, expansion) in enumerate(rows):
        name = f"stage{number}/block{index}"
        yield f"{name}/op", _NAMES[start > 0, middle > 0]
        yield f"{name}/expansion", expansion
        yield from [(f"{name}/start_kernel", start)] * (start > 0)
        yield from [(f"{name}/kernel", middle)] * (middle > 0)


def _published(
    stem: int, widths: tuple[int, ...], first: dict[str, Value], *stages: Sequence[_Row]
) -> Architecture:
    """``stages`` are the last ones; blocks beyond their rows are skipped."""
    decisions: dict[str, Value] = {"stem/channels": stem, "*/block[!0]*/op": SKIP, **first}
    decisions |= {f"stage{number}/channels": width for number, width in enumerate(widths, 1)}
    for number, rows in enumerate(stages, 1 + len(widths) - len(stages)):
        decisions.update(_ops(number, rows))
    return prune(SPACE, decisions)


_PAIRS: dict[str, Value] = {
    "stage[12]/block0/op": CONV_PAIR,
    "stage1/block0/expansion": 1,
    "stage2/block0/expansion": 3,
}
_FUSED: dict[str, Value] = {"stage1/block0/op": IBN_FUSED, "stage1/block0/expansion": 4}

BASELINES = {
    "conv_s": _published(
        32,
        (32, 64, 96, 128),
        _PAIRS,
        [(5, 5, 3), *[(0, 3, 2)] * 4, (3, 0, 4)],
        [(3, 3, 6), (5, 5, 4), (0, 5, 4), (0, 5, 3), (0, 3, 4), (0, 3, 4)],
    ),
    "conv_m": _published(
        32,
        (48, 80, 160, 256),
        _FUSED,
        [(3, 5, 4), (3, 3, 2)],
        [(3, 5, 6), (3, 3, 4), (3, 3, 4), (3, 5, 4), (3, 3, 4), (3, 0, 4), (0, 0, 2), (3, 0, 4)],
        [
            *((5, 5, 6), (5, 5, 4), (3, 5, 4), (3, 5, 4), (0, 0, 4), (3, 0, 4), (3, 5, 2)),
            *((5, 5, 4), (0, 0, 4), (0, 0, 4), (5, 0, 2)),
        ],
    ),
    "conv_l": _published(
        24,
        (48, 96, 192, 512),
        _FUSED,
        [(3, 5, 4), (3, 3, 4)],
        [(3, 5, 4), *[(3, 3, 4)] * 3, (3, 5, 4), *[(5, 3, 4)] * 5, (3, 0, 4)],
        [
            *[(5, 5, 4)] * 4,
            *((5, 0, 4), (5, 3, 4), (5, 0, 4), (5, 0, 4), (5, 3, 4), (5, 5, 4)),
            *[(5, 0, 4)] * 3,
        ],
    ),
}
INPUT_SHAPES = {"conv_m": (1, 256, 256, 3), "conv_l": (1, 384, 384, 3)}
