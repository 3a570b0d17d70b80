"""Batch normalisation after a training: statistics of the weights as they are, not as they were.

The moving averages that a training keeps lag behind its weights, and those of averaged weights
belong to no weights at all. After a long training the difference is small; after a short one a
network can put out nothing but background by its moving averages and be among the better ones by
its own statistics (docs/learning.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

BATCHES = 8
"""Of train, to average over."""


def settle(model: Any, batches: Iterable[list[Any]]) -> None:
    """Set the moving averages of a Keras model to the mean over batches, weights untouched.

    Args:
        model: Its batch normalisations, those wrapped for quantization excepted.
        batches: Inputs [n, ...] in the order of the model's; of train, never those that judge.

    Source: slimmable networks, arXiv:1903.05134, section 3.3 (post-statistics).
    """
    import tf_keras as keras

    norms = [one for one in model.layers if isinstance(one, keras.layers.BatchNormalization)]
    if not norms:
        return
    kept = [norm.momentum for norm in norms]
    for before, inputs in enumerate(batches):
        for norm in norms:
            norm.momentum = before / (before + 1)  # so that all batches weigh alike
        model(inputs, training=True)
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
