"""What a place of a large space offers: blocks that are not out of all proportion to its family.

A full 7x7 convolution from 256 to 2,048 channels has 26 million weights, more than twice those of
a whole MobileNetEdgeTPUV2-L. It can be lowered, and a search would cost it, but weights that are
shared must be as large as the largest block that may be chosen. So at each place the weights that
a full or group convolution and what belongs to it share, at the widest channels of the place, are
at most so many. Windows give way first, then expansions, the largest first; the smallest of each
always stay. Depthwise blocks are left alone: their windows weigh next to nothing. So are pairs of
convolutions: the spaces that have them need no bound.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from spaces.families import blocks
from spaces.families.ibn.choices import BlockChoices, OpBound, Stage

DENSE_OPS = frozenset({blocks.IBN_FUSED}) | blocks.GROUPED_OPS


def bounded(
    stages: Sequence[Stage], stem_widths: Sequence[int], most_weights: int
) -> tuple[Stage, ...]:
    """The same stages, each dense op at each place within ``most_weights`` weights.

    Args:
        stages: In order, not bounded yet, and without blocks that expand their output.
        stem_widths: Channels that may enter the first stage.
        most_weights: Kernels of one block, without normalisations.
    """
    made, entering = list[Stage](), max(stem_widths)
    for stage in stages:
        places, widest = list[BlockChoices](), max(stage.widths)
        for place in stage.blocks:
            found = tuple(
                _bound(place, op, entering, widest, most_weights)
                for op in place.ops
                if op in DENSE_OPS
            )
            places.append(dataclasses.replace(place, bounds=found))
            entering = widest
        made.append(Stage(stage.widths, tuple(places)))
    return tuple(made)


def _bound(
    place: BlockChoices, op: str, in_channels: int, out_channels: int, most_weights: int
) -> OpBound:
    kernels, expansions = sorted(place.kernels_of(op)), sorted(place.expansions)
    per_group = max(place.channels_per_group, default=0)
    while len(kernels) > 1 or len(expansions) > 1:
        ends = (expansions[0], expansions[-1])
        if shared_weights(op, in_channels, out_channels, kernels[-1], ends, per_group) <= (
            most_weights
        ):
            break
        (kernels if len(kernels) > 1 else expansions).pop()
    return OpBound(op, kernels[-1], expansions[-1])


def shared_weights(
    op: str,
    in_channels: int,
    out_channels: int,
    kernel: int,
    expansions: tuple[int, int],
    channels_per_group: int = 0,
) -> int:
    """Kernels of a block in which each has the largest size in each dimension.

    Args:
        op: One of :data:`DENSE_OPS`.
        in_channels: The most that enter.
        out_channels: The most that leave.
        kernel: The largest side of the window.
        expansions: The least and the greatest.
        channels_per_group: The most expanded channels of a group.
    """
    least, most = expansions
    expanded, window = in_channels * most, kernel**2
    expand, project = in_channels * expanded, expanded * out_channels
    if op == blocks.IBN_FUSED:
        return (window * expand if most > 1 else 0) + project
    if op == blocks.IBN_GROUPED:
        return expand + window * min(channels_per_group, expanded // 2) * expanded + project
    # At least two groups; the less is expanded, the more channels enter a group.
    depth = min(channels_per_group // least, in_channels // 2)
    return window * depth * expanded + project
