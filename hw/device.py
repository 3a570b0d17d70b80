"""Profile files: each number of a device with its unit and where it comes from.

Each leaf is ``{value, unit, source}``; the unit must be the one that the field of
:mod:`hw.families.edge_tpu.profile` declares, so a file cannot mean something else than the code
does. Profiles that share a chip name it (``chip: coral``, a file of
``hw/families/edge_tpu/chips``); one that was calibrated has its own.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hw.families.edge_tpu.profile import (
    CHOICES,
    DIVISORS,
    OPTIONAL_SECTIONS,
    SECTIONS,
    SIGNED,
    Calibration,
    Device,
)

DEVICES = Path(__file__).parent / "devices"
CHIPS = Path(__file__).parent / "families" / "edge_tpu" / "chips"
LEAF_KEYS = ("value", "unit", "source")


class DeviceError(ValueError):
    """A device that does not exist, or a profile that does not say what it must."""


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
    return parse_device(path.stem, _read(path), str(path))


def _read(path: Path) -> object:
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        what = " ".join(str(error).split())
        raise DeviceError(f"{path}: must be a readable YAML file, but got: {what}.") from None


def parse_device(name: str, content: object, where: str) -> Device:
    """A profile from the content of its file; ``where`` opens each message.

    Raises:
        DeviceError: A leaf lacks value, unit or source, or has the wrong unit; a key is unknown or
            missing.
    """
    top = dict(_mapping(content, where))
    _check_keys(top, ("summary", *SECTIONS), ("summary", *_required()), where)
    if isinstance(top["chip"], str):
        top["chip"] = _read_chip(top["chip"], where)
    sources: list[tuple[str, str]] = []
    sections: dict[str, Any] = {
        key: _section(kind, top[key], f"{where}: {key}", key, sources) if key in top else None
        for key, kind in SECTIONS.items()
    }
    summary = str(top["summary"])
    device = Device(name=name, summary=summary, sources=tuple(sources), **sections)
    if device.calibration is not None:
        _check_lists(device.calibration, where)
    return device


def _check_lists(calibration: Calibration, where: str) -> None:
    """Features have one length, and each centre one weight."""
    from hw.families.edge_tpu.features import FEATURES

    centres = calibration.residual_centres
    lists = (calibration.feature_low, calibration.feature_high, calibration.residual_scale)
    lengths = {len(row) for row in (*lists, *centres)}
    if lengths != {len(FEATURES)} or len(centres) != len(calibration.residual_weights):
        raise DeviceError(
            f"{where}: calibration: lists of features must have {len(FEATURES)} numbers and each "
            f"centre a weight, but got lengths {sorted(lengths)}, {len(centres)} centres and "
            f"{len(calibration.residual_weights)} weights."
        )
    if min(calibration.residual_scale) <= 0:
        raise DeviceError(
            f"{where}: calibration.residual_scale: values must be above 0, but got "
            f"{min(calibration.residual_scale):g}."
        )


def _read_chip(name: str, where: str) -> object:
    names = sorted(path.stem for path in CHIPS.glob("*.yaml"))
    if name not in names:
        raise DeviceError(
            f"{where}: chip must be one of {', '.join(names)}, or a mapping, but got {name!r}."
        )
    return _read(CHIPS / f"{name}.yaml")


def dump_device(device: Device) -> str:
    """The text of a profile file that :func:`parse_device` reads back as ``device``."""
    import yaml

    sources = dict(device.sources)
    content: dict[str, Any] = {"summary": device.summary}
    for key in SECTIONS:
        section = getattr(device, key)
        if section is not None:
            content[key] = {
                item.name: {
                    "value": _plain(getattr(section, item.name)),
                    "unit": item.metadata["unit"],
                    "source": sources[f"{key}.{item.name}"],
                }
                for item in dataclasses.fields(section)
            }
    text: str = yaml.safe_dump(
        content, sort_keys=False, width=100, allow_unicode=True, default_flow_style=None
    )
    return text


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _required() -> tuple[str, ...]:
    return tuple(key for key in SECTIONS if key not in OPTIONAL_SECTIONS)


def _mapping(content: object, where: str) -> Mapping[str, Any]:
    if not isinstance(content, dict):
        raise DeviceError(f"{where}: must be a mapping, but got {type(content).__name__}.")
    return content


def _check_keys(
    content: Mapping[str, Any], known: tuple[str, ...], required: tuple[str, ...], where: str
) -> None:
    unknown = [str(key) for key in content if key not in known]
    missing = [key for key in required if key not in content]
    if unknown:
        raise DeviceError(
            f"{where}: keys must be among {', '.join(known)}, but got {', '.join(unknown)}."
        )
    if missing:
        raise DeviceError(f"{where}: must have {', '.join(missing)}, but got none.")


def _section(
    kind: type, content: object, where: str, key: str, sources: list[tuple[str, str]]
) -> Any:
    values = _mapping(content, where)
    fields = {item.name: item for item in dataclasses.fields(kind)}
    _check_keys(values, tuple(fields), tuple(fields), where)
    leaves = {}
    for name, item in fields.items():
        value, source = _leaf(values[name], item, f"{where}.{name}")
        leaves[name] = value
        sources.append((f"{key}.{name}", source))
    return kind(**leaves)


def _leaf(content: object, item: dataclasses.Field[Any], where: str) -> tuple[Any, str]:
    leaf = _mapping(content, where)
    _check_keys(leaf, LEAF_KEYS, LEAF_KEYS, where)
    unit = item.metadata["unit"]
    if leaf["unit"] != unit:
        raise DeviceError(f"{where}: unit must be {unit!r}, but got {leaf['unit']!r}.")
    source = leaf["source"]
    if not isinstance(source, str) or not source.strip():
        raise DeviceError(
            f"{where}: source must say where the number comes from (an estimate: "
            f"'assumed: <why>'), but got {source!r}."
        )
    return _value(leaf["value"], str(item.type), item.name, where), source


def _value(value: object, kind: str, name: str, where: str) -> Any:
    if kind == "str":
        choices = CHOICES.get(name)
        if not isinstance(value, str) or (choices and value not in choices):
            expected = " or ".join(choices) if choices else "a text"
            raise DeviceError(f"{where}: value must be {expected}, but got {value!r}.")
        return value
    if kind.startswith("tuple["):
        if not isinstance(value, list):
            raise DeviceError(f"{where}: value must be a list, but got {value!r}.")
        inner = "tuple[float, ...]" if kind.startswith("tuple[tuple[") else "signed"
        return tuple(_value(item, inner, name, where) for item in value)
    signed = kind == "signed" or name in SIGNED
    number = not isinstance(value, bool) and isinstance(value, int | float)
    if not number or not math.isfinite(value) or (value < 0 and not signed):  # type: ignore[arg-type, operator]
        least = "finite number" if signed else "number from 0 up"
        raise DeviceError(f"{where}: value must be a {least}, but got {value!r}.")
    if name in DIVISORS and value == 0:
        raise DeviceError(f"{where}: value must be above 0, but got 0.")
    if kind == "int" and int(value) != value:  # type: ignore[call-overload]
        raise DeviceError(f"{where}: value must be a whole number, but got {value!r}.")
    return int(value) if kind == "int" else float(value)  # type: ignore[call-overload, arg-type]
