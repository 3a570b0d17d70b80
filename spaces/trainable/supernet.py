"""The weight-sharing network: every architecture of a space in the same weights.

It runs the very graph that is costed, op by op; each op reads a slice of the largest weights that
bear its name. A new space therefore needs no supernet of its own. Batch statistics are always
those of the batch at hand; before an architecture is judged, its statistics are recalibrated on
training samples (:meth:`Supernet.recalibrate`).

Source of the recipe: BigNAS (arXiv:2003.11142), sandwich rule and in-place distillation; slicing
after Once-for-All (arXiv:1908.09791), centre crop of kernels.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, final

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from spaces.graph import Op, OpGraph, OpKind, Shape
from spaces.space import Architecture, TrainableSpace
from spaces.trainable.keras_model import BATCH_NORM_EPSILON, layer_name, up_to
from spaces.trainable.tensor_ops import activate, compute, fan_in, weight_shapes

FloatArray = NDArray[np.float32]
_REMEMBERED = 1000  # graphs of architectures
Inputs = Mapping[str, Any]
"""Tensors or arrays [batch, ...] by the names of a graph's inputs."""
Tensor = Any  # tensorflow ships no types for it
Statistics = dict[str, tuple[Tensor, Tensor]]
"""Mean and variance of each batch normalisation, by the name of its weights."""


def weights_name(op: Op) -> str:
    """Under which an op finds its weights: ops that agree in it share them."""
    return f"{op.name}:{op.variant}" if op.variant else op.name


def part_of(name: str) -> str:
    """``kernel``, ``bias``, ``constant``, ``gamma`` or ``beta``, of a parameter's name."""
    return name.rpartition("/")[2]


def _learned(op: Op) -> dict[str, Shape]:
    """Shapes of all that an op learns, by the names of the parameters."""
    norm = {"gamma": (op.out_channels,), "beta": (op.out_channels,)} if op.batch_norm else {}
    return {f"{weights_name(op)}/{part}": s for part, s in (weight_shapes(op) | norm).items()}


@final
class Supernet(tf.Module):  # type: ignore[misc]
    """All networks of a space, heads included, in shared weights.

    Attributes:
        space: The space, for inputs of the data's shape.
        parameters: Variables by name, sorted.
    """

    def __init__(
        self,
        space: TrainableSpace,
        complete: Callable[[OpGraph], OpGraph],
        outputs: tuple[str, ...],
        seed: int,
        first_bias: Callable[[Op], float] = lambda _: 0.0,
    ) -> None:
        """Initialise weights from ``seed``.

        Args:
            space: Sized for the data.
            complete: Adds the head to a graph of the space.
            outputs: Ops whose outputs are trained; what stands behind them is not run.
            seed: Of every weight, together with its name.
            first_bias: Where the bias of an op begins.

        Kernels are drawn with variance 2 / fan-in (He), those of ``outputs`` with 1 / fan-in.
        Blocks with a residual begin as the identity (their last scale is zero, as in
        arXiv:1706.02677, section 5.1). Without it, random architectures stay at the level of
        guessing for hundreds of steps: each block sees inputs that no other step produced.
        """
        super().__init__("supernet")
        self.space, self._complete, self.outputs = space, complete, outputs
        self._graphs: dict[tuple[Architecture, tuple[str, ...]], OpGraph] = {}
        self.parameters: dict[str, tf.Variable] = {}
        widest = _widest(self.graph(one) for one in space.extremes())
        for name, value in sorted(_initial(widest, outputs, seed, first_bias).items()):
            self.parameters[name] = tf.Variable(value, dtype=tf.float32, name=name)

    def graph(self, architecture: Architecture, outputs: tuple[str, ...] = ()) -> OpGraph:
        """The network of an architecture up to ``outputs``, or to the trained ones."""
        key = (architecture, outputs or self.outputs)
        if key not in self._graphs:
            if len(self._graphs) >= _REMEMBERED:
                self._graphs.clear()
            whole = self._complete(self.space.lower(architecture))
            self._graphs[key] = up_to(whole, key[1])
        return self._graphs[key]

    # -- forward --------------------------------------------------------------------------------

    def weights(self, graph: OpGraph) -> dict[str, Tensor]:
        """What a network reads, by the names of the parameters that it is cut from.

        What stands behind the trained outputs is not among them: it is not learned here.
        """
        return {
            name: _slice(self.parameters[name], shape)
            for op in graph.ops
            for name, shape in _learned(op).items()
            if name in self.parameters
        }

    def whole(self, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Gradients of :meth:`weights` as gradients of the parameters: zero around the slices.

        A tape that starts behind :meth:`weights` and this are much faster than one that also
        watches the slicing.
        """
        return {
            name: _pad(tf.convert_to_tensor(gradient), self.parameters[name].shape)
            for name, gradient in gradients.items()
            if gradient is not None
        }

    def run(
        self,
        graph: OpGraph,
        inputs: Inputs,
        outputs: tuple[str, ...] = (),
        statistics: Statistics | None = None,
        drop: Callable[[Op, Tensor], Tensor] | None = None,
        weights: Mapping[str, Tensor] | None = None,
    ) -> tuple[tuple[Tensor, ...], Statistics]:
        """Outputs of a network, and the batch's statistics (or the given ones).

        Args:
            graph: From :meth:`graph`.
            inputs: Of each input of the graph, [batch, ...].
            outputs: Names of the ops whose outputs are wanted; empty: the trained ones.
            statistics: None: normalise with the batch's own.
            drop: Called on the first input of every fully connected op: dropout.
            weights: From :meth:`weights`, for runs that share them; None: cut here.
        """
        tensors = dict(inputs)
        weights = self.weights(graph) if weights is None else weights
        used: Statistics = {}
        for op in graph.ops:
            sources = [tensors[name] for name in op.inputs]
            if drop is not None and op.kind is OpKind.FULLY_CONNECTED:
                sources[0] = drop(op, sources[0])
            own = {part_of(name): weights[name] for name in _learned(op)}
            x = compute(op, sources, own)
            if op.batch_norm:
                moments = None if statistics is None else statistics[weights_name(op)]
                x, used[weights_name(op)] = _normalise(x, own["gamma"], own["beta"], moments)
            tensors[op.name] = activate(op, x)
        return tuple(tensors[name] for name in outputs or self.outputs), used

    # -- what people call -----------------------------------------------------------------------

    def recalibrate(
        self, architecture: Architecture, batches: Iterable[Inputs]
    ) -> dict[str, tuple[FloatArray, FloatArray]]:
        """Statistics of every batch normalisation for one architecture, averaged over batches.

        Args:
            architecture: Of this space.
            batches: Training samples, never those that judge; of equal sizes.

        Source: slimmable networks, arXiv:1903.05134, section 3.3 (post-statistics).
        """
        graph = self.graph(architecture)
        if not any(op.batch_norm for op in graph.ops):
            return {}
        weights = self.weights(graph)
        parts = [self.run(graph, inputs, weights=weights)[1] for inputs in batches]
        return {
            name: (
                np.mean([part[name][0].numpy() for part in parts], axis=0, dtype=np.float32),
                np.mean([part[name][1].numpy() for part in parts], axis=0, dtype=np.float32),
            )
            for name in parts[0]
        }

    def predict(
        self,
        architecture: Architecture,
        batches: Iterable[Inputs],
        statistics: Statistics,
        outputs: tuple[str, ...] = (),
        fitted: Mapping[str, NDArray[Any]] | None = None,
    ) -> tuple[NDArray[Any], ...]:
        """Outputs [n, ...] of one architecture under given statistics.

        Constants of ops behind the trained outputs are given by op, in ``fitted``.
        """
        graph = self.graph(architecture, outputs)
        weights = self.weights(graph)
        for op in graph.ops:
            if fitted and op.name in fitted:
                weights |= dict.fromkeys(_learned(op), tf.constant(fitted[op.name]))
        parts = [
            self.run(graph, inputs, outputs, statistics, weights=weights)[0] for inputs in batches
        ]
        columns = zip(*parts, strict=True)
        return tuple(np.concatenate([one.numpy() for one in column]) for column in columns)

    def extract(self, architecture: Architecture, statistics: Statistics) -> dict[str, FloatArray]:
        """Weights of one architecture, by the names of :mod:`spaces.trainable.keras_model`."""
        weights: dict[str, FloatArray] = {}
        graph = self.graph(architecture)
        cut = self.weights(graph)
        for op in graph.ops:
            layer = layer_name(op.name)
            for name in _learned(op):
                part = part_of(name)
                if part == "kernel" and op.kind is OpKind.DEPTHWISE_CONV_2D:
                    part = "depthwise_kernel"
                owner = f"{layer}.bn" if part in ("gamma", "beta") else layer
                weights[f"{owner}:{part}"] = np.asarray(cut[name])
            if op.batch_norm:
                mean, variance = statistics[weights_name(op)]
                weights[f"{layer}.bn:moving_mean"] = np.asarray(mean)
                weights[f"{layer}.bn:moving_variance"] = np.asarray(variance)
        return weights

    def used_by(self, architecture: Architecture) -> frozenset[str]:
        """Names of the parameters that an architecture reads."""
        return frozenset(name for op in self.graph(architecture).ops for name in _learned(op))

    def state(self) -> dict[str, FloatArray]:
        """All weights by name."""
        return {name: variable.numpy() for name, variable in self.parameters.items()}

    def restore(self, state: Mapping[str, FloatArray]) -> None:
        """Load what :meth:`state` returned."""
        for name, variable in self.parameters.items():
            variable.assign(state[name])


def shared_shapes(graphs: Iterable[OpGraph]) -> dict[str, Shape]:
    """Of all weights of some networks by name: the largest size in each dimension."""
    return {name: shape for one in _widest(graphs) for name, shape in one.shapes.items()}


def _widest(graphs: Iterable[OpGraph]) -> list[_Widest]:
    """Every op that has weights, with the largest shapes that it takes."""
    found: dict[str, _Widest] = {}
    for graph in graphs:
        identities = _identities(graph)
        for op in graph.ops:
            if _learned(op):
                found.setdefault(weights_name(op), _Widest(op)).grow(op, op.name in identities)
    return list(found.values())


def _identities(graph: OpGraph) -> frozenset[str]:
    """Ops ``*/project`` that an ``*/add`` of the same block adds to something else."""
    adds = {op.name: op for op in graph.ops if op.kind is OpKind.ADD and len(op.inputs) == 2}
    pairs = ((op.name, op.name.removesuffix("project") + "add") for op in graph.ops)
    return frozenset(
        name
        for name, add in pairs
        if name.endswith("/project") and add in adds and name in adds[add].inputs
    )


@final
class _Widest:
    """An op with the largest shapes that its weights take, by name."""

    def __init__(self, op: Op) -> None:
        self.op, self.shapes, self.identity = op, dict[str, Shape](), True

    def grow(self, op: Op, identity: bool) -> None:
        for name, shape in _learned(op).items():
            known = self.shapes.get(name, shape)
            self.shapes[name] = tuple(map(max, known, shape))
        # Only where it never stands without its residual: else it would hand on nothing at all.
        self.identity &= identity


def _initial(
    widest: list[_Widest],
    outputs: tuple[str, ...],
    seed: int,
    first_bias: Callable[[Op], float],
) -> dict[str, NDArray[Any]]:
    values: dict[str, NDArray[Any]] = {}
    for one in widest:
        for name, shape in one.shapes.items():
            rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
            last = one.op.name in outputs
            value = _draw(one, part_of(name), shape, last, rng)
            values[name] = value + first_bias(one.op) * (part_of(name) == "bias")
    return values


def _draw(
    one: _Widest, part: str, shape: Shape, last: bool, rng: np.random.Generator
) -> NDArray[Any]:
    """The first value of one weight; see :meth:`Supernet.__init__`."""
    op = one.op
    if part == "kernel":
        if one.identity and not op.batch_norm:
            return np.zeros(shape)
        gain = 1.0 if last or (op.activation == "none" and not op.batch_norm) else 2.0
        return rng.normal(0.0, np.sqrt(gain / fan_in(op, shape)), shape)
    if part == "constant" and op.kind is not OpKind.MUL:
        return rng.normal(0.0, 0.05, shape) if len(shape) > 1 else np.zeros(shape)
    if part == "gamma":
        return np.full(shape, 0.0 if one.identity else 1.0)
    return np.full(shape, float(part == "constant"))


def _normalise(
    x: Tensor, gamma: Tensor, beta: Tensor, moments: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """A map under given mean and variance, or under its own; and those."""
    given = {} if moments is None else dict(zip(("mean", "variance"), moments, strict=True))
    x, mean, variance = tf.compat.v1.nn.fused_batch_norm(
        x, gamma, beta, epsilon=BATCH_NORM_EPSILON, is_training=moments is None, **given
    )
    return x, moments or (mean, variance)


def _begin(full: Shape, shape: Shape) -> list[int]:
    """Where a slice begins: at the start of every dimension, but in the middle of windows."""
    window = 2 if len(shape) == 4 else 0
    pairs = enumerate(zip(full, shape, strict=True))
    return [(have - want) // 2 if i < window else 0 for i, (have, want) in pairs]


def _slice(variable: Tensor, shape: Shape) -> Tensor:
    full = tuple(variable.shape)
    if full == shape:
        return tf.convert_to_tensor(variable)
    return tf.slice(variable, _begin(full, shape), shape)


def _pad(slice_: Tensor, full: Shape) -> Tensor:
    """The inverse of :func:`_slice`, with zeros."""
    shape = tuple(slice_.shape)
    before = _begin(tuple(full), shape)
    after = [have - at - want for have, at, want in zip(full, before, shape, strict=True)]
    return tf.pad(slice_, list(zip(before, after, strict=True))) if any(after) else slice_
