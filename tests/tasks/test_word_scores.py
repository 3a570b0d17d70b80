"""What each word says by itself, and that it is in the file as it is in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spaces.heads.language import text_classification
from tasks.learning.exported import fitted, network_of
from tasks.learning.interpreter import predict
from tasks.learning.word_scores import word_scores
from tests.samples import opened, samples, small_space

BEGIN, LENGTH = 2, 8
"""The token that begins each text, and the tokens of one with its padding."""


def _texts(classes: int, seed: int) -> tuple[Any, Any]:
    """Texts of 60 words, three of each class alone and the rest of any."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, 300)
    tokens = np.zeros((300, LENGTH), np.int32)
    tokens[:, 0] = BEGIN
    tokens[:, 1:4] = rng.integers(30, 60, (300, 3))
    tokens[:, 4] = 10 + 3 * labels + rng.integers(0, 3, 300)
    return tokens, labels


@pytest.mark.parametrize("classes", [2, 5])
def test_the_mean_over_the_words_of_a_text_tells_its_class(classes: int) -> None:
    table = word_scores(*_texts(classes, 0), rows=60, classes=classes)
    tokens, labels = _texts(classes, 1)
    assert table.shape == (60, classes) and not table[0].any()
    assert (table[tokens].mean(axis=1).argmax(axis=-1) == labels).mean() > 0.99
    of_classes = table[10 : 10 + 3 * classes].reshape(classes, 3, classes)
    assert (of_classes.argmax(axis=-1) == np.arange(classes)[:, None]).all()


def test_words_that_train_does_not_have_say_nothing() -> None:
    tokens, labels = _texts(3, 0)
    table = word_scores(tokens, labels, rows=99, classes=4)
    assert not table[60:].any()
    assert not table[:, 3].any()  # nor does any word speak of a class that train does not have
    assert not word_scores(tokens, np.zeros(300, int), rows=60, classes=2).any()


def test_many_classes_have_a_table_only_where_it_is_asked_for() -> None:
    backbone = small_space("text_classification")
    graph = backbone.lower(backbone.smallest())
    channels = graph.ops[0].output_shape[-1]
    cases = ((channels, None, True), (channels + 1, None, False), (channels + 1, True, True))
    for classes, words, there in cases:
        names = {op.name for op in text_classification(graph, classes, words).ops}
        assert ("words/table" in names) == there
    problem = opened("text_classification", words=False)
    assert "scores" not in {op.name for op in problem.complete(graph).ops}


@pytest.mark.usefixtures("tensorflow")
def test_files_add_what_words_say_to_what_the_network_says(tmp_path: Path) -> None:
    import tensorflow as tf

    from spaces.trainable.keras_model import build_model
    from tasks.learning import quantization

    space, arrays = small_space("text_classification"), samples("text_classification", 24)
    problem = opened("text_classification", train=arrays)
    graph = problem.complete(space.lower(space.smallest()))
    model = build_model(graph, outputs=problem.trained)
    inputs = problem.inputs(arrays, graph)
    logits = model([inputs[name] for name, _ in graph.inputs], training=False).numpy()
    table = fitted(problem, graph)["words/table"]
    expected = tf.nn.softmax(logits + table[inputs["input"]].mean(axis=1)).numpy()
    assert np.abs(expected - tf.nn.softmax(logits).numpy()).max() > 0.2
    network = network_of(model, graph, problem)
    (found,) = quantization.deployed_outputs(network, [inputs])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    aware = quantization.quantize_aware(network, inputs)
    for file, off in (
        (quantization.export_float(network), 1e-5),
        (quantization.export_post_training(network, inputs), 0.05),
        (quantization.export_quantize_aware(aware), 0.05),
    ):
        (found,) = predict(file, inputs, problem.deployed)
        np.testing.assert_allclose(found, expected, atol=off)
