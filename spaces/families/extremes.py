"""Architectures that show how large the shared weights of a space must be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations, product

from spaces.space import Architecture, Choice, SearchSpace, Value
from spaces.walk import walk


def towards(
    space: SearchSpace, largest: Architecture, wanted: Mapping[str, Value]
) -> Architecture:
    """``largest`` with the values of ``wanted`` where they are legal.

    What only becomes live by that takes its last legal value.
    """
    values = largest.values

    def pick(choice: Choice, domain: tuple[Value, ...]) -> Value:
        for value in (wanted.get(choice.name), values.get(choice.name)):
            if value in domain:
                return value
        return domain[-1]

    return walk(space, pick)


def one_at_a_time(space: SearchSpace, largest: Architecture) -> Iterator[Architecture]:
    """``largest``, each choice at every value, and each pair of choices of one prefix likewise.

    Enough where every dimension of a weight grows with each choice, or hangs on two choices of
    one place.
    """
    seen = {largest}
    yield largest
    for wanted in _changes(space.choices):
        point = towards(space, largest, wanted)
        if point not in seen:
            seen.add(point)
            yield point


def _changes(choices: tuple[Choice, ...]) -> Iterator[dict[str, Value]]:
    for choice in choices:
        yield from ({choice.name: value} for value in choice.values)
    for one, other in combinations(choices, 2):
        if "/" in one.name and _prefix(one) == _prefix(other):
            for pair in product(one.values, other.values):
                yield {one.name: pair[0], other.name: pair[1]}


def _prefix(choice: Choice) -> str:
    return choice.name.rpartition("/")[0]
