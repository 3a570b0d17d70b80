"""As :mod:`spaces.catalog.detection_small`, but nothing is detected from stride 4.

Where objects are not small, stride 4 makes three quarters of the anchors and brings nothing; on a
host each of them costs time in post-processing.
"""

from __future__ import annotations

import dataclasses

from spaces.catalog import detection_small
from spaces.space import Architecture, prune

_FINEST = "h0"
SPACE = dataclasses.replace(
    detection_small.SPACE,
    name="detection_small_coarse",
    nodes=tuple(node for node in detection_small.SPACE.nodes if node.name != _FINEST),
    outputs=tuple(name for name in detection_small.SPACE.outputs if name != _FINEST),
)


def _without_finest(one: Architecture) -> Architecture:
    kept = {n: v for n, v in one.values.items() if not n.startswith(f"{_FINEST}/")}
    return prune(SPACE, kept)


BASELINES = {name: _without_finest(one) for name, one in detection_small.BASELINES.items()}
