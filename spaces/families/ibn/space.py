"""The family of spaces the paper searches: a stem, stages of inverted bottlenecks, a top conv.

A member of the family is data (:class:`IbnSpace`): which ops, kernels, expansions, channels per
group and widths each place offers. The supernet reads the same data, so that a space is written
once.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from spaces.batching.places import Place, PlaceTable, Source
from spaces.families import blocks
from spaces.families.blocks import Block
from spaces.families.extremes import towards
from spaces.families.ibn.choices import (
    STEM_CHANNELS,
    BlockChoices,
    Site,
    Stage,
    block_choices,
    presence,
    sites_of,
    width_name,
)
from spaces.graph import (
    INPUT,
    Activation,
    IntArray,
    Op,
    OpBatch,
    OpGraph,
    OpKind,
    Shape,
    ShapeError,
)
from spaces.space import Architecture, Choice, Decisions, Value
from spaces.walk import decisions_of, walk

STEM_KERNEL, TOP_CHANNELS = "stem/kernel", "top/channels"
POOLED_CHANNELS = "pooled/channels"


@dataclass(frozen=True, slots=True)
class IbnSpace:
    """Stem, stages of inverted bottlenecks, 1x1 top convolution.

    Attributes:
        name: Module name in ``spaces/catalog``.
        input_shape: (1, H, W, C).
        stem_widths, stem_kernels, stem_strides: The first, full convolution.
        stages: In order.
        top_widths: Channels of the last 1x1 convolution, 0: none; empty: never one.
        activation: After every convolution but the projections.
        pooled_widths: Channels of one more 1x1 convolution, behind a mean over all places; empty:
            none, and no mean.
        choices: Stem, then stage by stage its width and its blocks, then the top; derived.
    """

    name: str
    input_shape: Shape
    stem_widths: tuple[int, ...]
    stem_kernels: tuple[int, ...]
    stem_strides: int
    stages: tuple[Stage, ...]
    top_widths: tuple[int, ...]
    activation: Activation = "relu"
    pooled_widths: tuple[int, ...] = ()

    choices: tuple[Choice, ...] = field(init=False, repr=False, compare=False)
    _sites: Mapping[str, Site] = field(init=False, repr=False, compare=False)
    _table: PlaceTable = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Derive the choices once: sampling asks for them all the time."""
        sites = {f"{site.prefix}/{site.part}": site for site in sites_of(self.stages)}
        object.__setattr__(self, "_sites", sites)
        object.__setattr__(self, "choices", tuple(_choices(self)))
        table = PlaceTable(self.choices, self.domain, tuple(self._places()))
        object.__setattr__(self, "_table", table)

    def domain(self, choice: Choice, decided: Decisions) -> tuple[Value, ...]:
        """Legal values after what was decided; empty where the choice has no effect."""
        site = self._sites.get(choice.name)
        if site is None:
            return choice.values
        if site.before and decided.get(site.before, blocks.SKIP) == blocks.SKIP:
            return ()
        op = expansion = None
        if site.part != "op":
            op = decided[f"{site.prefix}/op"]
            if op == blocks.SKIP:
                return ()
            expansion = decided.get(f"{site.prefix}/expansion")
        return site.legal(decided[site.width], op, expansion)

    def in_channels(self, stage: int, block: int, decided: Decisions) -> int:
        """Channels that enter block ``block`` (from 0) of stage ``stage`` (from 1)."""
        return int(decided[width_name(stage, block)])

    def blocks(self, decisions: Decisions) -> list[Block]:
        """The live blocks, all decided."""
        decided: list[Block] = []
        for number, stage in enumerate(self.stages, 1):
            width = int(decisions[f"stage{number}/channels"])
            for index, place in enumerate(stage.blocks):
                name = f"stage{number}/block{index}"
                op = str(decisions.get(f"{name}/op", blocks.SKIP))
                if op == blocks.SKIP:
                    break
                decided.append(self._block(name, op, width, place, decisions))
        return decided

    def _block(
        self,
        name: str,
        op: str,
        width: int,
        place: BlockChoices,
        decisions: Decisions,
        alias: str | None = None,
    ) -> Block:
        per_group = decisions.get(f"{name}/channels_per_group")
        return Block(
            name=alias or name,
            op=op,
            out_channels=width,
            kernel_size=int(decisions.get(f"{name}/kernel", 1)),
            strides=place.strides,
            expansion=int(decisions[f"{name}/expansion"]),
            channels_per_group=None if per_group is None else int(per_group),
            residual=place.residual,
            activation=self.activation,
            expanded_from=width if place.expands_output else None,
            start_kernel_size=int(decisions.get(f"{name}/start_kernel", 1)),
        )

    def lower(self, architecture_: Architecture) -> OpGraph:
        """The backbone as a graph; endpoints C1.. name the last block of each resolution.

        Raises:
            SpaceError: The architecture is not one of this space.
        """
        decisions = decisions_of(self, architecture_)
        ops = self._stem(decisions, (INPUT, self.input_shape))
        for block in self.blocks(decisions):
            ops.extend(_lowered(block, ops[-1].name, ops[-1].output_shape))
        endpoints = _endpoints(ops)
        ops.extend(self._top(decisions, (ops[-1].name, ops[-1].output_shape)))
        ops.extend(self._pooled(decisions, (ops[-1].name, ops[-1].output_shape)))
        return OpGraph(self.input_shape, tuple(ops), endpoints)

    def lower_many(self, architectures: Sequence[Architecture]) -> OpBatch:
        """Graphs of many architectures as columns.

        Raises:
            SpaceError: An architecture is not one of this space.
        """
        batch = None
        if all(one.space == self.name for one in architectures):
            batch = self._table.lower_many(architectures, self.input_shape)
        # What a table refuses is refused by `lower`, too, which says why.
        return batch or OpBatch.of([self.lower(one) for one in architectures])

    def lower_many_with_levels(
        self, architectures: Sequence[Architecture]
    ) -> tuple[OpBatch, dict[int, IntArray]] | None:
        """As :meth:`lower_many`, and the slot of each endpoint, ``[n_architectures]``, by level.

        None: an architecture is not one of this space; :meth:`lower` says why.
        """
        found = None
        if all(one.space == self.name for one in architectures):
            found = self._table.lower_many_with_ends(architectures, self.input_shape)
        if found is None:
            return None
        batch, ends = found
        levels = {level: ends[:, place] for level, place in self._level_places()}
        return batch, levels

    def _level_places(self) -> Iterator[tuple[int, int]]:
        """Level of each place but the top, and its number: the last of a level is its end."""
        strides, place = self.stem_strides, 0
        yield strides.bit_length() - 1, place
        for stage in self.stages:
            for offered in stage.blocks:
                strides, place = strides * offered.strides, place + 1
                yield strides.bit_length() - 1, place

    def _stem(self, decisions: Decisions, source: Source) -> list[Op]:
        channels, kernel = int(decisions[STEM_CHANNELS]), int(decisions[STEM_KERNEL])
        stem = blocks.convolution(
            "stem", source, channels, kernel, self.stem_strides, activation=self.activation
        )
        return [stem]

    def _top(self, decisions: Decisions, source: Source) -> list[Op]:
        channels = int(decisions.get(TOP_CHANNELS, 0))
        if not channels:
            return []
        return [blocks.convolution("top", source, channels, activation=self.activation)]

    def _pooled(self, decisions: Decisions, source: Source) -> list[Op]:
        channels = int(decisions.get(POOLED_CHANNELS, 0))
        if not channels:
            return []
        (name, shape), ops = source, list[Op]()
        _, height, width, depth = shape
        if (height, width) != (1, 1):  # a mean of one place is none in a file either
            source = ("mean", (1, 1, 1, depth))
            ops.append(Op("mean", OpKind.MEAN, (name,), shape, source[1], (height, width)))
        return [*ops, blocks.convolution("pooled", source, channels, activation=self.activation)]

    def _block_at(self, name: str, decisions: Decisions, source: Source) -> Sequence[Op]:
        """The ops of a block or of none, named alike so that equal blocks are lowered once."""
        op = str(decisions.get(f"{name}/op", blocks.SKIP))
        if op == blocks.SKIP:
            return ()
        width = int(decisions[f"{name.partition('/')[0]}/channels"])
        place = self._sites[f"{name}/op"].place
        return _lowered(self._block(name, op, width, place, decisions, "block"), *source)

    def _places(self) -> Iterator[Place]:
        """Stem, blocks, top, each with the choices that matter there."""
        named = {choice.name: choice for choice in self.choices}
        yield Place((), (named[STEM_CHANNELS], named[STEM_KERNEL]), self._stem)
        for number, stage in enumerate(self.stages, 1):
            for index, offered in enumerate(stage.blocks):
                name, widths = f"stage{number}/block{index}", f"stage{number}/channels"
                made = block_choices(name, offered)
                lower = functools.partial(self._block_at, name)
                if index == 0:
                    yield Place((width_name(number, 0),), (named[widths], *made), lower)
                    continue
                before = f"stage{number}/block{index - 1}/op"
                alike = {before: presence(stage.blocks[index - 1].ops)}
                kind = (number, offered, stage.blocks[index - 1].ops)
                yield Place((before, widths), tuple(made), lower, alike, kind)
        if self.top_widths:
            yield Place((), (named[TOP_CHANNELS],), self._top)
        if self.pooled_widths:
            yield Place((), (named[POOLED_CHANNELS],), self._pooled)

    def largest(self) -> Architecture:
        """The greatest value of every choice; of ops the one with most weights."""
        return walk(self, lambda _, domain: max(domain, key=_size))

    def smallest(self) -> Architecture:
        """The least value of every choice; blocks are skipped where they may be."""
        return walk(self, lambda _, domain: min(domain, key=_size))

    def extremes(self) -> Iterator[Architecture]:
        """The largest architecture, and in each block each op where it needs most weights.

        The depth of a group's kernel depends on all that a grouped block decides, and on the
        channels before it.
        """
        largest = self.largest()
        yield largest
        for site in self._sites.values():
            if site.part == "op":
                yield from (towards(self, largest, one) for one in self._wanted(site))

    def _wanted(self, site: Site) -> Iterator[Mapping[str, Value]]:
        place, widths = site.place, self._widths(site.width)
        for op in place.ops:
            if op not in blocks.GROUPED_OPS:
                # Window and expansion may be larger than those of the largest architecture's op.
                wanted: dict[str, Value] = {f"{site.prefix}/op": op}
                if op != blocks.SKIP:
                    for part, values in (
                        ("expansion", place.bounded_expansions_of(op)),
                        ("start_kernel", place.start_kernels_of(op)),
                        ("kernel", place.kernels_of(op)),
                    ):
                        wanted |= {f"{site.prefix}/{part}": max(values)} if values else {}
                yield wanted
                continue
            parts = product(widths, place.expansions, place.channels_per_group)
            for width, expansion, per_group in parts:
                yield {
                    site.width: width,
                    f"{site.prefix}/op": op,
                    f"{site.prefix}/kernel": max(place.kernels_of(op)),
                    f"{site.prefix}/expansion": expansion,
                    f"{site.prefix}/channels_per_group": per_group,
                }

    def _widths(self, name: str) -> tuple[Value, ...]:
        return next(choice.values for choice in self.choices if choice.name == name)

    def for_input(self, input_shape: Shape) -> IbnSpace:
        """The same space for inputs (1, H, W, C).

        Raises:
            ShapeError: The input is not of rank 4.
        """
        if len(input_shape) != 4 or input_shape[0] != 1 or min(input_shape) < 1:
            raise ShapeError(
                f"{self.name}: input_shape must be (1, H, W, C), but got {input_shape}."
            )
        return dataclasses.replace(self, input_shape=input_shape)


@functools.lru_cache(maxsize=100_000)
def _lowered(block: Block, producer: str, shape: Shape) -> tuple[Op, ...]:
    """The ops of a block; networks of a space share most of their blocks."""
    return tuple(blocks.lower_block(block, (producer, shape)))


def _choices(space: IbnSpace) -> Iterator[Choice]:
    yield Choice(STEM_CHANNELS, space.stem_widths)
    yield Choice(STEM_KERNEL, space.stem_kernels)
    for number, stage in enumerate(space.stages, 1):
        yield Choice(f"stage{number}/channels", stage.widths)
        for index, place in enumerate(stage.blocks):
            yield from block_choices(f"stage{number}/block{index}", place)
    if space.top_widths:
        yield Choice(TOP_CHANNELS, space.top_widths)
    if space.pooled_widths:
        yield Choice(POOLED_CHANNELS, space.pooled_widths)


def _endpoints(ops: Sequence[Op]) -> tuple[tuple[str, str], ...]:
    """``("C<level>", op)`` for the last block of every resolution; level n has stride 2**n."""
    strides, last = 1, {}
    for op in ops:
        strides *= op.strides[0]
        # A block that expands before it strides has an op of the finer resolution, too.
        if op.name.rpartition("/")[2] in ("stem", "project", "add"):
            last[strides.bit_length() - 1] = op.name
    return tuple((f"C{level}", name) for level, name in sorted(last.items()))


_BY_WEIGHTS = (
    blocks.SKIP,
    blocks.IBN_FFN,
    blocks.IBN_CONV_NEXT,
    blocks.IBN_DW,
    blocks.IBN_EXTRA_DW,
    blocks.DW_FIRST,
    blocks.IBN_FUSED_GROUPED,
    blocks.IBN_GROUPED,
    blocks.CONV_PAIR,
    blocks.IBN_FUSED,
)


def _size(value: Value) -> float:
    return float(_BY_WEIGHTS.index(value)) if isinstance(value, str) else float(value)
