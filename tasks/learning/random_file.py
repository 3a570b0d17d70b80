"""A network as an int8 file of random weights, as compilers and benches want it: nothing learned.

What networks of pictures are made of is written op by op, in milliseconds. Others go the way of
finalists, through Keras and the converter, which takes seconds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw.tflite.writer import unwritable, written
from spaces.graph import OpGraph
from tasks.learning.exported import ends
from tasks.learning.protocols import Problem

RANGES = 2
"""Random samples that set the ranges of activations."""


def random_file(problem: Problem, graph: OpGraph, seed: int, splits_groups: bool) -> bytes:
    """An int8 ``.tflite``.

    Args:
        problem: Whose head the graph has.
        graph: Of the whole network.
        seed: Of weights and ranges.
        splits_groups: Write group convolutions as SPLIT, convolutions, CONCATENATION.
    """
    if not unwritable(graph):
        return written(graph, seed, splits_groups)
    return _converted(problem, graph, seed, splits_groups)


def _converted(problem: Problem, graph: OpGraph, seed: int, splits_groups: bool) -> bytes:
    import tf_keras

    from spaces.trainable.keras_model import build_model, integer_inputs
    from tasks.learning.quantization import (
        Network,
        export_post_training,
        split_grouped_convolutions,
    )

    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(seed)
    rng, numbered = np.random.default_rng(seed), integer_inputs(graph)
    ranges: dict[str, NDArray[Any]] = {}
    for name, shape in graph.inputs:
        size = (RANGES, *shape[1:])
        rows = min(
            [op.constant[0] for op in graph.ops if op.constant and name in op.inputs] or [2]
        )
        ranges[name] = (
            rng.integers(0, rows, size, np.int32)
            if name in numbered
            else rng.uniform(-1, 1, size).astype(np.float32)
        )
    names = ends(problem, graph)
    network = Network(build_model(graph, outputs=names), graph, names, problem.deployed)
    data = export_post_training(network, ranges)
    return split_grouped_convolutions(data) if splits_groups else data
