"""Losses and scores of one label a sample, which several problems have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.learning.protocols import ProblemError
from tasks.learning.samples import Segment, judged

Tensor = Any  # tensorflow ships no types for it


def cross_entropy(
    labels: Tensor,
    logits: Tensor,
    smoothing: float,
    mixed: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Mean cross entropy of logits [n, classes] for integer labels [n].

    ``smoothing`` of the target's mass is spread over all classes. ``mixed``: a second label of
    each sample [n], and the part [n] of it that is of the first.
    """
    import tensorflow as tf

    classes = logits.shape[-1]
    targets = tf.one_hot(labels, classes)
    if mixed is not None:
        others, kept = mixed
        part = kept[:, None]
        targets = part * targets + (1.0 - part) * tf.one_hot(others, classes)
    targets = targets * (1.0 - smoothing) + smoothing / classes
    return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, logits))


LEAST = 1e-7
"""A probability that counts as none."""


def as_logits(scores: NDArray[Any], axis: int = -1) -> NDArray[np.float32]:
    """Scores of a network as logits: probabilities over ``axis`` by their logarithm.

    They are known by being positive with a sum of 1, up to what 8 bits lose.

    >>> float(np.exp(as_logits(np.array([[0.25, 0.75]])))[0, 1])
    0.75
    """
    values = np.asarray(scores, np.float32)
    slack = min(1.0, 0.02 + values.shape[axis] / 512)
    if values.min() < 0 or np.abs(values.sum(axis) - 1.0).max() > slack:
        return values
    logits: NDArray[np.float32] = np.log(np.maximum(values, np.float32(LEAST)))
    return logits


def taught(given: Sequence[NDArray[Any]], classes: int) -> tuple[NDArray[np.float32]]:
    """Logits [n, classes] of a person's own network.

    Raises:
        ProblemError: It puts out something else.
    """
    shapes = [one.shape for one in given]
    one = given[0].reshape(len(given[0]), -1) if len(given) == 1 else None
    if one is None or one.shape[1] != classes or max(shapes[0][1:-1], default=1) > 1:
        raise ProblemError(
            f"must put out scores of {classes} classes, [n, {classes}], but got "
            f"{', '.join(str(['n', *shape[1:]]) for shape in shapes)}".replace("'", "")
        )
    return (as_logits(one),)


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
