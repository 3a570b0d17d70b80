"""Ends of language networks."""

from __future__ import annotations

import pytest

from spaces.graph import OpGraph, OpKind, ShapeError
from spaces.language_heads import question_answering, text_classification
from spaces.space import load_trainable


@pytest.fixture
def backbone() -> OpGraph:
    space = load_trainable("mobilebert_small").for_input((1, 32))
    return space.lower(space.smallest())


def test_texts_are_classified_by_the_mean_of_their_tokens(backbone: OpGraph) -> None:
    graph = text_classification(backbone, 150)
    added = graph.ops[len(backbone.ops) :]
    assert [(op.name, op.kind, op.output_shape) for op in added] == [
        ("pool", OpKind.MEAN, (1, 128)),
        ("logits", OpKind.FULLY_CONNECTED, (1, 150)),
        ("probabilities", OpKind.SOFTMAX, (1, 150)),
    ]
    # derived: 128 weights and a bias a class
    assert graph.trainable_parameters - backbone.trainable_parameters == 129 * 150
    assert graph.macs - backbone.macs == 128 * 150
    assert graph.more_inputs == backbone.more_inputs


def test_answers_are_scored_token_by_token(backbone: OpGraph) -> None:
    graph = question_answering(backbone)
    assert graph.output.name == "span_logits"
    assert graph.output.output_shape == (1, backbone.input_shape[1], 2)
    # derived: first and last, each 128 weights and a bias
    assert graph.trainable_parameters - backbone.trainable_parameters == 258
    assert graph.inputs == backbone.inputs


def test_one_class_is_refused(backbone: OpGraph) -> None:
    with pytest.raises(ShapeError, match="classes must be at least 2, but got 1"):
        text_classification(backbone, 1)


def test_feature_maps_are_refused() -> None:
    space = load_trainable("mobilenet_v2_small")
    graph = space.lower(space.largest())
    for complete in (question_answering, lambda one: text_classification(one, 3)):
        with pytest.raises(ShapeError, match=r"must end in token features \(1, T, C\)"):
            complete(graph)
