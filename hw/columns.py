"""Arithmetic on the columns of an :class:`~spaces.graph.OpBatch`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spaces.graph import (
    WEIGHTED_KINDS,
    BoolArray,
    IntArray,
    OpBatch,
    OpColumns,
    OpKind,
    Trait,
    kinds_with,
)

KINDS = tuple(OpKind)
"""Op kinds by the numbers that an :class:`~spaces.graph.OpBatch` has for them."""

FloatArray = NDArray[np.float64]

BINARY = kinds_with(Trait.BINARY)
"""Ops on two tensors, element by element; the smaller one is repeated."""
JOINING = kinds_with(Trait.JOINING)
"""Ops of which all inputs together are the output."""
SPLITTING = kinds_with(Trait.SPLITTING)
"""Ops of which all outputs together are the input; an op knows the shape of one of them."""


def mask_of(kinds: frozenset[OpKind]) -> BoolArray:
    """Table by op kind number: whether the kind is among ``kinds``."""
    return np.array([kind in kinds for kind in KINDS])


def op_macs(ops: OpColumns) -> FloatArray:
    """Multiply-accumulates of each op, ``[n_ops]``, as :attr:`spaces.graph.Op.macs` has them."""
    weighted = mask_of(WEIGHTED_KINDS)[ops.kind]
    depthwise = ops.kind == KINDS.index(OpKind.DEPTHWISE_CONV_2D)
    transposed = ops.kind == KINDS.index(OpKind.TRANSPOSE_CONV)
    inputs = np.where(depthwise, 1, ops.input_hwc[:, 2] // np.maximum(ops.groups, 1))
    weights = ops.kernel_size.prod(axis=1) * inputs * ops.output_hwc[:, 2]
    maps = np.where(transposed[:, None], ops.input_hwc, ops.output_hwc)
    macs = np.where(weighted, weights * maps[:, 0] * maps[:, 1], 0)
    product = ops.kind == KINDS.index(OpKind.BATCH_MATMUL)
    macs = np.where(product, ops.output_hwc.prod(axis=1) * ops.input_hwc[:, 2], macs)
    recurrent = ops.kind == KINDS.index(OpKind.UNIDIRECTIONAL_SEQUENCE_LSTM)
    macs = np.where(recurrent, ops.input_hwc[:, 1] * ops.constant, macs)
    result: FloatArray = macs.astype(np.float64)
    return result


def slot_sum(of_ops: FloatArray | IntArray, batch: OpBatch) -> FloatArray:
    """Sum over each network of a column ``[n_distinct]``: ``[n_architectures]``."""
    result: FloatArray = np.where(batch.live, of_ops[batch.index], 0).sum(axis=1, dtype=np.float64)
    return result
