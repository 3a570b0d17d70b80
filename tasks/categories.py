"""Losses and scores of one label a sample, which several problems have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.exhibits import Segment, judged

Tensor = Any  # tensorflow ships no types for it


def cross_entropy(labels: Tensor, logits: Tensor, smoothing: float) -> Tensor:
    """Mean cross entropy of logits [n, classes] for integer labels [n].

    ``smoothing`` of the target's mass is spread over all classes.
    """
    import tensorflow as tf

    classes = logits.shape[-1]
    targets = tf.one_hot(labels, classes) * (1.0 - smoothing) + smoothing / classes
    return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, logits))


def imitation(teacher: Tensor, logits: Tensor) -> Tensor:
    """Mean cross entropy against the probabilities of a teacher's logits."""
    import tensorflow as tf

    targets = tf.stop_gradient(tf.nn.softmax(teacher))
    return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, logits))


def accuracy(outputs: NDArray[Any], labels: NDArray[np.int32]) -> float:
    """Share of rows of ``outputs`` [n, classes] whose greatest entry is the label."""
    return float(np.mean(outputs.argmax(axis=-1) == labels))


def verdict(
    probabilities: NDArray[Any], classes: Sequence[str], label: int
) -> tuple[Segment, ...]:
    """The winning class and its probability, marked as right or wrong."""
    best = int(np.argmax(probabilities))
    return judged(f"{classes[best]} ({float(probabilities[best]):.0%})", best == label)
