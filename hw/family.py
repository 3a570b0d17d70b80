"""Families of accelerators by name: a folder of ``hw/families`` each."""

from __future__ import annotations

import importlib
from typing import Any, cast

from hw.leaves import DeviceError
from hw.protocols import Device, Family
from hw.things import names_in

DEFAULT = "edge_tpu"
"""Of device files that name no family: there was one when they were made."""


def family_names() -> tuple[str, ...]:
    """Names of the families that exist, sorted."""
    return names_in("hw.families")


def load_family(name: object, where: str) -> Family[Any]:
    """The object ``FAMILY`` of ``hw/families/<name>/family.py``; ``where`` opens the message.

    Raises:
        DeviceError: There is none of that name.
    """
    if name not in family_names():
        raise DeviceError(
            f"{where}: family must be one of {', '.join(family_names())}, but got {name!r}."
        )
    return cast(Family[Any], importlib.import_module(f"hw.families.{name}.family").FAMILY)


def family_of(device: Device) -> Family[Any]:
    """The family of a device that was loaded."""
    return load_family(device.family, device.name)
