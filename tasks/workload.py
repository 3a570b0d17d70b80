"""How long a training takes on a nominal machine, from the graph alone.

So a budget in minutes gives the same trainings everywhere. A step is linear in
multiply-accumulates, in the values that ops put out (memory traffic: most of the time of depthwise
convolutions) and in the number of ops.

The constants were set by hand after single steps on one thread of a 2.8 GHz server core, not
fitted: networks for 32 and 48 pixels take 1.0 to 1.3 times as long as it says, those for 16 pixels
up to 1.7 times. ``python -m benchmarks.training_speed`` prints it for yours.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from spaces.graph import OpGraph

SECONDS_PER_MAC = 5e-11
SECONDS_PER_VALUE = 8e-9
SECONDS_PER_OP = 2e-4
"""Of one step, whatever the batch."""
SECONDS_TO_BUILD_OP = 0.15
"""Tracing, once a network."""
CORES = 2
"""Of the nominal machine; a core trains one network."""


def step_seconds(graph: OpGraph, batch_size: int) -> float:
    """Nominal core-seconds of one training step on ``batch_size`` samples."""
    values = sum(math.prod(op.output_shape) for op in graph.ops)
    one = SECONDS_PER_MAC * graph.macs + SECONDS_PER_VALUE * values
    return batch_size * one + SECONDS_PER_OP * len(graph.ops)


def epochs_within(
    minutes: float, graphs: Iterable[OpGraph], steps_per_epoch: int, batch_size: int, most: int
) -> int:
    """How many epochs of all ``graphs`` together fit into nominal wall ``minutes``; 1 at least.

    Each network is built and traced first, which is counted; ``most`` bounds the answer.
    """
    found = list(graphs)
    left = 60.0 * minutes * CORES - sum(SECONDS_TO_BUILD_OP * len(one.ops) for one in found)
    epoch = steps_per_epoch * sum(step_seconds(one, batch_size) for one in found)
    return max(1, min(most, int(left / epoch)))
