"""Devices that a search decides by beside the one of ``cost.device``, and what it costs there.

A cost there bears the name of the device before a slash, ``ethos_u55_128/latency_ms``: MLflow
takes that for a metric, and gathers those of one device. Nothing else that a candidate has bears a
slash in its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tasks.run.params import CostParams, device_name

LATENCY: Final = "latency_ms"


@dataclass(frozen=True, slots=True)
class OtherDevice:
    """One of ``cost.devices``.

    Attributes:
        device: Name of a profile, or the path of one.
        target_latency_ms: Hard limit on what networks take there; None: no limit.
    """

    device: str
    target_latency_ms: float | None = None

    @property
    def name(self) -> str:
        """Of the device, without folder and ending."""
        return device_name(self.device)

    @property
    def latency(self) -> str:
        """What the latency there is called, as a cost of candidates and as an objective."""
        return latency_on(self.device)


def other_devices(cost: CostParams) -> tuple[OtherDevice, ...]:
    """Those of ``cost.devices``, in their order."""
    return tuple(OtherDevice(name, one.target_latency_ms) for name, one in cost.devices)


def latency_on(device: str) -> str:
    """The latency on a device that is not ``cost.device``, as a cost by name.

    >>> latency_on("boards/mine.yaml")
    'mine/latency_ms'
    """
    return f"{device_name(device)}/{LATENCY}"


def is_elsewhere(cost: str) -> bool:
    """Whether a cost is that on another device.

    >>> is_elsewhere("tensor_g1/latency_ms"), is_elsewhere("latency_ms")
    (True, False)
    """
    return cost.endswith(f"/{LATENCY}")


def elsewhere_of(told: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a record that is of other devices."""
    return {name: cost for name, cost in told.items() if is_elsewhere(name)}
