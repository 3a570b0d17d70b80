"""Heads that complete a backbone, as ops: what a device runs after the searched network."""

from __future__ import annotations

import dataclasses

from spaces.graph import Op, OpGraph, OpKind, ShapeError


def classification(backbone: OpGraph, classes: int) -> OpGraph:
    """``backbone`` with global average pooling, a dense layer with bias, and a softmax.

    Adds the ops ``"pool"`` (MEAN, (1, C)), ``"logits"`` (FULLY_CONNECTED, (1, classes)) and
    ``"probabilities"`` (SOFTMAX); the endpoints stay. The dense layer has C * classes weights and
    as many MACs, and ``classes`` biases.

    Raises:
        ShapeError: Fewer than two classes, or a backbone that does not end in a feature map.
    """
    end = backbone.output
    if classes < 2:
        raise ShapeError(f"classes must be at least 2, but got {classes}.")
    if len(end.output_shape) != 4:
        raise ShapeError(
            f"{end.name}: a backbone must end in a feature map (1, H, W, C), "
            f"but got shape {end.output_shape}."
        )
    pooled, scores = (1, end.out_channels), (1, classes)
    head = (
        Op("pool", OpKind.MEAN, (end.name,), end.output_shape, pooled, end.output_shape[1:3]),
        Op("logits", OpKind.FULLY_CONNECTED, ("pool",), pooled, scores, use_bias=True),
        Op("probabilities", OpKind.SOFTMAX, ("logits",), scores, scores),
    )
    return dataclasses.replace(backbone, ops=(*backbone.ops, *head))
