"""Which ops Vela gives to an Ethos-U, by the kinds that its report lists.

Source: ``vela --supported-ops-report`` of Vela 5.2.0, the tables of TFLite operators. Its limits on
shapes and types are not repeated here: ``python -m hw measure --bench vela`` asks Vela itself.
"""

from __future__ import annotations

from hw.columns import mask_of
from hw.families.ethos_u.profile import Device
from spaces.graph import BoolArray, OpBatch, OpKind, Trait, kinds_with

LEFT = kinds_with(Trait.HOST) | frozenset(
    {
        OpKind.DEPTH_TO_SPACE,
        OpKind.DEQUANTIZE,
        OpKind.EMBEDDING_LOOKUP,
        OpKind.GATHER_ND,
        OpKind.L2_NORMALIZATION,
        OpKind.SPACE_TO_DEPTH,
    }
)
"""Kinds that stay on the host, whatever the chip."""
LEFT_BY_OLDER = frozenset({OpKind.DIV, OpKind.GATHER})
"""Those that an Ethos-U55 or U65 leaves, too. CAST is not on their list either, but behind an
ARG_MAX, where our networks have it, Vela does without."""


def left_kinds(device: Device) -> frozenset[OpKind]:
    """Kinds that stay on the host of ``device``."""
    return LEFT if device.chip.chains else LEFT | LEFT_BY_OLDER


def mapped(batch: OpBatch, device: Device) -> BoolArray:
    """Slots that run on the accelerator, ``[n, n_op_slots]``.

    Each op goes by itself: Vela makes as many parts of the network as are needed.
    """
    result: BoolArray = batch.live & ~mask_of(left_kinds(device))[batch.kind]
    return result
