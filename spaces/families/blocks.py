"""The inverted bottlenecks (IBN) of all spaces on one page: depthwise, fused, grouped, universal.

========================  =========================  ====================  ============
op                        expands with               spatial mixing by     projects with
========================  =========================  ====================  ============
``ibn_dw``                1x1 convolution            depthwise k x k       1x1
``ibn_fused``             full k x k convolution     the expansion         1x1
``ibn_grouped``           1x1 convolution            group conv k x k      1x1
``ibn_fused_grouped``     group conv k x k           the expansion         1x1
``dw_first``              1x1 convolution            see below             1x1
``ibn_extra_dw``          1x1 convolution            depthwise, twice      1x1
``ibn_conv_next``         1x1 convolution            depthwise, before     1x1
``ibn_ffn``               1x1 convolution            nothing               1x1
``conv_pair``             full k x k convolution     the expansion         1x1
========================  =========================  ====================  ============

``dw_first`` is the fourth block of the released Autoseg backbones, which their README does not
name: a depthwise k x k convolution and a 1x1 projection to the same width stand *before* the
expansion, which then mixes nothing but channels. It has no residual.

The universal inverted bottleneck (UIB) has two places for a depthwise convolution, before the
expansion and after it, and may leave out either: ``ibn_dw`` has the second, ``ibn_conv_next`` the
first, ``ibn_extra_dw`` both, ``ibn_ffn`` none. The first one is linear; it strides where there is
no second one. These four share the weights that they have in common.

``conv_pair`` is what MobileNetV4-Conv-S begins its stages with: a full convolution and a 1x1
convolution that has an activation, too. It has no residual, and at expansion 1 it is still both.

Channels per group counts *expanded* channels, as the released ``group_base_size`` does: a block of
``in_channels`` 48 and expansion 4 with 64 channels per group has 192 / 64 = 3 groups.

Source: Akin et al. 2022, arXiv:2204.14007; block vocabulary of the release in tensorflow/models
``official/projects/edgetpu/vision/modeling/mobilenet_edgetpu_v2_model_blocks.py``. UIB: Qin et al.
2024, arXiv:2404.10518, and ``official/vision/modeling/layers/nn_blocks.py`` of the same.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from spaces.graph import Activation, Op, OpKind, Shape, ShapeError

SKIP = "skip"
IBN_DW = "ibn_dw"
IBN_FUSED = "ibn_fused"
IBN_GROUPED = "ibn_grouped"
IBN_FUSED_GROUPED = "ibn_fused_grouped"
DW_FIRST = "dw_first"
IBN_EXTRA_DW = "ibn_extra_dw"
IBN_CONV_NEXT = "ibn_conv_next"
IBN_FFN = "ibn_ffn"
CONV_PAIR = "conv_pair"
BLOCK_OPS = (SKIP, IBN_DW, IBN_FUSED, IBN_GROUPED, IBN_FUSED_GROUPED)
"""Those of the classifiers; ``dw_first`` is known from segmentation only."""
GROUPED_OPS = frozenset({IBN_GROUPED, IBN_FUSED_GROUPED})
UIB_OPS = (IBN_DW, IBN_EXTRA_DW, IBN_CONV_NEXT, IBN_FFN)
START_DW_OPS = frozenset({IBN_EXTRA_DW, IBN_CONV_NEXT})
"""With a depthwise convolution before the expansion."""
WINDOWLESS_OPS = frozenset({IBN_CONV_NEXT, IBN_FFN})
"""With no window behind the expansion, or in it."""
_ALONE = frozenset({DW_FIRST, CONV_PAIR})
"""Never with a residual."""


@dataclass(frozen=True, slots=True)
class Block:
    """One inverted bottleneck, all decided.

    Attributes:
        name: Prefix of its ops, e.g. ``"stage2/block1"``.
        op: Of the table above.
        out_channels: Channels after the projection.
        kernel_size: Side of the spatial window.
        strides: Of the spatial window, both directions.
        expansion: Expanded channels over input channels. At 1, ``ibn_dw`` has no expanding
            convolution and ``ibn_fused`` is the projection alone, as the release builds them.
        channels_per_group: Expanded channels in a group; only for the grouped ops.
        residual: Add the input where shapes and op allow it.
        activation: After expansion and spatial mixing; the projection is linear.
        expanded_from: Channels that ``expansion`` multiplies; None: those of the input.
        start_kernel_size: Side of the window before the expansion; only where there is one.
    """

    name: str
    op: str
    out_channels: int
    kernel_size: int
    strides: int
    expansion: int
    channels_per_group: int | None = None
    residual: bool = True
    activation: Activation = "relu"
    expanded_from: int | None = None
    start_kernel_size: int = 1


def round_channels(channels: float, multiple: int = 8) -> int:
    """The nearest multiple of ``multiple``, not more than 10 % below ``channels``.

    Source: ``make_divisible`` of the MobileNet family (tensorflow/models, slim/nets/mobilenet).

    >>> [round_channels(32 * width) for width in (0.35, 0.75, 1.3)]
    [16, 24, 40]
    """
    rounded = max(multiple, int(channels + multiple / 2) // multiple * multiple)
    return rounded + multiple if rounded < 0.9 * channels else rounded


def legal_groups(op: str, in_channels: int, expansion: int, channels_per_group: int) -> bool:
    """Whether a grouped op exists for these channels, with at least two groups."""
    expanded = in_channels * expansion
    groups, rest = divmod(expanded, channels_per_group)
    if rest or groups < 2:
        return False
    return op == IBN_GROUPED or in_channels % groups == 0


def convolution(
    name: str,
    source: tuple[str, Shape],
    out_channels: int,
    kernel_size: int = 1,
    strides: int = 1,
    groups: int = 1,
    activation: Activation = "none",
    kind: OpKind = OpKind.CONV_2D,
) -> Op:
    """A convolution with SAME padding, followed by batch normalisation and ``activation``.

    ``source`` is the producing op's name and its shape (1, H, W, C); the result has shape
    (1, ceil(H / strides), ceil(W / strides), out_channels).
    """
    producer, (_, height, width, _) = source
    return Op(
        name=name,
        kind=kind,
        inputs=(producer,),
        input_shape=source[1],
        output_shape=(1, math.ceil(height / strides), math.ceil(width / strides), out_channels),
        kernel_size=(kernel_size, kernel_size),
        strides=(strides, strides),
        groups=groups,
        activation=activation,
        batch_norm=True,
    )


def lower_block(block: Block, source: tuple[str, Shape]) -> list[Op]:
    """The ops of one block.

    Raises:
        ShapeError: Unknown op, channels per group that do not divide, or strides of a block that
            has no window.
    """
    lowerings = {
        IBN_DW: _depthwise,
        IBN_FUSED: _fused,
        IBN_GROUPED: _grouped,
        IBN_FUSED_GROUPED: _fused_grouped,
        DW_FIRST: _depthwise_first,
        IBN_EXTRA_DW: _universal,
        IBN_CONV_NEXT: _universal,
        IBN_FFN: _universal,
        CONV_PAIR: _pair,
    }
    if block.op not in lowerings:
        raise ShapeError(
            f"{block.name}: op must be one of {', '.join(lowerings)}, but got {block.op!r}."
        )
    ops = lowerings[block.op](block, source)
    mixed = (ops[-1].name, ops[-1].output_shape) if ops else source
    last: Activation = block.activation if block.op == CONV_PAIR else "none"
    ops.append(convolution(f"{block.name}/project", mixed, block.out_channels, activation=last))
    # What expands 1x1 for a depthwise convolution is no part of what a full one expands.
    variant = IBN_DW if block.op in UIB_OPS else block.op
    ops = [dataclasses.replace(op, variant=variant) for op in ops]
    shape = ops[-1].output_shape
    residual = block.residual and block.op not in _ALONE
    if residual and block.strides == 1 and source[1] == shape:
        add = Op(f"{block.name}/add", OpKind.ADD, (ops[-1].name, source[0]), shape, shape)
        ops.append(add)
    return ops


def _expanded(block: Block, source: tuple[str, Shape]) -> int:
    return (block.expanded_from or source[1][-1]) * block.expansion


def _groups(block: Block, source: tuple[str, Shape]) -> int:
    expanded = _expanded(block, source)
    if block.channels_per_group is None or expanded % block.channels_per_group:
        raise ShapeError(
            f"{block.name}: channels_per_group must divide the expanded channels, but got "
            f"expanded_channels={expanded}, channels_per_group={block.channels_per_group}."
        )
    return expanded // block.channels_per_group


def _depthwise(block: Block, source: tuple[str, Shape]) -> list[Op]:
    ops = [] if block.expansion == 1 else [_expand(block, source)]
    expanded = (ops[-1].name, ops[-1].output_shape) if ops else source
    return [*ops, _middle_depthwise(block, expanded)]


def _middle_depthwise(block: Block, source: tuple[str, Shape]) -> Op:
    return convolution(
        f"{block.name}/depthwise",
        source,
        source[1][-1],
        block.kernel_size,
        block.strides,
        activation=block.activation,
        kind=OpKind.DEPTHWISE_CONV_2D,
    )


def _depthwise_first(block: Block, source: tuple[str, Shape]) -> list[Op]:
    in_channels = source[1][-1]
    depthwise = _middle_depthwise(block, source)
    mixed = (depthwise.name, depthwise.output_shape)
    pointwise = convolution(f"{block.name}/pointwise", mixed, in_channels)
    return [depthwise, pointwise, _expand(block, (pointwise.name, pointwise.output_shape))]


def _universal(block: Block, source: tuple[str, Shape]) -> list[Op]:
    """All of a UIB but the projection; ``ibn_dw`` alone may go without an expansion."""
    if block.op == IBN_FFN and block.strides != 1:
        raise ShapeError(
            f"{block.name}: strides of {IBN_FFN} must be 1, as it has no window, but got "
            f"{block.strides}."
        )
    ops: list[Op] = []
    if block.op in START_DW_OPS:
        start = convolution(
            f"{block.name}/start_depthwise",
            source,
            source[1][-1],
            block.start_kernel_size,
            block.strides if block.op in WINDOWLESS_OPS else 1,
            kind=OpKind.DEPTHWISE_CONV_2D,
        )
        ops, source = [start], (start.name, start.output_shape)
    ops.append(_expand(block, source))
    if block.op not in WINDOWLESS_OPS:
        ops.append(_middle_depthwise(block, (ops[-1].name, ops[-1].output_shape)))
    return ops


def _pair(block: Block, source: tuple[str, Shape]) -> list[Op]:
    return [_expand(block, source, block.kernel_size, block.strides)]


def _fused(block: Block, source: tuple[str, Shape]) -> list[Op]:
    if block.expansion == 1:
        return []
    return [_expand(block, source, block.kernel_size, block.strides)]


def _grouped(block: Block, source: tuple[str, Shape]) -> list[Op]:
    expand = _expand(block, source)
    group_conv = convolution(
        f"{block.name}/group_conv",
        (expand.name, expand.output_shape),
        expand.out_channels,
        block.kernel_size,
        block.strides,
        _groups(block, source),
        block.activation,
    )
    return [expand, group_conv]


def _fused_grouped(block: Block, source: tuple[str, Shape]) -> list[Op]:
    return [_expand(block, source, block.kernel_size, block.strides, _groups(block, source))]


def _expand(
    block: Block,
    source: tuple[str, Shape],
    kernel_size: int = 1,
    strides: int = 1,
    groups: int = 1,
) -> Op:
    return convolution(
        f"{block.name}/expand",
        source,
        _expanded(block, source),
        kernel_size,
        strides,
        groups,
        block.activation,
    )
