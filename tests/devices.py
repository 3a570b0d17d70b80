"""Profiles by their family, for tests that know the laws of one."""

from __future__ import annotations

from hw.device import device_names, load_device


def devices_of(family: str) -> tuple[str, ...]:
    """Names of the profiles of a family, sorted."""
    return tuple(name for name in device_names() if load_device(name).family == family)
