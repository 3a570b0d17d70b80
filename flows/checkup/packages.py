"""Python and packages, against ``pyproject.toml`` and ``requirements.lock``."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from flows.checkup.finding import Finding, bad, good

_PINNED: Final = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", re.MULTILINE)
_BOUND: Final = re.compile(r"(>=|<)\s*(\d+)\.(\d+)")
_NAME: Final = re.compile(r"^[A-Za-z0-9._-]+")
_SHOWN: Final = 4
SETUP: Final = "make setup, then commands by .venv/bin/python."


def look(root: Path) -> Iterator[Finding]:
    """This Python and what is installed for it."""
    wanted = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    yield _python(wanted["requires-python"])
    have = installed()
    needed = [match[0] for text in wanted["dependencies"] if (match := _NAME.match(text))]
    yield _packages(pinned((root / "requirements.lock").read_text("utf-8")), have, needed)


def pinned(lock: str) -> dict[str, set[str]]:
    """Versions by normalized name; several where they differ by platform or Python."""
    found: dict[str, set[str]] = {}
    for name, version in _PINNED.findall(lock):
        found.setdefault(normalized(name), set()).add(version)
    return found


def installed() -> dict[str, str]:
    """Versions of all packages by normalized name; of two of a name, that which is imported."""
    found: dict[str, str] = {}
    for one in importlib.metadata.distributions():
        name = one.metadata["Name"]
        if name:
            found.setdefault(normalized(name), one.version)
    return found


def normalized(name: str) -> str:
    """As PEP 503 has it.

    >>> normalized("ruamel.yaml_clib")
    'ruamel-yaml-clib'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def _python(bounds: str) -> Finding:
    version = sys.version_info[:2]
    for sign, major, minor in _BOUND.findall(bounds):
        bound = (int(major), int(minor))
        if not (version >= bound if sign == ">=" else version < bound):
            got = platform.python_version()
            cure = "make setup PYTHON=/path/to/python3.11"
            return bad("python", f"must be {bounds}, but is {got}.", cure)
    return good("python", platform.python_version())


def _packages(lock: Mapping[str, set[str]], have: Mapping[str, str], needed: list[str]) -> Finding:
    absent = [name for name in needed if normalized(name) not in have]
    if absent:
        return bad("packages", f"must be there, but are not: {_list(absent)}.", SETUP)
    other = [
        f"{name} {have[name]} instead of {' or '.join(sorted(versions))}"
        for name, versions in sorted(lock.items())
        if name in have and have[name] not in versions
    ]
    if other:
        said = f"must be those of requirements.lock, but got {_list(other)}."
        return bad("packages", f"{said} Results may differ.", SETUP)
    count = sum(name in have for name in lock)
    return good("packages", f"{count} as in requirements.lock")


def _list(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
