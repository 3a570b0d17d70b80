"""The space of MobileBERT-EdgeTPU for short texts (16 to 128 tokens), trainable on two cores.

Hidden 128 and embedding 64 stay fixed: the residual path is what blocks share, and what lets a
block begin as the identity. Layer normalisation is not offered: the variance of a token's features
spans more than 8 bits tell, and six ops in each place cost more than they give at this depth. In
their stead stand a scale and an offset, as in MobileBERT, or nothing, which computes the same
networks with two ops less a sum.
"""

from __future__ import annotations

from spaces.families.language.space import LanguageSpace
from spaces.families.language.transformer import NO_NORM, NONE
from spaces.space import Architecture
from spaces.walk import prune

PROBLEMS = ("text_classification", "question_answering")

SPACE = LanguageSpace(
    name="mobilebert_small",
    input_shape=(1, 64),
    percents=(50, 75, 100),
    normalisations=(NO_NORM, NONE),
    block_counts=(1, 2, 3, 4),
    bottlenecks=(32, 64),
    head_counts=(2, 4),
    ffn_widths=(64, 128, 256),
    ffn_counts=(1, 2),
    hidden=128,
    embedding=64,
    vocabulary_size=8000,
)


def _like(blocks: int, bottleneck: int, ffn_channels: int, ffns: int) -> Architecture:
    return prune(
        SPACE,
        {
            "sequence/percent": 100,
            "blocks": blocks,
            "*/bottleneck": bottleneck,
            "*/heads": 4,
            "*/ffn/channels": ffn_channels,
            "*/ffn/count": ffns,
        },
    )


BASELINES = {
    # The hand-made family that a search must beat: a quarter of the release's hidden width, depth
    # and bottleneck, and a third of its feed-forward networks (half, where it has two).
    "baseline": _like(4, 32, 128, 2),
    "m": _like(3, 64, 256, 2),
    "s": _like(3, 64, 256, 1),
    "xs": _like(2, 64, 256, 1),
    "xxs": _like(1, 32, 256, 1),
}
