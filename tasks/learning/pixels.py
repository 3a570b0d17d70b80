"""How pixels enter a network."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from spaces.graph import OpGraph

IntArray = NDArray[np.int64]
TOGETHER = 8
"""Pictures scaled at a time: as many as a processor's cache holds as whole numbers."""


def normalise(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 pixels [N, H, W, C] to float32 in [-1, 1], as every model here is trained."""
    return images.astype(np.float32) / np.float32(127.5) - np.float32(1.0)


def fed(images: NDArray[np.uint8], graph: OpGraph) -> NDArray[np.float32]:
    """uint8 pixels [N, H, W, C] as the network of a graph takes them: of its size, in [-1, 1]."""
    return normalise(scaled(images, graph.input_shape[1], graph.input_shape[2]))


def scaled(images: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """uint8 pixels [N, H, W, C] at a smaller size, [N, height, width, C]; as they are at theirs.

    Each new pixel is the mean of the area that it covers, in which old pixels count by the part
    of them that lies within (a box filter of exact width, so that nothing finer than the new
    pixels is left to alias); halves are rounded up. It is reckoned in whole numbers: the same
    bytes on every machine.

    Raises:
        ValueError: The new size is larger.
    """
    count, tall, wide, channels = images.shape
    if (height, width) == (tall, wide):
        return images
    if height > tall or width > wide:
        raise ValueError(
            f"pictures must be scaled to their size or below, {tall}x{wide}, but got "
            f"{height}x{width}"
        )
    found = np.empty((count, height, width, channels), np.uint8)
    area = tall * wide  # the weights of a new pixel sum to that
    for at in range(0, count, TOGETHER):
        part = images[at : at + TOGETHER]
        rows = _summed(part.reshape(len(part), tall, wide * channels), height)
        sums = _summed(rows.reshape(len(part) * height, wide, channels), width)
        means = (sums + area // 2) // area
        found[at : at + TOGETHER] = means.reshape(len(part), height, width, channels)
    return found


def _summed(values: NDArray[np.integer], size: int) -> NDArray[np.uint32]:
    """Weighted sums [N, size, M] along the second axis of [N, have, M]; weights sum to ``have``.

    At most 255 x 512 x 512 where both axes of a picture have been summed, which 32 bits hold.
    """
    places, weights = _parts(values.shape[1], size)
    total = np.zeros((len(values), size, values.shape[2]), np.uint32)
    for place, weight in zip(places, weights, strict=True):
        total += np.take(values, place, axis=1) * weight[:, None]
    return total


@functools.lru_cache(maxsize=64)
def _parts(have: int, size: int) -> tuple[IntArray, NDArray[np.uint32]]:
    """Which of ``have`` pixels each of ``size`` new ones covers, and how much: [parts, size] each.

    Lengths are in parts of an old pixel, of which it has ``size``, so that all are whole.
    """
    begin = np.arange(size) * have
    first = begin // size
    most = int((-(-(begin + have) // size) - first).max())
    places = first + np.arange(most)[:, None]
    within = np.minimum((places + 1) * size, begin + have) - np.maximum(places * size, begin)
    return np.minimum(places, have - 1), within.clip(min=0).astype(np.uint32)
