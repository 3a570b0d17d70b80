"""What the head of a segmentation network offers, and the ops of each head.

Level n is the map of stride 2**n, of the backbone or of the head.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from spaces.attached import Attachment
from spaces.batching.places import Source
from spaces.families.segmentation.bifpn import Bifpn, draw_bifpn
from spaces.families.segmentation.deeplab import DeepLab, draw_deeplab
from spaces.families.segmentation.drawing import Drawing
from spaces.graph import Activation, Op, Shape
from spaces.space import Choice, Decisions, Value

Kind = Literal["bifpn", "deeplab"]
BIFPN: Kind = "bifpn"
DEEPLAB: Kind = "deeplab"
PREFIX = "head/"
Values = tuple[tuple[str, Value], ...]
"""Decisions of a head."""
Maps = tuple[tuple[int, Shape], ...]
"""Levels of a backbone with their shapes (1, H, W, C), from fine to coarse."""

_OWNERS = {
    "head/coarsest_stride": BIFPN,
    "head/dilation": DEEPLAB,
    "head/low_channels": DEEPLAB,
    "head/decoder_channels": DEEPLAB,
}
"""The kind of head that has these choices; all others belong to both."""


@dataclass(frozen=True, slots=True)
class HeadChoices:
    """What the head offers; all values ascending.

    Attributes:
        kinds: The one of most weights first.
        strides: Of the map at which the head ends: how fine it draws. Powers of two.
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

    def domain(self, choice: Choice, decided: Decisions) -> tuple[Value, ...]:
        """Legal values after what was decided; empty where the choice has no effect."""
        owner = _OWNERS.get(choice.name)
        return choice.values if owner is None or owner == decided["head/kind"] else ()

    def levels(self, decisions: Decisions, offered: Iterable[int]) -> tuple[int, ...]:
        """The levels of a backbone that a head reads, ascending."""
        finest, last = level_of(decisions["head/stride"]), max(offered)
        if decisions["head/kind"] == DEEPLAB:
            return (finest, last)
        return tuple(range(finest, last + 1))

    def ops(self, features: Mapping[int, Source], decisions: Decisions) -> tuple[Op, ...]:
        """The head behind the backbone's maps by level; the last op makes what is classified.

        Weights are shared with heads of the same kind only.
        """
        kind = str(decisions["head/kind"])
        drawing = Drawing(variant=kind)
        if kind == BIFPN:
            draw_bifpn(drawing, features, self._bifpn(decisions))
        else:
            draw_deeplab(drawing, features, self._deeplab(decisions))
        return tuple(drawing.ops)

    def _bifpn(self, decisions: Decisions) -> Bifpn:
        return Bifpn(
            min_level=level_of(decisions["head/stride"]),
            max_level=level_of(decisions["head/coarsest_stride"]),
            channels=int(decisions["head/channels"]),
            repeats=int(decisions["head/repeats"]),
            activation=self.bifpn_activation,
        )

    def _deeplab(self, decisions: Decisions) -> DeepLab:
        channels = int(decisions["head/channels"])
        return DeepLab(
            low_level=level_of(decisions["head/stride"]),
            channels=channels,
            dilation=int(decisions["head/dilation"]),
            low_channels=int(decisions.get("head/low_channels", channels)),
            decoder_channels=int(decisions.get("head/decoder_channels", channels)),
            repeats=int(decisions["head/repeats"]),
            merge="concatenation" if self.low_channels else "sum",
            activation=self.deeplab_activation,
        )


def level_of(stride: Value) -> int:
    """The level whose map has this stride.

    >>> level_of(8)
    3
    """
    return int(stride).bit_length() - 1


def is_legal(head: HeadChoices, values: Values) -> bool:
    """Whether these are all the decisions of a head, and each legal."""
    try:
        return _is_legal(head, values)
    except TypeError:  # a value that nothing can be looked up by: a list from somebody's JSON
        return False


@functools.lru_cache(maxsize=10_000)
def _is_legal(head: HeadChoices, values: Values) -> bool:
    decisions = dict(values)
    if "head/kind" not in decisions:
        return False
    domains = {choice.name: head.domain(choice, decisions) for choice in head.choices}
    live = {name for name, domain in domains.items() if domain}
    return decisions.keys() == live and all(decisions[name] in domains[name] for name in live)


@functools.lru_cache(maxsize=10_000)
def attachment(
    head: HeadChoices, values: Values, maps: Maps, levels: tuple[int, ...]
) -> Attachment:
    """A head that reads ``maps``, which are some of the backbone's ``levels``: its sources."""
    features = {level: (f"C{level}", shape) for level, shape in maps}
    return Attachment.of(head.ops(features, dict(values)), [f"C{level}" for level in levels])
