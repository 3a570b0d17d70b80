"""Arithmetic on the columns of an :class:`~spaces.graph.OpBatch`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spaces.graph import WEIGHTED_KINDS, BoolArray, OpBatch, OpKind

KINDS = tuple(OpKind)
"""Op kinds by the numbers that an :class:`~spaces.graph.OpBatch` has for them."""

FloatArray = NDArray[np.float64]


def mask_of(kinds: frozenset[OpKind]) -> BoolArray:
    """Table by op kind number: whether the kind is among ``kinds``."""
    return np.array([kind in kinds for kind in KINDS])


def slot_macs(batch: OpBatch) -> FloatArray:
    """Multiply-accumulates of each slot, ``[n_architectures, n_op_slots]``."""
    weighted = mask_of(WEIGHTED_KINDS)[batch.kind]
    depthwise = batch.kind == KINDS.index(OpKind.DEPTHWISE_CONV_2D)
    transposed = batch.kind == KINDS.index(OpKind.TRANSPOSE_CONV)
    inputs = np.where(depthwise, 1, batch.input_hwc[..., 2] // np.maximum(batch.groups, 1))
    weights = batch.kernel_size.prod(axis=-1) * inputs * batch.output_hwc[..., 2]
    maps = np.where(transposed[..., None], batch.input_hwc, batch.output_hwc)
    macs = weights * maps[..., 0] * maps[..., 1]
    result: FloatArray = np.where(batch.live & weighted, macs, 0).astype(np.float64)
    return result
