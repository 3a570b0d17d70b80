"""A bidirectional feature pyramid (BiFPN) as a segmentation head.

Level n is the map of stride 2**n. Cells of the pyramid pass features from coarse to fine and back;
each node adds its inputs, brought to its size, and convolves the sum. Behind the last cell all
levels are added at the finest one. Sums are plain, as in the release: no learned fusion weights.

The compiler for Coral refuses resizes by more than 16 (``hw/families/edge_tpu/compilers``): there
a pyramid of more than five levels, as the released one has, ends the TPU's part of the network at
the last sum.

Source: tensorflow/models ``official/projects/edgetpu/vision``, ``modeling/heads/bifpn_head.py``
and ``tasks/semantic_segmentation.py``; BiFPN itself: Tan et al. 2020, arXiv:1911.09070.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spaces.batching.places import Source
from spaces.families.segmentation.drawing import Drawing
from spaces.graph import Activation


@dataclass(frozen=True, slots=True)
class Bifpn:
    """A pyramid, all decided.

    Attributes:
        min_level: The finest level, at which the head ends.
        max_level: The coarsest; levels beyond the backbone's are pooled from its last one.
        channels: Of every level.
        repeats: Cells, one behind another.
        activation: After each convolution of a node.
    """

    min_level: int
    max_level: int
    channels: int
    repeats: int
    activation: Activation = "relu6"


def draw_bifpn(drawing: Drawing, features: Mapping[int, Source], head: Bifpn) -> Source:
    """The map that ``logits`` reads: (1, H, W, channels) at ``min_level``.

    The depthwise half of the release's separable classifier is its last op.

    Args:
        drawing: Gets the ops.
        features: The backbone's map of each level, at least of ``min_level`` and all up to its
            last.
        head: The decisions.
    """
    pyramid = _pyramid(drawing, features, head)
    for number in range(head.repeats):
        pyramid = _cell(drawing, f"bifpn/cell{number}", pyramid, head)
    fused = _node(drawing, "bifpn/fusion", list(pyramid.values()), pyramid[head.min_level], head)
    return drawing.depthwise("bifpn/classifier", fused, batch_norm=False)


def _pyramid(drawing: Drawing, features: Mapping[int, Source], head: Bifpn) -> dict[int, Source]:
    """Maps of all levels with equal channels."""
    pyramid: dict[int, Source] = {}
    last, channels = max(features), head.channels
    for level in range(head.min_level, head.max_level + 1):
        name = f"bifpn/lateral{level}"
        if level <= last:
            source = features[level]
            pyramid[level] = drawing.pointwise(name, source, channels, use_bias=True)
            continue
        source = pyramid[level - 1]
        if level == last + 1:  # from the backbone again; not normalised in the release
            source = features[last]
            source = drawing.pointwise(name, source, channels, batch_norm=False, use_bias=True)
        pyramid[level] = drawing.halved(f"bifpn/pool{level}", source)
    return pyramid


def _cell(
    drawing: Drawing, name: str, pyramid: Mapping[int, Source], head: Bifpn
) -> dict[int, Source]:
    """One pass from coarse to fine and back."""
    low, high = head.min_level, head.max_level
    down = {high: pyramid[high]}
    for level in range(high - 1, low - 1, -1):
        own = pyramid[level]
        down[level] = _node(drawing, f"{name}/down{level}", [own, down[level + 1]], own, head)
    up = {low: down[low]}
    for level in range(low + 1, high + 1):
        own = pyramid[level]
        between = [down[level]] if level < high else []
        sources = [own, *between, up[level - 1]]
        up[level] = _node(drawing, f"{name}/up{level}", sources, own, head)
    return up


def _node(drawing: Drawing, name: str, sources: list[Source], like: Source, head: Bifpn) -> Source:
    """The sum of ``sources`` at the size of ``like``, convolved."""
    height, width = like[1][1:3]
    fitting = []
    for number, source in enumerate(sources):
        if source[1][1] > height or source[1][2] > width:
            source = drawing.halved(f"{name}/pool", source)
        fitting.append(drawing.resized(f"{name}/resize{number}", source, (height, width)))
    total = drawing.total(name, fitting)
    return drawing.separable(name, total, head.channels, head.activation)
