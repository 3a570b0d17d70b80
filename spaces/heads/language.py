"""Heads that complete a language network, as ops: what a device runs after its token features."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from spaces.attached import Attachment, attach_many
from spaces.families.language.transformer import MASK
from spaces.graph import INPUT, Op, OpBatch, OpGraph, OpKind, Shape, ShapeError


def text_classification(backbone: OpGraph, classes: int, words: bool | None = None) -> OpGraph:
    """``backbone`` with the maximum over its tokens, a dense layer with bias, and a softmax.

    From scratch on CLINC150, the maximum trains to 91.3 %, the mean over the tokens that are no
    padding to 89.9 % (smallest baseline, 6 epochs; another rate: 90.4 and 89.9). It needs no mask,
    since padding is the same everywhere and networks learn to keep it small, and it is one op that
    every compiler maps.

    With ``words``, what each word says of the classes by itself is added: a second table that the
    tokens are looked up in, and its mean over them. By itself (None) it is where it is no wider
    than the backbone's own table: of more classes it costs more than it mostly wins.

    Adds ops ``pool/tokens`` (RESHAPE), ``pool`` (MAX_POOL_2D, (1, 1, 1, C)), ``classes`` (CONV_2D
    of window 1 with bias: a converter takes no shape away from it, as it does from a dense layer),
    ``logits`` (RESHAPE, (1, classes)) and ``probabilities`` (SOFTMAX); before that, for words,
    ``words/table`` (GATHER, (1, T, classes)), ``words/tokens`` (RESHAPE), ``words`` (MEAN,
    (1, classes)) and ``scores`` (ADD, of ``logits`` and ``words``).

    Raises:
        ShapeError: Fewer than two classes, or a backbone that does not end in token features.
    """
    end = _features(backbone)
    head = _classification(end.name, end.output_shape, classes, words, _table(backbone))
    return dataclasses.replace(backbone, ops=(*backbone.ops, *head))


def text_classification_many(batch: OpBatch, classes: int, words: bool | None = None) -> OpBatch:
    """:func:`text_classification` of each graph of a batch; each must end in token features.

    Raises:
        ShapeError: Fewer than two classes, or a graph without ops.
    """

    def head(name: str, shape: Shape, table: Shape | None) -> Sequence[Op]:
        return _classification(name, shape, classes, words, table)

    return _attached(batch, head)


def question_answering(backbone: OpGraph) -> OpGraph:
    """``backbone`` with a dense layer that scores each token as first and as last of the answer.

    Adds the op ``span_logits`` (FULLY_CONNECTED, (1, T, 2)).

    Raises:
        ShapeError: The backbone does not end in token features.
    """
    end = _features(backbone)
    head = _spans(end.name, end.output_shape)
    return dataclasses.replace(backbone, ops=(*backbone.ops, *head))


def question_answering_many(batch: OpBatch) -> OpBatch:
    """:func:`question_answering` of each graph of a batch; each must end in token features.

    Raises:
        ShapeError: A graph without ops.
    """
    return _attached(batch, lambda name, shape, table: _spans(name, shape))


def _features(backbone: OpGraph) -> Op:
    end = backbone.output
    if len(end.output_shape) != 3:
        raise ShapeError(
            f"{end.name}: a backbone must end in token features (1, T, C), "
            f"but got shape {end.output_shape}."
        )
    return end


def _table(backbone: OpGraph) -> Shape | None:
    """Rows and channels of the table that the tokens are looked up in."""
    for op in backbone.ops:
        if op.kind is OpKind.GATHER and op.constant and op.inputs == (INPUT,):
            return op.constant[0], op.constant[-1]
    return None


def _classification(
    end: str, shape: Shape, classes: int, words: bool | None, table: Shape | None
) -> tuple[Op, ...]:
    if classes < 2:
        raise ShapeError(f"classes must be at least 2, but got {classes}.")
    pooled, wide, scores = (1, 1, 1, shape[-1]), (1, 1, 1, classes), (1, classes)
    ops = (
        *_pool(end, shape),
        Op("classes", OpKind.CONV_2D, ("pool",), pooled, wide, use_bias=True),
        Op("logits", OpKind.RESHAPE, ("classes",), wide, scores),
    )
    if table is not None and (classes <= table[1] if words is None else words):
        ops = (*ops, *_words(shape[1], table[0], classes))
    return (*ops, Op("probabilities", OpKind.SOFTMAX, (ops[-1].name,), scores, scores))


def _words(length: int, rows: int, classes: int) -> tuple[Op, ...]:
    """Scores of each word by itself, their mean, and the sum with the logits."""
    flat, each, tokens = (1, classes), (1, length, classes), (1, 1, length, classes)
    table = Op("words/table", OpKind.GATHER, (INPUT,), (1, length), each, constant=(rows, classes))
    return (
        table,
        Op("words/tokens", OpKind.RESHAPE, ("words/table",), each, tokens),
        # A pooling would keep the scale of the table, of which a mean needs a small part only.
        Op("words", OpKind.MEAN, ("words/tokens",), tokens, flat, (1, length)),
        Op("scores", OpKind.ADD, ("logits", "words"), flat, flat),
    )


def _pool(end: str, shape: Shape) -> tuple[Op, ...]:
    _, length, channels = shape
    tokens, pooled = (1, 1, length, channels), (1, 1, 1, channels)
    window = (1, length)
    rows = Op("pool/tokens", OpKind.RESHAPE, (end,), shape, tokens)
    return rows, Op("pool", OpKind.MAX_POOL_2D, (rows.name,), tokens, pooled, window, window)


def _spans(end: str, shape: Shape) -> tuple[Op, ...]:
    after = (*shape[:-1], 2)
    return (Op("span_logits", OpKind.FULLY_CONNECTED, (end,), shape, after, use_bias=True),)


def _attached(batch: OpBatch, head: Callable[[str, Shape, Shape | None], Sequence[Op]]) -> OpBatch:
    """``head`` of name and shape (1, T, C) of what each graph ends in, and of its table."""
    length = batch.live.sum(axis=1)
    if not length.all():
        raise ShapeError("a graph must have at least one op, but got none.")
    last = batch.index[np.arange(len(length)), length - 1]
    ends = np.column_stack([last, batch.index[:, 0]])  # a table is the first op, if there is one
    distinct, which = np.unique(ends, axis=0, return_inverse=True)
    ops, tables = batch.distinct, list(OpKind).index(OpKind.GATHER)
    heads = []
    for end, first in distinct.tolist():
        channels = int(ops.output_hwc[first, -1])
        is_table = ops.kind[first] == tables and ops.constant[first] > 0
        table = (int(ops.constant[first]) // channels, channels) if is_table else None
        built = head("end", tuple(ops.output_hwc[end].tolist()), table)
        heads.append(Attachment.of(built, ("end", MASK, INPUT)))
    # All inputs of a graph are one tensor of a batch, which bears the number of no slot.
    inputs = np.full_like(length, -1)
    return attach_many(
        batch, np.column_stack([length - 1, inputs, inputs]), heads, which.reshape(-1)
    )
