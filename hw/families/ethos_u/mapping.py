"""Which ops Vela gives to an Ethos-U.

Its list (``vela --supported-ops-report``) has more kinds than networks of ours do; what it does
with the others of ours was asked of it, one op a file.
"""

from __future__ import annotations

from hw.columns import mask_of
from hw.families.ethos_u.profile import Device
from spaces.graph import BoolArray, OpBatch, OpKind, Trait, kinds_with

LEFT = (
    kinds_with(Trait.HOST)
    | kinds_with(Trait.LOOKUP)
    | frozenset({OpKind.GATHER_ND, OpKind.DIV, OpKind.GELU, OpKind.RSQRT})
    | frozenset({OpKind.DEQUANTIZE, OpKind.SUM, OpKind.REDUCE_MAX, OpKind.L2_NORMALIZATION})
)
"""Kinds that stay on the host."""


def mapped(batch: OpBatch, device: Device) -> BoolArray:
    """Slots that run on the accelerator, ``[n, n_op_slots]``.

    Each op goes by itself: Vela makes as many parts of the network as are needed.
    """
    result: BoolArray = batch.live & ~mask_of(LEFT)[batch.kind]
    return result
