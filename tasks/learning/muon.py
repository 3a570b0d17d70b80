"""Muon: steps of kernels along the nearest matrix whose singular values are all alike.

The momentum of a kernel has few large singular values and many small ones; Muon steps along all of
its directions alike. Sources: K. Jordan et al., Muon: an optimizer for hidden layers in neural
networks, 2024, https://kellerjordan.github.io/posts/muon; the scale by which rate and decay are
Adam's, J. Liu et al. 2025, arXiv:2502.16982.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spaces.graph import Op, OpGraph, OpKind, Trait

MOMENTUM = 0.95
SCALE = 0.2
"""Root of the mean square of a step over the rate: about that of a step of Adam."""
COEFFICIENTS = 3.4445, -4.7750, 2.0315
"""Of x, x^3 and x^5: five times over they take singular values of 0.01..1 to 0.7..1.2."""
ITERATIONS = 5
SMALLEST = 1e-7


@dataclass(frozen=True, slots=True)
class Matrices:
    """A kernel as matrices [count, rows, columns]: one a group, its inputs by its outputs.

    A depthwise kernel has one of one column a channel. In memory a kernel is
    [rows, count, columns].
    """

    rows: int
    count: int
    columns: int


def matrices_of(graph: OpGraph) -> dict[str, Matrices]:
    """The kernels that Muon steps, by the name of their op.

    Those of the last layers are left to Adam, as its authors do: what they put out are not
    features, so their directions are not alike.

    >>> from spaces.menu import load_space
    >>> space = load_space("mobilenet_v2_small")
    >>> found = matrices_of(space.lower(space.smallest()))
    >>> found["stem"], "logits" in found
    (Matrices(rows=27, count=1, columns=8), False)
    """
    behind: set[str] = set()
    found: dict[str, Matrices] = {}
    for op in reversed(graph.ops):
        weighted = Trait.WEIGHTED in op.kind.traits and op.weight_bits > 0
        if op.name in behind and weighted:
            found[op.name] = _matrices(op)
        if op.name in behind or weighted:
            behind.update(op.inputs)
    return found


def _matrices(op: Op) -> Matrices:
    if op.kind is OpKind.DEPTHWISE_CONV_2D:
        channels = op.input_shape[-1]
        return Matrices(math.prod(op.kernel_size), channels, op.out_channels // channels)
    window = math.prod(op.kernel_size) if Trait.WINDOWED in op.kind.traits else 1
    inputs = op.input_shape[-1] // op.groups
    return Matrices(window * inputs, op.groups, op.out_channels // op.groups)


def directions(momenta: Sequence[Any], shapes: Sequence[Matrices]) -> list[Any]:
    """Steps of kernels, of a root mean square of :data:`SCALE`, by their momenta.

    Kernels whose matrices are of one size are worked on as one stack: fewer ops to trace and run.

    Args:
        momenta: Of each kernel, shaped as it is.
        shapes: Of each.

    Returns:
        A tensor for each, shaped as it is.
    """
    import tensorflow as tf

    stacks: Mapping[tuple[int, int], list[int]] = defaultdict(list)
    for index, shape in enumerate(shapes):
        stacks[shape.rows, shape.columns].append(index)
    found: dict[int, Any] = {}
    for (rows, columns), members in stacks.items():
        parts = [tf.reshape(momenta[i], [rows, -1, columns]) for i in members]
        stack = tf.transpose(tf.concat(parts, 1), [1, 0, 2])
        steps = SCALE * math.sqrt(max(rows, columns)) * orthogonal(stack)
        counts = [shapes[i].count for i in members]
        split = tf.split(tf.transpose(steps, [1, 0, 2]), counts, 1)
        for i, step in zip(members, split, strict=True):
            found[i] = tf.reshape(step, tf.shape(momenta[i]))
    return [found[i] for i in range(len(shapes))]


def orthogonal(stack: Any) -> Any:
    """About U V' of each matrix U S V' of ``stack`` [n, rows, columns], by Newton and Schulz."""
    import tensorflow as tf

    x = stack / (tf.norm(stack, axis=(-2, -1), keepdims=True) + SMALLEST)
    _, rows, columns = stack.shape
    if min(rows, columns) == 1:
        return x
    tall = rows > columns
    x = tf.linalg.matrix_transpose(x) if tall else x
    first, third, fifth = COEFFICIENTS
    for _ in range(ITERATIONS):
        square = tf.matmul(x, x, transpose_b=True)
        x = first * x + tf.matmul(third * square + fifth * tf.matmul(square, square), x)
    return tf.linalg.matrix_transpose(x) if tall else x
