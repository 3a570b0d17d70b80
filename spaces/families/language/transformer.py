"""Embeddings and bottleneck transformer blocks of MobileBERT, as ops that an Edge TPU runs.

A block narrows the hidden features, attends and feeds forward at that width, widens again and adds
what it was given. Query and key come from one narrowed input of their own, the value from the
hidden features themselves ("key-query shared bottleneck").

What is written otherwise than in the paper, with equal results:

* The trigram, which joins the embeddings of three neighbouring tokens and maps them with a dense
  layer, is a convolution of window 3 along the sequence: the same weights, MACs and zero padding.
* Attention is not divided by the square root of a head's channels. The factor belongs into the
  weights of the query, exactly; untrained ones take it from their initialisation.
* Scale and offset of a normalisation are left out where a dense layer alone comes before them, or
  dense layers alone read them, as a head does. They belong into those weights and biases, exactly,
  and a converter puts them there.

Every residual branch ends in an op ``project``, added by an ``add`` beside it.

Source: Sun et al. 2020, arXiv:2004.02984; tensorflow/models,
official/nlp/modeling/layers/mobile_bert_layers.py and networks/mobile_bert_encoder.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from spaces.graph import INPUT, Activation, Op, OpKind, Shape, ShapeError

MASK = "mask"
"""Input (1, 1, 1, T) float32, added to the scores of attention."""
TYPES = "types"
"""Input (1, T) int32: the part of the text to which a token belongs."""
MASKED = -16.0
"""What the mask holds at padding, 0 elsewhere: exp(-16) is nothing, and int8 keeps resolution."""

NO_NORM, LAYER_NORM, NONE = "no_norm", "layer_norm", "none"
"""A scale and an offset a channel; these behind a standardisation of each token; nothing at all.

What ``no_norm`` computes ``none`` can compute, too: scales and offsets between sums and dense
layers can be moved into the dense layers around them. The two differ in how they train.
"""
TRIGRAM = 3
"""Tokens that the embedding of one sees."""

Source = tuple[str, Shape]
"""Name and shape of what an op reads."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """What turns tokens into hidden features, all decided.

    Attributes:
        length: Tokens of the sequence, T.
        rows: Of the table of tokens.
        types: Of the table of token types; 0: there is none.
        channels: Of one token's embedding.
        hidden: Channels of the result.
        normalisation: :data:`NO_NORM`, :data:`LAYER_NORM` or :data:`NONE`.
    """

    length: int
    rows: int
    types: int
    channels: int
    hidden: int
    normalisation: str = NO_NORM


@dataclass(frozen=True, slots=True)
class Block:
    """One bottleneck transformer block, all decided.

    Attributes:
        name: Prefix of its ops, e.g. ``"block3"``.
        bottleneck: Channels inside the block.
        heads: Of attention.
        ffn_channels: Between the two dense layers of a feed-forward network.
        ffns: Feed-forward networks in a row.
        normalisation: As of :class:`Embedding`.
        last: A head reads it, no other block.
        activation: Inside the feed-forward networks.
    """

    name: str
    bottleneck: int
    heads: int
    ffn_channels: int
    ffns: int
    normalisation: str = NO_NORM
    last: bool = False
    activation: Activation = "relu"


def lower_embedding(embedding: Embedding) -> list[Op]:
    """The ops from the tokens (1, T) to hidden features (1, T, hidden)."""
    draft, length, hidden = _Draft(), embedding.length, embedding.hidden
    tokens = (INPUT, (1, length))
    x = draft.table("embedding/token", tokens, embedding.rows, embedding.channels)
    x = draft.reshape("embedding/column", x, (1, length, 1, embedding.channels))
    x = draft.trigram("embedding/trigram", x, hidden)
    x = draft.reshape("embedding/sequence", x, (1, length, hidden))
    if embedding.types:
        types = draft.table("embedding/type", (TYPES, (1, length)), embedding.types, hidden)
        x = draft.pair("embedding/typed", OpKind.ADD, x, types)
    x = draft.by_constant("embedding/position", OpKind.ADD, x, (length, hidden))
    draft.norm("embedding/norm", x, embedding.normalisation)
    return draft.ops


def lower_block(block: Block, source: Source) -> list[Op]:
    """The ops of one block, from hidden features (1, T, C) to the same shape.

    It also reads the input :data:`MASK` (1, 1, 1, T).

    Raises:
        ShapeError: The heads do not divide the bottleneck.
    """
    _check_heads(block)
    draft, name = _Draft(), block.name
    narrow = draft.dense(f"{name}/input", source, block.bottleneck)
    standard = block.normalisation == LAYER_NORM
    narrow = draft.norm(f"{name}/input/norm", narrow, block.normalisation, scaled=standard)
    x = _attention(draft, block, source, narrow)
    x = draft.residual(f"{name}/attention", x, narrow, block)
    for number in range(block.ffns):
        ffn = f"{name}/ffn{number}"
        wide = draft.dense(f"{ffn}/expand", x, block.ffn_channels, block.activation)
        x = draft.residual(ffn, wide, x, block, scaled=number + 1 < block.ffns)
    draft.residual(name, x, source, block, scaled=not block.last)
    return draft.ops


def _check_heads(block: Block) -> None:
    if block.heads < 1 or block.bottleneck % block.heads:
        raise ShapeError(
            f"{block.name}: heads must divide the channels of the bottleneck, but got "
            f"heads={block.heads}, bottleneck={block.bottleneck}."
        )


def _attention(draft: _Draft, block: Block, source: Source, narrow: Source) -> Source:
    """What each token reads of the others, (1, T, bottleneck), before its projection."""
    name, length = f"{block.name}/attention", narrow[1][1]
    shared = draft.dense(f"{block.name}/shared", source, block.bottleneck)
    shared = draft.norm(f"{block.name}/shared/norm", shared, block.normalisation, scaled=False)
    query = draft.split(f"{name}/query", shared, block, (0, 2, 1, 3))
    key = draft.split(f"{name}/key", shared, block, (0, 2, 3, 1))
    value = draft.split(f"{name}/value", source, block, (0, 2, 1, 3))
    square = (1, block.heads, length, length)
    scores = draft.matmul(f"{name}/scores", query, key, square)
    masked = draft.pair(f"{name}/masked", OpKind.ADD, scores, (MASK, (1, 1, 1, length)))
    weights = draft.unary(f"{name}/softmax", OpKind.SOFTMAX, masked)
    read = draft.matmul(f"{name}/read", weights, value, query[1])
    joined = draft.transpose(f"{name}/joined", read, (0, 2, 1, 3))
    return draft.reshape(f"{name}/merged", joined, (1, length, block.bottleneck))


@final
class _Draft:
    """Ops being written; each method adds one or a few and hands on the last as a source."""

    def __init__(self) -> None:
        self.ops: list[Op] = []

    def emit(self, op: Op) -> Source:
        self.ops.append(op)
        return op.name, op.output_shape

    def table(self, name: str, source: Source, rows: int, channels: int) -> Source:
        shape, after = source[1], (*source[1], channels)
        constant = (rows, channels)
        return self.emit(Op(name, OpKind.GATHER, (source[0],), shape, after, constant=constant))

    def dense(
        self, name: str, source: Source, channels: int, activation: Activation = "none"
    ) -> Source:
        after = (*source[1][:-1], channels)
        return self.emit(
            Op(
                name=name,
                kind=OpKind.FULLY_CONNECTED,
                inputs=(source[0],),
                input_shape=source[1],
                output_shape=after,
                activation=activation,
                use_bias=True,
            )
        )

    def trigram(self, name: str, source: Source, channels: int) -> Source:
        after, window = (*source[1][:-1], channels), (TRIGRAM, 1)
        return self.emit(
            Op(name, OpKind.CONV_2D, (source[0],), source[1], after, window, use_bias=True)
        )

    def reshape(self, name: str, source: Source, shape: Shape) -> Source:
        return self.emit(Op(name, OpKind.RESHAPE, (source[0],), source[1], shape))

    def transpose(self, name: str, source: Source, axes: tuple[int, ...]) -> Source:
        after = tuple(source[1][axis] for axis in axes)
        return self.emit(Op(name, OpKind.TRANSPOSE, (source[0],), source[1], after, axes=axes))

    def split(self, name: str, source: Source, block: Block, axes: tuple[int, ...]) -> Source:
        """A dense layer whose channels are dealt out to heads."""
        x = self.dense(name, source, block.bottleneck)
        per_head = (1, x[1][1], block.heads, block.bottleneck // block.heads)
        return self.transpose(f"{name}_heads", self.reshape(f"{name}_split", x, per_head), axes)

    def matmul(self, name: str, one: Source, other: Source, shape: Shape) -> Source:
        return self.emit(Op(name, OpKind.BATCH_MATMUL, (one[0], other[0]), one[1], shape))

    def unary(self, name: str, kind: OpKind, source: Source) -> Source:
        return self.emit(Op(name, kind, (source[0],), source[1], source[1]))

    def pair(self, name: str, kind: OpKind, one: Source, other: Source) -> Source:
        """Of two inputs; the second is spread over the first."""
        return self.emit(Op(name, kind, (one[0], other[0]), one[1], one[1]))

    def by_constant(
        self, name: str, kind: OpKind, source: Source, constant: Shape, variant: str = ""
    ) -> Source:
        shape = source[1]
        return self.emit(
            Op(name, kind, (source[0],), shape, shape, constant=constant, variant=variant)
        )

    def mean(self, name: str, source: Source) -> Source:
        """Over the channels of each token."""
        after = (*source[1][:-1], 1)
        return self.emit(Op(name, OpKind.MEAN, (source[0],), source[1], after))

    def residual(
        self, name: str, branch: Source, trunk: Source, block: Block, scaled: bool = True
    ) -> Source:
        """``trunk`` and what ``branch`` projects to its width, normalised."""
        projected = self.dense(f"{name}/project", branch, trunk[1][-1])
        added = self.pair(f"{name}/add", OpKind.ADD, projected, trunk)
        return self.norm(f"{name}/norm", added, block.normalisation, scaled)

    def norm(self, name: str, x: Source, normalisation: str, scaled: bool = True) -> Source:
        """Scale and offset a channel if ``scaled``, behind a standardisation where asked for."""
        if normalisation == LAYER_NORM:
            x = self._standardised(name, x)
        if not scaled or normalisation == NONE:
            return x
        constant = (x[1][-1],)
        x = self.by_constant(f"{name}/scale", OpKind.MUL, x, constant, normalisation)
        return self.by_constant(f"{name}/offset", OpKind.ADD, x, constant, normalisation)

    def _standardised(self, name: str, x: Source) -> Source:
        """Mean 0 and variance 1 for each token.

        Nothing is added to the variance: a learned addend would be a weight that the network
        does not have, and features that are all equal do not occur in a trained one.
        """
        mean = self.mean(f"{name}/mean", x)
        squares = self.pair(f"{name}/squares", OpKind.SQUARED_DIFFERENCE, x, mean)
        variance = self.mean(f"{name}/variance", squares)
        inverse = self.unary(f"{name}/inverse", OpKind.RSQRT, variance)
        centred = self.pair(f"{name}/centred", OpKind.SUB, x, mean)
        return self.pair(f"{name}/standard", OpKind.MUL, centred, inverse)
