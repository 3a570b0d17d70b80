"""Segmentation: a backbone of inverted bottlenecks and a head, searched together.

The head is a :mod:`spaces.bifpn` or a :mod:`spaces.deeplab`; which one it is, is a choice.
Networks end in the map that a 1x1 convolution to classes reads: see
:mod:`spaces.segmentation_head`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Literal

from spaces.bifpn import Bifpn, draw_bifpn
from spaces.deeplab import DeepLab, Merge, draw_deeplab
from spaces.drawing import Drawing
from spaces.extremes import towards
from spaces.graph import Activation, Op, OpBatch, OpGraph, Shape
from spaces.ibn import IbnSpace
from spaces.places import Source
from spaces.space import (
    Architecture,
    Choice,
    Decisions,
    SpaceError,
    Value,
    architecture,
    walk,
)

Kind = Literal["bifpn", "deeplab"]
BIFPN: Kind = "bifpn"
DEEPLAB: Kind = "deeplab"
PREFIX = "head/"


@dataclass(frozen=True, slots=True)
class HeadChoices:
    """What the head offers; all values ascending.

    Attributes:
        kinds: The one of most weights first.
        strides: Of the map at which the head ends: how fine it draws. A power of two.
        channels: Of a BiFPN's levels, or of each branch of a DeepLab head.
        repeats: Cells of a BiFPN, or separable convolutions of DeepLab's decoder.
        coarsest_strides: Of a BiFPN's last level; may be coarser than the backbone.
        dilations: The smallest of DeepLab's three.
        low_channels: Of DeepLab's fine features; empty: as ``channels``, and joined by a sum.
        decoder_channels: Of DeepLab's decoder; empty: as ``channels``.
        bifpn_activation, deeplab_activation: Fixed.
    """

    kinds: tuple[Kind, ...]
    strides: tuple[int, ...]
    channels: tuple[int, ...]
    repeats: tuple[int, ...]
    coarsest_strides: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    low_channels: tuple[int, ...] = ()
    decoder_channels: tuple[int, ...] = ()
    bifpn_activation: Activation = "relu6"
    deeplab_activation: Activation = "relu"

    @property
    def choices(self) -> tuple[Choice, ...]:
        """All of them, by names that begin with ``head/``."""
        offered = {
            "kind": self.kinds,
            "stride": self.strides,
            "channels": self.channels,
            "repeats": self.repeats,
            "coarsest_stride": self.coarsest_strides,
            "dilation": self.dilations,
            "low_channels": self.low_channels,
            "decoder_channels": self.decoder_channels,
        }
        return tuple(Choice(PREFIX + name, values) for name, values in offered.items() if values)

    def draw(
        self, drawing: Drawing, features: Mapping[int, Source], decisions: Decisions
    ) -> Source:
        """The head behind the backbone's maps by level; level n has stride 2**n."""
        channels, repeats = int(decisions["head/channels"]), int(decisions["head/repeats"])
        level = _level(decisions["head/stride"])
        if decisions["head/kind"] == BIFPN:
            coarsest = _level(decisions["head/coarsest_stride"])
            bifpn = Bifpn(level, coarsest, channels, repeats, self.bifpn_activation)
            return draw_bifpn(drawing, features, bifpn)
        merge: Merge = "concatenation" if self.low_channels else "sum"
        deeplab = DeepLab(
            low_level=level,
            channels=channels,
            dilation=int(decisions["head/dilation"]),
            low_channels=int(decisions.get("head/low_channels", channels)),
            decoder_channels=int(decisions.get("head/decoder_channels", channels)),
            repeats=repeats,
            merge=merge,
            activation=self.deeplab_activation,
        )
        return draw_deeplab(drawing, features, deeplab)


_OWNERS = {
    "head/coarsest_stride": BIFPN,
    "head/dilation": DEEPLAB,
    "head/low_channels": DEEPLAB,
    "head/decoder_channels": DEEPLAB,
}
"""The kind of head that has these choices; all others belong to both."""


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
        owner = _OWNERS.get(choice.name)
        return choice.values if owner is None or owner == decided["head/kind"] else ()

    def lower(self, architecture_: Architecture) -> OpGraph:
        """Backbone and head as a graph; endpoints C1.. name the last op of each resolution.

        Raises:
            SpaceError: The architecture is not one of this space.
        """
        if architecture_.space != self.name:
            raise SpaceError(
                f"an architecture must belong to the space that lowers it, {self.name}, "
                f"but got one of {architecture_.space!r}."
            )
        decisions = architecture(self, architecture_.values).values
        graph = self.backbone.lower(self._of_backbone(decisions))
        drawing = Drawing()
        self.head.draw(drawing, _features(graph), decisions)
        return dataclasses.replace(graph, ops=(*graph.ops, *self._marked(drawing, decisions)))

    def lower_many(self, architectures: Sequence[Architecture]) -> OpBatch:
        """Graphs of many architectures as columns.

        Raises:
            SpaceError: An architecture is not one of this space.
        """
        return OpBatch.of([self.lower(one) for one in architectures])

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

    def _marked(self, drawing: Drawing, decisions: Decisions) -> Iterator[Op]:
        """Ops of the head, which share their weights with those of the same kind of head only."""
        kind = str(decisions["head/kind"])
        return (dataclasses.replace(op, variant=kind) for op in drawing.ops)


def _level(stride: Value) -> int:
    return int(stride).bit_length() - 1


def _features(graph: OpGraph) -> dict[int, Source]:
    """The backbone's maps by level."""
    shapes = {op.name: op.output_shape for op in graph.ops}
    return {int(level[1:]): (name, shapes[name]) for level, name in graph.endpoints}
