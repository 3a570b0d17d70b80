"""Sections of device files: each number with its unit and where it comes from.

Each leaf is ``{value, unit, source}``; the unit must be the one that the field of the section's
record declares, so a file cannot mean something else than the code does. A record of a section is
a frozen dataclass whose fields are made by :func:`leaf`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TOP_KEYS = ("summary", "family")
"""Of a file, beside its sections."""
LEAF_KEYS = ("value", "unit", "source")


class DeviceError(ValueError):
    """A device that does not exist, or a profile that does not say what it must."""


def leaf(
    unit: str, *, signed: bool = False, divides: bool = False, choices: tuple[str, ...] = ()
) -> Any:
    """A field of a section's record.

    Args:
        unit: As the file must name it.
        signed: It may be negative.
        divides: Something is divided by it, so that it must not be 0.
        choices: Texts that it may be; none: any.
    """
    told = {"unit": unit, "signed": signed, "divides": divides, "choices": choices}
    return dataclasses.field(metadata=told)


def read_yaml(path: Path) -> object:
    """The content of a file.

    Raises:
        DeviceError: It is not readable, or no YAML.
    """
    import yaml

    try:
        return parse_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        what = " ".join(str(error).split())
        raise DeviceError(f"{path}: must be a readable YAML file, but got: {what}.") from None


def parse_yaml(text: str) -> Any:
    """Plain objects of a text: as ``yaml.safe_load``, by its parser in C where there is one.

    That takes an eighth of the time, which is most of a small command's.

    Raises:
        yaml.YAMLError: It is no YAML, or asks for more than plain objects.
    """
    import yaml

    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def read_named(section: str, folder: Path, name: str, where: str) -> object:
    """The content of a section that is the name of a file of ``folder``.

    Raises:
        DeviceError: There is no such file.
    """
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in names:
        raise DeviceError(
            f"{where}: {section} must be one of {', '.join(names)}, or a mapping, but got "
            f"{name!r}."
        )
    return read_yaml(folder / f"{name}.yaml")


def mapping(content: object, where: str) -> Mapping[str, Any]:
    """``content``, checked to have keys.

    Raises:
        DeviceError: It has none.
    """
    if not isinstance(content, dict):
        raise DeviceError(f"{where}: must be a mapping, but got {type(content).__name__}.")
    return content


def check_keys(
    content: Mapping[str, Any], known: tuple[str, ...], required: tuple[str, ...], where: str
) -> None:
    """Check that there are the ``required`` keys, and none that is not ``known``.

    Raises:
        DeviceError: It names them.
    """
    unknown = [str(key) for key in content if key not in known]
    missing = [key for key in required if key not in content]
    if unknown:
        raise DeviceError(
            f"{where}: keys must be among {', '.join(known)}, but got {', '.join(unknown)}."
        )
    if missing:
        raise DeviceError(f"{where}: must have {', '.join(missing)}, but got none.")


def read_sections(
    content: Mapping[str, Any],
    kinds: Mapping[str, type],
    optional: tuple[str, ...],
    where: str,
) -> tuple[dict[str, Any], tuple[tuple[str, str], ...]]:
    """Records of the sections of a file, and the sources of their leaves.

    Args:
        content: What the file has beside its summary and family.
        kinds: The record of each section.
        optional: Sections that may be absent; they are None then.
        where: Opens each message.

    Raises:
        DeviceError: A leaf lacks value, unit or source, or has the wrong unit; a key is unknown or
            missing.
    """
    required = tuple(key for key in kinds if key not in optional)
    check_keys(content, (*TOP_KEYS, *kinds), required, where)
    sources: list[tuple[str, str]] = []
    sections = {
        key: _section(kind, content[key], f"{where}: {key}", key, sources)
        if key in content
        else None
        for key, kind in kinds.items()
    }
    return sections, tuple(sources)


def written_sections(
    device: Any, kinds: Mapping[str, type], sources: Mapping[str, str]
) -> dict[str, Any]:
    """What :func:`read_sections` reads back as the sections of ``device`` and their sources."""
    content: dict[str, Any] = {}
    for key in kinds:
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
    return content


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _section(
    kind: type, content: object, where: str, key: str, sources: list[tuple[str, str]]
) -> Any:
    values = mapping(content, where)
    fields = {item.name: item for item in dataclasses.fields(kind)}
    check_keys(values, tuple(fields), tuple(fields), where)
    leaves = {}
    for name, item in fields.items():
        value, source = _leaf(values[name], item, f"{where}.{name}")
        leaves[name] = value
        sources.append((f"{key}.{name}", source))
    return kind(**leaves)


def _leaf(content: object, item: dataclasses.Field[Any], where: str) -> tuple[Any, str]:
    leaf = mapping(content, where)
    check_keys(leaf, LEAF_KEYS, LEAF_KEYS, where)
    unit = item.metadata["unit"]
    if leaf["unit"] != unit:
        raise DeviceError(f"{where}: unit must be {unit!r}, but got {leaf['unit']!r}.")
    source = leaf["source"]
    if not isinstance(source, str) or not source.strip():
        raise DeviceError(
            f"{where}: source must say where the number comes from (an estimate: "
            f"'assumed: <why>'), but got {source!r}."
        )
    # Annotations are texts, unless a family's file evaluates them.
    kind = item.type.__name__ if isinstance(item.type, type) else str(item.type)
    return _value(leaf["value"], kind, item.metadata, where), source


def _value(value: object, kind: str, rules: Mapping[str, Any], where: str) -> Any:
    if kind == "str":
        choices = rules["choices"]
        if not isinstance(value, str) or (choices and value not in choices):
            expected = " or ".join(choices) if choices else "a text"
            raise DeviceError(f"{where}: value must be {expected}, but got {value!r}.")
        return value
    if kind.startswith("tuple["):
        if not isinstance(value, list):
            raise DeviceError(f"{where}: value must be a list, but got {value!r}.")
        inner = "tuple[float, ...]" if kind.startswith("tuple[tuple[") else "signed"
        return tuple(_value(item, inner, rules, where) for item in value)
    signed = kind == "signed" or rules["signed"]
    number = not isinstance(value, bool) and isinstance(value, int | float)
    if not number or not math.isfinite(value) or (value < 0 and not signed):  # type: ignore[arg-type, operator]
        least = "finite number" if signed else "number from 0 up"
        raise DeviceError(f"{where}: value must be a {least}, but got {value!r}.")
    if rules["divides"] and value == 0:
        raise DeviceError(f"{where}: value must be above 0, but got 0.")
    if kind == "int" and int(value) != value:  # type: ignore[call-overload]
        raise DeviceError(f"{where}: value must be a whole number, but got {value!r}.")
    return int(value) if kind == "int" else float(value)  # type: ignore[call-overload, arg-type]
