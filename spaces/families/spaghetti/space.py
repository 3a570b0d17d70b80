"""The family of detection spaces: nodes of layers, and edges that change resolution between them.

A node reads one node as it is (*passes*; its first layer may be strided), or sums several that
were *resampled*: by max pooling and a 1x1 convolution, or by a 1x1 convolution and nearest
upsampling, cropped to the size of the level. Backbone and head are nodes alike, so a search
decides them together; the nodes named in ``outputs`` get the predictors of
:mod:`spaces.heads.ssd`.

Source: tensorflow/models ``research/object_detection``,
``models/ssd_spaghettinet_feature_extractor.py``; the networks: Akin et al. 2022, arXiv:2204.14007.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

from spaces.families.blocks import IBN_FUSED_GROUPED, SKIP, convolution
from spaces.families.spaghetti.layers import (
    LAYER_OPS,
    PARTS,
    Layer,
    LayerChoices,
    Source,
    lower_layer,
)
from spaces.graph import INPUT, Activation, Op, OpBatch, OpGraph, OpKind, Shape, ShapeError
from spaces.space import Architecture, Choice, Decisions, SpaceError, Value
from spaces.walk import decisions_of, walk

STEM = "stem"
STEM_CHANNELS, STEM_KERNEL = f"{STEM}/channels", f"{STEM}/kernel"
AND = "+"
"""Between the names of nodes in a value of the choice ``<node>/inputs``."""


@dataclass(frozen=True, slots=True)
class Node:
    """Layers of one width and resolution.

    Attributes:
        name: E.g. ``"n2"``; also the prefix of its choices and ops.
        levels: Offered resolutions: at level n the strides before it come to 2**n.
        widths: Output channels offered to all its layers.
        layers: In order. The first one of a node that passes brings about its level.
        inputs: Offered sets of nodes to read, e.g. ``("n3+n4", "n3+n5")``.
        resamples: Whether inputs are resampled and summed; else there is one, which passes.
    """

    name: str
    levels: tuple[int, ...]
    widths: tuple[int, ...]
    layers: tuple[LayerChoices, ...]
    inputs: tuple[str, ...]
    resamples: bool = False

    @property
    def input_sets(self) -> tuple[tuple[str, ...], ...]:
        """``inputs``, each as the names of nodes."""
        return tuple(tuple(one.split(AND)) for one in self.inputs)


@dataclass(frozen=True, slots=True)
class _Site:
    """Where a choice of a layer stands, so that no name is parsed while sampling.

    Attributes:
        part: A name in :data:`spaces.families.spaghetti.layers.PARTS`.
        op: Name of the layer's op choice.
        widths: Names of the choices that decide its input and its output channels.
        before: Name of the op choice of the layer before it; None for the first.
        layer: What the layer offers.
        memo: Answers of :meth:`legal`, for speed.
    """

    part: str
    op: str
    widths: tuple[str, str]
    before: str | None
    layer: LayerChoices
    memo: dict[tuple[Value, ...], tuple[Value, ...]] = field(default_factory=dict)

    def legal(self, decided: Decisions) -> tuple[Value, ...]:
        """What the layer offers after these decisions."""
        if self.before and decided.get(self.before, SKIP) == SKIP:
            return ()
        op = "" if self.part == "op" else decided[self.op]
        key = (op, decided[self.widths[0]], decided[self.widths[1]])
        if key not in self.memo:
            self.memo[key] = self.layer.offered(self.part, str(op), int(key[1]), int(key[2]))
        return self.memo[key]


@final
@dataclass(frozen=True, slots=True)
class SpaghettiSpace:
    """A strided stem, then nodes.

    Attributes:
        name: Module name in ``spaces/catalog``.
        input_shape: (1, H, W, C).
        stem_widths, stem_kernels: The first, full convolution, of stride 2.
        nodes: In an order in which each reads the stem or nodes before it.
        outputs: Names of the nodes that are detected from, finest first: endpoints P1, P2, ...
        expands_output: Expansion of ``ibn_dw`` multiplies a layer's output channels.
        activation: After every convolution but the projections.
        choices: Stem, then node by node its width, inputs and level, and its layers; derived.
    """

    name: str
    input_shape: Shape
    stem_widths: tuple[int, ...]
    stem_kernels: tuple[int, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    expands_output: bool = False
    activation: Activation = "relu6"

    choices: tuple[Choice, ...] = field(init=False, repr=False, compare=False)
    _sites: Mapping[str, _Site] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the nodes and derive the choices."""
        _check(self.nodes, self.outputs)
        object.__setattr__(self, "choices", tuple(_choices(self)))
        object.__setattr__(self, "_sites", dict(_sites(self.nodes)))

    def domain(self, choice: Choice, decided: Decisions) -> tuple[Value, ...]:
        """Legal values after what was decided; empty where the choice has no effect."""
        site = self._sites.get(choice.name)
        return choice.values if site is None else site.legal(decided)

    def lower(self, architecture_: Architecture) -> OpGraph:
        """Backbone and head as a graph; endpoints P1, P2, ... name the outputs, finest first.

        Raises:
            SpaceError: The architecture is not one of this space.
        """
        decisions = decisions_of(self, architecture_)
        ops = [self._stem(decisions)]
        ends = {STEM: (ops[0].name, ops[0].output_shape)}
        for node in self.nodes:
            ops.extend(self._node(node, decisions, ends))
            ends[node.name] = (ops[-1].name, ops[-1].output_shape)
        endpoints = ((f"P{n}", ends[name][0]) for n, name in enumerate(self.outputs, 1))
        return OpGraph(self.input_shape, tuple(ops), tuple(endpoints))

    def lower_many(self, architectures: Sequence[Architecture]) -> OpBatch:
        """Graphs of many architectures as columns.

        Raises:
            SpaceError: An architecture is not one of this space.
        """
        return OpBatch.of([self.lower(one) for one in architectures])

    def for_input(self, input_shape: Shape) -> SpaghettiSpace:
        """The same space for inputs (1, H, W, C).

        Raises:
            ShapeError: The input is not of rank 4.
        """
        if len(input_shape) != 4 or input_shape[0] != 1 or min(input_shape) < 1:
            raise ShapeError(
                f"{self.name}: input_shape must be (1, H, W, C), but got {input_shape}."
            )
        return dataclasses.replace(self, input_shape=input_shape)

    def largest(self) -> Architecture:
        """The greatest value of every choice, and the finest levels."""
        return walk(self, lambda choice, domain: max(domain, key=_size_of(choice)))

    def smallest(self) -> Architecture:
        """The least value of every choice; layers are skipped where they may be."""
        return walk(self, lambda choice, domain: min(domain, key=_size_of(choice)))

    def extremes(self) -> Iterator[Architecture]:
        """Architectures in which each weight is once as large as it gets, by name and variant.

        Sizes grow with widths, kernels, expansions and ratios, so each op and each set of inputs
        is met once among the largest of these. Input channels of a group do not: they depend on
        which groups divide a width, so grouped layers are met at every width.
        """
        for op in LAYER_OPS[1:]:
            yield self._extreme(op)
        for number in range(max(len(node.inputs) for node in self.nodes)):
            yield self._extreme(inputs=number)
        for number in range(max(map(len, (self.stem_widths, *(n.widths for n in self.nodes))))):
            yield self._extreme(IBN_FUSED_GROUPED, width=number)

    def _extreme(self, op: str = "", inputs: int = 0, width: int = -1) -> Architecture:
        """The largest with ``op`` wherever it is offered, and these values by their positions."""

        def pick(choice: Choice, domain: tuple[Value, ...]) -> Value:
            part = choice.name.rpartition("/")[2]
            if part == "op" and op in domain:
                return op
            if part == "inputs":
                return domain[min(inputs, len(domain) - 1)]
            if part == "channels" and width >= 0:
                return domain[min(width, len(domain) - 1)]
            if part == "groups":
                return min(domain)
            return max(domain, key=_size_of(choice))

        return walk(self, pick)

    def _stem(self, decisions: Decisions) -> Op:
        channels, kernel = int(decisions[STEM_CHANNELS]), int(decisions[STEM_KERNEL])
        source = (INPUT, self.input_shape)
        return convolution(STEM, source, channels, kernel, 2, activation=self.activation)

    def _node(self, node: Node, decisions: Decisions, ends: Mapping[str, Source]) -> list[Op]:
        read = _inputs(node, decisions)
        if node.resamples:
            ops = self._sum(node, decisions, [(name, ends[name]) for name in read])
            end = (ops[-1].name, ops[-1].output_shape)
            strides = 1
        else:
            ops, end = [], ends[read[0]]
            strides = 2 ** (_level(node, decisions) - _level(self._named(read[0]), decisions))
        for index, offered in enumerate(node.layers):
            name = f"{node.name}/layer{index}"
            if decisions.get(f"{name}/op", SKIP) == SKIP:
                break
            layer = self._layer(name, offered, node, decisions)
            layer = dataclasses.replace(layer, strides=1 if index else strides)
            ops.extend(lower_layer(layer, end))
            end = (ops[-1].name, ops[-1].output_shape)
        return ops

    def _layer(self, name: str, offered: LayerChoices, node: Node, decisions: Decisions) -> Layer:
        return Layer(
            name=name,
            op=str(decisions[f"{name}/op"]),
            out_channels=int(decisions[f"{node.name}/channels"]),
            kernel_size=int(decisions[f"{name}/kernel"]),
            strides=1,
            expansion=int(decisions.get(f"{name}/expansion", 1)),
            groups=int(decisions.get(f"{name}/groups", 1)),
            input_ratio=float(decisions.get(f"{name}/input_ratio", 1)),
            output_ratio=float(decisions.get(f"{name}/output_ratio", 1)),
            residual=offered.residual,
            activation=self.activation,
            expands_output=self.expands_output,
        )

    def _named(self, name: str) -> Node | None:
        return next((node for node in self.nodes if node.name == name), None)

    def _sum(
        self, node: Node, decisions: Decisions, sources: Sequence[tuple[str, Source]]
    ) -> list[Op]:
        """Edges to ``node``, and their sum pair by pair: Edge TPUs know no ``ADD_N``."""
        level, channels = _level(node, decisions), int(decisions[f"{node.name}/channels"])
        _, height, width, _ = self.input_shape
        shape = (1, math.ceil(height / 2**level), math.ceil(width / 2**level), channels)
        ops: list[Op] = []
        ends: list[str] = []
        for name, source in sources:
            step = level - _level(self._named(name), decisions)
            ops.extend(_edge(f"{node.name}/from_{name}", source, step, shape))
            ends.append(ops[-1].name)
        total = ends[0]
        for number, end in enumerate(ends[1:], 1):
            name = f"{node.name}/sum{number}"
            last = self.activation if number == len(ends) - 1 else "none"
            ops.append(Op(name, OpKind.ADD, (total, end), shape, shape, activation=last))
            total = name
        return ops


@functools.lru_cache(maxsize=100_000)
def _edge(name: str, source: Source, step: int, shape: Shape) -> tuple[Op, ...]:
    """Resampling by 2**-step to ``shape``; linear."""
    ratio = 2 ** abs(step)
    ops: list[Op] = []
    if step > 0:
        pooled = (*shape[:-1], source[1][-1])
        window, strides = (ratio + 1, ratio + 1), (ratio, ratio)
        pool = Op(
            f"{name}/pool", OpKind.MAX_POOL_2D, (source[0],), source[1], pooled, window, strides
        )
        ops.append(pool)
        source = (pool.name, pooled)
    ops.append(convolution(f"{name}/conv", source, shape[-1]))
    if step < 0:
        small = ops[-1].output_shape
        raised = (1, small[1] * ratio, small[2] * ratio, small[3])
        resize = f"{name}/resize"
        ops.append(Op(resize, OpKind.RESIZE_NEAREST_NEIGHBOR, (ops[-1].name,), small, raised))
        if raised != shape:
            ops.append(Op(f"{name}/crop", OpKind.SLICE, (resize,), raised, shape))
    return tuple(ops)


def _inputs(node: Node, decisions: Decisions) -> tuple[str, ...]:
    return tuple(str(decisions.get(f"{node.name}/inputs", node.inputs[0])).split(AND))


def _level(node: Node | None, decisions: Decisions) -> int:
    """Of a node, or of the stem."""
    return 1 if node is None else int(decisions.get(f"{node.name}/level", node.levels[0]))


def _choices(space: SpaghettiSpace) -> Iterator[Choice]:
    yield Choice(STEM_CHANNELS, space.stem_widths)
    yield Choice(STEM_KERNEL, space.stem_kernels)
    for node in space.nodes:
        yield Choice(f"{node.name}/channels", node.widths)
        if len(node.inputs) > 1:
            yield Choice(f"{node.name}/inputs", node.inputs)
        if len(node.levels) > 1:
            yield Choice(f"{node.name}/level", node.levels)
        for index, layer in enumerate(node.layers):
            for part, values in layer.values.items():
                if values:
                    yield Choice(f"{node.name}/layer{index}/{part}", values)


def _sites(nodes: Sequence[Node]) -> Iterator[tuple[str, _Site]]:
    for node in nodes:
        own = f"{node.name}/channels"
        before = own if node.resamples else f"{node.input_sets[0][0]}/channels"
        for index, layer in enumerate(node.layers):
            prefix = f"{node.name}/layer{index}"
            previous = f"{node.name}/layer{index - 1}/op" if index else None
            widths = (own if index else before, own)
            for part in PARTS:
                yield f"{prefix}/{part}", _Site(part, f"{prefix}/op", widths, previous, layer)


def _size_of(choice: Choice):  # type: ignore[no-untyped-def]
    """What orders the values of a choice by the size of the network they make."""
    part = choice.name.rpartition("/")[2]
    if part == "op":
        return LAYER_OPS.index
    if part == "inputs":
        return lambda value: -choice.values.index(value)
    return (lambda value: -value) if part in ("level", "groups") else (lambda value: value)


def _check(nodes: Sequence[Node], outputs: Sequence[str]) -> None:
    """Refuse nodes that cannot be built, or that some architectures would not use.

    Raises:
        SpaceError: It names the node.
    """
    known: dict[str, tuple[int, ...]] = {STEM: (1,)}
    for node in nodes:
        _check_node(node, known)
        known[node.name] = node.levels
    if missing := [name for name in outputs if name not in known or len(known[name]) > 1]:
        raise SpaceError(
            f"outputs must be nodes of one level, but got {missing[0]!r}; "
            f"there are {', '.join(known)}."
        )
    always = set(outputs)
    for node in nodes:
        always |= set.intersection(*map(set, node.input_sets))
    if unused := [name for name in known if name not in always]:
        raise SpaceError(
            f"{unused[0]}: a node must be an output, or be read by some node whatever that "
            "one's inputs are, but got neither. Its layers would be decided for nothing."
        )


def _check_node(node: Node, known: Mapping[str, tuple[int, ...]]) -> None:
    read = {name for names in node.input_sets for name in names}
    if unknown := sorted(read - set(known)):
        raise SpaceError(
            f"{node.name}: inputs must be nodes before it, but got {unknown[0]!r}; "
            f"there are {', '.join(known)}."
        )
    if node.resamples:
        return
    steps = [b - a for name in read for a in known[name] for b in node.levels]
    first = node.layers[0].ops if node.layers else (SKIP,)
    if len(read) != 1 or len(steps) != 1 or steps[0] not in (0, 1) or SKIP in first:
        raise SpaceError(
            f"{node.name}: a node that does not resample must read one node of its level or the "
            f"level before, and must not skip its first layer, but got inputs={node.inputs}, "
            f"levels={node.levels}, first ops={first}."
        )
