"""Folders of things: what is there is known by the names of its files."""

from __future__ import annotations

import importlib
import pkgutil


def names_in(folder: str) -> tuple[str, ...]:
    """Names of the modules in ``tasks/<folder>``, sorted."""
    package = importlib.import_module(f"tasks.{folder}")
    return tuple(sorted(module.name for module in pkgutil.iter_modules(package.__path__)))
