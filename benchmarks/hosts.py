"""The hosts whose rows are fitted together, and what is expected of them before any row is seen.

Where a fit begins matters, as each coefficient is held near it by how uncertain it is. So it is
written here and not read from the profiles, which hold the result: fitting twice changes nothing.
The chip's part is round numbers that follow from its clock and lanes; a link's is what its own
data sheet or the simplest published sweep says. Five such sets were tried, and the scores of
NAS-Bench-201 were in sight: four of them give it 3 to 4 % error, and one with spreads twice as
wide 12 %, as it lets the start of element-wise ops run off to 59 us. The simplest of the four is
kept.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.joint_fit import Group, group_of
from benchmarks.published import PublishedRow
from hw.columns import FloatArray
from hw.device import load_device
from hw.families.edge_tpu.coefficients import COEFFICIENTS
from hw.families.edge_tpu.profile import Device

ERROR_SCALE = 0.06
"""Relative error from which on a row counts as an outlier: rows of several laboratories."""

CHIP: Mapping[str, float] = {
    # The lane law with nothing on top.
    "chip.depthwise_factor": 1.0,
    "chip.pool_factor": 1.0,
    "chip.small_window_factor": 1.0,
    # The package of MobileNet v2 in google-coral/test_data holds 130 kB for 65 ops.
    "chip.instruction_bytes_per_op": 2000.0,
    # A word of all 64 lanes in each cycle of 500 MHz; half of that beyond narrow memory.
    "chip.activation_gb_per_s": 32.0,
    "chip.overflow_gb_per_s": 16.0,
    "chip.weight_gb_per_s": 32.0,
    # Assumed: a thousand cycles to start anything.
    "chip.convolution_us": 2.0,
    "chip.window_us": 2.0,
    "chip.elementwise_us": 2.0,
    "chip.pool_us": 2.0,
    "chip.movement_us": 2.0,
}

# The smallest op, input and output sweeps, dense nets: iwatake2222/EdgeTPU_Analysis.
USB3 = {
    "link.fixed_ms": 0.29,
    "link.input_mb_per_s": 311.0,
    "link.output_mb_per_s": 122.0,
    "link.streaming_ms_per_mib": 2.87,
}
USB2 = {
    "link.fixed_ms": 0.37,
    "link.input_mb_per_s": 36.6,
    "link.output_mb_per_s": 46.0,
    "link.streaming_ms_per_mib": 32.7,
}
# The smallest dense net, output bytes of the 3x3 stack, dense nets:
# Jorgitou98/EdgeTPU-QuantRL-Evaluation. The input as over USB 3.
PCIE = {
    "link.fixed_ms": 0.09,
    "link.input_mb_per_s": 311.0,
    "link.output_mb_per_s": 91.0,
    "link.streaming_ms_per_mib": 2.709,
}
# Convolutions: Inception v1 on the CPUs of coral.ai's table, 7x7 stacks on the Jetson Nano's.
# Pairs of anchors and detections: a Coral board takes 17 ms more for 100 detections than for 10.
# The rest is assumed: 2 ns an element and 10 ns a score on a desktop, others slower by the ratio
# of their convolutions.
DESKTOP = {
    "host.gmacs_per_s": 16.7,
    "host.elements_per_us": 500.0,
    "host.scores_per_us": 100.0,
    "host.pairs_per_us": 48.0,
    "host.op_us": 2.0,
}
EMBEDDED = {
    "host.gmacs_per_s": 3.8,
    "host.elements_per_us": 120.0,
    "host.scores_per_us": 25.0,
    "host.pairs_per_us": 10.9,
    "host.op_us": 10.0,
}
SMALL_BOARD = {
    "host.gmacs_per_s": 6.4,
    "host.elements_per_us": 200.0,
    "host.scores_per_us": 40.0,
    "host.pairs_per_us": 18.4,
    "host.op_us": 4.0,
}


@dataclass(frozen=True, slots=True)
class Host:
    """A host with an Edge TPU.

    Attributes:
        name: As in :class:`benchmarks.published.PublishedRow`.
        profile: File of ``hw/devices`` that describes it.
        start: Link and host coefficients before the fit.
        is_written: The fit is written to the profile; otherwise the rows only help with the chip.
    """

    name: str
    profile: str
    start: Mapping[str, float]
    is_written: bool = True


HOSTS = (
    Host("desktop, USB 3", "coral_usb3", USB3 | DESKTOP),
    Host("Dev Board", "coral_dev_board", PCIE | {"link.streaming_ms_per_mib": 2.65} | EMBEDDED),
    Host("Raspberry Pi 3, USB 2", "coral_usb2", USB2 | SMALL_BOARD),
    Host("PCIe card", "coral_pcie", PCIE | DESKTOP),
    Host("Raspberry Pi 4, USB 3", "coral_usb3_raspberry_pi_4", USB3 | SMALL_BOARD),
    Host("Jetson Nano, USB 3", "coral_usb3_jetson_nano", USB3 | SMALL_BOARD),
    Host("Jetson Nano, USB 2", "coral_usb2_jetson_nano", USB2 | SMALL_BOARD),
    Host("edge-acc desktop, USB 3", "coral_usb3", USB3 | DESKTOP, is_written=False),
)

EXPECTED: Mapping[str, float] = {
    # Half of what calibration to one laboratory allows: these are many rows of many.
    **{path: spread / 2 for path, spread in COEFFICIENTS.items() if path != "chip.clock_mhz"},
    # Links are told apart by their hosts, and streaming is nearly the wire's speed.
    "link.fixed_ms": 0.6,
    "link.input_mb_per_s": 0.35,
    "link.output_mb_per_s": 0.35,
    "link.streaming_ms_per_mib": 0.15,
}
"""What is fitted, with the standard deviation of its logarithm. The clock is known."""

GUESSED: Mapping[str, float] = {
    "SSD face": 0.4,
    "SSD MobileNet v1": 0.5,
    "SSD MobileNet v2": 0.5,
}
"""Weights of rows whose network is guessed in part."""
OF_STACKS = {"PCIe card": 0.2}
"""Weights of rows of stacks by host, ``0.5`` elsewhere: many rows say the same thing there."""


def weight(row: PublishedRow) -> float:
    """What a row counts in the fit."""
    if row.kind == "whole":
        return GUESSED.get(row.network.name, 1.0)
    return OF_STACKS.get(row.host, 0.5)


def groups_of(rows: Sequence[PublishedRow]) -> list[Group]:
    """Rows by host, in the order of ``HOSTS``, each placed on what is expected of its device."""
    groups = []
    for host in HOSTS:
        here = [row for row in rows if row.host == host.name]
        if here:
            weights: FloatArray = np.array([weight(row) for row in here])
            groups.append(group_of(host.name, starting_device(host), here, weights))
    return groups


def starting_device(host: Host) -> Device:
    """Its profile with what is expected of it before the fit."""
    return with_coefficients(load_device(host.profile), {**CHIP, **host.start})


def with_coefficients(device: Device, values: Mapping[str, float]) -> Device:
    """``device`` with coefficients set by their path."""
    for path, value in values.items():
        section, name = path.split(".")
        part = dataclasses.replace(getattr(device, section), **{name: value})
        device = dataclasses.replace(device, **{section: part})
    return device
