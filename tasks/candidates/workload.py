"""How long a training takes on a nominal machine, from the graph alone.

So a budget in minutes gives the same trainings everywhere. A step is linear in multiply-
accumulates, in the values that ops put out (memory traffic: most of the time of depthwise
convolutions), in the number of ops, in that of batch normalisations (each has forward, backward
and averages of its own), and in the values of input pictures (augmentation, targets of their
size).

The constants are a least-squares fit to the relative errors of 24 networks of six data sets
(digits, photographs, masks, boxes, sentences, questions), each step as the pipeline takes it on
one thread of a 2.8 GHz server core; half of the steps take 0.95 to 1.05 of what it says, all
0.87 to 1.29. One of them ran beside other work and was put between its wall and its processor
time; by the latter the constants would differ by 1 to 8 %. Gradients, updates and averages have
become one traced function since: steps took 0.84 of it in the median on that core, and 0.28 on
one with AVX-512. ``python -m benchmarks.training_speed`` prints it for yours; ``runtime.speed`` is
its inverse.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from spaces.graph import OpGraph

SECONDS_PER_MAC = 4.9e-11
SECONDS_PER_VALUE = 8e-9
SECONDS_PER_INPUT_VALUE = 4.6e-8
"""Of a picture."""
SECONDS_PER_OP, SECONDS_PER_NORM = 2.5e-4, 1.15e-3
"""Of one step, whatever the batch."""
SECONDS_TO_BUILD_OP = 0.15
"""Tracing, once a network."""
PICTURE = 4
"""Dimensions of a batch of pictures."""
CORES = 2
"""Of the nominal machine; a core trains one network."""


def step_seconds(graph: OpGraph, batch_size: int) -> float:
    """Nominal core-seconds of one training step on ``batch_size`` samples."""
    values = sum(math.prod(op.output_shape) for op in graph.ops)
    given = sum(math.prod(shape) for _, shape in graph.inputs if len(shape) == PICTURE)
    one = (
        SECONDS_PER_MAC * graph.macs + SECONDS_PER_VALUE * values + SECONDS_PER_INPUT_VALUE * given
    )
    norms = sum(op.batch_norm for op in graph.ops)
    return batch_size * one + SECONDS_PER_OP * len(graph.ops) + SECONDS_PER_NORM * norms


def training_seconds(
    graphs: Iterable[OpGraph], steps: float, batch_size: int, speed: float = 1.0
) -> float:
    """Wall seconds of a training of each, building included, side by side.

    ``speed``: of the machine's steps, in nominal ones. Building is Python, which wide vector
    instructions make no faster.
    """
    each = (
        SECONDS_TO_BUILD_OP * len(one.ops) + steps * step_seconds(one, batch_size) / speed
        for one in graphs
    )
    return sum(each) / CORES


def epochs_within(
    minutes: float,
    graphs: Iterable[OpGraph],
    steps_per_epoch: int,
    batch_size: int,
    most: int,
    speed: float = 1.0,
) -> int:
    """How many epochs of all ``graphs`` together fit into wall ``minutes``; 1 at least.

    Each network is built and traced first, which is counted; ``most`` bounds the answer. ``speed``
    is that of :func:`training_seconds`.
    """
    found = list(graphs)
    left = 60.0 * minutes * CORES - sum(SECONDS_TO_BUILD_OP * len(one.ops) for one in found)
    epoch = steps_per_epoch * sum(step_seconds(one, batch_size) for one in found) / speed
    return max(1, min(most, int(left / epoch)))
