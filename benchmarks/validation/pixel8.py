"""The published classifiers on Pixel 8 (Tensor G3), each by a fit without it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.fit_tensor_g3 import AFTER, BEFORE, estimates, left_out, measured_on
from benchmarks.pixel8 import rows_of
from benchmarks.validation.section import LATENCY, Section, latency_row
from hw.calibrating.calibration import judge
from hw.device import load_device
from hw.families.edge_tpu.profile import Device

TEXT = (
    "Seven rows of table 6 of arXiv:2404.10518, published to a tenth of a millisecond, three of "
    "them equal: MobileNetV2 at three widths, MNv4-Conv-S and M, MobileOne-S4, ConvNeXt-S. Three "
    "numbers of the profile of Tensor G1 are moved: what a call takes (0.54 ms instead of 0.21), "
    "one factor for all rates of the chip (2.2), and what an element of an element-wise op takes "
    "(0.17 cycles instead of 1). That it is these three was settled with all rows in sight. "
    "ConvNeXt-S alone has many element-wise ops, so it comes out too slow by a third where it is "
    "left out; how its layer normalisations were deployed is assumed."
)


def sections(folder: Path) -> list[Section]:
    """The table."""
    rows = rows_of(folder)
    if not rows:
        return []
    before, shipped = load_device(BEFORE), load_device(AFTER)
    assert isinstance(before, Device) and isinstance(shipped, Device)
    measured = measured_on(before, rows)
    alone = left_out(measured, [row.name for row in rows])
    family = left_out(measured, [row.family for row in rows])
    line = shipped.macs_line
    straight = line.fixed_ms + line.slope_ms_per_gmac * measured.placement.macs / 1e9
    usual = np.array([row.family != "ConvNeXt" for row in rows])
    everything = np.ones(len(rows), np.bool_)
    cells = [
        latency_row(
            name,
            int(which.sum()),
            *([judge(one[which], measured.latency_ms[which])] for one in estimated),
        )
        for name, which, estimated in (
            ("all, each left out", everything, alone),
            ("all but ConvNeXt-S, each left out", usual, alone),
            ("all, families left out", everything, family),
            ("all, as shipped", everything, (estimates(shipped, measured), straight)),
        )
    ]
    return [Section("Classifiers on Pixel 8", TEXT, LATENCY, tuple(cells))]
