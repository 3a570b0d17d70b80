"""Ends of language networks."""

from __future__ import annotations

import numpy as np
import pytest

from spaces.families.language.transformer import MASK
from spaces.graph import INPUT, Op, OpBatch, OpGraph, OpKind, ShapeError
from spaces.heads.language import (
    question_answering,
    question_answering_many,
    text_classification,
    text_classification_many,
)
from spaces.menu import load_trainable
from spaces.walk import sample


@pytest.fixture
def backbone() -> OpGraph:
    space = load_trainable("mobilebert_small").for_input((1, 32))
    return space.lower(space.smallest())


def test_texts_are_classified_by_the_maximum_over_their_tokens(backbone: OpGraph) -> None:
    graph = text_classification(backbone, 150)
    added = graph.ops[len(backbone.ops) :]
    length = backbone.input_shape[1]
    assert [(op.name, op.kind, op.output_shape) for op in added] == [
        ("pool/tokens", OpKind.RESHAPE, (1, 1, length, 128)),
        ("pool", OpKind.MAX_POOL_2D, (1, 1, 1, 128)),
        ("classes", OpKind.CONV_2D, (1, 1, 1, 150)),
        ("logits", OpKind.RESHAPE, (1, 150)),
        ("probabilities", OpKind.SOFTMAX, (1, 150)),
    ]
    # derived: 128 weights and a bias a class
    assert graph.trainable_parameters - backbone.trainable_parameters == 129 * 150
    assert graph.macs - backbone.macs == 128 * 150
    assert graph.more_inputs == backbone.more_inputs


@pytest.mark.usefixtures("tensorflow")
def test_each_feature_is_pooled_to_its_maximum() -> None:
    import tensorflow as tf

    from spaces.trainable.tensor_ops import compute

    features = np.random.default_rng(0).normal(size=(1, 5, 4)).astype(np.float32)
    tokens = Op("end", OpKind.RESHAPE, (INPUT,), (1, 20), features.shape)
    backbone = OpGraph((1, 20), (tokens,), (), ((MASK, (1, 1, 1, 5)),))
    found = {INPUT: tf.constant(features.reshape(1, 20))}
    for op in text_classification(backbone, 2).ops[:3]:
        found[op.name] = compute(op, [found[name] for name in op.inputs], {})
    np.testing.assert_array_equal(found["pool"][0, 0, 0], features[0].max(axis=0))


def test_answers_are_scored_token_by_token(backbone: OpGraph) -> None:
    graph = question_answering(backbone)
    assert graph.output.name == "span_logits"
    assert graph.output.output_shape == (1, backbone.input_shape[1], 2)
    # derived: first and last, each 128 weights and a bias
    assert graph.trainable_parameters - backbone.trainable_parameters == 258
    assert graph.inputs == backbone.inputs


@pytest.mark.parametrize("length", [24, 600])
def test_heads_of_many_are_the_heads_of_each(length: int) -> None:
    space = load_trainable("mobilebert_small").for_input((1, length))
    rng = np.random.default_rng(0)
    chosen = [sample(space, rng) for _ in range(20)]
    graphs, many = [space.lower(one) for one in chosen], space.lower_many(chosen)
    pairs = [
        (text_classification_many(many, 7), [text_classification(one, 7) for one in graphs]),
        (question_answering_many(many), [question_answering(one) for one in graphs]),
    ]
    for got, expected in ((one, OpBatch.of(other)) for one, other in pairs):
        for name in ("kind", "input_hwc", "output_hwc", "kernel_size", "constant"):
            found, wanted = getattr(got, name), getattr(expected, name)
            np.testing.assert_array_equal(found[got.live], wanted[expected.live])
        for name in ("live", "last_reader", "first_input"):
            np.testing.assert_array_equal(getattr(got, name), getattr(expected, name))


def test_one_class_is_refused(backbone: OpGraph) -> None:
    with pytest.raises(ShapeError, match="classes must be at least 2, but got 1"):
        text_classification(backbone, 1)


def test_feature_maps_are_refused() -> None:
    space = load_trainable("mobilenet_v2_small")
    graph = space.lower(space.largest())
    for complete in (question_answering, lambda one: text_classification(one, 3)):
        with pytest.raises(ShapeError, match=r"must end in token features \(1, T, C\)"):
            complete(graph)
