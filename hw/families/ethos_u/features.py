"""What a calibration knows a network by: how many ops of which class, and where its time goes."""

from __future__ import annotations

import numpy as np

from hw.columns import FloatArray, mask_of
from hw.families.ethos_u.laws import DENSE, DEPTHWISE, PLACED, POOLS, PRODUCTS, VIEWS
from hw.families.ethos_u.parts import Parts, Placement

CLASSES = (DENSE | PRODUCTS, DEPTHWISE, POOLS)
FEATURES = (
    "convolutions and dense ops",
    "depthwise convolutions",
    "pooling ops",
    "element-wise ops",
    "host ops",
    "compute",
    "movement",
    "streaming",
)
COEFFICIENTS: dict[str, float] = {
    "system.clock_mhz": 0.2,
    "system.sram_scale": 0.5,
    "system.outer_scale": 0.5,
    "system.outer_latency": 0.5,
    "chip.plain_cycles": 0.5,
    "chip.fused_cycles": 0.5,
    "chip.add_cycles": 0.5,
    "chip.padding_weight_bytes": 1.0,
}
"""What a calibration fits, and the standard deviation of the logarithm within which it is
expected. Assumed: the clock is known best."""
LEAST_MS = 0.01
"""Parts of a latency below this are alike."""


def features(placement: Placement, parts: Parts) -> FloatArray:
    """``[n, len(FEATURES)]``: logarithms of 1 + counts, and of ``LEAST_MS`` + milliseconds."""
    kind, here = placement.batch.kind, placement.here
    free = mask_of(VIEWS | PLACED)[kind]
    members = [here & mask_of(kinds)[kind] for kinds in CLASSES]
    rest = here & ~free & ~np.any(members, axis=0)
    host = placement.batch.live & ~here
    counts = [one.sum(axis=1) for one in (*members, rest, host)]
    times = (parts.compute_ms, parts.movement_ms, parts.streaming_ms)
    spent = [np.log(LEAST_MS + one.sum(axis=1)) for one in times]
    result: FloatArray = np.stack([*map(np.log1p, counts), *spent], axis=1)
    return result
