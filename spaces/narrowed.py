"""A space of which a person offers less: fewer ops, windows or widths, by name of choice.

The space itself is left alone: its architectures keep their names and numbers, so that scores,
weights and graphs of the whole space stay good for the narrowed one.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, final

import numpy as np

from spaces.graph import OpBatch, OpGraph, Shape
from spaces.space import Architecture, Choice, Decisions, SpaceError, TrainableSpace, Value
from spaces.walk import sample, walk

WALKS = 500
"""Random architectures that are drawn to find combinations that leave nothing to decide."""

Offers = Mapping[str, Sequence[Value]]
"""Values by name of choice, or by a pattern of ``fnmatch`` such as ``*/op``; the last that fits
wins."""


@final
class NarrowedSpace:
    """A trainable space whose choices offer some of their values.

    It samples, mutates and enumerates within what is offered. It lowers every architecture of the
    whole space, published ones among them, and its supernet holds the weights of all of them.
    """

    def __init__(self, space: TrainableSpace, offers: Offers) -> None:
        """Narrow ``space``.

        Raises:
            SpaceError: A name fits no choice, a value is not offered by the whole space, or what
                is left of one choice rules out all that is left of another.
        """
        self._space, self._offers = space, dict(offers)
        self._kept = {choice.name: _kept(choice, self._offers) for choice in space.choices}
        self._whole = {choice.name: choice for choice in space.choices}
        self.choices = tuple(Choice(name, kept) for name, kept in self._kept.items())
        self._ahead = _ahead(space.choices, self._kept)
        _refuse_strangers(space, self._offers)
        rng = np.random.default_rng(0)
        for _ in range(WALKS):
            sample(self, rng)

    @property
    def name(self) -> str:
        """That of the whole space."""
        return self._space.name

    @property
    def input_shape(self) -> Shape:
        """Of all its networks, (1, H, W, C)."""
        return self._space.input_shape

    @property
    def whole(self) -> TrainableSpace:
        """The space that is narrowed."""
        return self._space

    def domain(self, choice: Choice, decided: Decisions) -> tuple[Value, ...]:
        """What is legal and offered; empty: nothing to decide.

        Raises:
            SpaceError: Something is legal, and nothing of it is offered.
        """
        legal = self._space.domain(self._whole[choice.name], decided)
        kept = self._offered(choice.name, legal)
        ahead = self._ahead[choice.name]
        if ahead:
            kept = tuple(v for v in kept if self._goes_on(ahead, {**decided, choice.name: v}))
        if legal and not kept:
            raise SpaceError(
                f"space.choices: {choice.name} must be one of {_listed(legal)} after "
                f"{_said(decided)}, and fit what is offered after it, but got "
                f"{_listed(self._kept[choice.name])} to choose from. Offer more of it or of what "
                "follows, or less of what was decided before."
            )
        return kept

    def _offered(self, name: str, legal: tuple[Value, ...]) -> tuple[Value, ...]:
        return tuple(value for value in legal if value in self._kept[name])

    def _goes_on(self, ahead: tuple[Choice, ...], decided: Decisions) -> bool:
        """Whether the choices ``ahead`` can all be decided after ``decided``."""
        if not ahead:
            return True
        first, rest = ahead[0], ahead[1:]
        legal = self._space.domain(first, decided)
        if not legal:
            return self._goes_on(rest, decided)
        kept = self._offered(first.name, legal)
        return any(self._goes_on(rest, {**decided, first.name: value}) for value in kept)

    def holds(self, point: Architecture) -> bool:
        """Whether all decisions of an architecture of the whole space are offered."""
        return all(value in self._kept[name] for name, value in point.decisions)

    def largest(self) -> Architecture:
        """The largest architecture of the whole space, or what comes nearest to it here."""
        return self._nearest(self._space.largest(), last=True)

    def smallest(self) -> Architecture:
        """Likewise the smallest."""
        return self._nearest(self._space.smallest(), last=False)

    def _nearest(self, point: Architecture, last: bool) -> Architecture:
        """``point`` where its decisions are offered, else the first or last value of a choice."""
        values = point.values

        def pick(choice: Choice, domain: tuple[Value, ...]) -> Value:
            kept = values.get(choice.name)
            return kept if kept in domain else domain[-1 if last else 0]

        return walk(self, pick)

    def extremes(self) -> Iterable[Architecture]:
        """Those of the whole space: its supernet is not narrowed."""
        return self._space.extremes()

    def lower(self, architecture: Architecture) -> OpGraph:
        """As the whole space does."""
        return self._space.lower(architecture)

    def lower_many(self, architectures: Sequence[Architecture]) -> OpBatch:
        """As the whole space does."""
        return self._space.lower_many(architectures)

    def for_input(self, input_shape: Shape) -> NarrowedSpace:
        """The same for inputs of another shape (1, H, W, C)."""
        return NarrowedSpace(self._space.for_input(input_shape), self._offers)

    def __getattr__(self, name: str) -> Any:
        """What else the family of the whole space has."""
        return getattr(self._space, name)


def narrowed(space: TrainableSpace, offers: Offers) -> TrainableSpace:
    """``space`` itself where nothing is narrowed."""
    return NarrowedSpace(space, offers) if offers else space


def offered(space: TrainableSpace, points: Mapping[str, Architecture]) -> dict[str, Architecture]:
    """Of named architectures of a whole space those that a narrowed one holds."""
    if not isinstance(space, NarrowedSpace):
        return dict(points)
    return {name: point for name, point in points.items() if space.holds(point)}


def _ahead(
    choices: Sequence[Choice], kept: Mapping[str, tuple[Value, ...]]
) -> dict[str, tuple[Choice, ...]]:
    """By name of a choice those after it at the same place, up to the last that is narrowed.

    What is decided at a place must leave something to decide there: an op is not offered where
    none of the offered expansions allows it.
    """
    found: dict[str, tuple[Choice, ...]] = {}
    for number, choice in enumerate(choices):
        place = choice.name.rpartition("/")[0]
        later = choices[number + 1 :]
        here = [one for one in later if place and one.name.rpartition("/")[0] == place]
        while here and kept[here[-1].name] == here[-1].values:
            here.pop()
        found[choice.name] = tuple(here)
    return found


def _kept(choice: Choice, offers: Offers) -> tuple[Value, ...]:
    """What is left of a choice, in its own order."""
    wanted: Sequence[Value] = choice.values
    for pattern, values in offers.items():
        if fnmatch.fnmatchcase(choice.name, pattern):
            wanted = values
    return tuple(value for value in choice.values if value in wanted)


def _refuse_strangers(space: TrainableSpace, offers: Offers) -> None:
    """Refuse patterns that fit nothing, and values that no choice has."""
    for pattern, values in offers.items():
        fitting = [one for one in space.choices if fnmatch.fnmatchcase(one.name, pattern)]
        if not fitting:
            raise SpaceError(
                f"space.choices: {pattern!r} must fit the name of a choice of {space.name}, but "
                f"got none. `python -m spaces show {space.name}` lists them."
            )
        known = tuple(dict.fromkeys(value for one in fitting for value in one.values))
        for value in values:
            if value not in known:
                raise SpaceError(
                    f"space.choices: {pattern} must be among {_listed(known)}, but got {value!r}."
                )
        for one in fitting:
            if not _kept(one, offers):
                raise SpaceError(
                    f"space.choices: {one.name} must keep one of {_listed(one.values)}, but "
                    f"{pattern!r} leaves none of them."
                )


def _listed(values: Iterable[Value]) -> str:
    return ", ".join(map(str, values))


def _said(decided: Decisions) -> str:
    """The last decisions, for people."""
    last: Iterator[tuple[str, Value]] = iter(list(decided.items())[-3:])
    return ", ".join(f"{name}={value}" for name, value in last) or "nothing else"
