"""The size of pictures as a choice of the search: ``input/side``, decided before all others.

What a network costs falls with the square of the side, and a small network of large pictures is
seldom better than a larger one of small pictures. So the side is one more decision. It shapes no
weight: an architecture at another side is the same network for another input.

Where no sides are offered nothing changes: choices, architectures and graphs are those of the
space. An architecture that has decided its side can be lowered all the same, so that files and
records of a search are read without knowing what it offered; one that has not is for the size
that the space is for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast, final

from spaces import narrowed, walk
from spaces.graph import OpBatch, OpGraph, Shape
from spaces.narrowed import NarrowedSpace, Offers
from spaces.space import (
    Architecture,
    Choice,
    Decisions,
    SearchSpace,
    SpaceError,
    TrainableSpace,
    Value,
)

Space = TypeVar("Space", bound=SearchSpace)
SIDE = "input/side"
"""Name of the choice: pixels of the shorter side; the longer one follows by the proportions."""
LEAST = 8
"""Pixels of the smallest side that may be offered."""


def parted(offers: Offers) -> tuple[tuple[Value, ...], dict[str, Sequence[Value]]]:
    """The sides among what is offered, none where they are not named, and the rest of it.

    Raises:
        SpaceError: The list of sides is empty.
    """
    rest = {name: values for name, values in offers.items() if name != SIDE}
    if SIDE in offers and not offers[SIDE]:
        raise SpaceError(
            f"space.choices: {SIDE} must list one side at least, but got none. Leave it out: then "
            "pictures have the size of data.image_size."
        )
    return tuple(offers.get(SIDE, ())), rest


def sides_within(sides: Iterable[Value], size: tuple[int, int]) -> tuple[int, ...]:
    """Sides that may be offered for pictures of a size, the smallest first.

    Args:
        sides: Pixels.
        size: Height and width of the prepared pictures, pixels.

    Raises:
        SpaceError: One is no whole number, too small or too large, or does not leave the
            proportions as they are.
    """
    found = set[int]()
    for side in sides:
        if not isinstance(side, int) or isinstance(side, bool) or not LEAST <= side <= min(size):
            raise SpaceError(
                f"space.choices: {SIDE} must list whole numbers of pixels from {LEAST} to "
                f"{min(size)}, which is the (shorter) side of data.image_size, but got {side!r}. "
                "Leave it out, or change data.image_size."
            )
        scaled_size(side, size)
        found.add(side)
    return tuple(sorted(found))


def scaled_size(side: int, size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of pictures of the proportions of ``size`` whose shorter side is ``side``.

    Raises:
        SpaceError: The longer side is no whole number.

    >>> scaled_size(48, (192, 256))
    (48, 64)
    """
    shorter = min(size)
    if any(one * side % shorter for one in size):
        step = next(one for one in range(1, shorter + 1) if not max(size) * one % shorter)
        raise SpaceError(
            f"space.choices: {SIDE} must leave the proportions of {size[0]}x{size[1]} pictures as "
            f"they are, but got {side}. Take a multiple of {step}."
        )
    height, width = (one * side // shorter for one in size)
    return height, width


@final
class SidedSpace:
    """A space of networks for pictures, among whose decisions may be the side of its input.

    Attributes:
        sides: Those offered, the smallest first; empty: there is no such choice.
        choices: Of the space, and before them the side where it is offered.
    """

    def __init__(self, space: Any, sides: Iterable[Value] = ()) -> None:
        """Offer ``sides`` in a space, which is for pictures of the largest size.

        The space may be one whose networks share no weights: then this one has no
        :meth:`largest` and no :meth:`smallest` either.

        Raises:
            SpaceError: See :func:`sides_within`.
        """
        self._space: TrainableSpace = space
        self._size = (space.input_shape[1], space.input_shape[2])
        self.sides = sides_within(sides, self._size)
        first = (Choice(SIDE, self.sides),) if self.sides else ()
        self.choices: tuple[Choice, ...] = (*first, *space.choices)
        # What is narrowed matters to what is proposed, not to what can be built.
        self._whole: TrainableSpace = space.whole if isinstance(space, NarrowedSpace) else space
        self._by_side = {min(self._size): self._whole}

    @property
    def name(self) -> str:
        """That of the space."""
        return self._space.name

    @property
    def input_shape(self) -> Shape:
        """Of the networks that have not decided their side, (1, H, W, C); none has a larger."""
        return self._space.input_shape

    @property
    def unsided(self) -> TrainableSpace:
        """The space itself."""
        return self._space

    def domain(self, choice: Choice, decided: Decisions) -> tuple[Value, ...]:
        """All sides offered; else as in the space."""
        return self.sides if choice.name == SIDE else self._space.domain(choice, decided)

    def at_sides(self, point: Architecture) -> tuple[Architecture, ...]:
        """An architecture at each side offered; as it is where none is."""
        return tuple(_at(point, side) for side in self.sides) or (point,)

    def largest(self) -> Architecture:
        """The largest architecture of the space, at the largest side."""
        return self.at_sides(self._space.largest())[-1]

    def smallest(self) -> Architecture:
        """The smallest, at the smallest side."""
        return self.at_sides(self._space.smallest())[0]

    def extremes(self) -> Iterable[Architecture]:
        """Those of the space: a side shapes no weight."""
        return (self.at_sides(point)[-1] for point in self._space.extremes())

    def lower(self, architecture: Architecture) -> OpGraph:
        """The network for the side that it has decided, else for that of the space.

        Raises:
            SpaceError: The architecture is not one of the space, or it has no such side.
        """
        side, rest = _without(architecture)
        return self._for_side(side).lower(rest)

    def lower_many(self, architectures: Sequence[Architecture]) -> OpBatch:
        """The same of many, those of a side together.

        Raises:
            SpaceError: As :meth:`lower`.
        """
        rows, points = defaultdict[Value | None, list[int]](list), list[Architecture]()
        for row, point in enumerate(architectures):
            side, rest = _without(point)
            rows[side].append(row)
            points.append(rest)
        if len(rows) < 2:
            return self._for_side(next(iter(rows), None)).lower_many(points)
        return OpBatch.joined(
            (self._for_side(side).lower_many([points[row] for row in found]), found)
            for side, found in rows.items()
        )

    def _for_side(self, side: Value | None) -> TrainableSpace:
        """The whole space for pictures of a side."""
        if side is None:
            return self._whole
        if side not in self._by_side:
            if not isinstance(side, int) or side < 1:
                raise SpaceError(
                    f"{self.name}: {SIDE} must be a whole number of pixels, but got {side!r}."
                )
            shape = (1, *scaled_size(side, self._size), self.input_shape[3])
            self._by_side[side] = self._whole.for_input(shape)
        return self._by_side[int(side)]

    def for_input(self, input_shape: Shape) -> SidedSpace:
        """The same for inputs of another shape (1, H, W, C).

        Raises:
            SpaceError: A side that is offered does not fit it.
        """
        return SidedSpace(self._space.for_input(input_shape), self.sides)

    def __getattr__(self, name: str) -> Any:
        """What else the family of the space has."""
        return getattr(self._space, name)


def sided(space: Space, sides: Iterable[Value] = ()) -> Space:
    """A space in which sides can be decided, if it is one for pictures; else the space itself.

    Raises:
        SpaceError: Sides are offered for other inputs, or see :func:`sides_within`.
    """
    wanted = tuple(sides)
    if len(space.input_shape) != 4:
        if wanted:
            raise SpaceError(
                f"space.choices: {SIDE} must be offered of a space for pictures, but got "
                f"{space.name}. Leave it out."
            )
        return space
    return cast(Space, SidedSpace(space, wanted))


def offered(space: TrainableSpace, points: Mapping[str, Architecture]) -> dict[str, Architecture]:
    """Of named architectures of a whole space those that one holds of which less is offered.

    They are at the largest side, where sides are offered.
    """
    if not isinstance(space, SidedSpace):
        return narrowed.offered(space, points)
    kept = narrowed.offered(space.unsided, points)
    return {name: space.at_sides(point)[-1] for name, point in kept.items()}


def checked(space: SearchSpace, decisions: Decisions) -> Architecture:
    """As :func:`spaces.walk.architecture`; a side may be decided that is not offered.

    Raises:
        SpaceError: As there.
    """
    if not isinstance(space, SidedSpace) or space.sides or SIDE not in decisions:
        return walk.architecture(space, decisions)
    rest = {name: value for name, value in decisions.items() if name != SIDE}
    return _at(walk.architecture(space, rest), decisions[SIDE])


def _at(point: Architecture, side: Value) -> Architecture:
    return Architecture.of(point.space, {**point.values, SIDE: side})


def _without(point: Architecture) -> tuple[Value | None, Architecture]:
    """The side of an architecture, if it has decided it, and the rest of it."""
    values = point.values
    side = values.pop(SIDE, None)
    return side, point if side is None else Architecture.of(point.space, values)
