"""Things that are found by the names of their files."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any


def names_in(package: str) -> tuple[str, ...]:
    """Modules and folders of a folder of things, e.g. ``"hw.benches"``, sorted."""
    found = importlib.import_module(package)
    return tuple(sorted(module.name for module in pkgutil.iter_modules(found.__path__)))


def class_of(module: str) -> Any:
    """The class named after its module: ``MacsOnly`` of ``hw.cost_models.macs_only``."""
    words = module.rpartition(".")[2].split("_")
    return getattr(importlib.import_module(module), "".join(word.capitalize() for word in words))
