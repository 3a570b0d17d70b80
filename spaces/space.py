"""Choices, architectures, and the two protocols: search space and search algorithm.

A space is a list of named choices whose *domain* may depend on what was decided before: a block
that is skipped has no kernel size, and only those channels per group are offered that divide the
channels at hand. One function, :func:`walk`, visits the choices in order; sampling, mutating,
checking and enumerating neighbours are each a few lines on top of it, so an illegal architecture
cannot be written by any of them.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

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


Pick = Callable[[Choice, tuple[Value, ...]], Value]


def walk(space: SearchSpace, pick: Pick) -> Architecture:
    """Visit the choices in order; ``pick`` decides among the values that are legal there."""
    decided: dict[str, Value] = {}
    for choice in space.choices:
        domain = space.domain(choice, decided)
        if domain:
            decided[choice.name] = pick(choice, domain)
    return Architecture.of(space.name, decided)


def sample(space: SearchSpace, rng: np.random.Generator) -> Architecture:
    """A random architecture: each live choice uniform over its legal values."""
    return walk(space, lambda _, domain: domain[int(rng.integers(len(domain)))])


def architecture(space: SearchSpace, decisions: Decisions) -> Architecture:
    """Check decisions against the space.

    Raises:
        SpaceError: A decision is missing, illegal, or of no consequence in this space.
    """

    def demand(choice: Choice, domain: tuple[Value, ...]) -> Value:
        if choice.name not in decisions:
            raise SpaceError(
                f"{space.name}: {choice.name} must be decided, but got no value. "
                f"Choose one of {_listed(domain)}."
            )
        value = decisions[choice.name]
        if value not in domain:
            raise SpaceError(
                f"{space.name}: {choice.name} must be one of {_listed(domain)}, but got {value!r}."
            )
        return domain[domain.index(value)]  # 4 where JSON says 4.0: one value, one id

    checked = walk(space, demand)
    surplus = sorted(set(decisions) - set(checked.values))
    if surplus:
        raise SpaceError(
            f"{space.name}: decisions must be live, but got {surplus[0]!r}, which is not a choice "
            "of this space or has no effect after the other decisions. Remove it."
        )
    return checked


def decisions_of(space: SearchSpace, point: Architecture) -> Decisions:
    """The decisions of an architecture that ``space`` is to lower, checked.

    Raises:
        SpaceError: It is one of another space, or see :func:`architecture`.
    """
    if point.space != space.name:
        raise SpaceError(
            f"an architecture must belong to the space that lowers it, {space.name}, "
            f"but got one of {point.space!r}."
        )
    return architecture(space, point.values).values


def prune(space: SearchSpace, decisions: Decisions) -> Architecture:
    """The point where ``decisions`` hold and every other live choice has its first value.

    ``fnmatch`` patterns are allowed as names (``"*/op"``); the last pattern that fits wins.
    """
    import fnmatch

    used: set[str] = set()

    def pick(choice: Choice, domain: tuple[Value, ...]) -> Value:
        value = domain[0]
        for pattern, wanted in decisions.items():
            if fnmatch.fnmatchcase(choice.name, pattern):
                used.add(pattern)
                value = wanted
        if value not in domain:
            raise SpaceError(
                f"{space.name}: {choice.name} must be one of {_listed(domain)}, but got {value!r}."
            )
        return value

    pruned = walk(space, pick)
    unused = sorted(set(decisions) - used)
    if unused:
        raise SpaceError(f"{space.name}: no live choice fits {unused[0]!r}. Remove it.")
    return pruned


def mutate(
    space: SearchSpace, parent: Architecture, rng: np.random.Generator, changes: int = 1
) -> Architecture:
    """Change up to ``changes`` random decisions; others keep their value where it stays legal.

    The result always differs from ``parent``. A change may take another one's place out of the
    network (a skipped block has no kernel size), so fewer than ``changes`` may be seen.

    Raises:
        SpaceError: The space leaves nothing to change.
    """
    values = parent.values
    names = _open_decisions(space, values)
    if not names:
        raise SpaceError(f"{space.name}: a decision must have two values, but got none to change.")
    size = min(changes, len(names))
    chosen = {names[int(i)] for i in rng.choice(len(names), size=size, replace=False)}

    def pick(choice: Choice, domain: tuple[Value, ...]) -> Value:
        kept = values.get(choice.name)
        others = tuple(value for value in domain if value != kept)
        if choice.name in chosen and others:
            return others[int(rng.integers(len(others)))]
        return kept if kept in domain else domain[int(rng.integers(len(domain)))]

    return walk(space, pick)


def _open_decisions(space: SearchSpace, values: Decisions) -> list[str]:
    """Names of the live decisions that have another legal value, in the order of the choices."""
    return [
        choice.name
        for choice in space.choices
        if len(choice.values) > 1
        and choice.name in values
        and len(space.domain(choice, values)) > 1
    ]


def neighbours(space: SearchSpace, centre: Architecture) -> Iterator[Architecture]:
    """Architectures that differ in one decision; what becomes live takes its first legal value."""
    for name, value in steps(space, centre):
        yield step(space, centre, name, value)


def steps(space: SearchSpace, centre: Architecture) -> list[tuple[str, Value]]:
    """The decisions that lead to a neighbour of ``centre``, each as name and new value."""
    values = centre.values
    return [
        (choice.name, value)
        for choice in space.choices
        if choice.name in values
        for value in space.domain(choice, values)
        if value != values[choice.name]
    ]


def step(space: SearchSpace, centre: Architecture, name: str, value: Value) -> Architecture:
    """``centre`` with one of its :func:`steps` taken; what else is legal stays as it is."""
    values = {**centre.values, name: value}

    def pick(choice: Choice, domain: tuple[Value, ...]) -> Value:
        kept = values.get(choice.name)
        return kept if kept in domain else domain[0]

    return walk(space, pick)


def every(space: SearchSpace) -> Iterator[Architecture]:
    """All architectures, the first choice varying slowest; for small spaces."""

    def extend(depth: int, decided: dict[str, Value]) -> Iterator[Architecture]:
        if depth == len(space.choices):
            yield Architecture.of(space.name, decided)
            return
        choice = space.choices[depth]
        for value in space.domain(choice, decided) or (None,):
            more = {} if value is None else {choice.name: value}
            yield from extend(depth + 1, {**decided, **more})

    return extend(0, {})


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


def _listed(values: Sequence[Value]) -> str:
    return ", ".join(map(str, values))
