"""The head of DeepLabV3+: a pyramid of dilated convolutions, and a decoder with fine features.

Atrous spatial pyramid pooling (ASPP) looks at the backbone's coarsest map through a 1x1
convolution, three separable 3x3 ones of growing dilation, and the mean of the whole map. The
decoder brings the result to the size of a finer map of the backbone and convolves both together.

``merge`` says how maps are joined. The release concatenates; where networks share weights, a sum
is the better choice, because in a concatenation the weights of one branch begin at another row
whenever the branch before it changes its width.

On the Edge TPU: the compiler refuses resizes by more than 16 (``hw/families/edge_tpu/compilers``),
so the mean, which is spread over the coarsest map again, ends the TPU's part of the network if
that map has a side of more than 16 pixels.

Source: Chen et al. 2018, arXiv:1802.02611; tensorflow/models ``official/vision/modeling``,
``layers/deeplab.py`` and ``heads/segmentation_heads.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from spaces.batching.places import Source
from spaces.families.segmentation.drawing import Drawing
from spaces.graph import Activation

Merge = Literal["concatenation", "sum"]
RATES = (1, 2, 3)
"""Dilations of the three separable convolutions, in multiples of the smallest."""


@dataclass(frozen=True, slots=True)
class DeepLab:
    """A head, all decided.

    Attributes:
        low_level: Level of the fine features, at which the head ends; level n has stride 2**n.
        channels: Of each branch of the ASPP, and behind it.
        dilation: The smallest of its three.
        low_channels: Of the fine features; those of a sum have ``channels``.
        decoder_channels: Of the decoder's convolutions.
        repeats: How many separable convolutions the decoder has.
        merge: How branches, and coarse and fine features, are joined.
        activation: After each convolution.
    """

    low_level: int
    channels: int
    dilation: int
    low_channels: int
    decoder_channels: int
    repeats: int
    merge: Merge = "concatenation"
    activation: Activation = "relu"


def draw_deeplab(drawing: Drawing, features: Mapping[int, Source], head: DeepLab) -> Source:
    """The map that ``logits`` reads: (1, H, W, decoder_channels) at ``low_level``.

    Args:
        drawing: Gets the ops.
        features: The backbone's map of each level; the ASPP reads the coarsest.
        head: The decisions.
    """
    level, activation = head.low_level, head.activation
    coarse = _pyramid(drawing, features[max(features)], head)
    low_channels = head.channels if head.merge == "sum" else head.low_channels
    fine = drawing.pointwise(f"deeplab/low{level}", features[level], low_channels, activation)
    coarse = drawing.resized("deeplab/resize", coarse, (fine[1][1], fine[1][2]))
    x = _merged(drawing, "deeplab/decoder", [coarse, fine], head.merge)
    for number in range(head.repeats):
        name = f"deeplab/decoder{number}"
        x = drawing.depthwise(f"{name}/depthwise", x, activation)
        x = drawing.pointwise(f"{name}/pointwise", x, head.decoder_channels, activation)
    return x


def _pyramid(drawing: Drawing, source: Source, head: DeepLab) -> Source:
    """The ASPP: (1, H, W, C) to (1, H, W, channels)."""
    channels, activation = head.channels, head.activation
    branches = [drawing.pointwise("deeplab/aspp/pointwise", source, channels, activation)]
    for rate in RATES:
        name, dilation = f"deeplab/aspp/rate{rate}", rate * head.dilation
        branches.append(drawing.separable(name, source, channels, activation, dilation))
    mean = drawing.mean("deeplab/aspp/mean", source)
    mean = drawing.pointwise("deeplab/aspp/pooled", mean, channels, activation)
    size = (source[1][1], source[1][2])
    branches.append(drawing.resized("deeplab/aspp/resize", mean, size))
    merged = _merged(drawing, "deeplab/aspp", branches, head.merge)
    return drawing.pointwise("deeplab/aspp/merge", merged, channels, activation)


def _merged(drawing: Drawing, name: str, sources: Sequence[Source], merge: Merge) -> Source:
    if merge == "sum":
        return drawing.total(name, sources)
    return drawing.concatenation(f"{name}/concatenation", sources)
