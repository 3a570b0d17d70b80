"""Shapes, windows and reasons of single operators, as real converters write them."""

import pytest

from hw.families.edge_tpu.mapping import map_ops, rules_of
from hw.tflite.model import TfliteError
from hw.tflite.reader import parse_tflite
from hw.tflite.reasons import DATA_TYPE
from spaces.graph import INPUT, OpKind

FLOAT32, INT32, UINT8, INT16, INT8 = 0, 2, 3, 7, 9
CONV_3X3 = (1, {1: ("i", 1), 2: ("i", 1)})


def read(data):
    return parse_tflite(data, "m")


def activation(name, *shape, kind=INT8):
    return name, list(shape), kind, False


def constant(name, *shape, kind=INT8):
    return name, list(shape), kind, True


def test_an_addition_that_broadcasts_reads_the_larger_tensor(model_bytes):
    tensors = [
        activation("x", 1, 8, 8, 16),
        activation("scale", 1, 1, 1, 16),
        activation("y", 1, 8, 8, 16),
    ]
    ops = [(40, [0], [1], None), (0, [1, 0], [2], (11, {0: ("b", 3)}))]
    _, add = read(model_bytes(tensors, ops)).graph.ops
    assert (add.kind, add.input_shape, add.output_shape) == (
        OpKind.ADD,
        (1, 8, 8, 16),
        (1, 8, 8, 16),
    )
    assert (add.inputs, add.activation) == (("scale", INPUT), "relu6")


def test_parts_of_a_split_have_one_producer_and_the_shape_of_a_part(model_bytes):
    tensors = [
        activation("x", 1, 4, 4, 8),
        constant("axis", kind=INT32),
        *[activation(f"part{n}", 1, 4, 4, 4) for n in range(2)],
        activation("y", 1, 4, 4, 8),
    ]
    ops = [(49, [1, 0], [2, 3], None), (2, [2, 3], [4], None)]
    split, concat = read(model_bytes(tensors, ops)).graph.ops
    assert (split.input_shape, split.output_shape) == ((1, 4, 4, 8), (1, 4, 4, 4))
    assert concat.inputs == ("part0",)
    assert (concat.input_shape, concat.output_shape) == ((1, 4, 4, 4), (1, 4, 4, 8))


def test_a_dilated_convolution_is_the_same_kernel(model_bytes):
    tensors = [
        activation("x", 1, 8, 8, 4),
        constant("w", 6, 3, 3, 4),
        activation("y", 1, 8, 8, 6),
    ]
    options = (1, {1: ("i", 1), 2: ("i", 1), 4: ("i", 2), 5: ("i", 2)})
    (op,) = read(model_bytes(tensors, [(3, [0, 1], [2], options)])).graph.ops
    assert (op.kernel_size, op.strides, op.use_bias) == ((3, 3), (1, 1), False)
    assert op.macs == 8 * 8 * 9 * 4 * 6  # derived


def test_a_dense_op_that_keeps_dimensions_is_counted_by_row(model_bytes):
    tensors = [activation("x", 1, 49, 32), constant("w", 10, 32), activation("y", 1, 49, 10)]
    (op,) = read(model_bytes(tensors, [(9, [0, 1, -1], [2], None)])).graph.ops
    assert (op.input_shape, op.output_shape, op.use_bias) == ((1, 49, 32), (1, 49, 10), False)
    assert op.macs == 49 * 32 * 10  # derived


def test_a_transposed_convolution_reads_its_third_input(model_bytes):
    tensors = [
        activation("x", 1, 4, 4, 8),
        constant("sizes", 4, kind=INT32),
        constant("w", 6, 2, 2, 8),
        constant("b", 6, kind=INT32),
        activation("y", 1, 8, 8, 6),
    ]
    options = (49, {1: ("i", 2), 2: ("i", 2)})
    (op,) = read(model_bytes(tensors, [(67, [1, 2, 0, 3], [4], options)])).graph.ops
    assert (op.input_shape, op.output_shape) == ((1, 4, 4, 8), (1, 8, 8, 6))
    assert (op.kernel_size, op.strides, op.use_bias) == ((2, 2), (2, 2), True)
    assert op.macs == 4 * 4 * 2 * 2 * 8 * 6  # derived


def test_resizes_and_pads_have_the_shapes_of_their_tensors(model_bytes):
    tensors = [
        activation("x", 1, 4, 4, 8),
        constant("sizes", 2, kind=INT32),
        activation("big", 1, 8, 8, 8),
        constant("paddings", 4, 2, kind=INT32),
        activation("y", 1, 10, 10, 8),
    ]
    ops = [(23, [0, 1], [2], None), (34, [2, 3], [4], None)]
    resize, pad = read(model_bytes(tensors, ops)).graph.ops
    assert (resize.input_shape, resize.output_shape) == ((1, 4, 4, 8), (1, 8, 8, 8))
    assert (pad.input_shape, pad.output_shape, pad.inputs) == (
        (1, 8, 8, 8),
        (1, 10, 10, 8),
        ("big",),
    )


def test_depthwise_weights_have_the_channels_of_the_output(model_bytes):
    tensors = [
        activation("x", 1, 4, 4, 8),
        constant("w", 1, 3, 3, 16),
        activation("y", 1, 4, 4, 16),
    ]
    options = (2, {1: ("i", 1), 2: ("i", 1), 3: ("i", 2), 4: ("b", 1)})
    (op,) = read(model_bytes(tensors, [(4, [0, 1], [2], options)])).graph.ops
    assert (op.kernel_size, op.groups, op.activation) == ((3, 3), 1, "relu")
    assert op.macs == 4 * 4 * 9 * 16  # derived


@pytest.mark.parametrize(
    ("code", "called"),
    [
        (48, "TOPK_V2"),
        (500, "builtin operator 500"),
        ("my-op", "my-op"),
        ("", "CUSTOM"),
        ("two\nlines\x1b", r"two\nlines\x1b"),
    ],
)
def test_operators_without_a_kind_stay_on_the_host_under_their_own_name(model_bytes, code, called):
    tensors = [activation("x", 1, 4), activation("y", 1, 4)]
    model = read(model_bytes(tensors, [(code, [0], [1], None)]))
    model.check_quantized()
    assert model.graph.ops[0].kind is OpKind.OTHER
    left = map_ops(model.graph, rules_of("edgetpu_compiler_16"), dict(model.unsupported)).host
    assert left == (("y", f"Operation not supported: {called}"),)


def float_bordered(model_bytes, *middle):
    """Float input, QUANTIZE, a convolution, ``middle``, DEQUANTIZE, float output."""
    tensors = [
        activation("x", 1, 4, 4, 8, kind=FLOAT32),
        activation("q", 1, 4, 4, 8),
        constant("w", 8, 1, 1, 8),
        activation("c", 1, 4, 4, 8),
        activation("y", 1, 4, 4, 8, kind=FLOAT32),
    ]
    ops = [
        (114, [0], [1], None),
        (3, [1, 2], [3], CONV_3X3),
        (6, [3], [4], None),
    ]
    return model_bytes([*tensors, *(one for one, _ in middle)], ops + [op for _, op in middle])


def test_floats_at_the_borders_are_the_hosts(model_bytes):
    model = read(float_bordered(model_bytes))
    model.check_quantized()
    assert model.unsupported == (("q", DATA_TYPE), ("y", DATA_TYPE))


def test_a_few_float_ops_are_the_hosts(model_bytes):
    softmax = activation("p", 1, 4, 4, 8, kind=FLOAT32), (25, [4], [5], None)
    model = read(float_bordered(model_bytes, softmax))
    model.check_quantized()
    assert model.unsupported[-1] == ("p", DATA_TYPE)


def test_weights_of_8_bits_alone_are_refused_with_a_cure(conv_model):
    model = read(conv_model(kind=FLOAT32, weights=INT8))
    with pytest.raises(TfliteError, match=r"but got 8 bits in weights only .*representative"):
        model.check_quantized()


def test_16_bit_activations_are_refused_with_a_cure(conv_model):
    model = read(conv_model(kind=INT16, weights=INT8))
    with pytest.raises(TfliteError, match=r"but got int16 everywhere\. Convert with full"):
        model.check_quantized()


def test_a_float_network_behind_an_8_bit_picture_is_refused(model_bytes):
    tensors = [
        activation("x", 1, 128, kind=UINT8),
        activation("r", 1, 4, 4, 8, kind=UINT8),
        activation("f", 1, 4, 4, 8, kind=FLOAT32),
        constant("w", 8, 1, 1, 8, kind=FLOAT32),
        activation("y", 1, 4, 4, 8, kind=FLOAT32),
    ]
    ops = [(22, [0], [1], None), (53, [1], [2], None), (3, [2, 3], [4], CONV_3X3)]
    with pytest.raises(TfliteError, match="but got float32 everywhere"):
        read(model_bytes(tensors, ops)).check_quantized()


def test_an_open_batch_is_one_and_an_open_height_is_refused(model_bytes):
    for signature, message in [([-1, 8], None), ([1, -1], "got an open one in input. Convert")]:
        tensors = [("x", [1, 8], INT8, False, {7: signature}), activation("y", 1, 8)]
        model = read(model_bytes(tensors, [(19, [0], [1], None)]))
        if message is None:
            model.check_quantized()
        else:
            with pytest.raises(TfliteError, match=message):
                model.check_quantized()


def test_a_result_of_open_length_on_the_host_is_no_obstacle(model_bytes):
    tensors = [activation("x", 1, 8), ("y", [1, 1], INT8, False, {7: [-1, -1]})]
    read(model_bytes(tensors, [(109, [0], [1], None)])).check_quantized()


def test_variables_and_ops_without_result_are_read(model_bytes):
    tensors = [
        activation("x", 1, 8),
        ("state", [1, 8], INT8, False, {5: ("b", 1)}),
        activation("y", 1, 8),
    ]
    ops = [(144, [1, 0], [], None), (129, [], [], None), (0, [0, 1], [2], None)]
    model = read(model_bytes(tensors, ops))
    assert [op.name for op in model.graph.ops] == ["OTHER", "OTHER#2", "y"]
    assert [op.output_shape for op in model.graph.ops] == [(1, 8), (), (1, 8)]


def test_an_empty_list_is_a_constant_without_data(model_bytes):
    tensors = [activation("x", 1, 8), ("axes", [0], INT32, False), activation("y", 1, 8)]
    (op,) = read(model_bytes(tensors, [(43, [0, 1], [2], None)])).graph.ops
    assert op.inputs == (INPUT,)
