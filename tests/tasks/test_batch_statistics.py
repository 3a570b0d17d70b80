"""Statistics of batch normalisations after a training are those of its last weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.learning.batch_statistics import settle
from tasks.learning.optimizer import Recipe
from tasks.learning.training import Batches, Checkpoint, train_model
from tasks.run.params import AugmentParams
from tasks.run.progress import SilentProgress
from tests.samples import opened, samples, small_space

pytestmark = pytest.mark.usefixtures("tensorflow")


def _batches_of(rng: np.random.Generator, sizes: tuple[float, ...]) -> list[list[Any]]:
    import tensorflow as tf

    return [[tf.constant(rng.normal(centre, 1.0, (32, 5)).astype(np.float32))] for centre in sizes]


def _normalised() -> Any:
    import tf_keras as keras

    entry = keras.Input((5,))
    return keras.Model(entry, keras.layers.BatchNormalization(momentum=0.9)(entry))


def test_all_batches_weigh_alike_and_nothing_else_changes() -> None:
    model = _normalised()
    norm = model.layers[-1]
    norm.moving_mean.assign(np.full(5, 100.0))
    batches = _batches_of(np.random.default_rng(0), (1.0, 2.0, 6.0))
    means = np.mean([one.numpy().mean(axis=0) for (one,) in batches], axis=0)
    variances = np.mean([one.numpy().var(axis=0) for (one,) in batches], axis=0)
    trained = [v.numpy() for v in model.trainable_variables]
    settle(model, iter(batches))
    np.testing.assert_allclose(norm.moving_mean.numpy(), means, rtol=1e-5)
    np.testing.assert_allclose(norm.moving_variance.numpy(), variances, rtol=0.05)  # n or n - 1
    assert norm.momentum == 0.9
    for before, after in zip(trained, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(before, after.numpy())


def test_a_model_without_batch_normalisation_is_not_run() -> None:
    import tf_keras as keras

    def none() -> Any:
        raise AssertionError("no batch is needed")
        yield

    entry = keras.Input((5,))
    settle(keras.Model(entry, keras.layers.Dense(2)(entry)), none())


def test_a_short_training_forgets_the_statistics_that_it_began_with(tmp_path: Path) -> None:
    from spaces.trainable.keras_model import build_model

    problem, space = opened("classification"), small_space("classification")
    graph = problem.complete(space.lower(space.smallest()))
    arrays = samples("classification", 64)
    batches = Batches(problem, arrays, 16, 0, AugmentParams())
    recipe = Recipe(3, 1e-4, 1, 0.9, 0.0, 5.0, 0.0, 0, "adam")
    left = []
    for beginning in (0.0, 50.0):
        model = build_model(graph, outputs=problem.trained)
        rng = np.random.default_rng(1)
        for variable in model.trainable_variables:
            if "kernel" in variable.name:
                variable.assign(rng.normal(0, 0.1, variable.shape))
        norms = [one for one in model.layers if hasattr(one, "moving_mean")]
        for norm in norms:
            norm.moving_mean.assign(np.full(norm.moving_mean.shape, beginning))
        checkpoint = Checkpoint(tmp_path / "state.npz", 10**9)
        train_model(model, graph, problem, batches, recipe, checkpoint, SilentProgress())
        left.append([norm.moving_mean.numpy() for norm in norms])
    assert len(left[0]) > 5
    for one, other in zip(*left, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)
