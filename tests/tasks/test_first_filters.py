"""First convolutions that begin with the components of the training pictures."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from spaces.heads.classification import classification
from spaces.menu import load_trainable
from tasks.learning.first_filters import FirstFilters, components
from tasks.learning.first_weights import FirstWeights
from tasks.learning.pixels import normalise


def _pictures(count: int = 300, side: int = 12, channels: int = 3) -> np.ndarray:
    """Smooth ones, as photographs are."""
    rng = np.random.default_rng(2)
    waves = rng.normal(0.0, 1.0, (count, side, side, channels)).cumsum(1).cumsum(2)
    waves = waves - waves.mean((1, 2), keepdims=True)
    return np.clip(128 + 12 * waves, 0, 255).astype(np.uint8)


def test_outputs_of_the_filters_are_white() -> None:
    images = _pictures()
    filters = components(images, 3, 3)[..., :6]
    patches = sliding_window_view(normalise(images), (3, 3), axis=(1, 2))
    outputs = np.einsum("nyxchw,hwcf->nyxf", patches, filters).reshape(-1, 6)
    covariance = np.cov(outputs, rowvar=False)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=0.12)
    assert (np.diff(np.diag(covariance)) < 0.1).all()
    assert 0.8 < covariance[0, 0] < 1.2


def test_the_same_pictures_have_the_same_filters() -> None:
    np.testing.assert_array_equal(components(_pictures(), 3, 3), components(_pictures(), 3, 3))


def test_what_does_not_vary_has_no_filter() -> None:
    grey = np.repeat(_pictures(channels=1), 3, axis=-1)
    assert components(grey, 3, 3).shape == (3, 3, 3, 9)
    assert components(np.full((4, 8, 8, 3), 7, np.uint8), 3, 3).shape == (3, 3, 3, 0)
    assert components(_pictures(side=4), 5, 5).shape == (5, 5, 3, 0)
    assert np.isfinite(components(_pictures(count=1), 3, 3)).all()


@pytest.mark.usefixtures("tensorflow")
@pytest.mark.parametrize("channels", [1, 3])
def test_the_first_kernel_has_each_component_with_both_signs_and_nothing_else_changes(
    channels: int,
) -> None:
    from spaces.trainable.keras_model import build_model, get_weights

    space = load_trainable("mobilenet_edgetpu_v2_small").for_input((1, 12, 12, channels))
    graph = classification(space.lower(space.largest()), 3)
    model = build_model(graph, outputs=("logits",))
    before, images = get_weights(model), _pictures(channels=channels)
    FirstWeights({"images": images, "labels": np.zeros(300)}).give(model, graph)
    after = get_weights(model)
    assert {n for n in before if not np.array_equal(before[n], after[n])} == {"stem:kernel"}
    kernel = after["stem:kernel"]
    count = min(kernel.shape[-1] // 2, 9 * channels)
    found = components(images, *kernel.shape[:2])[..., :count]
    np.testing.assert_array_equal(kernel[..., :count], found)
    np.testing.assert_array_equal(kernel[..., count : 2 * count], -found)
    rest = slice(2 * count, None)
    np.testing.assert_array_equal(kernel[..., rest], before["stem:kernel"][..., rest])


@pytest.mark.usefixtures("tensorflow")
def test_texts_have_no_first_filters() -> None:
    from spaces.heads.language import text_classification
    from spaces.trainable.keras_model import build_model, get_weights

    space = load_trainable("mobilebert_small").for_input((1, 8)).for_vocabulary(20, 0)
    graph = text_classification(space.lower(space.smallest()), 3)
    model = build_model(graph, outputs=("logits",))
    before = get_weights(model)
    FirstFilters({"tokens": np.zeros((4, 8), int)}).give(model, graph)
    for name, value in get_weights(model).items():
        np.testing.assert_array_equal(value, before[name])
