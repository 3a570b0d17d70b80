"""Bytes on the chip: parameters by published figures, activations by hand arithmetic."""

from pathlib import Path

import pytest

from hw.activations import peak_bytes
from hw.families.edge_tpu.analytic import Analytic
from hw.families.edge_tpu.compiled_package import read_compiled
from hw.families.edge_tpu.mapping import map_ops, rules_of
from hw.families.edge_tpu.memory import chip_bytes, free_slots, occupied_tiles, package_bytes
from hw.families.edge_tpu.parts import available_bytes
from hw.families.edge_tpu.placement import place
from hw.tflite.reader import read_tflite
from spaces.graph import INPUT, Op, OpBatch, OpColumns, OpGraph, OpKind, op_row

SHARED = Path(__file__).parents[2].parent / "shared" / "tflite"
needs_models = pytest.mark.skipif(not SHARED.is_dir(), reason="real models are not at hand")
MIB = 1 << 20
TILES = 16


def columns(*ops):
    return OpColumns.of([op_row(op) for op in ops])


def op(kind, before, after, window=(1, 1)):
    return Op("op", kind, (INPUT,), before, after, window)


def of_all(graph, bytes_of):
    """What all ops of a network hold."""
    batch = OpBatch.of([graph])
    return int(bytes_of(batch.distinct)[batch.index[0]].sum())


def parts_of(graph, device):
    placement, _ = place([graph], device)
    return Analytic(device).parts(placement)


# --- parameters --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "held", "on_chip"),
    [
        # 9 taps of 16 inputs for 64 outputs, 8 bytes a channel.
        ((OpKind.CONV_2D, (1, 64, 64, 16), (1, 64, 64, 64), (3, 3)), 152 * 64, 152 * 64),
        # 42 outputs: 48 in the package of a large map, 64 on the chip.
        (
            (OpKind.CONV_2D, (1, 64, 64, 42), (1, 64, 64, 42), (3, 3)),
            (9 * 44 + 8) * 48,
            (9 * 44 + 8) * 64,
        ),
        # A small map: 64 in the package, too, and 5 % more. DeepLab's 33 x 33 are small.
        (
            (OpKind.CONV_2D, (1, 33, 33, 480), (1, 33, 33, 80)),
            int(1.05 * 480 * 128 + 8 * 80),
            (480 + 8) * 128,
        ),
        # Fewer than 4 inputs: the 9 of a row lie side by side, in 12.
        (
            (OpKind.CONV_2D, (1, 128, 128, 3), (1, 128, 128, 32), (3, 3)),
            (3 * 12 + 8) * 32,
            (3 * 12 + 8) * 64,
        ),
        # Few outputs of a dense op are held narrowly in both.
        ((OpKind.FULLY_CONNECTED, (1, 100), (1, 10)), (100 + 8) * 16, (100 + 8) * 16),
        ((OpKind.FULLY_CONNECTED, (1, 101), (1, 65)), 104 * 128 + 8 * 80, 112 * 128),
        # A depthwise convolution: 9 taps, one input.
        (
            (OpKind.DEPTHWISE_CONV_2D, (1, 64, 64, 72), (1, 64, 64, 72), (3, 3)),
            9 * 128 + 8 * 80,
            (9 + 8) * 128,
        ),
        ((OpKind.TRANSPOSE_CONV, (1, 64, 64, 8), (1, 128, 128, 16), (2, 2)), 40 * 16, 40 * 64),
        ((OpKind.ADD, (1, 8, 8, 64), (1, 8, 8, 64)), 0, 0),
        ((OpKind.MEAN, (1, 8, 8, 64), (1, 64), (8, 8)), 0, 0),
    ],
)
def test_parameters_are_padded_to_lanes(what, held, on_chip):
    ops = columns(op(*what))
    assert (package_bytes(ops)[0], chip_bytes(ops)[0]) == (held, on_chip)


@pytest.mark.parametrize(("units", "published"), [(256, 67_584), (1024, 1_056_768)])
def test_a_square_dense_layer_holds_what_its_compiled_file_says(networks, units, published):
    """Published: cached bytes of libredgetpu's dense_256 and dense_1024, to the byte."""
    graph = networks.dense(units, units)
    assert of_all(graph, package_bytes) == of_all(graph, chip_bytes) == published


@pytest.mark.parametrize(
    ("width", "published_mib"),
    [
        (32, 0.074951171875),
        (42, 0.101318359375),
        (92, 0.41357421875),
        (152, 1.02),
        (272, 3.01),
        (392, 6.06),
    ],
)
def test_stacks_of_3x3_convolutions_take_the_published_memory(networks, width, published_mib):
    """Published: on-chip MiB of 5 convolutions over 64x64x3, Jorgitou98/EdgeTPU-QuantRL."""
    graph = networks.stack(width, 3, 5, side=64, channels=3)
    digits = 12 if width < 100 else 2  # as the compiler prints KiB and MiB
    assert round(of_all(graph, chip_bytes) / MIB, digits) == published_mib


@needs_models
@pytest.mark.parametrize(
    ("name", "published", "tolerance"),
    # Published: cached and streamed bytes of packages in google-coral/test_data.
    [
        ("mobilenet_v1_0.25_128_quant", 518_656, 0.02),
        ("mobilenet_v1_0.5_160_quant", 1_425_024, 0.01),
        ("tf2_mobilenet_v2_1.0_224_ptq", 3_900_864, 0.01),
        ("deeplabv3_mnv2_dm05_pascal_quant", 766_720, 0.01),
        ("movenet_single_pose_lightning_ptq", 2_862_656 + 2_368, 0.05),
    ],
)
def test_packages_of_whole_networks_hold_the_published_bytes(name, published, tolerance):
    assert _mapped_bytes(name) == pytest.approx(published, rel=tolerance)


@needs_models
@pytest.mark.parametrize(
    "name",
    [
        "mobilenet_v1_0.5_160_quant",
        "deeplabv3_mnv2_dm05_pascal_quant",
        "movenet_single_pose_lightning_ptq",
        "bright_64x64",
        "gabor_64x64_p4",
    ],
)
def test_packages_hold_what_the_compiled_twins_at_hand_say(name):
    total = read_compiled(SHARED / f"{name}_edgetpu.tflite").totals()
    said = total["cached_parameter_bytes"] + total["streamed_parameter_bytes"]
    assert _mapped_bytes(name) == pytest.approx(said, rel=0.05)


def _mapped_bytes(name):
    """Package bytes of the ops that map."""
    model = read_tflite(SHARED / f"{name}.tflite")
    mapped = map_ops(model.graph, rules_of("edgetpu_compiler_16"), dict(model.unsupported))
    batch = OpBatch.of([model.graph])
    each = package_bytes(batch.distinct)[batch.index[0]]
    pairs = zip(model.graph.ops, each, strict=True)
    return sum(int(size) for op, size in pairs if op.name in mapped.subgraph)


# --- capacity ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("units", "tiles"), [(10, 1), (64, 1), (65, 2), (200, 4), (1024, 16), (4096, 16)]
)
def test_each_64_outputs_of_a_dense_layer_lie_in_a_tile_of_their_own(units, tiles):
    dense = columns(op(OpKind.FULLY_CONNECTED, (1, units), (1, units)))
    assert occupied_tiles(dense, TILES)[0] == tiles
    conv = columns(op(OpKind.CONV_2D, (1, 8, 8, units), (1, 8, 8, units)))
    assert occupied_tiles(conv, TILES)[0] == TILES


@pytest.mark.parametrize(("units", "published_mib"), [(100, 0.9927), (150, 1.49), (200, 2.0)])
def test_stacks_of_dense_layers_cache_what_their_tiles_hold(
    networks, round_device, units, published_mib
):
    """Published: on-chip MiB of 100 dense layers, iwatake2222/EdgeTPU_Analysis (8.02 MiB)."""
    parts = parts_of(networks.dense(*[units] * 101), round_device)
    assert parts.cached_bytes[0] / MIB == pytest.approx(published_mib, rel=0.01)


@pytest.mark.parametrize("layers", [200, 500, 900])
def test_what_a_stack_caches_does_not_depend_on_what_is_streamed_behind_it(
    networks, round_device, layers
):
    """Published: 0.9927 MiB are cached of 100 to 900 dense layers, iwatake2222."""
    parts = parts_of(networks.dense(*[100] * (layers + 1)), round_device)
    assert parts.cached_bytes[0] / MIB == pytest.approx(0.9927, rel=0.01)


@pytest.mark.parametrize(
    ("layers", "cached_mib", "streamed_mib"),
    [(10, 0.48, 0), (50, 2.40, 0), (75, None, 1.06), (100, None, 2.25)],
)
def test_stacks_of_7x7_convolutions_stream_the_published_bytes(
    networks, round_device, layers, cached_mib, streamed_mib
):
    """Published: off-chip MiB over 128x128x32 maps, iwatake2222/EdgeTPU_Analysis.

    The large window takes 3 of 8 MiB: 5.01 are available there. The first two are derived:
    (49 * 32 + 8) * 32 bytes a layer in the package.
    """
    parts = parts_of(networks.stack(32, 7, layers, side=128), round_device)
    assert parts.streamed_bytes[0] / MIB == pytest.approx(streamed_mib, rel=0.05)
    if cached_mib is not None:
        assert parts.cached_bytes[0] / MIB == pytest.approx(cached_mib, rel=0.01)


def test_maps_beyond_narrow_memory_take_memory_from_weights_and_instructions_none(
    networks, round_device, changed
):
    small = changed(round_device, "chip", narrow_memory_bytes=100_000, overflow_bytes=50_000)

    def available(side, depth):
        placement, _ = place([networks.stack(16, 3, depth, side)], small)
        return int(available_bytes(placement, small)[0])

    # Derived: 8 MiB, whatever the depth; maps of 32 * 32 * 16 take 32,768 bytes, of 60 * 60 *
    # 16 115,200 and 15,200 of them overflow, those of 100 * 100 * 16 overflow by the most.
    assert available(32, 2) == 8 * MIB
    assert available(60, 3) == 8 * MIB - 15_200
    assert available(100, 3) == 8 * MIB - 50_000


def test_a_large_window_takes_its_memory_once(networks, round_device):
    def available(graph):
        placement, _ = place([graph], round_device)
        return int(available_bytes(placement, round_device)[0])

    assert available(networks.stack(32, 7, 4, 16)) == 5 * MIB
    assert available(networks.stack(32, 5, 4, 16)) == 8 * MIB


# --- activations -------------------------------------------------------------------------------


def peak(graph):
    free = free_slots(OpBatch.of([graph]))[0]
    return peak_bytes(graph, {op.name: bool(free[i]) for i, op in enumerate(graph.ops)})


def test_a_residual_is_held_until_it_is_added():
    shape, wide = (1, 4, 4, 8), (1, 4, 4, 32)
    ops = (
        Op("a", OpKind.CONV_2D, (INPUT,), shape, shape),
        Op("b", OpKind.CONV_2D, ("a",), shape, wide),
        Op("c", OpKind.CONV_2D, ("b",), wide, wide),
        Op("d", OpKind.CONV_2D, ("c",), wide, shape),
        Op("e", OpKind.ADD, ("d", "a"), shape, shape),
    )
    # Derived: at c, its input and output of 512 bytes each and a's 128.
    assert peak(OpGraph(shape, ops)) == 512 + 512 + 128


def test_views_and_fused_padding_hold_no_memory():
    shape, padded = (1, 4, 4, 8), (1, 6, 6, 8)
    ops = (
        Op("p", OpKind.PAD, (INPUT,), shape, padded),
        Op("c", OpKind.CONV_2D, ("p",), padded, shape, (3, 3)),
        Op("r", OpKind.RESHAPE, ("c",), shape, (1, 128)),
    )
    assert peak(OpGraph(shape, ops)) == 128 + 128


def test_padding_that_no_window_takes_in_is_an_op_of_its_own():
    shape, padded = (1, 4, 4, 8), (1, 6, 6, 8)
    ops = (
        Op("p", OpKind.PAD, (INPUT,), shape, padded),
        Op("a", OpKind.LOGISTIC, ("p",), padded, padded),
        Op("r", OpKind.RELU, ("a",), padded, padded),
    )
    assert free_slots(OpBatch.of([OpGraph(shape, ops)])).tolist() == [[False, False, True]]
    assert peak(OpGraph(shape, ops)) == 2 * 288


@pytest.mark.parametrize(("inputs", "spills"), [(4096, False), (16384, True)])
def test_two_dense_ops_of_one_output_fill_one_tile(networks, round_device, inputs, spills):
    """Published: bright_64x64 caches 131,264 B, bright_128x128 streams 524,288 B, libredgetpu."""
    kind, before, after = OpKind.FULLY_CONNECTED, (1, inputs), (1, 1)
    ops = [Op(name, kind, (INPUT,), before, after) for name in ("one", "two")]
    graph = OpGraph((1, inputs), tuple(ops))
    assert bool(parts_of(graph, round_device).streamed_bytes[0]) == spills
