"""Reading .tflite files: real ones, small ones written here, and damaged ones."""

import struct
import time
from pathlib import Path

import numpy as np
import pytest

from hw.tflite.flatbuffer import FlatbufferError, Table, scalar
from hw.tflite.model import TfliteError
from hw.tflite.reader import read_tflite
from hw.tflite.schema import OPERATORS
from spaces.graph import INPUT, OpKind

SHARED = Path(__file__).parents[2].parent / "shared" / "tflite"
needs_models = pytest.mark.skipif(not SHARED.is_dir(), reason="real models are not at hand")
FLOAT32, INT32, UINT8, INT8 = 0, 2, 3, 9


def read(tmp_path, data):
    path = tmp_path / "model.tflite"
    path.write_bytes(data)
    return read_tflite(path)


def test_a_convolution_is_read_with_stride_window_and_fused_activation(tmp_path, conv_model):
    model = read(tmp_path, conv_model())
    (op,) = model.graph.ops
    assert (op.kind, op.name, op.inputs) == (OpKind.CONV_2D, "y", (INPUT,))
    assert (op.kernel_size, op.strides, op.groups) == ((3, 3), (2, 2), 1)
    assert (op.activation, op.weight_bits, op.use_bias) == ("relu", 8, True)
    assert op.macs == 3 * 3 * 16 * 3 * 3 * 8  # derived
    assert model.graph.input_shape == (1, 6, 6, 8)
    assert model.data_types == (("y", "int8"),)
    model.check_quantized()


def test_fewer_filter_than_input_channels_is_a_native_grouped_convolution(tmp_path, conv_model):
    (op,) = read(tmp_path, conv_model(in_channels=8, filter_channels=2)).graph.ops
    assert op.groups == 4
    assert op.macs == 3 * 3 * 16 * 3 * 3 * 2  # derived


def test_filter_channels_must_divide_input_channels(tmp_path, conv_model):
    with pytest.raises(TfliteError, match=r"\[16, 3, 3, 3\] must fit 8 input and 16 output"):
        read(tmp_path, conv_model(in_channels=8, filter_channels=3))


def test_a_float_model_is_read_but_refused_for_the_edge_tpu(tmp_path, conv_model):
    model = read(tmp_path, conv_model(kind=FLOAT32))
    assert model.graph.ops[0].weight_bits == 32
    with pytest.raises(TfliteError, match=r"int8 or uint8 .* but got float32 .*int8"):
        model.check_quantized()


def test_a_compiled_model_is_refused(tmp_path, model_bytes):
    tensors = [("x", [1, 4], INT8, False), ("y", [1, 2], INT8, False)]
    model = read(tmp_path, model_bytes(tensors, [("edgetpu-custom-op", [0], [1], None)]))
    with pytest.raises(TfliteError, match="must be the model before compilation"):
        model.check_quantized()


def test_ops_on_constants_alone_are_constants(tmp_path, model_bytes):
    tensors = [
        ("x", [1, 4], INT8, False),
        ("c", [1, 4], INT8, True),
        ("d", [1, 4], INT8, False),
        ("y", [1, 4], INT8, False),
    ]
    data = model_bytes(tensors, [(114, [1], [2], None), (0, [0, 2], [3], None)])
    assert [op.name for op in read(tmp_path, data).graph.ops] == ["y"]


def test_a_dense_op_flattens_its_input(tmp_path, model_bytes):
    tensors = [
        ("x", [1, 2, 2, 4], INT8, False),
        ("w", [10, 16], INT8, True),
        ("y", [1, 10], INT8, False),
    ]
    (op,) = read(tmp_path, model_bytes(tensors, [(9, [0, 1, -1], [2], None)])).graph.ops
    assert op.input_shape == (1, 16)
    assert op.macs == 160  # derived: 16 * 10


def test_further_inputs_have_names_and_shapes(tmp_path, model_bytes):
    tensors = [
        ("x", [1, 4], INT8, False),
        ("more", [1, 1, 4], INT8, False),
        ("y", [1, 1, 4], INT8, False),
    ]
    graph = read(tmp_path, model_bytes(tensors, [(0, [0, 1], [2], None)], inputs=(0, 1))).graph
    assert graph.inputs == ((INPUT, (1, 4)), ("more", (1, 1, 4)))
    assert graph.ops[0].inputs == (INPUT, "more")


def test_a_lookup_has_a_table_and_may_have_wide_numbers(tmp_path, model_bytes):
    tensors = [
        ("tokens", [1, 8], INT32, False),
        ("table", [100, 4], INT8, True),
        ("rows", [1, 8, 4], INT8, False),
        ("best", [1, 8], INT32, False),
        ("axis", [1], INT32, True),
    ]
    ops = [(36, [1, 0], [2], None), (56, [2, 4], [3], None)]
    model = read(tmp_path, model_bytes(tensors, ops))
    table, best = model.graph.ops
    assert (table.kind, table.constant, table.input_shape) == (OpKind.GATHER, (100, 4), (1, 8))
    assert best.kind is OpKind.ARG_MAX
    assert model.unsupported == ()


def test_a_constant_operand_is_told_from_a_second_input(tmp_path, model_bytes):
    tensors = [
        ("x", [1, 2, 4], INT8, False),
        ("c", [4], INT8, True),
        ("s", [], INT8, True),
        ("y", [1, 2, 4], INT8, False),
        ("z", [1, 2, 4], INT8, False),
        ("w", [1, 2, 4], INT8, False),
    ]
    ops = [(18, [0, 1], [3], None), (0, [2, 3], [4], None), (0, [3, 4], [5], None)]
    constants = [op.constant for op in read(tmp_path, model_bytes(tensors, ops)).graph.ops]
    assert constants == [(4,), (1,), ()]


def test_names_are_made_unique(tmp_path, model_bytes):
    tensors = [(name, [1, 4], INT8, False) for name in ("input", "input", "")]
    data = model_bytes(tensors, [(19, [0], [1], None), (19, [1], [2], None)])
    graph = read(tmp_path, data).graph
    assert [op.name for op in graph.ops] == ["input#2", "RELU"]
    assert graph.ops[1].inputs == ("input#2",)


def test_a_tensor_number_out_of_range_is_refused(tmp_path, model_bytes):
    tensors = [("x", [1, 4], INT8, False), ("y", [1, 4], INT8, False)]
    with pytest.raises(TfliteError, match="tensor 7 must be one of 2"):
        read(tmp_path, model_bytes(tensors, [(19, [7], [1], None)]))


def test_an_empty_graph_is_refused(tmp_path, model_bytes):
    with pytest.raises(TfliteError, match="there must be an op"):
        read(tmp_path, model_bytes([("x", [1, 4], INT8, False)], []))


@pytest.mark.parametrize("data", [b"", b"TFL3", b"not a model at all", bytes(64)])
def test_other_files_are_refused_in_one_line(tmp_path, data):
    with pytest.raises(TfliteError, match=r"must be a whole \.tflite file, but got") as caught:
        read(tmp_path, data)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(TfliteError, match="must be a readable file, but got: No such file"):
        read_tflite(tmp_path / "absent.tflite")


def test_a_long_vector_in_a_short_file_is_refused():
    data = struct.pack("<IHHIiI", 8, 6, 8, 4, 4, 0xFFFFFF)  # a table whose vector never ends
    with pytest.raises(FlatbufferError):
        Table(data, 8).numbers(0)
    with pytest.raises(FlatbufferError, match="offset 30 must lie within"):
        scalar(data, 30, "u32")


def test_operator_numbers_agree_with_the_published_schema():
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    for number, name in OPERATORS.items():
        published = {one for one, value in vars(schema.BuiltinOperator).items() if value == number}
        assert published == {name}


@needs_models
@pytest.mark.parametrize(
    ("name", "macs", "ops"),
    [
        # Derived: H * W * k * k * C_in * C_out summed by hand over the published layers.
        ("mobilenet_v1_0.25_128_quant", 13_570_304, 31),
        ("dense_256", 256 * 256, 3),
        ("dense_1024", 1024 * 1024, 3),
        ("gabor_64x64_p4", 64 * 64 * 7 * 7 * 8, 4),
        ("split_concat", 0, 3),
        ("tf2_mobilenet_v2_1.0_224_ptq", 300_775_552, 68),
        ("keras_lstm_mnist_ptq", 560 * 10 + 28 * 4 * 20 * (28 + 20), 6),
    ],
)
def test_real_models_are_read(name, macs, ops):
    model = read_tflite(SHARED / f"{name}.tflite")
    model.check_quantized()
    assert (model.graph.macs, len(model.graph.ops)) == (macs, ops)


def mobilenet_v1_macs(size, width):
    """Derived: stem, 13 depthwise separable blocks, classifier of 1001."""
    channels, side = int(32 * width), size // 2
    macs = side * side * 27 * channels
    for filters, stride in (
        [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)]
        + [(512, 1)] * 5
        + [(1024, 2), (1024, 1)]
    ):
        side = -(-side // stride)
        macs += side * side * channels * (9 + int(filters * width))
        channels = int(filters * width)
    return macs + channels * 1001


@needs_models
@pytest.mark.parametrize(("size", "width"), [(128, 0.25), (160, 0.5)])
def test_macs_of_mobilenet_v1_are_the_derived_ones(size, width):
    model = read_tflite(SHARED / f"mobilenet_v1_{width}_{size}_quant.tflite")
    assert model.graph.macs == mobilenet_v1_macs(size, width)


@needs_models
def test_split_and_concatenation_name_their_producers():
    concat, split, second = read_tflite(SHARED / "split_concat.tflite").graph.ops
    assert concat.kind is OpKind.CONCATENATION
    assert concat.inputs == (INPUT, "inputs/rnn1", "inputs/rnn2")
    assert (split.kind, split.inputs) == (OpKind.SPLIT, (concat.name,))
    assert second.inputs == (split.name,)


@needs_models
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_a_truncated_real_model_is_refused(tmp_path, keep):
    data = (SHARED / "mobilenet_v1_0.25_128_quant.tflite").read_bytes()
    with pytest.raises(TfliteError, match="must be a whole"):
        read(tmp_path, data[: int(len(data) * keep)])


@needs_models
def test_shapes_are_plain_integers():
    graph = read_tflite(SHARED / "dense_256.tflite").graph
    assert all(type(size) is int for op in graph.ops for size in op.output_shape)
    assert not isinstance(graph.input_shape[0], np.integer)


@needs_models
def test_a_real_network_is_read_in_a_few_milliseconds():
    path, times = SHARED / "tf2_mobilenet_v2_1.0_224_ptq.tflite", []
    for _ in range(5):
        start = time.process_time()
        read_tflite(path)
        times.append(time.process_time() - start)
    assert min(times) < 0.03  # 4 ms, with room for a busy machine
