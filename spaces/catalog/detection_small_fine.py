"""As :mod:`spaces.catalog.detection_small`, but detecting from stride 4, too.

For objects of less than 16 pixels. Stride 4 makes three quarters of all anchors, and each of them
costs time in post-processing, which runs on the host.
"""

from __future__ import annotations

import dataclasses

from spaces.catalog import detection_small
from spaces.families.blocks import IBN_DW, SKIP
from spaces.families.spaghetti.layers import SEPARABLE
from spaces.families.spaghetti.space import Node
from spaces.space import Architecture, Value
from spaces.walk import prune

_COARSER = detection_small.SPACE
# Offers what the other head nodes offer.
_FINEST = Node(
    name="h0",
    levels=(2,),
    widths=(16, 24),
    layers=_COARSER.nodes[-1].layers[:1],
    inputs=("n0+h1", "n0+h2"),
    resamples=True,
)
PROBLEMS = ("detection",)

SPACE = dataclasses.replace(
    _COARSER,
    name="detection_small_fine",
    nodes=(*_COARSER.nodes, _FINEST),
    outputs=("h0", *_COARSER.outputs),
)


def _with_finest(name: str, one: Architecture) -> Architecture:
    family, _, size = name.partition("_")
    op = {"depthwise": IBN_DW, "spaghetti": SEPARABLE}[family]
    finest: dict[str, Value] = {
        "h0/channels": 24 if size == "l" else 16,
        "h0/layer0/op": SKIP if size == "xs" else op,
    }
    return prune(SPACE, {**one.values, **finest})


BASELINES = {name: _with_finest(name, one) for name, one in detection_small.BASELINES.items()}
