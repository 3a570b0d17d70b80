"""What is known of a device whose laws nobody told: rates by kind of op; records alone."""

from __future__ import annotations

from dataclasses import dataclass

from hw.fitted import Calibration, MacsLine
from hw.leaves import leaf

FAMILY = "by_kind"


@dataclass(frozen=True, slots=True)
class Call:
    """One inference.

    Attributes:
        fixed_ms: Of it, whatever the network.
        weights_gb_per_s: At which weights are read, all of them once.
    """

    fixed_ms: float = leaf("ms")
    weights_gb_per_s: float = leaf("GB/s", divides=True)


@dataclass(frozen=True, slots=True)
class Multiplying:
    """A kind of op with weights.

    Attributes:
        start_us: Of each op.
        gmacs_per_s: Multiply-accumulates.
        elements_per_us: Read and written.
    """

    start_us: float = leaf("us")
    gmacs_per_s: float = leaf("GMAC/s", divides=True)
    elements_per_us: float = leaf("elements/us", divides=True)


@dataclass(frozen=True, slots=True)
class Moving:
    """A kind of op without weights.

    Attributes:
        start_us: Of each op.
        elements_per_us: Read and written; those of a window each time that it reads them.
    """

    start_us: float = leaf("us")
    elements_per_us: float = leaf("elements/us", divides=True)


MULTIPLYING = ("convolution", "pointwise", "depthwise", "dense")
MOVING = ("pooling", "elementwise", "moving")
CLASSES = (*MULTIPLYING, *MOVING)
"""Sections of a file, and what each op is one of: convolutions with a window, of one tap, of each
channel by itself; dense ops and products; poolings and means; arithmetic; and the rest."""

SECTIONS: dict[str, type] = {
    "call": Call,
    **dict.fromkeys(MULTIPLYING, Multiplying),
    **dict.fromkeys(MOVING, Moving),
    "macs_line": MacsLine,
    "calibration": Calibration,
}
OPTIONAL_SECTIONS = ("macs_line", "calibration")


@dataclass(frozen=True, slots=True)
class Device:
    """A profile: see :class:`hw.protocols.Device`."""

    name: str
    summary: str
    call: Call
    convolution: Multiplying
    pointwise: Multiplying
    depthwise: Multiplying
    dense: Multiplying
    pooling: Moving
    elementwise: Moving
    moving: Moving
    macs_line: MacsLine | None
    calibration: Calibration | None
    sources: tuple[tuple[str, str], ...]
    energy: None = None
    family: str = FAMILY
