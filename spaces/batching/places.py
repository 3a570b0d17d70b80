"""Many architectures lowered at once, place by place.

A *place* of a space decides a segment from a few decisions and the shape that enters it. So each
distinct combination is checked and lowered once, and all else is arithmetic on integer codes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np

from spaces.batching.codes import Encoder
from spaces.batching.segments import SegmentTable
from spaces.graph import INPUT, IntArray, Op, OpBatch, OpGraph, Shape
from spaces.space import Architecture, Choice, Decisions, Value

_ILLEGAL = -1
_MOST = 2**40  # combinations of decisions; shapes come on top
Source = tuple[str, Shape]
Domain = Callable[[Choice, Decisions], tuple[Value, ...]]
"""As :meth:`spaces.space.SearchSpace.domain`."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a segment stands.

    Attributes:
        reads: Names of choices made at places before it that matter here.
        makes: Choices made here, in order; each choice of a space is made at one place.
        lower: The ops of legal decisions, behind a source: its name and its shape (1, H, W, C).
        alike: By name of a choice, values to be replaced by another, or by no decision (None),
            because nothing here depends on which of them it is.
        kind: Places of one kind differ in nothing but the names of their choices; None: unlike
            any other.
    """

    reads: tuple[str, ...]
    makes: tuple[Choice, ...]
    lower: Callable[[Decisions, Source], Sequence[Op]]
    alike: Mapping[str, Mapping[Value, Value | None]] = field(default_factory=dict)
    kind: Hashable = None


@dataclass(frozen=True, slots=True)
class _Factor:
    """A choice that matters at a place.

    Attributes:
        name: Of the choice.
        column: Of its codes.
        values: What the codes mean.
        alike: The code that stands for each code.
    """

    name: str
    column: int
    values: tuple[Value | None, ...]
    alike: IntArray


def _factors(place: Place, encoder: Encoder) -> Iterator[_Factor]:
    for name in (*place.reads, *(choice.name for choice in place.makes)):
        column = encoder.names.index(name)
        values, alike = encoder.values[column], place.alike.get(name, {})
        others = (None if value is None else alike.get(value, value) for value in values)
        codes = np.array([values.index(value) for value in others])
        yield _Factor(name, column, values, codes)


@final
class PlaceTable:
    """What every place of a space makes of every combination that was met so far.

    It only remembers: answers do not depend on what was asked before.
    """

    def __init__(self, choices: Sequence[Choice], domain: Domain, places: Sequence[Place]) -> None:
        self._domain, self._places = domain, tuple(places)
        self._encoder = Encoder(choices)
        self._factors = [list(_factors(place, self._encoder)) for place in places]
        kinds: dict[Hashable, dict[int, tuple[int, int]]] = {}
        self._known = [
            kinds.setdefault(number if place.kind is None else place.kind, {})
            for number, place in enumerate(places)
        ]
        self._shapes: dict[Shape, int] = {}
        self._segments = SegmentTable()

    def lower_many(
        self, architectures: Sequence[Architecture], input_shape: Shape
    ) -> OpBatch | None:
        """The graphs as columns; None if an architecture is not one of the space.

        None, too, for places of so many combinations that their number does not fit into 64 bits.
        """
        found = self.lower_many_with_ends(architectures, input_shape)
        return None if found is None else found[0]

    def lower_many_with_ends(
        self, architectures: Sequence[Architecture], input_shape: Shape
    ) -> tuple[OpBatch, IntArray] | None:
        """As :meth:`lower_many`, and where places end, as :meth:`SegmentTable.ends` tells."""
        if any(math.prod(len(one.values) for one in row) > _MOST for row in self._factors):
            return None
        codes = self._encoder.encode(architectures)
        which = None if codes is None else self._lowered(codes, input_shape)
        if which is None:
            return None
        return self._segments.batch(which), self._segments.ends(which)

    def _lowered(self, codes: IntArray, input_shape: Shape) -> IntArray | None:
        """Segments of all places, ``[n_architectures, n_places]``; None if one is illegal."""
        which = np.empty((len(codes), len(self._places)), np.int64)
        shapes = np.full(len(codes), self._shape_number(input_shape))
        for number, factors in enumerate(self._factors):
            keys = shapes
            for one in factors:
                keys = keys * len(one.values) + one.alike[codes[:, one.column]]
            distinct, rows = np.unique(keys, return_inverse=True)
            found = [self._segment(number, key) for key in distinct.tolist()]
            segments, after = np.array(found, np.int64).reshape(-1, 2).T
            if (segments == _ILLEGAL).any():
                return None
            which[:, number], shapes = segments[rows], after[rows]
        return which

    def _segment(self, place: int, key: int) -> tuple[int, int]:
        """Numbers of a segment and of the shape behind it."""
        known = self._known[place]
        if key not in known:
            known[key] = self._new_segment(place, key)
        return known[key]

    def _new_segment(self, place: int, key: int) -> tuple[int, int]:
        decisions: dict[str, Value] = {}
        rest = key
        for one in reversed(self._factors[place]):
            rest, code = divmod(rest, len(one.values))
            value = one.values[code]
            if value is not None:
                decisions[one.name] = value
        shape = list(self._shapes)[rest]
        if not all(self._is_legal(choice, decisions) for choice in self._places[place].makes):
            return _ILLEGAL, rest
        ops = tuple(self._places[place].lower(decisions, (INPUT, shape)))
        after = self._shape_number(ops[-1].output_shape) if ops else rest
        return self._segments.add(OpGraph(shape, ops)), after

    def _is_legal(self, choice: Choice, decisions: Decisions) -> bool:
        return decisions.get(choice.name) in (self._domain(choice, decisions) or (None,))

    def _shape_number(self, shape: Shape) -> int:
        return self._shapes.setdefault(shape, len(self._shapes))
