"""Muon steps along all directions of a kernel alike, a group at a time."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from spaces.graph import WEIGHTED_KINDS, Op, OpGraph, OpKind
from spaces.menu import load_trainable
from tasks.learning import muon
from tasks.learning.muon import Matrices
from tasks.learning.optimizer import Optimizer, Recipe

RECIPE = Recipe(
    steps=10,
    learning_rate=0.5,
    warmup_steps=0,
    momentum=0.9,
    weight_decay=0.0,
    clip_norm=1e6,
    label_smoothing=0.0,
    seed=0,
    optimizer="muon",
)
SHAPE = (1, 4, 4, 8)


def _random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def _direction(tensorflow: Any, momentum: np.ndarray, shape: Matrices) -> np.ndarray:
    (found,) = muon.directions([tensorflow.constant(momentum)], [shape])
    return np.asarray(found)


@pytest.mark.parametrize(("rows", "columns"), [(40, 8), (8, 40), (16, 16), (9, 1), (1, 5)])
def test_singular_values_become_alike_and_vectors_stay(
    rows: int, columns: int, tensorflow: Any
) -> None:
    given = _random(2, rows, columns)
    given[1] *= 1e-4  # how long a gradient is does not count
    found = np.asarray(muon.orthogonal(tensorflow.constant(given)))
    before, after = np.linalg.svd(given, full_matrices=False), np.linalg.svd(found)
    # derived: five iterations take 0.01..1 to 0.68..1.14, see muon.COEFFICIENTS; a hundredth of
    # the largest is less than any here
    assert after[1].min() > 0.67 and after[1].max() < 1.15
    nearest = before[0] @ before[2]
    closeness = (found * nearest).sum((1, 2)) / np.linalg.norm(found, axis=(1, 2))
    assert (closeness / np.linalg.norm(nearest, axis=(1, 2)) > 0.97).all()


def test_step_is_as_long_as_one_of_adam(tensorflow: Any) -> None:
    kernel = _random(3, 3, 12, 30)
    found = _direction(tensorflow, kernel, Matrices(108, 1, 30))
    # derived: min(rows, columns) singular values near 1 in rows * columns entries, by the scale
    # SCALE * sqrt(max(rows, columns))
    assert np.sqrt((found**2).mean()) == pytest.approx(muon.SCALE, rel=0.2)


def test_groups_are_stepped_on_their_own(tensorflow: Any) -> None:
    kernel = _random(3, 3, 4, 24)
    whole = _direction(tensorflow, kernel, Matrices(36, 3, 8))
    parts = [
        _direction(tensorflow, kernel[..., 8 * g : 8 * g + 8], Matrices(36, 1, 8))
        for g in range(3)
    ]
    np.testing.assert_allclose(whole, np.concatenate(parts, -1), rtol=1e-4, atol=1e-6)


def test_each_channel_of_a_depthwise_kernel_has_a_step_of_one_length(tensorflow: Any) -> None:
    kernel = _random(3, 3, 7, 1) * np.arange(1.0, 8.0, dtype=np.float32)[:, None]
    found = _direction(tensorflow, kernel, Matrices(9, 7, 1))
    lengths = np.linalg.norm(found, axis=(0, 1))
    np.testing.assert_allclose(lengths, np.full((7, 1), muon.SCALE * 3.0), rtol=1e-5)
    np.testing.assert_allclose(
        found / lengths, kernel / np.linalg.norm(kernel, axis=(0, 1)), rtol=1e-4
    )


def test_kernels_worked_on_together_step_as_alone(tensorflow: Any) -> None:
    kernels = [_random(1, 1, 6, 4), _random(6, 4, seed=1), _random(3, 3, 2, 4, seed=2)]
    shapes = [Matrices(6, 1, 4), Matrices(6, 1, 4), Matrices(18, 1, 4)]
    together = muon.directions([tensorflow.constant(one) for one in kernels], shapes)
    for one, kernel, shape in zip(together, kernels, shapes, strict=True):
        np.testing.assert_allclose(one, _direction(tensorflow, kernel, shape), atol=1e-5)


def test_optimizer_steps_matrices_by_muon_and_the_rest_by_adam(tensorflow: Any) -> None:
    start = {"kernel": _random(4, 3), "bias": _random(3, seed=1)}
    gradients = {"kernel": _random(4, 3, seed=2), "bias": _random(3, seed=3)}
    recipe = dataclasses.replace(RECIPE, weight_decay=0.1)
    mine = {name: tensorflow.Variable(value) for name, value in start.items()}
    theirs = {"bias": tensorflow.Variable(start["bias"])}
    shape = Matrices(4, 1, 3)
    ours = Optimizer(mine, recipe, frozenset({"kernel"}), {"kernel": shape})
    adam = Optimizer(theirs, dataclasses.replace(recipe, optimizer="adam"), frozenset())
    for optimizer, names in ((ours, mine), (adam, theirs)):
        optimizer.begin(0)
        optimizer.update({name: tensorflow.constant(gradients[name]) for name in names})
    np.testing.assert_allclose(mine["bias"].numpy(), theirs["bias"].numpy())
    # derived: the length of the momentum does not count, so its first step is the gradient's
    step = _direction(tensorflow, gradients["kernel"], shape)
    expected = start["kernel"] * (1 - 0.5 * 0.1) - 0.5 * step
    np.testing.assert_allclose(mine["kernel"].numpy(), expected, rtol=1e-4, atol=1e-5)


def test_a_kernel_without_a_gradient_stays(tensorflow: Any) -> None:
    kernel = tensorflow.Variable(_random(4, 3))
    optimizer = Optimizer({"k": kernel}, RECIPE, frozenset(), {"k": Matrices(4, 1, 3)})
    optimizer.begin(0)
    optimizer.update({"k": None})
    np.testing.assert_array_equal(kernel.numpy(), _random(4, 3))


def test_all_kernels_but_the_last_are_matrices_of_their_groups() -> None:
    space = load_trainable("mobilenet_edgetpu_v2_small")
    graph = space.lower(space.largest())
    found = muon.matrices_of(graph)
    weighted = [op for op in graph.ops if op.kind in WEIGHTED_KINDS]
    assert set(found) == {op.name for op in weighted[:-1]}
    for op in weighted[:-1]:
        shape = found[op.name]
        assert shape.rows * shape.count * shape.columns == op.weights


def test_each_of_two_outputs_has_a_last_layer() -> None:
    def conv(name: str, source: str, channels: int, groups: int = 1) -> Op:
        shape = (1, 4, 4, channels)
        return Op(name, OpKind.CONV_2D, (source,), SHAPE, shape, (3, 3), groups=groups)

    trunk = conv("trunk", "input", 8, groups=2)
    graph = OpGraph(SHAPE, (trunk, conv("boxes", "trunk", 4), conv("classes", "trunk", 3)))
    assert muon.matrices_of(graph) == {"trunk": Matrices(36, 2, 4)}
