"""What blocks and stages of an IBN space offer: ops, windows, expansions, groups, widths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from spaces.families import blocks
from spaces.space import Choice, SpaceError, Value

STEM_CHANNELS = "stem/channels"
_DEPTHWISE = frozenset({blocks.IBN_DW, blocks.IBN_EXTRA_DW, blocks.DW_FIRST})
PARTS = ("op", "expansion", "start_kernel", "kernel", "channels_per_group")
"""Of a block, in the order in which they are decided."""


@dataclass(frozen=True, slots=True)
class OpBound:
    """The largest window, and the largest and least expansion that an op offers at one place."""

    op: str
    kernel: int
    expansion: int
    least_expansion: int = 1


@dataclass(frozen=True, slots=True)
class BlockChoices:
    """What one block offers.

    Attributes:
        ops: Among those of :mod:`spaces.families.blocks`; ``skip`` ends the stage before this
            block.
        kernels: Window sides of the depthwise convolution; of two, the second.
        dense_kernels: Window sides of full and group convolutions; None: as ``kernels``.
        expansions: Expanded over input channels.
        channels_per_group: Expanded channels in a group.
        strides: Fixed by the topology.
        residual: Fixed by the topology.
        expands_output: Expansion multiplies the stage's width instead of the input channels; a
            quirk of EfficientNet-EdgeTPU. Not for grouped ops.
        bounds: Of ops that offer less than all of these; see :mod:`spaces.families.ibn.bounds`.
        start_kernels: Window sides of a depthwise convolution before the expansion.
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
    start_kernels: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if blocks.START_DW_OPS & set(self.ops) and not self.start_kernels:
            raise SpaceError(
                "a block with a depthwise convolution before the expansion must offer "
                f"start_kernels, but got none for ops={', '.join(self.ops)}."
            )
        if blocks.IBN_FFN in self.ops and self.strides != 1:
            raise SpaceError(
                f"a block that offers {blocks.IBN_FFN}, which has no window, must have strides 1, "
                f"but got {self.strides}."
            )
        if self.expands_output and blocks.GROUPED_OPS & set(self.ops):
            raise SpaceError(
                "a block that expands its output channels must offer no grouped op, "
                f"but got ops={', '.join(self.ops)}."
            )

    def kernels_of(self, op: str) -> tuple[int, ...]:
        """Window sides offered to ``op``; empty where it has no window behind the expansion."""
        if op in blocks.WINDOWLESS_OPS:
            return ()
        depthwise = op in _DEPTHWISE or self.dense_kernels is None
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
        least, most = bound.least_expansion, bound.expansion
        return tuple(one for one in self.expansions if least <= one <= most)

    def live_kernels_of(self, op: str, expansion: int) -> tuple[int, ...]:
        """As :meth:`kernels_of`; empty for a fused block at expansion 1, which is a projection."""
        return () if op == blocks.IBN_FUSED and expansion == 1 else self.kernels_of(op)

    def start_kernels_of(self, op: str) -> tuple[int, ...]:
        """Window sides before the expansion; empty for ops that have none there."""
        return self.start_kernels if op in blocks.START_DW_OPS else ()

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
class Site:
    """Where a choice of a block stands, so that no name is parsed while sampling.

    Attributes:
        part: Of :data:`PARTS`.
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
        if self.part == "start_kernel":
            return self.place.start_kernels_of(op)
        if self.part == "kernel":
            return self.place.live_kernels_of(op, expansion)
        return self.place.groups_of(op, in_channels, expansion)


def width_name(stage: int, block: int) -> str:
    """The choice that decides the channels entering a block."""
    if block:
        return f"stage{stage}/channels"
    return f"stage{stage - 1}/channels" if stage > 1 else STEM_CHANNELS


def presence(ops: Sequence[str]) -> dict[Value, Value | None]:
    """Of a block matters to the next one only whether it is there: any op stands for all."""
    present = [op for op in ops if op != blocks.SKIP]
    return {blocks.SKIP: None, **dict.fromkeys(present, present[0] if present else None)}


def sites_of(stages: Sequence[Stage]) -> Iterator[Site]:
    """Where the choices of all blocks stand, in the order in which they are decided."""
    for number, stage in enumerate(stages, 1):
        for index, place in enumerate(stage.blocks):
            before = f"stage{number}/block{index - 1}/op" if index else None
            for name in PARTS:
                prefix = f"stage{number}/block{index}"
                yield Site(name, prefix, width_name(number, index), before, place)


def block_choices(prefix: str, block: BlockChoices) -> list[Choice]:
    """Expansion stands before kernel: a fused block at expansion 1 has no kernel to choose."""
    kernels = tuple(sorted({*block.kernels, *(block.dense_kernels or ())}))
    listed = [
        Choice(f"{prefix}/op", block.ops),
        Choice(f"{prefix}/expansion", block.expansions),
        Choice(f"{prefix}/start_kernel", block.start_kernels),
        Choice(f"{prefix}/kernel", kernels),
        Choice(f"{prefix}/channels_per_group", block.channels_per_group),
    ]
    return [choice for choice in listed if choice.values]
