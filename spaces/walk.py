"""Walking a space: sampling, checking, mutating and enumerating its architectures.

One function, :func:`walk`, visits the choices in order; the others are each a few lines on top of
it, so an illegal architecture cannot be written by any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from spaces.space import Architecture, Choice, Decisions, SearchSpace, SpaceError, Value

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


def _listed(values: Sequence[Value]) -> str:
    return ", ".join(map(str, values))
