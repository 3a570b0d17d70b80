"""What there is to choose from, by name: spaces, their baselines, search algorithms."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

from spaces.graph import Shape
from spaces.space import (
    AlgorithmFactory,
    Architecture,
    SearchSpace,
    SpaceError,
    TrainableSpace,
)


def names_in(folder: str) -> tuple[str, ...]:
    """Module names in ``spaces/<folder>``: the menu."""
    package = importlib.import_module(f"spaces.{folder}")
    return tuple(sorted(module.name for module in pkgutil.iter_modules(package.__path__)))


def load_space(name: str) -> SearchSpace:
    """The ``SPACE`` of ``spaces/catalog/<name>.py``.

    Raises:
        SpaceError: There is no such file; the message lists those that exist.
    """
    space: SearchSpace = _catalog(name).SPACE
    return space


def load_trainable(name: str) -> TrainableSpace:
    """As :func:`load_space`, for a space to be searched with a supernet.

    Raises:
        SpaceError: There is no such file, or its networks share no weights.
    """
    space: Any = load_space(name)
    if not hasattr(space, "extremes"):
        raise SpaceError(
            "space.name must name a space whose networks share weights, "
            f"but got {name!r}. `python -m spaces list` shows them."
        )
    trainable: TrainableSpace = space
    return trainable


def load_baselines(name: str) -> dict[str, Architecture]:
    """The ``BASELINES`` of a space by name: published or hand-made points of it."""
    baselines: dict[str, Architecture] = _catalog(name).BASELINES
    return dict(baselines)


def load_problems(name: str) -> tuple[str, ...]:
    """The problems that a space makes networks for; of pictures with a class, if it says nothing.

    Raises:
        SpaceError: There is no such space.
    """
    problems: tuple[str, ...] = getattr(_catalog(name), "PROBLEMS", ("classification",))
    return problems


def load_input_shapes(name: str) -> dict[str, Shape]:
    """Input shapes (1, H, W, C) of the baselines published at another size than the space's."""
    shapes: dict[str, Shape] = getattr(_catalog(name), "INPUT_SHAPES", {})
    return dict(shapes)


def load_parser(name: str) -> Callable[[str], Architecture | None] | None:
    """The ``parse`` of a space by name, if its architectures have a usual notation.

    It answers None for a text that is not in this notation, and raises SpaceError for one that
    cannot be read. Whether the space offers the decisions is not its question.
    """
    parse: Callable[[str], Architecture | None] | None = getattr(_catalog(name), "parse", None)
    return parse


def load_algorithm(name: str) -> AlgorithmFactory:
    """The ``ALGORITHM`` of ``spaces/search/<name>.py``.

    Raises:
        SpaceError: There is no such file; the message lists those that exist.
    """
    if name not in names_in("search"):
        raise SpaceError(
            f"a search algorithm must be one of {', '.join(names_in('search'))}, but got {name!r}."
        )
    algorithm: AlgorithmFactory = importlib.import_module(f"spaces.search.{name}").ALGORITHM
    return algorithm


def _catalog(name: str) -> Any:
    if name not in names_in("catalog"):
        raise SpaceError(
            f"a search space must be one of {', '.join(names_in('catalog'))}, but got {name!r}."
        )
    return importlib.import_module(f"spaces.catalog.{name}")
