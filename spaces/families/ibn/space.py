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
from spaces.graph import (
    INPUT,
    Activation,
    IntArray,
    Op,
    OpBatch,
    OpGraph,
    Shape,
    ShapeError,
)
from spaces.space import (
    Architecture,
    Choice,
    Decisions,
    SpaceError,
    Value,
    decisions_of,
    walk,
)

STEM_CHANNELS, STEM_KERNEL, TOP_CHANNELS = "stem/channels", "stem/kernel", "top/channels"


@dataclass(frozen=True, slots=True)
class OpBound:
    """The largest window and the largest expansion that an op offers at one place."""

    op: str
    kernel: int
    expansion: int


@dataclass(frozen=True, slots=True)
class BlockChoices:
    """What one block offers.

    Attributes:
        ops: Among those of :mod:`spaces.families.blocks`; ``skip`` ends the stage before this
            block.
        kernels: Window sides of the depthwise convolution.
        dense_kernels: Window sides of full and group convolutions; None: as ``kernels``.
        expansions: Expanded over input channels.
        channels_per_group: Expanded channels in a group.
        strides: Fixed by the topology.
        residual: Fixed by the topology.
        expands_output: Expansion multiplies the stage's width instead of the input channels; a
            quirk of EfficientNet-EdgeTPU. Not for grouped ops.
        bounds: Of ops that offer less than all of these; see :mod:`spaces.families.ibn.bounds`.
    """

    ops: tuple[str, ...]
    kernels: tuple[int, ...] = (3,)
    dense_kernels: tuple[int, ...] | None = None
    expansions: tuple[int, ...] = (4,)
    channels_per_group: tuple[int, ...] = ()
    strides: int = 1
    residual: bool = True
    expands_output: bool = False
    bounds: tuple[OpBound, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if self.expands_output and blocks.GROUPED_OPS & set(self.ops):
            raise SpaceError(
                "a block that expands its output channels must offer no grouped op, "
                f"but got ops={', '.join(self.ops)}."
            )

    def kernels_of(self, op: str) -> tuple[int, ...]:
        """Window sides offered to ``op``."""
        depthwise = op in (blocks.IBN_DW, blocks.DW_FIRST) or self.dense_kernels is None
        kernels = self.kernels if depthwise else self.dense_kernels or ()
        bound = self._bound(op)
        return tuple(one for one in kernels if one <= bound.kernel) if bound else kernels

    def _bound(self, op: str) -> OpBound | None:
        return next((bound for bound in self.bounds if bound.op == op), None)

    def bounded_expansions_of(self, op: str) -> tuple[int, ...]:
        """Expansions offered to ``op``, if the channels allow them."""
        bound = self._bound(op)
        if bound is None:
            return self.expansions
        return tuple(one for one in self.expansions if one <= bound.expansion)

    def live_kernels_of(self, op: str, expansion: int) -> tuple[int, ...]:
        """As :meth:`kernels_of`; empty for a fused block at expansion 1, which is a projection."""
        return () if op == blocks.IBN_FUSED and expansion == 1 else self.kernels_of(op)

    def groups_of(self, op: str, in_channels: int, expansion: int) -> tuple[int, ...]:
        """Channels per group that are legal here; empty for ops without groups."""
        if op not in blocks.GROUPED_OPS:
            return ()
        return tuple(
            width
            for width in self.channels_per_group
            if blocks.legal_groups(op, in_channels, expansion, width)
        )

    def expansions_of(self, op: str, in_channels: int) -> tuple[int, ...]:
        """Expansions offered to ``op``; for grouped ops those that leave a legal grouping."""
        expansions = self.bounded_expansions_of(op)
        if op not in blocks.GROUPED_OPS:
            return expansions
        return tuple(e for e in expansions if self.groups_of(op, in_channels, e))

    def ops_of(self, in_channels: int) -> tuple[str, ...]:
        """Ops that exist for these input channels."""
        return tuple(
            op for op in self.ops if op == blocks.SKIP or self.expansions_of(op, in_channels)
        )


@dataclass(frozen=True, slots=True)
class Stage:
    """Blocks of one output width.

    Attributes:
        widths: Output channels offered to all blocks of the stage.
        blocks: In order; the first one may change resolution and width.
    """

    widths: tuple[int, ...]
    blocks: tuple[BlockChoices, ...]

    @property
    def strides(self) -> int:
        """Product of the strides of its blocks."""
        product = 1
        for block in self.blocks:
            product *= block.strides
        return product


@dataclass(frozen=True, slots=True)
class _Site:
    """Where a choice of a block stands, so that no name is parsed while sampling.

    Attributes:
        part: ``op``, ``expansion``, ``kernel`` or ``channels_per_group``.
        prefix: E.g. ``"stage2/block1"``.
        width: Name of the choice that decides its input channels.
        before: Name of the op choice of the block before it in the stage; None for the first.
        place: What the block offers.
        memo: Answers of :meth:`legal`, for speed.
    """

    part: str
    prefix: str
    width: str
    before: str | None
    place: BlockChoices
    memo: dict[tuple[Value | None, ...], tuple[Value, ...]] = field(default_factory=dict)

    def legal(
        self, in_channels: Value, op: Value | None, expansion: Value | None
    ) -> tuple[Value, ...]:
        """What the block offers after these decisions; None: not decided yet."""
        key = (in_channels, op, expansion)
        if key not in self.memo:
            self.memo[key] = self._legal(int(in_channels), str(op), int(expansion or 0))
        return self.memo[key]

    def _legal(self, in_channels: int, op: str, expansion: int) -> tuple[Value, ...]:
        if self.part == "op":
            return self.place.ops_of(in_channels)
        if self.part == "expansion":
            return self.place.expansions_of(op, in_channels)
        if self.part == "kernel":
            return self.place.live_kernels_of(op, expansion)
        return self.place.groups_of(op, in_channels, expansion)


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

    choices: tuple[Choice, ...] = field(init=False, repr=False, compare=False)
    _sites: Mapping[str, _Site] = field(init=False, repr=False, compare=False)
    _table: PlaceTable = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Derive the choices once: sampling asks for them all the time."""
        sites = {f"{site.prefix}/{site.part}": site for site in _sites(self.stages)}
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
        return int(decided[_width_name(stage, block)])

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
                made = _block_choices(name, offered)
                lower = functools.partial(self._block_at, name)
                if index == 0:
                    yield Place((_width_name(number, 0),), (named[widths], *made), lower)
                    continue
                before = f"stage{number}/block{index - 1}/op"
                alike = {before: _presence(stage.blocks[index - 1].ops)}
                kind = (number, offered, stage.blocks[index - 1].ops)
                yield Place((before, widths), tuple(made), lower, alike, kind)
        if self.top_widths:
            yield Place((), (named[TOP_CHANNELS],), self._top)

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

    def _wanted(self, site: _Site) -> Iterator[Mapping[str, Value]]:
        place, widths = site.place, self._widths(site.width)
        for op in place.ops:
            if op not in blocks.GROUPED_OPS:
                # Window and expansion may be larger than those of the largest architecture's op.
                wanted: dict[str, Value] = {f"{site.prefix}/op": op}
                if op != blocks.SKIP:
                    wanted[f"{site.prefix}/kernel"] = max(place.kernels_of(op))
                    wanted[f"{site.prefix}/expansion"] = max(place.bounded_expansions_of(op))
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


def _width_name(stage: int, block: int) -> str:
    """The choice that decides the channels entering a block."""
    if block:
        return f"stage{stage}/channels"
    return f"stage{stage - 1}/channels" if stage > 1 else STEM_CHANNELS


def _presence(ops: Sequence[str]) -> dict[Value, Value | None]:
    """Of a block matters to the next one only whether it is there: any op stands for all."""
    present = [op for op in ops if op != blocks.SKIP]
    return {blocks.SKIP: None, **dict.fromkeys(present, present[0] if present else None)}


def _sites(stages: Sequence[Stage]) -> Iterator[_Site]:
    for number, stage in enumerate(stages, 1):
        for index, place in enumerate(stage.blocks):
            before = f"stage{number}/block{index - 1}/op" if index else None
            for name in ("op", "expansion", "kernel", "channels_per_group"):
                prefix = f"stage{number}/block{index}"
                yield _Site(name, prefix, _width_name(number, index), before, place)


def _choices(space: IbnSpace) -> Iterator[Choice]:
    yield Choice(STEM_CHANNELS, space.stem_widths)
    yield Choice(STEM_KERNEL, space.stem_kernels)
    for number, stage in enumerate(space.stages, 1):
        yield Choice(f"stage{number}/channels", stage.widths)
        for index, place in enumerate(stage.blocks):
            yield from _block_choices(f"stage{number}/block{index}", place)
    if space.top_widths:
        yield Choice(TOP_CHANNELS, space.top_widths)


def _block_choices(prefix: str, block: BlockChoices) -> list[Choice]:
    """Expansion stands before kernel: a fused block at expansion 1 has no kernel to choose."""
    kernels = tuple(sorted({*block.kernels, *(block.dense_kernels or ())}))
    listed = [
        Choice(f"{prefix}/op", block.ops),
        Choice(f"{prefix}/expansion", block.expansions),
        Choice(f"{prefix}/kernel", kernels),
        Choice(f"{prefix}/channels_per_group", block.channels_per_group),
    ]
    return [choice for choice in listed if choice.values]


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
    blocks.IBN_DW,
    blocks.DW_FIRST,
    blocks.IBN_FUSED_GROUPED,
    blocks.IBN_GROUPED,
    blocks.IBN_FUSED,
)


def _size(value: Value) -> float:
    return float(_BY_WEIGHTS.index(value)) if isinstance(value, str) else float(value)
