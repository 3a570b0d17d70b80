"""Layers of the nodes of detection networks, and what a search may choose of them.

========================  ==================================================================
op                        is
========================  ==================================================================
``ibn_*``                 the inverted bottlenecks of :mod:`spaces.families.blocks`
``separable``             depthwise k x k, linear and without normalisation; then 1x1
``tucker``                1x1 to fewer channels, full k x k convolution, 1x1
``extra``                 1x1 to half of the output, depthwise k x k, 1x1: what SSD adds
                          behind a backbone for coarser levels, in its depthwise form
``skip``                  nothing, and no further layer of the node
========================  ==================================================================

Sources: tensorflow/models ``research/object_detection/models``,
``ssd_spaghettinet_feature_extractor.py``, ``ssd_mobiledet_feature_extractor.py`` and
``feature_map_generators.py``.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass

from spaces.families import blocks
from spaces.families.blocks import IBN_DW, IBN_FUSED, IBN_FUSED_GROUPED, SKIP, Block, convolution
from spaces.graph import Activation, Op, OpKind, Shape, ShapeError
from spaces.space import SpaceError, Value

Source = tuple[str, Shape]
SEPARABLE, TUCKER, EXTRA = "separable", "tucker", "extra"
LAYER_OPS = (SKIP, SEPARABLE, EXTRA, IBN_DW, TUCKER, IBN_FUSED_GROUPED, IBN_FUSED)
"""All ops, the one with the most weights last."""
_EXPANDING = frozenset({IBN_DW, IBN_FUSED_GROUPED, IBN_FUSED})
_DENSE = frozenset({TUCKER, IBN_FUSED_GROUPED, IBN_FUSED})


def rank(channels: int, ratio: float) -> int:
    """Channels of a Tucker layer's core: ``ratio`` of ``channels``, a multiple of 8.

    Source: ``_scale_filters`` of ``ssd_mobiledet_feature_extractor.py``.

    >>> [rank(channels, 0.25) for channels in (16, 40, 72)]
    [8, 8, 16]
    """
    return max(8, int(channels * ratio / 8 + 0.5) * 8)


@dataclass(frozen=True, slots=True)
class LayerChoices:
    """What one layer offers.

    Attributes:
        ops: Among :data:`LAYER_OPS`; ``skip`` ends the node before this layer.
        kernels: Window sides of depthwise convolutions.
        expansions: Of the inverted bottlenecks; at least 2.
        groups: Of ``ibn_fused_grouped``; offered where they divide the input channels.
        input_ratios: Of ``tucker``: channels that enter its core over input channels.
        output_ratios: Of ``tucker``: channels that leave its core over output channels.
        residual: Add the input where shapes allow it.
        dense_kernels: Window sides of full and group convolutions; None: as ``kernels``.
    """

    ops: tuple[str, ...]
    kernels: tuple[int, ...] = (3,)
    expansions: tuple[int, ...] = (4,)
    groups: tuple[int, ...] = ()
    input_ratios: tuple[float, ...] = ()
    output_ratios: tuple[float, ...] = ()
    residual: bool = True
    dense_kernels: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        unknown = set(self.ops) - set(LAYER_OPS)
        if unknown:
            raise SpaceError(
                f"ops of a layer must be among {', '.join(LAYER_OPS)}, but got {min(unknown)!r}."
            )
        if min(self.expansions) < 2:
            raise SpaceError(
                f"expansions of a layer must be at least 2, but got {min(self.expansions)}."
            )

    def offered(
        self, part: str, op: str, in_channels: int, out_channels: int
    ) -> tuple[Value, ...]:
        """Legal values of ``part``, a name in :data:`PARTS`, after ``op``; empty: no effect."""
        if part == "op":
            grouped = self._groups_of(in_channels)
            return tuple(one for one in self.ops if one != IBN_FUSED_GROUPED or grouped)
        if op == SKIP:
            return ()
        if part == "kernel":
            return self._kernels_of(op)
        if part == "expansion":
            return self.expansions if op in _EXPANDING else ()
        if part == "groups":
            return self._groups_of(in_channels) if op == IBN_FUSED_GROUPED else ()
        if op != TUCKER:
            return ()
        if part == "input_ratio":
            return _distinct(self.input_ratios, in_channels)
        return _distinct(self.output_ratios, out_channels)

    def _kernels_of(self, op: str) -> tuple[int, ...]:
        dense = op in _DENSE and self.dense_kernels is not None
        return self.dense_kernels or () if dense else self.kernels

    def _groups_of(self, in_channels: int) -> tuple[int, ...]:
        return tuple(groups for groups in self.groups if in_channels % groups == 0)

    @property
    def values(self) -> dict[str, tuple[Value, ...]]:
        """Every value of every part that the layer can take."""
        every = (
            self.ops,
            self.expansions if _EXPANDING & set(self.ops) else (),
            tuple(sorted({*self.kernels, *(self.dense_kernels or ())})),
            self.groups if IBN_FUSED_GROUPED in self.ops else (),
            self.input_ratios if TUCKER in self.ops else (),
            self.output_ratios if TUCKER in self.ops else (),
        )
        return dict(zip(PARTS, every, strict=True))


PARTS = ("op", "expansion", "kernel", "groups", "input_ratio", "output_ratio")


def _distinct(ratios: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """The first of those ratios that come to the same number of channels."""
    ranks: dict[int, float] = {}
    for ratio in ratios:
        ranks.setdefault(rank(channels, ratio), ratio)
    return tuple(ranks.values())


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer, all decided; see :class:`LayerChoices`.

    Attributes:
        name: Prefix of its ops, e.g. ``"n2/layer1"``.
        op: One of :data:`LAYER_OPS` but ``skip``.
        out_channels: Channels of its result.
        kernel_size: Side of the spatial window.
        strides: Of the spatial window, both directions.
        expansion, groups, input_ratio, output_ratio: Where the op has them.
        residual: Add the input where shapes allow it.
        activation: Inside, and behind ``separable`` and ``extra``; other ends are linear.
        expands_output: ``expansion`` of ``ibn_dw`` multiplies ``out_channels``.
    """

    name: str
    op: str
    out_channels: int
    kernel_size: int
    strides: int
    expansion: int = 1
    groups: int = 1
    input_ratio: float = 1.0
    output_ratio: float = 1.0
    residual: bool = True
    activation: Activation = "relu6"
    expands_output: bool = False


@functools.lru_cache(maxsize=100_000)
def lower_layer(layer: Layer, source: Source) -> tuple[Op, ...]:
    """The ops of one layer; networks of a space share most of their layers.

    Raises:
        ShapeError: Unknown op, or groups that do not divide the input channels.
    """
    if layer.op in _EXPANDING:
        return tuple(blocks.lower_block(_block(layer, source), source))
    lowerings = {SEPARABLE: _separable, TUCKER: _tucker, EXTRA: _extra}
    if layer.op not in lowerings:
        raise ShapeError(
            f"{layer.name}: op must be one of {', '.join(LAYER_OPS[1:])}, but got {layer.op!r}."
        )
    ops = [dataclasses.replace(op, variant=layer.op) for op in lowerings[layer.op](layer, source)]
    shape = ops[-1].output_shape
    if layer.residual and layer.strides == 1 and source[1] == shape:
        names = (ops[-1].name, source[0])
        ops.append(Op(f"{layer.name}/add", OpKind.ADD, names, shape, shape))
    return tuple(ops)


def _block(layer: Layer, source: Source) -> Block:
    grouped = layer.op == IBN_FUSED_GROUPED
    widened = layer.op == IBN_DW and layer.expands_output
    return Block(
        name=layer.name,
        op=layer.op,
        out_channels=layer.out_channels,
        kernel_size=layer.kernel_size,
        strides=layer.strides,
        expansion=layer.expansion,
        channels_per_group=source[1][-1] * layer.expansion // layer.groups if grouped else None,
        residual=layer.residual,
        activation=layer.activation,
        expanded_from=layer.out_channels if widened else None,
    )


def _separable(layer: Layer, source: Source) -> list[Op]:
    depthwise = dataclasses.replace(_depthwise(layer, source, "none"), batch_norm=False)
    return [depthwise, _pointwise(layer, depthwise)]


def _tucker(layer: Layer, source: Source) -> list[Op]:
    inner = rank(source[1][-1], layer.input_ratio)
    compress = convolution(f"{layer.name}/compress", source, inner, activation=layer.activation)
    core = convolution(
        f"{layer.name}/core",
        _end(compress),
        rank(layer.out_channels, layer.output_ratio),
        layer.kernel_size,
        layer.strides,
        activation=layer.activation,
    )
    project = convolution(f"{layer.name}/project", _end(core), layer.out_channels)
    return [compress, core, project]


def _extra(layer: Layer, source: Source) -> list[Op]:
    half = layer.out_channels // 2
    reduce = convolution(f"{layer.name}/reduce", source, half, activation=layer.activation)
    depthwise = _depthwise(layer, _end(reduce), layer.activation)
    return [reduce, depthwise, _pointwise(layer, depthwise)]


def _depthwise(layer: Layer, source: Source, activation: Activation) -> Op:
    return convolution(
        f"{layer.name}/depthwise",
        source,
        source[1][-1],
        layer.kernel_size,
        layer.strides,
        activation=activation,
        kind=OpKind.DEPTHWISE_CONV_2D,
    )


def _pointwise(layer: Layer, before: Op) -> Op:
    name, channels = f"{layer.name}/pointwise", layer.out_channels
    return convolution(name, _end(before), channels, activation=layer.activation)


def _end(op: Op) -> Source:
    return op.name, op.output_shape
