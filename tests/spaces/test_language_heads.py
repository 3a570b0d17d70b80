"""Ends of language networks."""

from __future__ import annotations

import numpy as np
import pytest

from spaces.graph import INPUT, Op, OpBatch, OpGraph, OpKind, ShapeError
from spaces.language_heads import (
    POOLED_LENGTH,
    question_answering,
    question_answering_many,
    text_classification,
    text_classification_many,
)
from spaces.space import load_trainable, sample
from spaces.transformer import MASK, MASKED


@pytest.fixture
def backbone() -> OpGraph:
    space = load_trainable("mobilebert_small").for_input((1, 32))
    return space.lower(space.smallest())


def test_texts_are_classified_by_the_mean_of_their_tokens(backbone: OpGraph) -> None:
    graph = text_classification(backbone, 150)
    added = graph.ops[len(backbone.ops) :]
    length = backbone.input_shape[1]
    assert [(op.name, op.kind, op.output_shape) for op in added] == [
        ("pool/tokens", OpKind.RESHAPE, (1, 1, length, 128)),
        ("pool/weights", OpKind.SOFTMAX, (1, 1, 1, length)),
        ("pool", OpKind.BATCH_MATMUL, (1, 1, 1, 128)),
        ("classes", OpKind.CONV_2D, (1, 1, 1, 150)),
        ("logits", OpKind.RESHAPE, (1, 150)),
        ("probabilities", OpKind.SOFTMAX, (1, 150)),
    ]
    # derived: 128 weights and a bias a class; a weight a token in the mean
    assert graph.trainable_parameters - backbone.trainable_parameters == 129 * 150
    assert graph.macs - backbone.macs == 128 * (150 + length)
    assert graph.more_inputs == backbone.more_inputs


def test_a_long_sequence_is_averaged_whole() -> None:
    # one of more than 256 equal weights would be less than a step of 8 bits
    kinds = {}
    for length in (POOLED_LENGTH, POOLED_LENGTH + 1):
        space = load_trainable("mobilebert_small").for_input((1, length))
        kinds[length] = text_classification(space.lower(space.largest()), 3).op("pool").kind
    assert kinds == {POOLED_LENGTH: OpKind.BATCH_MATMUL, POOLED_LENGTH + 1: OpKind.MEAN}


@pytest.mark.usefixtures("tensorflow")
def test_padding_has_no_part_in_the_mean() -> None:
    import tensorflow as tf

    from spaces.tensor_ops import compute

    features = np.random.default_rng(0).normal(size=(1, 5, 4)).astype(np.float32)
    tokens = Op("end", OpKind.RESHAPE, (INPUT,), (1, 20), features.shape)
    backbone = OpGraph((1, 20), (tokens,), (), ((MASK, (1, 1, 1, 5)),))
    mask = np.array([0, 0, 0, MASKED, MASKED], np.float32).reshape(1, 1, 1, 5)
    found = {INPUT: tf.constant(features.reshape(1, 20)), MASK: tf.constant(mask)}
    for op in text_classification(backbone, 2).ops[:4]:
        found[op.name] = compute(op, [found[name] for name in op.inputs], {})
    np.testing.assert_allclose(found["pool"][0, 0, 0], features[0, :3].mean(axis=0), rtol=1e-4)


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
