"""Segmentation: a backbone of inverted bottlenecks and a head, searched together.

The head is a :mod:`spaces.families.segmentation.bifpn` or a
:mod:`spaces.families.segmentation.deeplab`; which one it is, is a choice. Networks end in the map
that a 1x1 convolution to classes reads: see :mod:`spaces.heads.segmentation`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from spaces.attached import attach_many
from spaces.batching.places import Source
from spaces.families.extremes import towards
from spaces.families.ibn.space import IbnSpace
from spaces.families.segmentation.choices import (
    PREFIX,
    HeadChoices,
    Maps,
    Values,
    attachment,
    is_legal,
)
from spaces.graph import IntArray, OpBatch, OpGraph, Shape
from spaces.space import Architecture, Choice, Decisions, Value
from spaces.walk import decisions_of, walk


@dataclass(frozen=True, slots=True)
class SegmentationSpace:
    """All backbones of a space, each with all heads.

    Attributes:
        backbone: Without a top convolution; its name is that of the whole space.
        head: What stands behind it.
        choices: Of the backbone, then of the head; derived.
    """

    backbone: IbnSpace
    head: HeadChoices

    choices: tuple[Choice, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Derive the choices once: sampling asks for them all the time."""
        object.__setattr__(self, "choices", (*self.backbone.choices, *self.head.choices))

    @property
    def name(self) -> str:
        """The module name in ``spaces/catalog``."""
        return self.backbone.name

    @property
    def input_shape(self) -> Shape:
        """(1, H, W, C)."""
        return self.backbone.input_shape

    def domain(self, choice: Choice, decided: Decisions) -> tuple[Value, ...]:
        """Legal values after what was decided; empty where the choice has no effect."""
        if not choice.name.startswith(PREFIX):
            return self.backbone.domain(choice, decided)
        return self.head.domain(choice, decided)

    def lower(self, architecture_: Architecture) -> OpGraph:
        """Backbone and head as a graph; endpoints C1.. name the last block of each resolution.

        Raises:
            SpaceError: The architecture is not one of this space.
        """
        decisions = decisions_of(self, architecture_)
        graph = self.backbone.lower(self._of_backbone(decisions))
        ops = self.head.ops(_features(graph), decisions)
        return dataclasses.replace(graph, ops=(*graph.ops, *ops))

    def lower_many(self, architectures: Sequence[Architecture]) -> OpBatch:
        """Graphs of many architectures as columns.

        Raises:
            SpaceError: An architecture is not one of this space.
        """
        batch = None
        if all(one.space == self.name for one in architectures):
            batch = self._lower_many([one.values for one in architectures])
        # What is refused here is refused by `lower`, too, which says why.
        return batch or OpBatch.of([self.lower(one) for one in architectures])

    def _lower_many(self, decisions: Sequence[Decisions]) -> OpBatch | None:
        """Backbones as their space lowers them, and each distinct head drawn once."""
        heads = [_of_head(one) for one in decisions]
        found = self.backbone.lower_many_with_levels([self._of_backbone(one) for one in decisions])
        if found is None or not all(is_legal(self.head, head) for head in heads):
            return None
        batch, slots = found
        levels = tuple(slots)
        sources = np.column_stack(list(slots.values()))
        numbers: dict[tuple[Values, Maps], int] = {}
        which = [
            numbers.setdefault((head, self._maps(head, levels, sizes)), len(numbers))
            for head, sizes in zip(heads, _sizes(batch, sources), strict=True)
        ]
        distinct = [attachment(self.head, *key, levels) for key in numbers]
        return attach_many(batch, sources, distinct, np.array(which, np.int64))

    def _maps(self, head: Values, levels: tuple[int, ...], sizes: list[list[int]]) -> Maps:
        """What a head reads; ``sizes`` are height, width and channels of all levels."""
        shapes = dict(zip(levels, sizes, strict=True))
        read = self.head.levels(dict(head), levels)
        return tuple((level, (1, *shapes[level])) for level in read)

    def for_input(self, input_shape: Shape) -> SegmentationSpace:
        """The same space for inputs (1, H, W, C) of any height and width.

        Raises:
            ShapeError: The input is not of rank 4.
        """
        return dataclasses.replace(self, backbone=self.backbone.for_input(input_shape))

    def largest(self) -> Architecture:
        """The greatest value of every choice, at the finest stride; the first kind of head."""
        return self._end(self.backbone.largest(), -1, {"head/kind": 0, "head/stride": 0})

    def smallest(self) -> Architecture:
        """The least value of every choice, at the coarsest stride; the last kind of head."""
        return self._end(self.backbone.smallest(), 0, {"head/kind": -1, "head/stride": -1})

    def _end(self, backbone: Architecture, usual: int, other: Mapping[str, int]) -> Architecture:
        """``backbone`` with the values at these positions for the head."""
        values = backbone.values

        def pick(choice: Choice, domain: tuple[Value, ...]) -> Value:
            if choice.name.startswith(PREFIX):
                return domain[other.get(choice.name, usual)]
            return values[choice.name]

        return walk(self, pick)

    def extremes(self) -> Iterator[Architecture]:
        """The backbone's under the largest head; each kind of head at each stride on the largest.

        What a head reads has most channels in the largest backbone, and a finer head has all
        levels of a coarser one, but DeepLab's, which reads one fine map only.
        """
        largest = self.largest()
        for backbone in self.backbone.extremes():
            yield towards(self, largest, backbone.values)
        for kind, stride in product(self.head.kinds, self.head.strides):
            yield towards(self, largest, {"head/kind": kind, "head/stride": stride})

    def _of_backbone(self, decisions: Decisions) -> Architecture:
        own = {name: one for name, one in decisions.items() if not name.startswith(PREFIX)}
        return Architecture.of(self.name, own)


def _of_head(decisions: Decisions) -> Values:
    return tuple((name, one) for name, one in decisions.items() if name.startswith(PREFIX))


def _sizes(batch: OpBatch, slots: IntArray) -> list[list[list[int]]]:
    """Height, width and channels of what these slots put out."""
    rows = np.arange(len(slots))[:, None]
    sizes: list[list[list[int]]] = batch.output_hwc[rows, slots].tolist() if len(slots) else []
    return sizes


def _features(graph: OpGraph) -> dict[int, Source]:
    """The backbone's maps by level."""
    shapes = {op.name: op.output_shape for op in graph.ops}
    return {int(level[1:]): (name, shapes[name]) for level, name in graph.endpoints}
