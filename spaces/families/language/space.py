"""The family of spaces of MobileBERT-EdgeTPU: embeddings, then bottleneck transformers."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

from spaces.families.extremes import towards
from spaces.families.language.transformer import (
    MASK,
    TYPES,
    Block,
    Embedding,
    Source,
    lower_block,
    lower_embedding,
)
from spaces.graph import Op, OpBatch, OpGraph, Shape, ShapeError
from spaces.space import Architecture, Choice, Decisions, Value
from spaces.walk import decisions_of, walk

SEQUENCE, NORMALISATION, BLOCKS = "sequence/percent", "normalisation", "blocks"
LENGTH_MULTIPLE = 8
"""Shortened sequences are rounded up to it."""


@final
@dataclass(frozen=True, slots=True)
class LanguageSpace:
    """Embeddings, then up to ``max(block_counts)`` blocks, each decided for itself.

    Attributes:
        name: Module name in ``spaces/catalog``.
        input_shape: (1, T): the longest sequence of tokens.
        percents: Of T, ascending, that a network may read; 100 must be among them.
        normalisations: ``no_norm``, ``layer_norm`` or both; of
            :mod:`spaces.families.language.transformer`.
        block_counts: How many blocks a network may have.
        bottlenecks: Channels inside a block.
        head_counts: Of attention; each must divide each bottleneck.
        ffn_widths: Channels inside a feed-forward network.
        ffn_counts: Feed-forward networks in a block.
        hidden: Channels between the blocks.
        embedding: Channels of the table of tokens.
        vocabulary_size: Rows of that table.
        token_types: 0, or 2 where an input says to which of two texts a token belongs.
        choices: Sequence, normalisation, number of blocks, then block by block; derived.
    """

    name: str
    input_shape: Shape
    percents: tuple[int, ...]
    normalisations: tuple[str, ...]
    block_counts: tuple[int, ...]
    bottlenecks: tuple[int, ...]
    head_counts: tuple[int, ...]
    ffn_widths: tuple[int, ...]
    ffn_counts: tuple[int, ...]
    hidden: int
    embedding: int
    vocabulary_size: int
    token_types: int = 0

    choices: tuple[Choice, ...] = field(init=False, repr=False, compare=False)
    _positions: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Derive the choices, and which block each belongs to."""
        blocks = {f"block{number}": number for number in range(max(self.block_counts))}
        named = {name: self._block_choices(name) for name in blocks}
        positions = {one.name: blocks[name] for name, many in named.items() for one in many}
        choices = (
            Choice(SEQUENCE, self.percents),
            Choice(NORMALISATION, self.normalisations),
            Choice(BLOCKS, self.block_counts),
            *(one for many in named.values() for one in many),
        )
        object.__setattr__(self, "choices", choices)
        object.__setattr__(self, "_positions", positions)

    def _block_choices(self, name: str) -> tuple[Choice, ...]:
        return (
            Choice(f"{name}/bottleneck", self.bottlenecks),
            Choice(f"{name}/heads", self.head_counts),
            Choice(f"{name}/ffn/channels", self.ffn_widths),
            Choice(f"{name}/ffn/count", self.ffn_counts),
        )

    def domain(self, choice: Choice, decided: Decisions) -> tuple[Value, ...]:
        """Legal values after what was decided; empty for blocks that the network does not have."""
        if choice.name == SEQUENCE:
            # Of shares that come to the same length the largest: one network, one name.
            lengths = {self.length(percent): percent for percent in self.percents}
            return tuple(p for p in choice.values if p in lengths.values())
        position = self._positions.get(choice.name)
        if position is not None and position >= int(decided[BLOCKS]):
            return ()
        return choice.values

    def length(self, percent: int) -> int:
        """Tokens that a network reads at that share of the longest sequence."""
        longest = self.input_shape[1]
        rounded = math.ceil(longest * percent / 100 / LENGTH_MULTIPLE) * LENGTH_MULTIPLE
        return min(longest, rounded)

    def lower(self, architecture_: Architecture) -> OpGraph:
        """The network up to its token features (1, T', hidden), T' being the length it reads.

        Inputs: tokens (1, T'), ``mask`` (1, 1, 1, T'), and ``types`` (1, T') where there are any.

        Raises:
            SpaceError: The architecture is not one of this space.
        """
        decisions = decisions_of(self, architecture_)
        embedding = self._embedding(decisions)
        ops = list(_lowered_embedding(embedding))
        for block in self._blocks(decisions):
            ops.extend(_lowered_block(block, (ops[-1].name, ops[-1].output_shape)))
        return OpGraph((1, embedding.length), tuple(ops), (), self._more_inputs(embedding.length))

    def _embedding(self, decisions: Decisions) -> Embedding:
        return Embedding(
            length=self.length(int(decisions[SEQUENCE])),
            rows=self.vocabulary_size,
            types=self.token_types,
            channels=self.embedding,
            hidden=self.hidden,
            normalisation=str(decisions[NORMALISATION]),
        )

    def _blocks(self, decisions: Decisions) -> Iterator[Block]:
        count = int(decisions[BLOCKS])
        for number in range(count):
            name = f"block{number}"
            yield Block(
                name=name,
                bottleneck=int(decisions[f"{name}/bottleneck"]),
                heads=int(decisions[f"{name}/heads"]),
                ffn_channels=int(decisions[f"{name}/ffn/channels"]),
                ffns=int(decisions[f"{name}/ffn/count"]),
                normalisation=str(decisions[NORMALISATION]),
                last=number + 1 == count,
            )

    def _more_inputs(self, length: int) -> tuple[tuple[str, Shape], ...]:
        mask = (MASK, (1, 1, 1, length))
        return (mask, (TYPES, (1, length))) if self.token_types else (mask,)

    def lower_many(self, architectures: Sequence[Architecture]) -> OpBatch:
        """Graphs of many architectures as columns.

        Raises:
            SpaceError: An architecture is not one of this space.
        """
        return OpBatch.of([self.lower(one) for one in architectures])

    def largest(self) -> Architecture:
        """The greatest value of every choice, the first normalisation."""
        return walk(self, lambda choice, domain: _greatest(domain))

    def smallest(self) -> Architecture:
        """The least value of every choice, the first normalisation."""
        return walk(self, lambda choice, domain: domain[0])

    def extremes(self) -> Iterator[Architecture]:
        """The largest architecture with each normalisation: a weight grows with each choice."""
        largest = self.largest()
        for normalisation in self.normalisations:
            yield towards(self, largest, {NORMALISATION: normalisation})

    def for_input(self, input_shape: Shape) -> LanguageSpace:
        """The same space for inputs (1, T).

        Raises:
            ShapeError: The input is not a sequence of tokens.
        """
        if len(input_shape) != 2 or input_shape[0] != 1 or min(input_shape) < 1:
            raise ShapeError(f"{self.name}: input_shape must be (1, T), but got {input_shape}.")
        return dataclasses.replace(self, input_shape=input_shape)

    def for_vocabulary(self, rows: int, types: int) -> LanguageSpace:
        """The same space for a vocabulary of ``rows`` tokens, of ``types`` token types.

        Raises:
            ShapeError: Fewer than one row, or other than 0 or 2 types.
        """
        if rows < 1 or types not in (0, 2):
            raise ShapeError(
                f"{self.name}: a vocabulary must have rows and 0 or 2 token types, "
                f"but got rows={rows}, types={types}."
            )
        return dataclasses.replace(self, vocabulary_size=rows, token_types=types)


def _greatest(domain: tuple[Value, ...]) -> Value:
    return domain[0] if isinstance(domain[0], str) else max(domain)


@functools.lru_cache(maxsize=1000)
def _lowered_embedding(embedding: Embedding) -> tuple[Op, ...]:
    return tuple(lower_embedding(embedding))


@functools.lru_cache(maxsize=20_000)
def _lowered_block(block: Block, source: Source) -> tuple[Op, ...]:
    """The ops of a block; networks of a space share most of their blocks."""
    return tuple(lower_block(block, source))
