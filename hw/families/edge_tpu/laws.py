"""What each op asks of the chip: the laws that published measurements obey, op by op.

All laws are functions of one op alone, so they are evaluated on the distinct ops of a batch.

========== =====================================================================================
compute    the lane law: ceil(H / rows) * ceil(W / columns) * ceil(C_out / lanes) *
           k_h * k_w * ceil(C_in / input lanes) cycles; depthwise and pooling replace the last
           factor by lanes / input lanes: no two lanes share an input, so that they take turns;
           rows of a dense op and of a product of two activations share all tiles; bilinear
           interpolation is a pooling of four taps; element-wise steps come on top
movement   input and output in words of all lanes: narrow maps move as much as wide ones; byte by
           byte once more where they exceed narrow memory
start      of an op, by its kind, and of the exchange of borders between tiles, by its window
load       weights from wide memory to the lanes
parameters as a package holds them, and as they lie on the chip
========== =====================================================================================

Source: fitted to the stacks of iwatake2222/EdgeTPU_Analysis and
Jorgitou98/EdgeTPU-QuantRL-Evaluation, whole models of coral.ai, google-coral/pycoral and others;
``python -m benchmarks.fit_profiles`` does it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hw.columns import BINARY, JOINING, KINDS, SPLITTING, FloatArray, mask_of, op_macs
from hw.cost_model import CostModelError
from hw.families.edge_tpu.memory import (
    LOOKUPS,
    VIEWS,
    chip_bytes,
    chip_words,
    constant_bytes,
    occupied_tiles,
    package_bytes,
    table_bytes,
)
from hw.families.edge_tpu.profile import Chip
from spaces.graph import IntArray, OpColumns, OpKind, Trait, kinds_with

CONVOLUTIONS = kinds_with(Trait.CONVOLUTION)
WEIGHTED = kinds_with(Trait.WEIGHTED)
RECURRENT = kinds_with(Trait.RECURRENT)
PRODUCTS = LOOKUPS | kinds_with(Trait.PRODUCT)
"""Products of matrices: their rows have no neighbours, so any tile may take any of them.

That a lookup is one, of the table with rows that are 1 at the token and 0 elsewhere, is assumed:
as a copy of rows it would take nothing, and all MobileBERTs come out too fast by some 1.4 ms."""
POOLS = kinds_with(Trait.POOLING)
POOLED = POOLS | {OpKind.RESIZE_BILINEAR}
"""What takes means of places, each channel by itself."""
ELEMENTWISE = BINARY | kinds_with(Trait.UNARY)
MOVING = JOINING | SPLITTING | kinds_with(Trait.MOVING)
"""What starts as an op that only moves data."""
WITH_A_LAW = WEIGHTED | PRODUCTS | RECURRENT | POOLS | ELEMENTWISE | MOVING | VIEWS
"""Kinds of which it is known what they take on the chip."""
ELEMENT_STEPS: Mapping[OpKind, int] = {
    **dict.fromkeys(ELEMENTWISE, 1),
    OpKind.ARG_MAX: 1,
    OpKind.TRANSPOSE: 1,
    OpKind.SOFTMAX: 5,
}
"""Times that an op goes through its elements one by one: a SOFTMAX seeks the largest, subtracts,
exponentiates, sums and divides."""
INTERPOLATED_TAPS = 4
"""Of a RESIZE_BILINEAR: each output is a weighted mean of four inputs."""
REGROUPING = (OpKind.SPLIT, OpKind.CONCATENATION)
BORDER_ROWS = 6
"""Rows of a window beyond the first that cost more; a global pool exchanges no borders."""
SMALL_WINDOW = (2, 5)
"""Sides of the windows that run slower than the lane law; 1x1 and 7x7 run at it."""

USABLE = 193_632 / 196_608
"""Share of narrow memory that operands fill at most: of a tile's bytes in the packages of
google-coral/test_data; the 3x3 stack of Jorgitou98 slows down between 0.969 and 0.990."""
LARGE_WINDOW = 7
"""Side from which on, at stride 1, a window takes wide memory."""


@dataclass(frozen=True, slots=True)
class OpLaws:
    """Columns ``[n_distinct]`` of what an op takes when it is mapped.

    Attributes:
        start_ms: Of the op and of what it is split into.
        compute_ms: On full lanes or partly filled ones.
        movement_ms: Of activations.
        load_ms: Of its weights, when they are resident.
        package_bytes: Parameters in the compiled file; what is sent when they are streamed.
        table_bytes: Parameters of which only some rows are sent.
        constant_bytes: Constant operands that are maps, sent at every inference.
        chip_bytes: Parameters as they lie in wide memory.
        tiles: Tiles that hold them.
        parts: Convolutions that it is split into; 1: it is not.
        part_ms: Compute and movement of a part; behind them its weights are fetched.
        calls: Ops that the chip runs for it.
        passes: Times that its weights are needed while it works through its map.
        reserve: Wide memory that its window takes, once for a network.
        macs: Multiply-accumulates.
    """

    start_ms: FloatArray
    compute_ms: FloatArray
    movement_ms: FloatArray
    load_ms: FloatArray
    package_bytes: IntArray
    table_bytes: IntArray
    constant_bytes: IntArray
    chip_bytes: IntArray
    tiles: IntArray
    parts: IntArray
    part_ms: FloatArray
    calls: IntArray
    passes: IntArray
    reserve: IntArray
    macs: FloatArray

    @property
    def work_ms(self) -> FloatArray:
        """What an op takes beside the fetching of weights."""
        return self.start_ms + self.compute_ms + self.movement_ms


def op_laws(ops: OpColumns, chip: Chip, splits: bool) -> OpLaws:
    """The laws for each of ``ops``.

    With ``splits`` a grouped convolution runs as SPLIT, one convolution a group, CONCATENATION;
    otherwise as one op whose groups take turns.
    """
    groups = np.maximum(ops.groups, 1)
    parts = groups if splits else np.ones_like(groups)
    one, turns = per_part(ops, groups), groups // parts
    part = per_part(ops, parts)
    compute_ms = _cycles(one, chip) * turns / (chip.clock_mhz * 1e3)
    movement_ms = _movement_ms(part, chip)
    regroup_ms = np.where(parts > 1, _regroup_ms(ops, part, chip), 0.0)
    on_chip = chip_bytes(one) * groups
    weights = package_bytes(one) * groups
    regroup_us = np.where(parts > 1, 2 * chip.movement_us, 0.0)
    return OpLaws(
        start_ms=(_start_us(ops, chip) * parts + regroup_us) / 1e3,
        compute_ms=compute_ms * parts,
        movement_ms=movement_ms * parts + regroup_ms,
        load_ms=on_chip / (chip.weight_gb_per_s * 1e6),
        package_bytes=weights,
        table_bytes=table_bytes(ops),
        constant_bytes=constant_bytes(ops),
        chip_bytes=on_chip,
        tiles=occupied_tiles(one, chip.tile_rows * chip.tile_columns),
        parts=parts,
        part_ms=compute_ms + movement_ms,
        calls=np.where(parts > 1, parts + 2, 1),
        passes=_passes(part, chip),
        reserve=_reserved_bytes(ops, chip),
        macs=op_macs(ops),
    )


def check_laws(kinds: frozenset[OpKind], compiler: str) -> None:
    """Check that each kind of op that a compiler maps has a law.

    Raises:
        CostModelError: One has none, so that it would cost next to nothing.
    """
    if unknown := sorted(kinds - WITH_A_LAW):
        raise CostModelError(
            f"{compiler}: each kind of op that is mapped must have a law in "
            f"hw/families/edge_tpu/laws.py, but got {', '.join(unknown)}. Write one, or "
            "leave it to the host."
        )


def per_part(ops: OpColumns, parts: IntArray) -> OpColumns:
    """Each op replaced by one of its ``parts``, channels and groups divided."""
    before, after = ops.input_hwc.copy(), ops.output_hwc.copy()
    before[:, 2] //= parts
    after[:, 2] //= parts
    groups = np.maximum(ops.groups // parts, 1)
    return dataclasses.replace(ops, input_hwc=before, output_hwc=after, groups=groups)


def _cycles(ops: OpColumns, chip: Chip) -> FloatArray:
    """The lane law of ops without groups."""
    kind, before, after = ops.kind, ops.input_hwc, ops.output_hwc
    transposed = (kind == KINDS.index(OpKind.TRANSPOSE_CONV))[:, None]
    maps = np.where(transposed, before[:, :2], after[:, :2])
    positions = _positions(kind, maps, chip)
    passes = -(-after[:, 2] // chip.output_lanes)
    window = ops.kernel_size.prod(axis=1)
    steps = window * -(-_summed(ops) // chip.input_lanes)
    side = ops.kernel_size.max(axis=1)
    small = (side >= SMALL_WINDOW[0]) & (side <= SMALL_WINDOW[1])
    full = np.where(small, chip.small_window_factor * steps, steps)
    depthwise = kind == KINDS.index(OpKind.DEPTHWISE_CONV_2D)
    window = np.where(kind == KINDS.index(OpKind.RESIZE_BILINEAR), INTERPOLATED_TAPS, window)
    multiplied, pooled = mask_of(WEIGHTED | PRODUCTS)[kind], mask_of(POOLED)[kind]
    turns = window * (chip.output_lanes / chip.input_lanes)
    each = np.where(pooled, chip.pool_factor * turns, 0.0)
    each = np.where(multiplied, full, each)
    each = np.where(depthwise, chip.depthwise_factor * turns, each)
    result: FloatArray = positions * passes * each + _element_cycles(ops, chip)
    return result + _recurrent_cycles(ops, chip)


def _recurrent_cycles(ops: OpColumns, chip: Chip) -> FloatArray:
    """Of the products with the matrices of a recurrent op, one row in one tile after the other."""
    lanes = chip.output_lanes * chip.input_lanes
    cycles = ops.input_hwc[:, 1] * -(-ops.constant // lanes)
    result: FloatArray = np.where(mask_of(RECURRENT)[ops.kind], cycles, 0.0)
    return result


def _positions(kind: IntArray, maps: IntArray, chip: Chip) -> IntArray:
    """Places of a map that the fullest tile works on."""
    rows, columns = -(-maps[:, 0] // chip.tile_rows), -(-maps[:, 1] // chip.tile_columns)
    tiles = chip.tile_rows * chip.tile_columns
    batched = kind == KINDS.index(OpKind.BATCH_MATMUL)
    one, all_of_them = -(-maps[:, 1] // tiles), -(-maps.prod(axis=1) // tiles)
    # Products of a BATCH_MATMUL follow each other: each has a second matrix of its own.
    shared = np.where(batched, maps[:, 0] * one, all_of_them)
    result: IntArray = np.where(mask_of(PRODUCTS)[kind], shared, rows * columns)
    return result


def _summed(ops: OpColumns) -> IntArray:
    """Numbers that are multiplied and added for each tap of an output: of a table, its rows."""
    rows = ops.constant // np.maximum(ops.output_hwc[:, 2], 1)
    result: IntArray = np.where(mask_of(LOOKUPS)[ops.kind], rows, ops.input_hwc[:, 2])
    return result


def _element_cycles(ops: OpColumns, chip: Chip) -> FloatArray:
    """Of what takes one element after the other, a part of them in each tile."""
    steps = np.array([ELEMENT_STEPS.get(kind, 0) for kind in KINDS])[ops.kind]
    most = np.maximum(ops.input_hwc.prod(axis=1), ops.output_hwc.prod(axis=1))
    result: FloatArray = steps * -(-most // (chip.tile_rows * chip.tile_columns))
    return result * chip.element_cycles


def _operands(ops: OpColumns) -> IntArray:
    """Tensors that a binary op reads; a learned one lies elsewhere."""
    result: IntArray = np.where(ops.constant > 0, 1, 2)
    return result


def _movement_ms(ops: OpColumns, chip: Chip) -> FloatArray:
    """Of operands, and once more of those that exceed narrow memory."""
    operands = _operand_bytes(ops)
    overflowing = np.where(operands > USABLE * chip.narrow_memory_bytes, operands, 0)
    moved = _moved_bytes(ops, chip) / (chip.activation_gb_per_s * 1e6)
    moved += _second_operand_bytes(ops) / (chip.weight_gb_per_s * 1e6)
    result: FloatArray = moved + overflowing / (chip.overflow_gb_per_s * 1e6)
    return result


def _second_operand_bytes(ops: OpColumns) -> IntArray:
    """Of a product of two activations: it goes where weights lie, and from there to the lanes."""
    product = ops.kind == KINDS.index(OpKind.BATCH_MATMUL)
    matrices = ops.output_hwc[:, 0] * chip_words(ops.input_hwc[:, 2], ops.output_hwc[:, 2])
    result: IntArray = np.where(product, 2 * matrices, 0)
    return result


def _regroup_ms(ops: OpColumns, part: OpColumns, chip: Chip) -> FloatArray:
    """Movement of the SPLIT before the parts of each op and of the CONCATENATION behind them."""
    kinds = (np.full_like(ops.kind, KINDS.index(kind)) for kind in REGROUPING)
    split, joined = (dataclasses.replace(ops, kind=kind) for kind in kinds)
    split = dataclasses.replace(split, output_hwc=part.input_hwc)
    joined = dataclasses.replace(joined, input_hwc=part.output_hwc)
    return _movement_ms(split, chip) + _movement_ms(joined, chip)


def _moved_bytes(ops: OpColumns, chip: Chip) -> IntArray:
    """Input and output of each op in words of all lanes."""
    kind = ops.kind
    before, after = ops.input_hwc.copy(), ops.output_hwc.copy()
    # Padding that a strided window reads as part of its input costs nothing.
    reach = np.minimum(before[:, :2], after[:, :2] * ops.strides)
    windowed = mask_of(CONVOLUTIONS - {OpKind.TRANSPOSE_CONV})[kind]
    before[:, :2] = np.where(windowed[:, None], reach, before[:, :2])
    read, written = _padded(before, chip), _padded(after, chip)
    read = np.where(mask_of(BINARY)[kind], _operands(ops) * written, read)
    read = np.where(mask_of(JOINING)[kind], written, read)
    written = np.where(mask_of(SPLITTING)[kind], read, written)
    result: IntArray = read + written
    return result


def _padded(hwc: IntArray, chip: Chip) -> IntArray:
    lanes = -(-hwc[:, 2] // chip.output_lanes) * chip.output_lanes
    result: IntArray = hwc[:, 0] * hwc[:, 1] * lanes
    return result


def _operand_bytes(ops: OpColumns) -> IntArray:
    """Input and output, channels padded to 4."""
    before, after = ops.input_hwc, ops.output_hwc
    read = before[:, 0] * before[:, 1] * (-(-before[:, 2] // 4) * 4)
    written = after[:, 0] * after[:, 1] * (-(-after[:, 2] // 4) * 4)
    result: IntArray = read + written
    return result


def _reserved_bytes(ops: OpColumns, chip: Chip) -> IntArray:
    """Wide memory that weights cannot have beside a large window."""
    large = ops.kernel_size.min(axis=1) >= LARGE_WINDOW
    slow = (ops.strides.max(axis=1) == 1) & mask_of(frozenset({OpKind.CONV_2D}))[ops.kind]
    result: IntArray = np.where(large & slow, chip.large_window_bytes, 0)
    return result


def _passes(ops: OpColumns, chip: Chip) -> IntArray:
    """Times that an op fetches its weights: 1, 3, 5 ... with the size of its maps.

    Source: regimes of 3 and 5 passes over 64x64 maps in Jorgitou98/EdgeTPU-QuantRL-Evaluation.
    """
    operands = _padded(ops.input_hwc, chip) + _padded(ops.output_hwc, chip)
    result: IntArray = 2 * np.maximum(-(-operands // chip.tiled_map_bytes), 1) - 1
    return result


def _start_us(ops: OpColumns, chip: Chip) -> FloatArray:
    table = np.full(len(KINDS), chip.movement_us)
    for kinds, start in (
        (WEIGHTED | PRODUCTS, chip.convolution_us),
        (POOLS, chip.pool_us),
        (ELEMENTWISE, chip.elementwise_us),
    ):
        table[mask_of(kinds)] = start
    border = np.where(mask_of(CONVOLUTIONS)[ops.kind], ops.kernel_size[:, 0] - 1, 0)
    # A recurrent op starts once for each step of its sequence.
    steps = np.where(mask_of(RECURRENT)[ops.kind], ops.input_hwc[:, 1], 1)
    rows = np.minimum(border, BORDER_ROWS)
    result: FloatArray = (table[ops.kind] + chip.window_us * rows) * steps
    return result
