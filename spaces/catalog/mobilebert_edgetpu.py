"""The space of MobileBERT-EdgeTPU, and the released networks as points of it.

The release gives all blocks of a network the same values; here each block decides for itself.
Numbers of blocks divide the 24 of the teacher, whose blocks a student learns in groups. Fixed as
released: hidden 512, embedding 128, ReLU. Half and twice the released 4 heads, shorter sequences
and layer normalisation are ours; in int8 the latter loses accuracy (its variance spans more than
8 bits tell), so it serves costing and float networks.

Source: tensorflow/models, official/projects/edgetpu/nlp/experiments/*.yaml and its README.
"""

from __future__ import annotations

from spaces.families.language.space import LanguageSpace
from spaces.families.language.transformer import LAYER_NORM, NO_NORM
from spaces.space import Architecture
from spaces.walk import prune

PROBLEMS = ("text_classification", "question_answering")

SPACE = LanguageSpace(
    name="mobilebert_edgetpu",
    input_shape=(1, 384),
    percents=(25, 50, 75, 100),
    normalisations=(NO_NORM, LAYER_NORM),
    block_counts=(6, 8, 12, 24),
    bottlenecks=(128, 256),
    head_counts=(2, 4, 8),
    ffn_widths=(512, 1024),
    ffn_counts=(2, 4, 6),
    hidden=512,
    embedding=128,
    vocabulary_size=30522,
    token_types=2,
)


def _released(blocks: int, bottleneck: int, ffn_channels: int, ffns: int) -> Architecture:
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
    "baseline": _released(24, 128, 512, 4),
    "m": _released(12, 256, 1024, 6),
    "s": _released(12, 256, 1024, 4),
    "xs": _released(8, 256, 1024, 4),
    "xxs": _released(6, 128, 1024, 2),
}
