"""Which ops Vela gives to an Ethos-U.

Source: ``vela --supported-ops-report`` of Vela 5.2.0, the tables of TFLite operators, as far as a
graph shows what they ask for. ``python -m hw measure --bench vela`` asks Vela itself.
"""

from __future__ import annotations

import numpy as np

from hw.columns import KINDS, mask_of
from hw.families.ethos_u.profile import Device
from hw.tflite.reasons import NOT_SUPPORTED
from spaces.graph import BoolArray, OpBatch, OpColumns, OpKind, Trait, kinds_with

LEFT = kinds_with(Trait.HOST) | frozenset(
    {
        OpKind.CAST,
        OpKind.DEPTH_TO_SPACE,
        OpKind.DEQUANTIZE,
        OpKind.EMBEDDING_LOOKUP,
        OpKind.GATHER_ND,
        OpKind.L2_NORMALIZATION,
        OpKind.SPACE_TO_DEPTH,
    }
)
"""Kinds that stay on the host, whatever the chip: a CAST, too, which an Ethos-U85 has on its list,
since numbers of classes have no scale."""
LEFT_BY_OLDER = frozenset({OpKind.DIV, OpKind.GATHER})
"""Those that an Ethos-U55 or U65 leaves, too."""
WINDOWED = kinds_with(Trait.WINDOWED) - {OpKind.TRANSPOSE_CONV}
MOST_STRIDE = 3
"""Of a window over padded maps on an Ethos-U55 or U65."""
NEAREST_FACTORS = (2, 4, 8)
"""Of a nearest-neighbour resize there; a bilinear one between centres of pixels must be by 2."""
LIMITED = "Operation is supported, but not with these strides or scales"


def left_kinds(device: Device) -> frozenset[OpKind]:
    """Kinds that stay on the host of ``device``."""
    return LEFT if device.chip.chains else LEFT | LEFT_BY_OLDER


def mapped(batch: OpBatch, device: Device) -> BoolArray:
    """Slots that run on the accelerator, ``[n, n_op_slots]``.

    Each op goes by itself: Vela makes as many parts of the network as are needed.
    """
    ops = batch.distinct
    here = ~mask_of(left_kinds(device))[ops.kind] & _within_limits(ops, device)
    result: BoolArray = batch.live & here[batch.index]
    return result


def why_left(kind: OpKind, device: Device) -> str:
    """Why an op of that kind, which :func:`mapped` leaves, stays on the host."""
    return NOT_SUPPORTED if kind in left_kinds(device) else LIMITED


def _within_limits(ops: OpColumns, device: Device) -> BoolArray:
    """Whether strides and scales of each op are what the chip can do, ``[n_ops]``."""
    before, after = ops.input_hwc[:, :2], ops.output_hwc[:, :2]
    factor = after / np.maximum(before, 1)
    same = (factor == 1).all(axis=1) | (before == 1).all(axis=1)
    even = factor[:, 0] == factor[:, 1]
    bilinear = ops.kind == KINDS.index(OpKind.RESIZE_BILINEAR)
    nearest = ops.kind == KINDS.index(OpKind.RESIZE_NEAREST_NEIGHBOR)
    if device.chip.chains:
        whole = (np.log2(np.maximum(factor, 1)) % 1 == 0).all(axis=1)
        bad = bilinear & ~(same | whole)
    else:
        bad = bilinear & ~(same | (even & (factor[:, 0] == 2)))
        bad |= nearest & ~(same | (even & np.isin(factor[:, 0], NEAREST_FACTORS)))
        bad |= mask_of(WINDOWED)[ops.kind] & (ops.strides.max(axis=1) > MOST_STRIDE)
    result: BoolArray = ~bad
    return result
