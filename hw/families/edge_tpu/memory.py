"""Bytes of parameters, in the compiled file and on the chip, and ops that cost nothing there."""

from __future__ import annotations

import numpy as np

from hw.columns import KINDS, FloatArray, mask_of
from spaces.graph import (
    WEIGHTED_KINDS,
    BoolArray,
    IntArray,
    OpBatch,
    OpColumns,
    OpKind,
    Trait,
    kinds_with,
)

INPUT_LANES = 4
OUTPUT_LANES = 64
NARROW_OUTPUTS = 16
"""Granularity of outputs in the package where maps are large or outputs few."""
LARGE_MAP = 64
"""Side of the maps from which the package holds narrow outputs narrowly: DeepLab's of 33 rows are
held wide (google-coral/test_data), stacks over 128 rows are streamed narrow
(iwatake2222/EdgeTPU_Analysis); where between them is not known."""
SMALL_MAP_OVERHEAD = 1.05
"""Of convolutions over small maps: computed from compiled MobileNets of google-coral/test_data."""
CONSTANT_BYTES = 64  # constant operands are padded to it
CHANNEL_BYTES = 8  # int32 bias and multiplier of an output channel

VIEWS = kinds_with(Trait.VIEW) | kinds_with(Trait.FOLDED)
"""Ops that the compiler folds into their neighbours. A ReLU of its own takes 0.4 us in the
NAS-Bench-201 networks of HW-NAS-Bench, where an addition takes 8."""

LOOKUPS = kinds_with(Trait.LOOKUP)
"""Ops that read rows of a table by their numbers."""

MATRICES = kinds_with(Trait.PRODUCT, Trait.OPERAND) | kinds_with(Trait.RECURRENT)
"""Ops whose constants are multiplied with: they lie where weights do, as they are."""

WINDOWED = kinds_with(Trait.WINDOWED) - {OpKind.TRANSPOSE_CONV}
"""Ops that take a PAD before them as their own padding."""


def package_bytes(ops: OpColumns) -> IntArray:
    """Parameter bytes of each op in the compiled file, ``[n_ops]``, ops without groups.

    Inputs of an output are padded to 4 a tap of the window, outputs to 64, or to 16 where the map
    has 64 rows or more or there are at most 16 of them; 8 bytes an output channel come with
    them. What an inference streams is this, too.

    Source: cached and streamed bytes of packages in google-coral/test_data and libredgetpu: dense
    layers to the byte, MobileNets within 1 %, DeepLab 1 %; off-chip bytes in the logs of
    iwatake2222/EdgeTPU_Analysis, which are half of what the same layers take on chip.
    """
    outputs, side = ops.output_hwc[:, 2], ops.output_hwc[:, :2].max(axis=1)
    narrow = (side >= LARGE_MAP) | (outputs <= NARROW_OUTPUTS)
    lanes = _up(outputs, NARROW_OUTPUTS)
    wide = np.where(side > 1, SMALL_MAP_OVERHEAD, 1.0) * _up(outputs, OUTPUT_LANES)
    depthwise = ops.kind == KINDS.index(OpKind.DEPTHWISE_CONV_2D)
    columns = np.where(depthwise, _up(outputs, OUTPUT_LANES), np.where(narrow, lanes, wide))
    held = _inputs(ops) * columns + CHANNEL_BYTES * lanes
    return _of_weighted(ops, held) + _resident_bytes(ops)


def chip_bytes(ops: OpColumns) -> IntArray:
    """Parameter bytes of each op in wide memory, ``[n_ops]``, ops without groups.

    All 64 output lanes of a tile are filled, whatever the package holds; but a dense op of at most
    16 outputs takes 16 of them.

    Source: on-chip bytes in the compiler logs of Jorgitou98/EdgeTPU-QuantRL-Evaluation and
    iwatake2222/EdgeTPU_Analysis; exact for 3x3 stacks of 32 to 392 channels. Two dense ops of one
    output stay on chip with 4,096 inputs, and are streamed with 16,384:
    ricardodeazambuja/libredgetpu.

    >>> from spaces.graph import INPUT, Op, op_row
    >>> shapes = ((1, 64, 64, 42),) * 2
    >>> conv = OpColumns.of([op_row(Op("c", OpKind.CONV_2D, (INPUT,), *shapes, (3, 3)))])
    >>> int(chip_bytes(conv)[0]) == (9 * 44 + 8) * 64
    True
    """
    outputs = ops.output_hwc[:, 2]
    dense = ops.kind == KINDS.index(OpKind.FULLY_CONNECTED)
    narrow = dense & (outputs <= NARROW_OUTPUTS)
    lanes = np.where(narrow, _up(outputs, NARROW_OUTPUTS), _up(outputs, OUTPUT_LANES))
    return _of_weighted(ops, (_inputs(ops) + CHANNEL_BYTES) * lanes) + _resident_bytes(ops)


def table_bytes(ops: OpColumns) -> IntArray:
    """Bytes of the tables that ops read rows of, ``[n_ops]``.

    They are parameters of the network, but of no use to the lanes: they stay in the memory of the
    host, and the rows that are read go to the chip.
    """
    result: IntArray = np.where(mask_of(LOOKUPS)[ops.kind], ops.constant, 0)
    return result


def constant_bytes(ops: OpColumns) -> IntArray:
    """Bytes of constant operands that are maps, ``[n_ops]``.

    They are parameters that work as activations, and come at every inference. Those of channels
    stay on the chip beside weights; a single number is none.

    Source: MoveNet's package (google-coral/test_data) streams 2,368 B, though its 2.7 MiB of
    weights leave room: a map of 48x48x1 that is multiplied with, and 64 B more.

    >>> from spaces.graph import INPUT, Op, op_row
    >>> shapes = ((1, 48, 48, 1),) * 2
    >>> maps = Op("m", OpKind.MUL, (INPUT,), *shapes, constant=(48, 48, 1))
    >>> constant_bytes(OpColumns.of([op_row(maps)])).tolist()
    [2304]
    """
    maps = _is_operand(ops) & (ops.constant > ops.output_hwc[:, 2])
    result: IntArray = np.where(maps, _up(ops.constant, CONSTANT_BYTES), 0)
    return result


def _is_operand(ops: OpColumns) -> BoolArray:
    """Ops with a constant that is neither a table nor multiplied with as a matrix."""
    result: BoolArray = (ops.constant > 1) & ~mask_of(LOOKUPS | MATRICES)[ops.kind]
    return result


def _resident_bytes(ops: OpColumns) -> IntArray:
    """Constants of ops without weights that lie where weights do."""
    channels = _is_operand(ops) & (ops.constant <= ops.output_hwc[:, 2])
    held = np.where(channels, _up(ops.constant, CONSTANT_BYTES), 0)
    result: IntArray = np.where(mask_of(MATRICES)[ops.kind], ops.constant, held)
    return result


def chip_words(inputs: IntArray, outputs: IntArray) -> IntArray:
    """Bytes of matrices as they lie in wide memory, inputs padded to 4 and outputs to 64."""
    return _up(inputs, INPUT_LANES) * _up(outputs, OUTPUT_LANES)


def occupied_tiles(ops: OpColumns, tiles: int) -> IntArray:
    """Tiles whose wide memory holds the weights of each op, ``[n_ops]``.

    A dense op has no map to share out, and each block of 64 outputs lies in a tile of its own:
    stacks of dense layers 100, 150 and 200 wide can cache 2, 3 and 4 times 508 KiB
    (iwatake2222/EdgeTPU_Analysis).
    """
    flat = ops.kind == KINDS.index(OpKind.FULLY_CONNECTED)
    blocks = -(-ops.output_hwc[:, 2] // OUTPUT_LANES)
    result: IntArray = np.where(flat, np.clip(blocks, 1, tiles), tiles)
    return result


def _inputs(ops: OpColumns) -> IntArray:
    """Weights of an output channel, padded: a tap holds 4 inputs at a time."""
    height, width = ops.kernel_size[:, 0], ops.kernel_size[:, 1]
    channels = ops.input_hwc[:, 2]
    # Fewer than 4 channels: the taps of a row lie side by side.
    padded = np.where(
        channels < INPUT_LANES,
        height * _up(width * channels, INPUT_LANES),
        height * width * _up(channels, INPUT_LANES),
    )
    depthwise = ops.kind == KINDS.index(OpKind.DEPTHWISE_CONV_2D)
    result: IntArray = np.where(depthwise, height * width, padded)
    return result


def _of_weighted(ops: OpColumns, held: FloatArray | IntArray) -> IntArray:
    result: IntArray = np.where(mask_of(WEIGHTED_KINDS)[ops.kind], held, 0).astype(np.int64)
    return result


def _up(numbers: IntArray, multiple: int) -> IntArray:
    result: IntArray = -(-numbers // multiple) * multiple
    return result


def free_slots(batch: OpBatch) -> BoolArray:
    """Slots that cost nothing: views, and PADs that the next op takes as its own padding."""
    kind = batch.distinct.kind
    views, pads = mask_of(VIEWS)[kind], kind == KINDS.index(OpKind.PAD)
    if not (views | pads).any():
        return np.zeros_like(batch.live)
    windowed = mask_of(WINDOWED)[kind][batch.index] & batch.live
    taken_in = np.zeros_like(batch.live)
    taken_in[:, :-1] = windowed[:, 1:]
    free: BoolArray = batch.live & (views[batch.index] | (pads[batch.index] & taken_in))
    return free
