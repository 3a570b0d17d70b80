"""What one op asks of the chip, by hand arithmetic on a device of round numbers.

Each expected value is derived: the arithmetic stands in the test. Cycles are of 2 ns (500 MHz).
"""

import dataclasses
import math

import numpy as np
import pytest

from hw.columns import op_macs
from hw.families.edge_tpu.laws import op_laws
from spaces.graph import (
    INPUT,
    Op,
    OpColumns,
    OpGraph,
    OpKind,
    op_row,
    split_grouped_convolutions,
)

CYCLE_MS = 1 / 500e3
MOVED_MS = 1 / 32e6  # of a byte, at 32 GB/s


def columns(*ops):
    return OpColumns.of([op_row(op) for op in ops])


@pytest.fixture
def chip(round_device):
    return round_device.chip


def op(kind, before, after, window=(1, 1), strides=(1, 1), groups=1):
    return Op("op", kind, (INPUT,), before, after, window, strides, groups)


def one(chip, *what, splits=True, **more):
    """The laws of a single op, as numbers."""
    laws = op_laws(columns(op(*what, **more)), chip, splits)
    return {field.name: getattr(laws, field.name)[0] for field in dataclasses.fields(laws)}


# --- compute -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "cycles"),
    [
        # 32 * 32 turns of tiles, 1 pass of 64 lanes, 49 taps * 8 steps of 4 inputs.
        ((OpKind.CONV_2D, (1, 128, 128, 32), (1, 128, 128, 32), (7, 7)), 32 * 32 * 49 * 8),
        # 10 x 6 maps in 3 x 2 turns, 65 outputs in 2 passes, 6 inputs in 2 steps.
        ((OpKind.CONV_2D, (1, 10, 6, 6), (1, 10, 6, 65)), 3 * 2 * 2 * 2),
        # A small window, 1.25 times: 2 * 2 turns, 9 taps * 4 steps.
        ((OpKind.CONV_2D, (1, 8, 8, 16), (1, 8, 8, 64), (3, 3)), 2 * 2 * 1.25 * 9 * 4),
        # Inputs are of the output's map: strided, 2 * 2 turns.
        ((OpKind.CONV_2D, (1, 16, 16, 4), (1, 8, 8, 64), (3, 3), (2, 2)), 2 * 2 * 1.25 * 9),
        # No map, 70 outputs in 2 passes, 100 inputs in 25 steps.
        ((OpKind.FULLY_CONNECTED, (1, 100), (1, 70)), 2 * 25),
        # Depthwise: 1.5 times 64 / 4 turns of lanes for each of 9 taps; 65 channels in 2 passes.
        ((OpKind.DEPTHWISE_CONV_2D, (1, 8, 8, 65), (1, 8, 8, 65), (3, 3)), 4 * 2 * 1.5 * 9 * 16),
        # Pooling: 2 times as many turns.
        ((OpKind.AVERAGE_POOL_2D, (1, 8, 8, 64), (1, 8, 8, 64), (3, 3)), 4 * 2 * 9 * 16),
        ((OpKind.MAX_POOL_2D, (1, 8, 8, 64), (1, 4, 4, 64), (2, 2), (2, 2)), 1 * 2 * 4 * 16),
        # A global average: one output, a window of 49.
        ((OpKind.MEAN, (1, 7, 7, 128), (1, 128), (7, 7)), 1 * 2 * 2 * 49 * 16),
        # A transpose convolution has work for each position of its input: 5 x 5 in 2 x 2 turns.
        ((OpKind.TRANSPOSE_CONV, (1, 5, 5, 8), (1, 10, 10, 16), (4, 4)), 4 * 1.25 * 16 * 2),
        # Rows of tokens have no neighbours: 50 of them in 4 turns of 16 tiles.
        ((OpKind.FULLY_CONNECTED, (1, 50, 100), (1, 50, 70)), 4 * 2 * 25),
        # 3 products, each of 50 rows by 20 columns, 33 inputs in 9 steps.
        ((OpKind.BATCH_MATMUL, (1, 3, 50, 33), (1, 3, 50, 20)), 3 * 4 * 1 * 9),
        # Interpolation: pooling of 4 taps over 16 x 16 outputs.
        ((OpKind.RESIZE_BILINEAR, (1, 8, 8, 65), (1, 16, 16, 65)), 4 * 4 * 2 * 2 * 4 * 16),
        ((OpKind.RESIZE_NEAREST_NEIGHBOR, (1, 8, 8, 65), (1, 16, 16, 65)), 0),
        # What has no weights and no window computes nothing.
        ((OpKind.ADD, (1, 8, 8, 64), (1, 8, 8, 64)), 0),
        ((OpKind.CONCATENATION, (1, 8, 8, 32), (1, 8, 8, 64)), 0),
        ((OpKind.SOFTMAX, (1, 1000), (1, 1000)), 0),
    ],
)
def test_cycles_follow_the_lane_law(chip, what, cycles):
    assert one(chip, *what)["compute_ms"] == pytest.approx(cycles * CYCLE_MS, rel=1e-12)


def test_a_lookup_is_a_product_with_the_table(chip):
    # 20 tokens in 2 turns, 40 channels in one pass, 1000 rows in 250 steps.
    table = Op("t", OpKind.GATHER, (INPUT,), (1, 20), (1, 20, 40), constant=(1000, 40))
    laws = op_laws(columns(table), chip, True)
    assert laws.compute_ms[0] == pytest.approx(2 * 1 * 250 * CYCLE_MS)
    assert (laws.table_bytes[0], laws.package_bytes[0], laws.macs[0]) == (40_000, 0, 0)


@pytest.mark.parametrize(
    ("kind", "before", "after", "elements"),
    [
        # Of a tile: a sixteenth.
        (OpKind.ADD, (1, 8, 8, 65), (1, 8, 8, 65), 4 * 65),
        (OpKind.LOGISTIC, (1, 100, 91), (1, 100, 91), 569),  # 568.75
        # The largest is sought, and subtracted; the exponents, their sum, the division.
        (OpKind.SOFTMAX, (1, 4, 32, 32), (1, 4, 32, 32), 5 * 256),
        (OpKind.ARG_MAX, (1, 16, 16, 21), (1, 16, 16), 16 * 21),
        (OpKind.TRANSPOSE, (1, 32, 4, 8), (1, 4, 32, 8), 64),
        (OpKind.CONCATENATION, (1, 8, 8, 32), (1, 8, 8, 64), 0),
    ],
)
def test_a_tile_takes_elements_one_after_the_other(chip, kind, before, after, elements):
    slow = dataclasses.replace(chip, element_cycles=2.0)
    expected = pytest.approx(2 * elements * CYCLE_MS)
    assert one(slow, kind, before, after)["compute_ms"] == expected
    assert one(chip, kind, before, after)["compute_ms"] == 0


def test_macs_of_columns_are_those_of_ops():
    made = [
        op(OpKind.BATCH_MATMUL, (1, 3, 50, 33), (1, 3, 50, 20)),
        op(OpKind.FULLY_CONNECTED, (1, 50, 100), (1, 50, 70)),
        op(OpKind.CONV_2D, (1, 8, 8, 16), (1, 8, 8, 64), (3, 3), groups=4),
        Op("t", OpKind.GATHER, (INPUT,), (1, 20), (1, 20, 40), constant=(1000, 40)),
    ]
    assert op_macs(columns(*made)).tolist() == [one.macs for one in made]


@pytest.mark.parametrize(
    ("window", "factor"),
    [
        ((1, 1), 1),
        ((2, 2), 1.25),
        ((3, 3), 1.25),
        ((5, 5), 1.25),
        ((1, 3), 1.25),
        ((6, 6), 1),
        ((7, 7), 1),
        ((1, 7), 1),
    ],
)
def test_windows_of_2_to_5_taps_a_side_run_slower(chip, window, factor):
    laws = one(chip, OpKind.CONV_2D, (1, 4, 4, 4), (1, 4, 4, 64), window)
    assert laws["compute_ms"] == pytest.approx(factor * window[0] * window[1] * CYCLE_MS)


def test_a_chip_of_another_shape_has_other_turns(chip):
    other = dataclasses.replace(
        chip, clock_mhz=1000.0, tile_rows=8, tile_columns=2, output_lanes=32, input_lanes=8
    )
    full = one(other, OpKind.CONV_2D, (1, 16, 16, 12), (1, 16, 16, 65))
    assert full["compute_ms"] == pytest.approx(2 * 8 * 3 * 2 / 1e6)
    depthwise = one(other, OpKind.DEPTHWISE_CONV_2D, (1, 8, 8, 32), (1, 8, 8, 32), (3, 3))
    assert depthwise["compute_ms"] == pytest.approx(1 * 4 * 1.5 * 9 * (32 / 8) / 1e6)


# --- movement ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "words"),  # of 64 elements
    [
        # 3 channels fill a word, 65 take two.
        ((OpKind.CONV_2D, (1, 8, 8, 3), (1, 8, 8, 65)), 64 * 1 + 64 * 2),
        ((OpKind.CONV_2D, (1, 8, 8, 64), (1, 8, 8, 128)), 64 * 1 + 64 * 2),
        # A padded input of 33 x 33, of which 16 strides of 2 reach 32 x 32.
        (
            (OpKind.CONV_2D, (1, 33, 33, 8), (1, 16, 16, 8), (3, 3), (2, 2)),
            32 * 32 + 16 * 16,
        ),
        # 15 x 15 at stride 2 are 8 x 8 outputs: all of the input.
        ((OpKind.CONV_2D, (1, 15, 15, 8), (1, 8, 8, 8), (3, 3), (2, 2)), 15 * 15 + 8 * 8),
        ((OpKind.TRANSPOSE_CONV, (1, 5, 5, 8), (1, 10, 10, 8), (4, 4), (2, 2)), 25 + 100),
        # Two inputs and an output.
        ((OpKind.ADD, (1, 8, 8, 16), (1, 8, 8, 16)), 3 * 64),
        ((OpKind.MUL, (1, 1, 1, 16), (1, 8, 8, 16)), 3 * 64),
        # An op on one tensor.
        ((OpKind.LOGISTIC, (1, 8, 8, 16), (1, 8, 8, 16)), 2 * 64),
        # All inputs of a concatenation together are its output, all parts of a split its input.
        ((OpKind.CONCATENATION, (1, 8, 8, 16), (1, 8, 8, 128)), 2 * 64 * 2),
        ((OpKind.SPLIT, (1, 8, 8, 128), (1, 8, 8, 32)), 2 * 64 * 2),
        ((OpKind.RESIZE_BILINEAR, (1, 4, 4, 8), (1, 8, 8, 8)), 16 + 64),
        ((OpKind.FULLY_CONNECTED, (1, 100), (1, 10)), 2 + 1),
    ],
)
def test_activations_move_in_words_of_64(chip, what, words):
    expected = pytest.approx(64 * words * MOVED_MS, rel=1e-12)
    assert one(chip, *what)["movement_ms"] == expected


def test_a_learned_operand_does_not_move(chip):
    factor = Op("m", OpKind.MUL, (INPUT,), (1, 8, 8, 16), (1, 8, 8, 16), constant=(16,))
    laws = op_laws(columns(factor), chip, True)
    assert laws.movement_ms[0] == pytest.approx(64 * 2 * 64 * MOVED_MS)


def test_the_second_matrix_of_a_product_moves_as_weights_do(chip):
    # 3 matrices of 33 x 20, padded to 36 x 64, to wide memory and to the lanes, at 16 GB/s.
    laws = one(chip, OpKind.BATCH_MATMUL, (1, 3, 50, 33), (1, 3, 50, 20))
    words = 64 * (150 + 150) * MOVED_MS
    assert laws["movement_ms"] == pytest.approx(words + 2 * 3 * 36 * 64 / 16e6)
    assert laws["macs"] == 3 * 50 * 33 * 20
    assert laws["load_ms"] == laws["package_bytes"] == 0


def test_operands_beyond_narrow_memory_move_once_more(chip):
    # Published: 193,632 of 196,608 bytes a tile hold operands (packages of google-coral).
    small = dataclasses.replace(chip, narrow_memory_bytes=196_608)
    before = (1, 44, 44, 50)  # 44 * 44 * 52 = 100,672 bytes, channels padded to 4
    fits = one(small, OpKind.CONV_2D, before, (1, 44, 44, 48))  # and 92,928: 193,600
    over = one(small, OpKind.CONV_2D, before, (1, 44, 44, 49))  # and 100,672: 201,344
    words = 2 * 44 * 44 * 64 * MOVED_MS
    assert fits["movement_ms"] == pytest.approx(words)
    assert over["movement_ms"] == pytest.approx(words + 201_344 / 8e6)
    assert over["compute_ms"] == fits["compute_ms"]


# --- start, load, passes, reserve --------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "start_us"),
    [
        ((OpKind.CONV_2D, (1, 8, 8, 8), (1, 8, 8, 8)), 1),
        # Two more for each row of the window beyond the first, up to six rows.
        ((OpKind.CONV_2D, (1, 8, 8, 8), (1, 8, 8, 8), (3, 3)), 1 + 2 * 2),
        ((OpKind.CONV_2D, (1, 8, 8, 8), (1, 8, 8, 8), (3, 1)), 1 + 2 * 2),
        ((OpKind.CONV_2D, (1, 8, 8, 8), (1, 8, 8, 8), (1, 3)), 1),
        ((OpKind.CONV_2D, (1, 8, 8, 8), (1, 8, 8, 8), (7, 7)), 1 + 2 * 6),
        ((OpKind.CONV_2D, (1, 8, 8, 8), (1, 1, 1, 8), (8, 8)), 1 + 2 * 6),
        ((OpKind.DEPTHWISE_CONV_2D, (1, 8, 8, 8), (1, 8, 8, 8), (5, 5)), 1 + 2 * 4),
        ((OpKind.TRANSPOSE_CONV, (1, 4, 4, 8), (1, 8, 8, 8), (2, 2)), 1 + 2),
        ((OpKind.FULLY_CONNECTED, (1, 8), (1, 8)), 1),
        # A pool exchanges no borders.
        ((OpKind.AVERAGE_POOL_2D, (1, 8, 8, 8), (1, 8, 8, 8), (3, 3)), 5),
        ((OpKind.SUM, (1, 8, 8, 8), (1, 8)), 5),
        ((OpKind.ADD, (1, 8, 8, 8), (1, 8, 8, 8)), 3),
        ((OpKind.SOFTMAX, (1, 8), (1, 8)), 3),
        ((OpKind.CONCATENATION, (1, 8, 8, 8), (1, 8, 8, 16)), 7),
        ((OpKind.RESIZE_BILINEAR, (1, 8, 8, 8), (1, 16, 16, 8)), 7),
        # Once for each of 28 steps of a sequence.
        ((OpKind.UNIDIRECTIONAL_SEQUENCE_LSTM, (1, 28, 28), (1, 28, 20)), 28 * 7),
    ],
)
def test_an_op_starts_by_its_kind_and_window(chip, what, start_us):
    assert one(chip, *what)["start_ms"] == pytest.approx(start_us / 1e3, rel=1e-12)


def test_resident_weights_are_loaded_from_wide_memory(chip):
    laws = one(chip, OpKind.FULLY_CONNECTED, (1, 256), (1, 256))
    assert laws["load_ms"] == pytest.approx(67_584 / 16e6)  # (256 + 8) * 256 bytes at 16 GB/s


@pytest.mark.parametrize(
    ("width", "passes"),
    # Published (Jorgitou98/EdgeTPU-QuantRL-Evaluation): weights that spill in stacks over 64x64
    # maps cost 3 times their bytes at widths 452 to 632, 5 times from 642 to 702.
    [(452, 3), (512, 3), (632, 3), (642, 5), (702, 5)],
)
def test_large_maps_fetch_their_weights_several_times(chip, width, passes):
    shape = (1, 64, 64, width)
    assert one(chip, OpKind.CONV_2D, shape, shape, (3, 3))["passes"] == passes


@pytest.mark.parametrize(("sizes", "passes"), [(1, 1), (1.5, 3), (2, 3), (2.5, 5), (3, 5)])
def test_passes_are_odd_numbers_of_operands_over_the_size_of_a_tile(chip, sizes, passes):
    small = dataclasses.replace(chip, tiled_map_bytes=math.ceil(2 * 16 * 16 * 64 / sizes))
    shape = (1, 16, 16, 48)  # 16 * 16 words of 64, read and written
    assert one(small, OpKind.CONV_2D, shape, shape)["passes"] == passes


@pytest.mark.parametrize(
    ("kind", "window", "strides", "takes"),
    [
        (OpKind.CONV_2D, (7, 7), (1, 1), True),
        (OpKind.CONV_2D, (9, 7), (1, 1), True),
        (OpKind.CONV_2D, (7, 7), (2, 2), False),
        (OpKind.CONV_2D, (7, 1), (1, 1), False),
        (OpKind.CONV_2D, (5, 5), (1, 1), False),
        (OpKind.DEPTHWISE_CONV_2D, (7, 7), (1, 1), False),
        (OpKind.AVERAGE_POOL_2D, (7, 7), (1, 1), False),
    ],
)
def test_a_large_window_reserves_wide_memory(chip, kind, window, strides, takes):
    laws = one(chip, kind, (1, 16, 16, 8), (1, 16, 16, 8), window, strides)
    assert laws["reserve"] == (3 << 20 if takes else 0)


# --- groups ------------------------------------------------------------------------------------

GROUPED = [
    op(OpKind.CONV_2D, (1, 14, 14, 64), (1, 14, 14, 256), (3, 3), groups=4),
    op(OpKind.CONV_2D, (1, 15, 15, 64), (1, 8, 8, 96), (5, 5), (2, 2), groups=2),
    # Without padding: the window reaches less of the input than the SPLIT moves.
    op(OpKind.CONV_2D, (1, 17, 17, 32), (1, 8, 8, 32), (3, 3), (2, 2), groups=8),
    op(OpKind.CONV_2D, (1, 28, 28, 100), (1, 28, 28, 300), (1, 1), groups=100),
]


@pytest.mark.parametrize("grouped", GROUPED)
@pytest.mark.parametrize("narrow_memory_bytes", [3 << 20, 20_000])
def test_a_split_convolution_costs_what_its_parts_split_and_concatenation_cost(
    chip, grouped, narrow_memory_bytes
):
    small = dataclasses.replace(chip, narrow_memory_bytes=narrow_memory_bytes)
    graph = split_grouped_convolutions(OpGraph(grouped.input_shape, (grouped,)))
    parts = op_laws(columns(*graph.ops), small, True)
    whole = op_laws(columns(grouped), small, True)
    assert len(graph.ops) == grouped.groups + 2 == whole.calls[0]
    for name in ("start_ms", "compute_ms", "movement_ms", "load_ms", "package_bytes", "macs"):
        assert getattr(whole, name)[0] == pytest.approx(getattr(parts, name).sum()), name
    assert whole.chip_bytes[0] == parts.chip_bytes.sum()
    # The first part, behind the SPLIT: it hides the fetching of its own weights.
    assert whole.part_ms[0] == pytest.approx(parts.compute_ms[1] + parts.movement_ms[1])


def test_a_split_convolution_by_hand(chip):
    laws = one(chip, OpKind.CONV_2D, (1, 16, 16, 64), (1, 16, 16, 256), (3, 3), groups=4)
    # 4 parts of 16 to 64 channels; the parts move words half empty.
    assert laws["compute_ms"] == pytest.approx(4 * (4 * 4 * 1 * 1.25 * 9 * 4) * CYCLE_MS)
    words = 4 * (256 + 256) + 2 * 256 + 2 * 256 * 4
    assert laws["movement_ms"] == pytest.approx(64 * words * MOVED_MS)
    assert laws["start_ms"] == pytest.approx((4 * (1 + 2 * 2) + 2 * 7) / 1e3)
    assert laws["chip_bytes"] == 4 * (9 * 16 + 8) * 64


def test_native_groups_take_turns_in_one_op(chip):
    what = (OpKind.CONV_2D, (1, 16, 16, 64), (1, 16, 16, 256), (3, 3))
    laws = one(chip, *what, groups=4, splits=False)
    assert laws["compute_ms"] == pytest.approx(4 * (4 * 4 * 1 * 1.25 * 9 * 4) * CYCLE_MS)
    assert laws["movement_ms"] == pytest.approx(64 * (256 + 256 * 4) * MOVED_MS)
    assert laws["start_ms"] == pytest.approx((1 + 2 * 2) / 1e3)
    assert (laws["calls"], laws["parts"]) == (1, 1)
    split = one(chip, *what, groups=4)
    assert laws["macs"] == split["macs"] == 16 * 16 * 9 * 16 * 256
    assert laws["package_bytes"] == split["package_bytes"]


def test_ops_do_not_influence_each_other(chip):
    plain = [
        op(OpKind.ADD, (1, 8, 8, 64), (1, 8, 8, 64)),
        op(OpKind.MEAN, (1, 8, 8, 64), (1, 64), (8, 8)),
    ]
    together = op_laws(columns(*GROUPED, *plain), chip, True)
    alone = [op_laws(columns(each), chip, True) for each in (*GROUPED, *plain)]
    for field in dataclasses.fields(together):
        each = [getattr(laws, field.name)[0] for laws in alone]
        np.testing.assert_array_equal(getattr(together, field.name), each, field.name)
