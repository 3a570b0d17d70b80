"""Choices, architectures, and the two protocols: search space and search algorithm.

A space is a list of named choices whose *domain* may depend on what was decided before: a block
that is skipped has no kernel size, and only those channels per group are offered that divide the
channels at hand. :mod:`spaces.walk` makes architectures of it.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spaces.graph import OpBatch, OpGraph, Shape

Value = int | float | str
Decisions = Mapping[str, Value]
FloatArray = NDArray[np.float64]


class SpaceError(ValueError):
    """Decisions that a space does not offer, or a space or algorithm that does not exist."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One decision to make: its name and every value it can ever take."""

    name: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Architecture:
    """The live decisions of one network, by name and value, never by index.

    Attributes:
        space: Name of the space.
        decisions: Pairs of name and value, sorted by name.
    """

    space: str
    decisions: tuple[tuple[str, Value], ...]

    @staticmethod
    def of(space: str, decisions: Decisions) -> Architecture:
        """An architecture from decisions in any order."""
        return Architecture(space, tuple(sorted(decisions.items())))

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits that depend on space, names and values only."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    @property
    def values(self) -> dict[str, Value]:
        """The decisions as a dictionary."""
        return dict(self.decisions)

    def to_json(self) -> str:
        """Canonical text: sorted keys, no white space."""
        record = {"space": self.space, "decisions": dict(self.decisions)}
        return json.dumps(record, sort_keys=True, separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> Architecture:
        """Read what :meth:`to_json` wrote.

        Raises:
            SpaceError: The text is something else.
        """
        try:
            record = json.loads(text)
            return Architecture.of(str(record["space"]), dict(record["decisions"]))
        except (ValueError, KeyError, TypeError) as error:
            raise SpaceError(
                "an architecture must be JSON with keys space and decisions, "
                f"but got {text[:80]!r} ({error})."
            ) from None


@dataclass(frozen=True, slots=True)
class Trial:
    """A numbered proposal of a search algorithm."""

    number: int
    architecture: Architecture


class SearchSpace(Protocol):
    """What can be built. The paper's family is :class:`spaces.families.ibn.space.IbnSpace`."""

    @property
    def name(self) -> str:
        """The module name in ``spaces/catalog``."""

    @property
    def choices(self) -> tuple[Choice, ...]:
        """All choices, in the order in which they are decided."""

    @property
    def input_shape(self) -> Shape:
        """Of all its networks, (1, H, W, C)."""

    def domain(self, choice: Choice, decided: Decisions) -> tuple[Value, ...]:
        """Values of ``choice`` that fit what was decided before; empty: nothing to decide."""

    def lower(self, architecture: Architecture) -> OpGraph:
        """The network as a graph: pure, total on the space, without TensorFlow."""

    def lower_many(self, architectures: Sequence[Architecture]) -> OpBatch:
        """The same answer as a loop over :meth:`lower`, as columns."""

    def for_input(self, input_shape: Shape) -> SearchSpace:
        """The same space for inputs of another shape (1, H, W, C)."""


class TrainableSpace(SearchSpace, Protocol):
    """A space whose networks can share weights: see :mod:`spaces.trainable.supernet`."""

    def for_input(self, input_shape: Shape) -> TrainableSpace:
        """As :meth:`SearchSpace.for_input`."""

    def largest(self) -> Architecture:
        """The architecture with most weights; it teaches the others."""

    def smallest(self) -> Architecture:
        """The architecture with fewest."""

    def extremes(self) -> Iterable[Architecture]:
        """Architectures among which every weight has its largest size in each dimension."""


class SearchAlgorithm(Protocol):
    """Ask/tell. Losses: lower is better; ``None`` says that the candidate failed."""

    def ask(self) -> Trial:
        """The next proposal.

        Raises:
            Exhausted: There is nothing left to propose.
        """

    def tell(self, trial: Trial, losses: Mapping[str, float] | None) -> None:
        """Report the losses of a proposal.

        What is asked next depends on what was told before it, not on the order of telling.
        """


class Exhausted(Exception):  # noqa: N818 - an end, not an error
    """A search algorithm has proposed every architecture of its space."""


Known = Callable[[Sequence[Architecture]], Mapping[str, FloatArray]]
"""Losses that are computed instead of evaluated: by name of the objective, one an architecture."""


class AlgorithmFactory(Protocol):
    """How the classes in ``spaces/search`` are called: what ``ALGORITHM`` names."""

    def __call__(
        self,
        space: SearchSpace,
        rng: np.random.Generator,
        objectives: tuple[str, ...],
        feasible: Callable[[Architecture], bool] | None = None,
        initial: Sequence[Architecture] = (),
        known: Known | None = None,
    ) -> SearchAlgorithm:
        """A search over ``space`` for low values of the losses named in ``objectives``.

        ``feasible`` is a hard constraint that costs no evaluation: nothing else is proposed.
        ``initial`` is proposed first, where feasible. ``known`` gives objectives of any
        architectures, proposed or not, feasible or not, and is cheap: an algorithm that learns
        from losses need not learn these.
        """


if not TYPE_CHECKING:  # or any name would do

    def __getattr__(name: str) -> Any:
        """What stood here once, and files of others may still import from here."""
        for module in ("spaces.walk", "spaces.menu"):
            found = getattr(importlib.import_module(module), name, None)
            if found is not None and found.__module__ == module:
                return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
