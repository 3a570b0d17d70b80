"""The space of MobileNetEdgeTPUV2 for small inputs (8 to 96 pixels), trainable on two cores.

Stem, three stages that each halve the resolution (the release halves it five times, for 224
pixels), and a top convolution. Kernel 5 is offered to depthwise convolutions only: a full 5x5
costs 2.8 times a full 3x3, which two cores cannot train in the supernet.

Channels per group start at 16 expanded channels; the widths are multiples of 8 so that group
convolutions are legal in every stage, late ones included, where the release has none.
"""

from __future__ import annotations

from spaces.families.blocks import BLOCK_OPS, SKIP
from spaces.families.ibn.choices import BlockChoices, Stage
from spaces.families.ibn.space import IbnSpace
from spaces.walk import prune

_OPS = tuple(op for op in BLOCK_OPS if op != SKIP)
_FIRST = BlockChoices(
    ops=_OPS,
    kernels=(3, 5),
    dense_kernels=(3,),
    expansions=(2, 4),
    channels_per_group=(16, 32),
    strides=2,
)
_MORE = BlockChoices(
    ops=(SKIP, *_OPS),
    kernels=(3, 5),
    dense_kernels=(3,),
    expansions=(2, 4),
    channels_per_group=(16, 32, 64),
)

SPACE = IbnSpace(
    name="mobilenet_edgetpu_v2_small",
    input_shape=(1, 32, 32, 3),
    stem_widths=(8, 16),
    stem_kernels=(3,),
    stem_strides=1,
    stages=(
        Stage(widths=(8, 16, 24, 32), blocks=(_FIRST, _MORE)),
        Stage(widths=(16, 32, 48, 64), blocks=(_FIRST, _MORE, _MORE)),
        Stage(widths=(32, 64, 96, 128), blocks=(_FIRST, _MORE, _MORE)),
    ),
    top_widths=(64, 128, 256),
)


def _family(op: str, expansion: int) -> dict[str, dict[str, int | str]]:
    """Hand-made points of growing width: one op everywhere, all blocks."""
    widths = {"s": (16, 32, 64), "m": (24, 48, 96), "l": (32, 64, 128)}
    return {
        size: {
            "*/op": op,
            "*/expansion": expansion,
            "stem/channels": 16,
            "top/channels": 256,
            **{f"stage{number}/channels": width for number, width in enumerate(row, 1)},
        }
        for size, row in widths.items()
    }


BASELINES = {
    f"{name}_{size}": prune(SPACE, decisions)
    for name, op in (("depthwise", "ibn_dw"), ("fused", "ibn_fused"))
    for size, decisions in _family(op, 4).items()
} | {
    # The recipe of the released MobileNetEdgeTPUV2: fused early, depthwise late.
    f"edgetpu_v2_{size}": prune(SPACE, {**decisions, "stage1/*/op": "ibn_fused"})
    for size, decisions in _family("ibn_dw", 4).items()
}
