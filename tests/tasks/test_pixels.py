"""Pictures on their way into a network of another size."""

from __future__ import annotations

import numpy as np
import pytest

from spaces.menu import load_trainable
from tasks.learning.pixels import fed, normalise, scaled


def _pictures(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def _by_repetition(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Each pixel as height x width equal ones, of which the mean of each new area is taken."""
    count, tall, wide, channels = images.shape
    fine = images.astype(np.int64).repeat(height, axis=1).repeat(width, axis=2)
    parts = fine.reshape(count, height, tall, width, wide, channels)
    return np.asarray(np.floor(parts.mean(axis=(2, 4)) + 0.5), np.uint8)


@pytest.mark.parametrize(
    ("size", "wanted"),
    [((16, 16), (8, 8)), ((16, 16), (12, 12)), ((18, 24), (9, 12)), ((21, 7), (15, 5))],
)
def test_new_pixels_are_means_of_their_areas(
    size: tuple[int, int], wanted: tuple[int, int]
) -> None:
    images = _pictures(19, *size, 3)
    found = scaled(images, *wanted)
    assert found.shape == (19, *wanted, 3)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, _by_repetition(images, *wanted))
    np.testing.assert_array_equal(found[11:13], scaled(images[11:13], *wanted))
    assert abs(float(found.mean()) - float(images.mean())) < 0.5


def test_the_largest_and_brightest_picture_fits_into_its_numbers() -> None:
    white = np.full((1, 512, 512, 1), 255, np.uint8)
    assert (scaled(white, 509, 509) == 255).all()
    assert (scaled(white, 8, 8) == 255).all()


def test_the_same_size_is_left_alone_and_a_larger_one_refused() -> None:
    images = _pictures(2, 8, 8, 1)
    assert scaled(images, 8, 8) is images
    with pytest.raises(ValueError, match="to their size or below, 8x8, but got 9x8"):
        scaled(images, 9, 8)


def test_a_fine_pattern_becomes_grey() -> None:
    board = ((np.indices((24, 24)).sum(axis=0) % 2) * 255).astype(np.uint8)[None, ..., None]
    assert (scaled(board, 12, 12) == 128).all()  # by nearest neighbours it would be black


def test_a_network_is_fed_pictures_of_its_size() -> None:
    space, images = load_trainable("mobilenet_edgetpu_v2_small"), _pictures(3, 16, 16, 3)
    for side in (8, 16):
        sized = space.for_input((1, side, side, 3))
        expected = normalise(scaled(images, side, side))
        np.testing.assert_array_equal(fed(images, sized.lower(sized.smallest())), expected)
