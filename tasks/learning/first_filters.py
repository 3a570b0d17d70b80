"""Where the first convolution begins: with what tells the training pictures apart, not at random.

Neighbouring pixels are nearly alike, so that random filters all put out nearly the same: a mean.
Filters along the principal components of small patches, each scaled so that its output has unit
variance, put out what is left of them without what they have in common (whitening). Each stands
there with both signs, since a rectifier keeps one of them only. From there the filters are trained
like all others. After K. Jordan 2024, arXiv:2404.00498, section 3.2, who keeps them fixed;
``docs/learning.md`` has what it wins here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from spaces.graph import INPUT, OpGraph, OpKind
from tasks.learning.pixels import normalise, scaled

PICTURES, PATCHES = 2000, 16
"""At most so many of train, and as many patches of each."""
LEAST = 1e-2
"""Added to the variance along a component: what varies less is rather noise."""
NOTHING = 1e-6
"""Of the largest variance: components below have none, as where colour pictures are grey."""


@final
class FirstFilters:
    """First filters for networks of one data set, those of each window and input computed once.

    Args:
        arrays: Of train: where there are ``images`` uint8 [n, H, W, C], of which a few are read.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._images = arrays.get("images")
        self._known: dict[tuple[int, ...], NDArray[np.float32]] = {}

    def give(self, model: Any, graph: OpGraph) -> None:
        """Set the kernel that a Keras model of ``graph`` reads its pictures with.

        Filters beyond twice the number of components stay as they are.
        """
        from spaces.trainable.keras_model import layer_name

        if self._images is None:
            return
        for op in graph.ops:
            if op.kind is OpKind.CONV_2D and op.inputs == (INPUT,) and op.groups == 1:
                kernel = model.get_layer(layer_name(op.name)).kernel
                begun = kernel.numpy()
                _, tall, wide, _ = graph.input_shape
                found = self.components(*op.kernel_size, (tall, wide))
                found = found[..., : op.out_channels // 2]
                count = found.shape[-1]
                begun[..., :count], begun[..., count : 2 * count] = found, -found
                kernel.assign(begun)

    def components(self, height: int, width: int, size: tuple[int, int]) -> NDArray[np.float32]:
        """Filters [height, width, C, n] of one sign, of falling variance.

        ``size``: height and width that a network takes the pictures at, pixels.
        """
        key = (height, width, *size)
        if key not in self._known:
            assert self._images is not None
            self._known[key] = components(self._images, height, width, size)
        return self._known[key]


def components(
    images: NDArray[np.uint8], height: int, width: int, size: tuple[int, int] | None = None
) -> NDArray[np.float32]:
    """Filters [height, width, C, n] that make patches of uint8 pictures [n, H, W, C] white.

    As many as patches vary in; pictures smaller than a patch have none. Pictures are scaled to
    ``size`` before, (height, width), if it is given.
    """
    rng = np.random.default_rng(0)
    (count, *own, channels) = images.shape
    tall, wide = size or own
    if tall < height or wide < width:
        return np.zeros((height, width, channels, 0), np.float32)
    chosen = np.sort(rng.choice(count, min(count, PICTURES), replace=False))
    places = (tall - height + 1, wide - width + 1)
    patches = [
        sliding_window_view(
            scaled(images[index][None], tall, wide)[0], (height, width), axis=(0, 1)
        )[tuple(rng.integers(0, most, PATCHES) for most in places)]
        for index in chosen
    ]
    rows = np.moveaxis(normalise(np.concatenate(patches)), 1, -1)
    covariance = np.cov(rows.reshape(len(rows), -1), rowvar=False)
    variances, directions = np.linalg.eigh(np.atleast_2d(covariance))
    varying = variances[::-1] > NOTHING * max(variances[-1], NOTHING)
    white = (directions / np.sqrt(variances.clip(min=0.0) + LEAST))[:, ::-1][:, varying]
    return white.reshape(height, width, channels, -1).astype(np.float32)
