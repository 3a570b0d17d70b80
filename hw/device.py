"""Devices by name: a file of ``hw/devices`` each, or anywhere.

A file has a summary, the name of its family, and sections of numbers (:mod:`hw.leaves`), which the
family reads.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, TypeVar, cast

from hw.family import DEFAULT, family_of, load_family
from hw.leaves import DeviceError, mapping, read_yaml
from hw.protocols import Device

DEVICES = Path(__file__).parent / "devices"

AnyDevice = TypeVar("AnyDevice", bound=Device)


def device_names() -> tuple[str, ...]:
    """Names of the profiles that come with the project, sorted."""
    return tuple(sorted(path.stem for path in DEVICES.glob("*.yaml")))


def device_file(name: str | Path) -> Path:
    """Where the profile of that name lies in :data:`DEVICES`, or that path to a YAML file."""
    text = str(name)
    if isinstance(name, Path) or text.endswith((".yaml", ".yml")) or "/" in text:
        return Path(text)
    return DEVICES / f"{text}.yaml"


def load_device(name: str | Path) -> Device:
    """The profile of that name, or of that path to a YAML file.

    Raises:
        DeviceError: There is none, or the file breaks a rule of the format.
    """
    path = device_file(name)
    if not path.is_file():
        raise DeviceError(
            f"device must be one of {', '.join(device_names())}, or a path to a YAML file, "
            f"but got {str(name)!r}."
        )
    return parse_device(path.stem, read_yaml(path), str(path))


def parse_device(name: str, content: object, where: str) -> Device:
    """A profile from the content of its file; ``where`` opens each message.

    Raises:
        DeviceError: There is no such family; or a leaf lacks value, unit or source, or has the
            wrong unit; a key is unknown or missing.
    """
    top = dict(mapping(content, where))
    family = load_family(top.pop("family", DEFAULT), where)
    if "summary" not in top:
        raise DeviceError(f"{where}: must have summary, but got none.")
    return cast(Device, family.parse(name, str(top.pop("summary")), top, where))


def dump_device(device: Device) -> str:
    """The text of a profile file that :func:`parse_device` reads back as ``device``."""
    import yaml

    content = {"summary": device.summary, "family": device.family}
    content |= family_of(device).sections(device)
    text: str = yaml.safe_dump(
        content, sort_keys=False, width=100, allow_unicode=True, default_flow_style=None
    )
    return text


def changed(device: AnyDevice, **fields: Any) -> AnyDevice:
    """``device`` with other values in some fields; the record of each family is a dataclass."""
    return cast(AnyDevice, dataclasses.replace(cast(Any, device), **fields))
