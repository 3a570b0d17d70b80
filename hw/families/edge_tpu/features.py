"""What a calibration knows a network by: how many ops of which kind, and where its time goes.

The residual model interpolates between measured networks in these features, and a network whose
features lie outside of all measured ones is out of range.
"""

from __future__ import annotations

import numpy as np

from hw.columns import FloatArray, mask_of
from hw.families.edge_tpu.laws import ELEMENTWISE, POOLS, PRODUCTS
from hw.families.edge_tpu.parts import Parts
from hw.families.edge_tpu.placement import Placement
from spaces.graph import IntArray, OpColumns, OpKind

COUNTS = (
    "window convolutions",
    "pointwise and dense ops",
    "depthwise convolutions",
    "pooling ops",
    "element-wise ops",
    "moving ops",
    "host ops",
)
MOVING, HOST = COUNTS.index("moving ops"), COUNTS.index("host ops")
TIMES = ("compute", "movement", "streaming", "transfer", "host time")
FEATURES = (*COUNTS, *TIMES)
LEAST_MS = 0.05
"""Parts of a latency below this are alike."""


def features(placement: Placement, parts: Parts) -> FloatArray:
    """``[n, len(FEATURES)]``: logarithms of 1 + counts, and of ``LEAST_MS`` + milliseconds."""
    batch = placement.batch
    works = placement.mapped & ~placement.free
    classes = _classes(batch.distinct)[batch.index]
    # As if grouped convolutions that are to be split were: parts, and two ops that move.
    regrouping = 2 * (placement.parts > 1)
    on_host = batch.live & ~placement.mapped
    classes = np.where(on_host, HOST, classes)
    counted = np.where(works, placement.parts, 0)
    if on_host.any():
        counted = np.where(on_host, placement.parts + regrouping, counted)
    cells = classes + len(COUNTS) * np.arange(len(classes))[:, None]
    size = len(classes) * len(COUNTS)
    counts = np.bincount(cells.ravel(), counted.ravel(), size).reshape(-1, len(COUNTS))
    counts[:, MOVING] += np.where(works, regrouping, 0).sum(axis=1)
    times = (
        parts.compute_ms,
        parts.movement_ms,
        parts.exposed_ms,
        parts.transfer_ms,
        parts.host_ms,
    )
    spent = np.log(LEAST_MS + np.stack(times, axis=1))
    result: FloatArray = np.concatenate([np.log1p(counts), spent], axis=1)
    return result


def _classes(ops: OpColumns) -> IntArray:
    """Number of the class in ``COUNTS`` of each op on the TPU."""
    dense = mask_of(PRODUCTS | {OpKind.CONV_2D, OpKind.TRANSPOSE_CONV})
    window = ops.kernel_size.prod(axis=1) > 1
    table = np.full(len(ops.kind), MOVING)
    table = np.where(mask_of(ELEMENTWISE)[ops.kind], 4, table)
    table = np.where(mask_of(POOLS)[ops.kind], 3, table)
    table = np.where(mask_of(frozenset({OpKind.DEPTHWISE_CONV_2D}))[ops.kind], 2, table)
    table = np.where(dense[ops.kind], np.where(window, 0, 1), table)
    return table
