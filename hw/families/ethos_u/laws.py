"""What one op takes of an Ethos-U: cycles of its stages, and bytes of each memory.

An op is worked on block by block of its output. The multiplying stage goes through the input of a
block in turns, the output stage scales what it made; both work at once, on neighbouring blocks.
Weights are read once for each block of places, or brought to SRAM first.

Sources: Arm's documentation of Vela (OPTIONS.md, PERFORMANCE.md), its public source (Apache-2.0)
for sizes and rates, and what it prints of single ops with ``--verbose-performance`` and
``--enable-debug-db``.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from hw.columns import BINARY, JOINING, KINDS, SPLITTING, FloatArray, mask_of
from hw.families.ethos_u.profile import Chip, Device
from spaces.graph import (
    WEIGHTED_KINDS,
    BoolArray,
    IntArray,
    OpColumns,
    OpKind,
    Trait,
    kinds_with,
)

VIEWS = kinds_with(Trait.VIEW)
"""Ops that Vela takes into their neighbours, as it does the joins and splits below."""
ALONE = frozenset({OpKind.RELU, OpKind.RELU6})
"""Activations of their own, where a converter did not fuse them: poolings of one tap."""
PLACED = JOINING | SPLITTING | frozenset({OpKind.SLICE, OpKind.STRIDED_SLICE})
"""Ops that only say where the output of others lies."""
TABLES = frozenset(
    {OpKind.LOGISTIC, OpKind.TANH, OpKind.HARD_SWISH, OpKind.LEAKY_RELU, OpKind.QUANTIZE}
) | frozenset({OpKind.GELU, OpKind.RSQRT, OpKind.PRELU})
"""Activations that are looked up, an element at a time."""
REDUCTIONS = kinds_with(Trait.POOLING, Trait.REDUCING)
POOLS = kinds_with(Trait.POOLING, Trait.WINDOWED) | ALONE
RESIZES = kinds_with(Trait.RESIZING)
DENSE = frozenset({OpKind.CONV_2D, OpKind.FULLY_CONNECTED, OpKind.TRANSPOSE_CONV})
PRODUCTS = kinds_with(Trait.PRODUCT, Trait.OPERAND)
DEPTHWISE = frozenset({OpKind.DEPTHWISE_CONV_2D}) | REDUCTIONS
"""Ops that multiply each channel by itself; a mean is one whose window is the map."""

WINDOW_LIMIT = 8
"""Taps a side that the multiplying stage goes through at once."""
WIDE_STEPS = 5
"""Ops on numbers of 32 bits, on all elements, of the thirty that Vela makes of a SOFTMAX."""
WORD = 16
"""Channels of a word of a map in memory."""


@dataclass(frozen=True, slots=True)
class Work:
    """Of each op, or of one group of a convolution that is to be split, ``[n_ops]``.

    Attributes:
        parts: Groups.
        npu_cycles: Of the multiplying and the output stage.
        read_bytes: Of maps, read.
        written_bytes: Of maps, written.
        weight_bytes: Encoded.
        scale_bytes: Of bias and scale.
        fetches: Times that weights are read: once for each block of places.
    """

    parts: FloatArray
    npu_cycles: FloatArray
    read_bytes: FloatArray
    written_bytes: FloatArray
    weight_bytes: FloatArray
    scale_bytes: FloatArray
    fetches: FloatArray


def blocks_of(ops: OpColumns, chip: Chip) -> Blocks:
    """How one part of each op is cut: sizes of a chip decide, no speeds."""
    return _blocks(_part(ops), chip)


def work_of(ops: OpColumns, device: Device, blocks: Blocks) -> Work:
    """What one part of each op takes, were it on the accelerator."""
    part = _part(ops)
    weights, scales = _weights(part, device.chip, blocks.kernel_first)
    cycles, read, written = _stages(part, device, blocks)
    return Work(
        parts=np.maximum(ops.groups, 1).astype(np.float64),
        npu_cycles=cycles,
        read_bytes=read,
        written_bytes=written,
        weight_bytes=weights,
        scale_bytes=scales,
        fetches=blocks.places,
    )


def _identity_cycles(chip: Chip) -> float:
    """Of the multiplying stage for an element that passes through: a pooling of one tap."""
    return 16.0 / float(np.prod(chip.depthwise_microblocks[0]))


def _part(ops: OpColumns) -> OpColumns:
    """One group of each convolution; inputs of a transposed one as wide as its output."""
    groups = np.maximum(ops.groups, 1)
    before, after = ops.input_hwc.copy(), ops.output_hwc.copy()
    before[:, 2] //= groups
    after[:, 2] //= groups
    after[:, 2] = np.maximum(after[:, 2], 1)
    strides = ops.strides.copy()
    transposed = ops.kind == KINDS.index(OpKind.TRANSPOSE_CONV)
    strides[transposed] = 1
    window = ops.kernel_size.copy()
    reduced = mask_of(REDUCTIONS)[ops.kind]
    window[reduced] = np.maximum(before[reduced, :2] // np.maximum(after[reduced, :2], 1), 1)
    return dataclasses.replace(
        ops, input_hwc=before, output_hwc=after, strides=strides, kernel_size=window
    )


# --- blocks -------------------------------------------------------------------------------------

ROWS = np.array([1, 2, 3, 4, 6, 8, 12, 16, 32, 64])
COLUMNS = ROWS
CHANNELS = np.array([1, 2, 3, 4, 6, 8, 16, 32, 64])


@dataclass(frozen=True, slots=True)
class Blocks:
    """How the output of each op is cut, ``[n_ops]`` or ``[n_ops, 3]``.

    Attributes:
        output: Height, width and channels of a block.
        input: Of the input it needs.
        micro: Of what is computed at once.
        kernel_first: Goes through the window first.
        places: Blocks over height and width.
        count: Blocks, the last ones counted by how full they are where a chip skips the rest.
    """

    output: IntArray
    input: IntArray
    micro: IntArray
    kernel_first: BoolArray
    places: FloatArray
    count: FloatArray


def _blocks(part: OpColumns, chip: Chip) -> Blocks:
    """The block of least traffic of those that fit, as Vela looks for it."""
    kind, after, before = part.kind, part.output_hwc, part.input_hwc
    dense, depthwise = mask_of(DENSE | PRODUCTS)[kind], mask_of(DEPTHWISE | POOLS)[kind]
    first = _kernel_first(part, chip) & (kind == KINDS.index(OpKind.CONV_2D))
    micro = np.where(
        dense[:, None],
        _least_waste(after, chip.microblocks),
        _least_waste(after, chip.depthwise_microblocks),
    )
    turn = np.where(first, chip.kernel_channels, chip.depth_channels)
    grid = np.stack(np.meshgrid(ROWS, COLUMNS, CHANNELS, indexing="ij"), axis=-1).reshape(-1, 3)
    step = np.stack([micro[:, 0], micro[:, 1], np.maximum(micro[:, 2], WORD)], axis=1)
    step[:, 2] = np.where(after[:, 2] <= micro[:, 2], micro[:, 2], step[:, 2])
    limits = np.array([chip.block_rows, chip.block_columns, chip.block_channels])
    most = np.minimum(_up(after, step), limits)
    tried = np.minimum(grid[None] * step[:, None], most[:, None])  # [n_ops, n_tried, 3]
    window = np.minimum(part.kernel_size, WINDOW_LIMIT)[:, None]
    seen = (tried[..., :2] - 1) * part.strides[:, None] + window
    held = np.where(dense[:, None], np.minimum(turn, before[:, 2])[:, None], tried[..., 2])
    inputs = seen.prod(axis=-1) * _up(held, 8)
    outputs = tried.prod(axis=-1)
    results = np.where((dense | depthwise)[:, None], 8 * outputs, 0)
    fits = (
        (2 * inputs <= chip.input_bytes)
        & (results <= chip.accumulator_bytes)
        & (2 * inputs + results <= chip.element_bytes)
    )
    counts = -(-after[:, None] // tried)
    places = counts[..., :2].prod(axis=-1)
    weights = part.kernel_size.prod(axis=1)[:, None] * places
    weights = weights * np.where(dense, before[:, 2] * after[:, 2], before[:, 2])[:, None]
    fetched = seen.prod(axis=-1) * places * before[:, 2][:, None]
    fetched = fetched * np.where(dense[:, None], counts[..., 2], 1)
    has_weights = mask_of(WEIGHTED_KINDS)[kind][:, None]
    cost = (fetched + np.where(has_weights, weights, 0)).astype(np.float64)
    whole = before.prod(axis=1)[:, None] < 2 * seen.prod(axis=-1) * held
    cost = np.where(whole, cost / 2, cost)
    elementwise = ~(dense | depthwise)
    cost = np.where(elementwise[:, None], counts.prod(axis=-1), cost)
    cost = np.where(fits, cost, np.inf)
    best = cost.argmin(axis=1)
    rows = np.arange(len(kind))
    block = tried[rows, best]
    ratio = np.maximum(after / block, 1.0) if chip.chains else -(-after // block)
    needs = np.concatenate([seen[rows, best], held[rows, best][:, None]], axis=1)
    return Blocks(
        output=np.minimum(block, after),
        input=np.minimum(needs, before),
        micro=micro,
        kernel_first=first,
        places=places[rows, best].astype(np.float64),
        count=np.asarray(ratio.prod(axis=1), np.float64),
    )


def _least_waste(after: IntArray, choices: tuple[tuple[float, ...], ...]) -> IntArray:
    """The microblock that pads the output least, ``[n_ops, 3]``."""
    table = np.array(choices, np.int64)
    padded = _up(after[:, None], table[None]).prod(axis=-1)
    result: IntArray = table[padded.argmin(axis=1)]
    return result


def _kernel_first(part: OpColumns, chip: Chip) -> BoolArray:
    """Whether going through the window first leaves fewer multipliers idle."""
    channels, taps = part.input_hwc[:, 2], part.kernel_size.prod(axis=1)
    depth = channels / _up(channels, chip.depth_channels)
    if chip.chains:
        left = taps % chip.kernel_taps
        padded = taps - left + np.where(left > 0, np.maximum(left, 2), 0)
        kernel = channels / _up(channels, WORD) * taps / padded
        result: BoolArray = kernel >= depth
    else:
        kernel = channels / _up(channels, 8) * taps / _up(taps, 4)
        result = (kernel >= depth) | (channels <= 8)
    return result


def _weights(part: OpColumns, chip: Chip, first: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Encoded bytes of weights and of scales."""
    kind, taps = part.kind, part.kernel_size.prod(axis=1)
    before, after = part.input_hwc[:, 2], part.output_hwc[:, 2]
    weighted = mask_of(WEIGHTED_KINDS | REDUCTIONS)[kind]
    dense = mask_of(DENSE)[kind]
    real = taps * np.where(dense, before, 1) * after
    channels = np.where(first, _up(before, 8), _up(before, chip.depth_channels))
    padded_taps = np.where(first | ~dense, _up(taps, 4), taps)
    if chip.chains:
        channels = np.where(first, _up(before, WORD), channels)
        left = taps % chip.kernel_taps
        short = taps - left + np.where(left > 0, _up(left, 2), 0)
        padded_taps = np.where(first, np.where(left == 4, taps + 1, short), padded_taps)
    lanes = _up(after, 8 if not chip.chains else WORD)
    padded = padded_taps * np.where(dense, channels, 1) * lanes
    encoded = real + chip.padding_weight_bytes * (padded - real)
    reduced = mask_of(REDUCTIONS)[kind]
    encoded = np.where(reduced, np.minimum(encoded, 2.0 * after), encoded)
    weights = np.where(weighted, encoded, 0.0)
    scales = np.where(weighted, float(chip.scale_bytes) * after, 0.0)
    return weights, scales


# --- stages -------------------------------------------------------------------------------------


def _stages(
    part: OpColumns, device: Device, blocks: Blocks
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Cycles, and bytes of maps read and written."""
    chip, kind = device.chip, part.kind
    before, after = part.input_hwc, part.output_hwc
    multiplying = _multiplying(part, chip, blocks)
    each = _output_cycles(part, chip)
    block = blocks.output.prod(axis=1).astype(np.float64)
    output = each * block
    weighted = mask_of(WEIGHTED_KINDS | REDUCTIONS)[kind]
    latency = outer_latency(device)
    bias = 10.0 * blocks.output[:, 2] * latency / 256
    output = np.where(weighted, np.maximum(output, bias), output)
    sram = device.chip.port_bytes * device.system.sram_ports * device.system.sram_scale
    latency_in = 2 * device.system.sram_latency
    moved = (blocks.input.prod(axis=1) + block) / sram + latency_in
    command = (moved + output + multiplying) / 4
    slow = np.maximum(np.maximum(multiplying, output), command)
    quick = np.maximum(np.minimum(multiplying, output), command)
    # Nothing works before the first block of the input is there.
    cycles = slow * blocks.count + quick + blocks.input.prod(axis=1) / chip.port_bytes + latency_in
    two = mask_of(BINARY)[kind]
    elementwise = ~mask_of(DENSE | PRODUCTS | DEPTHWISE | POOLS)[kind]
    word = np.where(mask_of(RESIZES)[kind], 8, WORD)
    elements = after[:, 0] * after[:, 1] * _up(after[:, 2], word)
    per_block = np.maximum(blocks.output.prod(axis=1), 1.0)
    command = (moved / per_block + each) / 4
    cycles = np.where(elementwise, np.maximum(each, command) * elements, cycles)
    cycles = np.where(kind == KINDS.index(OpKind.ARG_MAX), _argmax_cycles(part, chip), cycles)
    free = mask_of(VIEWS | PLACED | frozenset({OpKind.CAST}))[kind]
    chained = two & bool(chip.chains)
    cycles = np.where(free | chained, 0.0, cycles)
    fetched = blocks.input[:, 0] * blocks.input[:, 1] * _up(before[:, 2], WORD) * blocks.places
    dense = mask_of(DENSE | PRODUCTS)[kind]
    fetched = fetched * np.where(dense, np.ceil(after[:, 2] / blocks.output[:, 2]), 1.0)
    read = np.where(elementwise, np.where(two, 2.0, 1.0) * elements, fetched)
    read = np.where(chained, elements, read)
    placed = mask_of(VIEWS | PLACED)[kind]
    written = np.where(placed | chained, 0.0, elements)
    return cycles, np.where(placed, 0.0, read), written


def _argmax_cycles(part: OpColumns, chip: Chip) -> FloatArray:
    """Poolings of one channel whose window is the classes of a place.

    An Ethos-U85 has an op for it. Others pack class and score into 16 bits, which take the
    pooling twice as long, and unpack them: three more passes over places and classes.
    """
    rows = part.input_hwc[:, 0] * part.input_hwc[:, 1]
    classes = part.input_hwc[:, 2]
    pooled = -(-rows // int(chip.depthwise_microblocks[0][0])) * np.maximum(classes, 4) * 4
    passes = rows * (classes * chip.plain_cycles + 2 * chip.table_cycles + chip.add_cycles)
    result: FloatArray = np.asarray(pooled if chip.chains else 2 * pooled + passes, np.float64)
    return result


def outer_latency(device: Device) -> float:
    """Cycles until the first weight comes."""
    outer = device.memory.weights == "outer"
    return float(device.system.outer_latency if outer else device.system.sram_latency)


def _multiplying(part: OpColumns, chip: Chip, blocks: Blocks) -> FloatArray:
    """Cycles of the multiplying stage for a block."""
    kind, depth = part.kind, part.input_hwc[:, 2]
    micro = -(-blocks.output // blocks.micro)
    places, lanes = micro[:, 0] * micro[:, 1], micro[:, 2]
    loading = 4 * blocks.micro[:, 2]  # of the weights of a turn
    taps = part.kernel_size.prod(axis=1)
    steps = -(-taps // 4)
    whole = np.maximum(loading, chip.depth_cycles * places) * taps
    whole = whole * lanes * -(-depth // chip.depth_channels)
    windows = np.maximum(loading, 4 * places) * steps * lanes
    turns = -(-depth // chip.kernel_channels)
    eighths = -(-np.minimum(depth, chip.kernel_channels) // 8)
    if chip.chains:
        eighths = np.full_like(eighths, chip.kernel_channels // 8)
    first = windows * eighths * turns
    pooling = np.maximum(taps, 4) * places * lanes * 4
    cycles = np.where(blocks.kernel_first, first, whole)
    cycles = np.where(mask_of(DEPTHWISE)[kind], windows, cycles)
    cycles = np.where(mask_of(POOLS)[kind], pooling, cycles)
    has = mask_of(DENSE | PRODUCTS | DEPTHWISE | POOLS)[kind]
    result: FloatArray = np.where(has, cycles, 0).astype(np.float64)
    return result


def _output_cycles(part: OpColumns, chip: Chip) -> FloatArray:
    """Of the output stage for one element."""
    table = np.full(len(KINDS), chip.maximum_cycles)
    for kinds, cycles in (
        (frozenset({OpKind.ADD, OpKind.SUB, OpKind.SQUARED_DIFFERENCE}), chip.add_cycles),
        (frozenset({OpKind.MUL, OpKind.DIV}), chip.multiply_cycles),
        (TABLES, max(chip.table_cycles, _identity_cycles(chip))),
        (frozenset({OpKind.SOFTMAX}), WIDE_STEPS * chip.wide_cycles),
        (RESIZES, chip.maximum_cycles if chip.chains else 2 * chip.plain_cycles),
    ):
        table[mask_of(kinds)] = cycles
    alone = table[part.kind]
    staged = mask_of(DENSE | PRODUCTS | DEPTHWISE | POOLS)[part.kind]
    plain = np.where(
        (part.activation > 0) | mask_of(ALONE)[part.kind], chip.fused_cycles, chip.plain_cycles
    )
    result: FloatArray = np.where(staged, plain, alone)
    return result


def _up(values: IntArray, step: IntArray | int) -> IntArray:
    """Rounded up to multiples."""
    result: IntArray = (-(-values // step) * step).astype(np.int64)
    return result
