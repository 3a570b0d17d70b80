"""Heads that complete a language network, as ops: what a device runs after its token features."""

from __future__ import annotations

import dataclasses

from spaces.graph import Op, OpGraph, OpKind, ShapeError


def text_classification(backbone: OpGraph, classes: int) -> OpGraph:
    """``backbone`` with the mean over its tokens, a dense layer with bias, and a softmax.

    Adds the ops ``"pool"`` (MEAN, (1, C)), ``"logits"`` (FULLY_CONNECTED, (1, classes)) and
    ``"probabilities"`` (SOFTMAX), which for a batch of graphs
    :func:`spaces.heads.classification_many` adds just so.

    Raises:
        ShapeError: Fewer than two classes, or a backbone that does not end in token features.
    """
    _check(backbone)
    if classes < 2:
        raise ShapeError(f"classes must be at least 2, but got {classes}.")
    shape = backbone.output.output_shape
    _, length, channels = shape
    pooled, scores = (1, channels), (1, classes)
    head = (
        Op("pool", OpKind.MEAN, (backbone.output.name,), shape, pooled, (1, length)),
        Op("logits", OpKind.FULLY_CONNECTED, ("pool",), pooled, scores, use_bias=True),
        Op("probabilities", OpKind.SOFTMAX, ("logits",), scores, scores),
    )
    return dataclasses.replace(backbone, ops=(*backbone.ops, *head))


def question_answering(backbone: OpGraph) -> OpGraph:
    """``backbone`` with a dense layer that scores each token as first and as last of the answer.

    Adds the op ``"span_logits"`` (FULLY_CONNECTED, (1, T, 2)).

    Raises:
        ShapeError: The backbone does not end in token features.
    """
    _check(backbone)
    name, shape = backbone.output.name, backbone.output.output_shape
    after = (*shape[:-1], 2)
    head = Op("span_logits", OpKind.FULLY_CONNECTED, (name,), shape, after, use_bias=True)
    return dataclasses.replace(backbone, ops=(*backbone.ops, head))


def _check(backbone: OpGraph) -> None:
    end = backbone.output
    if len(end.output_shape) != 3:
        raise ShapeError(
            f"{end.name}: a backbone must end in token features (1, T, C), "
            f"but got shape {end.output_shape}."
        )
