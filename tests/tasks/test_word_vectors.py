"""Tables of words that begin with what the training texts say."""

from __future__ import annotations

import numpy as np
import pytest

from spaces.heads.language import question_answering, text_classification
from spaces.menu import load_trainable
from tasks.learning.word_vectors import SPREAD, WordVectors, word_vectors


def _texts() -> np.ndarray:
    """Words 2, 3 and 4 stand in texts with word 10 or 11, words 5, 6 and 7 in others."""
    rng = np.random.default_rng(1)
    first = rng.integers(2, 5, (200, 4))
    second = rng.integers(5, 8, (200, 4))
    return np.pad(np.concatenate([first, second]), ((0, 0), (0, 4)))


def test_words_of_the_same_texts_begin_close_together() -> None:
    table = word_vectors(_texts(), rows=20, channels=4)
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    alike, other = unit[2] @ unit[3], unit[2] @ unit[6]
    assert alike > other + 0.5


def test_words_without_a_text_begin_at_random_and_the_spread_is_that_of_a_random_table() -> None:
    table = word_vectors(_texts(), rows=5000, channels=64)
    assert table.shape == (5000, 64)
    assert table.dtype == np.float32
    np.testing.assert_allclose(table[1000:].std(), SPREAD, rtol=0.05)
    np.testing.assert_array_equal(table, word_vectors(_texts(), rows=5000, channels=64))


def test_texts_of_nothing_and_single_texts_have_a_table_all_the_same() -> None:
    for tokens in (np.zeros((3, 4), int), np.array([[2, 3, 0, 0]])):
        assert np.isfinite(word_vectors(tokens, rows=10, channels=8)).all()


@pytest.mark.usefixtures("tensorflow")
def test_only_texts_with_a_class_get_a_table() -> None:
    from spaces.trainable.keras_model import build_model, get_weights

    space = load_trainable("mobilebert_small").for_input((1, 8)).for_vocabulary(20, 0)
    backbone = space.lower(space.smallest())
    tokens = _texts()
    for graph, arrays, given in (
        (text_classification(backbone, 3, words=False), {"labels": np.zeros(400)}, True),
        (question_answering(backbone), {}, False),
    ):
        model = build_model(graph, outputs=(graph.output.name,))
        before = get_weights(model)
        WordVectors({"tokens": tokens, **arrays}).give(model, graph)
        after = get_weights(model)
        changed = {name for name in before if not np.array_equal(before[name], after[name])}
        assert changed == ({"embedding.token:constant"} if given else set())
        table = after["embedding.token:constant"]
        assert table.any()
        if given:
            np.testing.assert_array_equal(table, word_vectors(tokens, 20, table.shape[1]))
