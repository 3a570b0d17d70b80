"""Networks whose latency was published: multiply-accumulates and weights as published."""

import pytest

from benchmarks.builder import Builder
from benchmarks.keras_networks import SIZES
from benchmarks.layer_stacks import (
    convolutions_3x3,
    convolutions_7x7,
    dense_layers,
    dense_network,
    large_input,
    large_output,
)
from benchmarks.networks import FILES, Networks, mobilenet_v1, mobilenet_v1_levels
from spaces.graph import OpKind


@pytest.mark.parametrize(
    ("name", "gmacs", "million_weights"),
    [
        # Published: arXiv:1409.4842 and TF-Slim (1.498 G), arXiv:1704.04861 (569 M, 4.2 M; 14 M at
        # 0.25 128), arXiv:1409.1556 (15.47 G, 138 M), TF-Slim (12.27 G, 42.7 M).
        ("Inception v1", 1.498, 6.61),
        ("MobileNet v1", 0.569, 4.21),
        ("MobileNet v1 0.25 128", 0.0136, 0.464),
        ("VGG16", 15.47, 138.3),
        ("Inception v4", 12.27, 42.9),
    ],
)
def test_published_counts(name, gmacs, million_weights):
    network = Networks([]).find(name)
    assert network.graph.macs / 1e9 == pytest.approx(gmacs, rel=0.003)
    weights = sum(op.weights for op in network.graph.ops)
    assert weights / 1e6 == pytest.approx(million_weights, rel=0.01)


def test_detectors_have_as_many_boxes_as_the_released_ones():
    # Published: 1917 boxes of SSD MobileNet on 300x300.
    graph = Networks([]).find("SSD MobileNet v1").graph
    assert graph.output.kind is OpKind.TFLITE_DETECTION_POSTPROCESS
    assert graph.output.input_shape == (1, 1917, 91)


def test_output_stride_keeps_maps_large_and_costs_more():
    net = Builder((1, 224, 224, 3))
    levels = mobilenet_v1_levels(net, 1.0, output_stride=16)
    assert levels[-1].shape == (1, 14, 14, 1024)
    assert net.graph().macs > mobilenet_v1().macs


def test_pose_heads_give_the_outputs_of_the_compiled_files():
    # Published: output shapes of PoseNet 353x481 in google-coral/test_data.
    graph = Networks([]).find("PoseNet 353x481").graph
    read = {name for op in graph.ops for name in op.inputs}
    outputs = [op.output_shape for op in graph.ops if op.name not in read]
    assert outputs == [(1, 23, 31, channels) for channels in (17, 34, 64)]


def test_valid_windows_shrink_maps():
    net = Builder((1, 9, 9, 4))
    assert net.conv(net.input, 8, 3, 2, "valid").shape == (1, 4, 4, 8)
    assert net.max_pool(net.input, 3, 2, "valid").shape == (1, 4, 4, 4)
    assert net.conv(net.input, 8, (1, 7)).shape == (1, 9, 9, 8)


def test_stacks_have_the_published_counts():
    # Published: MACs in the CSV files of Jorgitou98/EdgeTPU-QuantRL-Evaluation.
    assert convolutions_3x3(32).macs == 154_533_888
    assert dense_network(100).macs == 37_400
    # Derived: 128 * 128 positions, 49 taps, 32 channels to 32; the first layer reads 3.
    ten = convolutions_7x7(10)
    assert ten.macs == 128 * 128 * 49 * 32 * (9 * 32 + 3) + 32
    assert ten.output.output_shape == (1, 1, 1, 1)
    assert dense_layers(100, 3).macs == 12 * 100 + 2 * 100 * 100 + 100


def test_transfers_are_large_on_one_side():
    assert large_input(256, 128).output.output_shape == (1, 1, 1, 1)
    assert large_output(256, 128).output.output_shape == (1, 256, 128, 3)
    assert large_output(2, 2).input_shape == (1, 2, 2, 3)


def test_a_network_whose_file_is_missing_is_not_found(tmp_path):
    networks = Networks([tmp_path])
    assert networks.find("ResNet50") is None
    with pytest.raises(KeyError):
        networks.find("nobody's")


def test_keras_files_are_those_that_can_be_made():
    assert set(FILES) - {"MoveNet Lightning"} == set(SIZES)
