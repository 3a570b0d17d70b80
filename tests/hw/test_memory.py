"""Bytes on the chip."""

from pathlib import Path

import pytest

from hw.mapping import RULES, host_ops
from hw.memory import free_slots, peak_bytes, weight_bytes
from hw.tflite import read_tflite
from spaces.graph import INPUT, Op, OpBatch, OpGraph, OpKind

SHARED = Path(__file__).parents[2].parent / "shared" / "tflite"
needs_models = pytest.mark.skipif(not SHARED.is_dir(), reason="real models are not at hand")


def peak(graph):
    free = free_slots(OpBatch.of([graph]))[0]
    return peak_bytes(graph, {op.name: bool(free[i]) for i, op in enumerate(graph.ops)})


def test_weights_are_padded_to_lanes_and_regions():
    shape = (1, 8, 8, 3)
    conv = Op("c", OpKind.CONV_2D, (INPUT,), shape, (1, 8, 8, 32), (3, 3))
    # Derived: 27 inputs in 28, 32 outputs in 64, 8 bytes an output, in regions of 256 bytes.
    assert weight_bytes(OpBatch.of([OpGraph(shape, (conv,))])).tolist() == [[2304]]


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


@needs_models
@pytest.mark.parametrize(
    ("name", "cached_bytes", "tolerance"),
    # Published: cached bytes in compiled packages of google-coral (compiled_packages.csv).
    [
        ("mobilenet_v1_0.25_128_quant", 518_656, 0.03),
        ("mobilenet_v1_0.5_160_quant", 1_425_024, 0.03),
        ("tf2_mobilenet_v2_1.0_224_ptq", 3_900_864, 0.03),
        ("deeplabv3_mnv2_dm05_pascal_quant", 766_720, 0.03),
        ("movenet_single_pose_lightning_ptq", 2_862_656 + 2_368, 0.08),
    ],
)
def test_weight_bytes_are_those_of_the_compiled_package(name, cached_bytes, tolerance):
    model = read_tflite(SHARED / f"{name}.tflite")
    left = dict(host_ops(model.graph, RULES["edgetpu_compiler_16"], dict(model.unsupported)))
    per_op = weight_bytes(OpBatch.of([model.graph]))[0]
    mapped = sum(
        int(size) for op, size in zip(model.graph.ops, per_op, strict=True) if op.name not in left
    )
    assert mapped == pytest.approx(cached_bytes, rel=tolerance)
