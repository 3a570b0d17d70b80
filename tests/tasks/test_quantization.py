"""Exported files compute what was trained, in 8 bits, in either form of group convolutions."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hw.families.edge_tpu.acceptance import check_accepted
from hw.tflite.reader import read_tflite
from spaces.families.blocks import (
    IBN_DW,
    IBN_FUSED,
    IBN_FUSED_GROUPED,
    IBN_GROUPED,
    Block,
    lower_block,
)
from spaces.graph import INPUT, Op, OpGraph, OpKind
from spaces.heads.classification import classification
from tasks.learning.interpreter import dequantize, predict, quantize, runs_as_it_is
from tasks.learning.pixels import normalise
from tasks.learning.quantization import Network
from tests.samples import opened, samples, small_space

CLASSES, SHAPE, CHANNELS = 5, (1, 8, 8, 3), 16
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures("tensorflow")


def _network(*ops: str) -> OpGraph:
    """A stem, a residual block of each op (expansion 4, 16 channels a group), and a head."""
    maps = (*SHAPE[:-1], CHANNELS)
    stem = Op(
        "stem", OpKind.CONV_2D, (INPUT,), SHAPE, maps, (3, 3), activation="relu", batch_norm=True
    )
    found = [stem]
    for number, op in enumerate(ops):
        grouped = op in (IBN_GROUPED, IBN_FUSED_GROUPED)
        block = Block(f"block{number}", op, CHANNELS, 3, 1, 4, 16 if grouped else None)
        found += lower_block(block, (found[-1].name, maps))
    return classification(OpGraph(SHAPE, tuple(found)), CLASSES)


def _model(graph: OpGraph, output: str = "logits") -> Any:
    """A Keras model whose weights and statistics are no special case."""
    from spaces.trainable.keras_model import build_model, get_weights, set_weights

    model = build_model(graph, outputs=(output,))
    rng = np.random.default_rng(0)
    weights = {}
    for name, value in get_weights(model).items():
        if name.endswith("kernel"):
            gain = 0.03 if name == "logits:kernel" else 2  # probabilities that are not all 0 or 1
            weights[name] = rng.normal(0, np.sqrt(gain / np.prod(value.shape[:-1])), value.shape)
        elif name.endswith(("gamma", "moving_variance")):
            weights[name] = rng.uniform(0.5, 1.5, value.shape)
        else:
            weights[name] = rng.normal(0, 0.2, value.shape)
    set_weights(model, {name: value.astype(np.float32) for name, value in weights.items()})
    return model


def _built(graph: OpGraph) -> Network:
    return Network(_model(graph), graph, ("logits",), ("probabilities",))


def _images(count: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE[1:]), np.uint8)


def _read(count: int, seed: int = 0) -> dict[str, Any]:
    return {"input": normalise(_images(count, seed))}


def _predicted(tflite: bytes, count: int, seed: int = 0) -> Any:
    (found,) = predict(tflite, _read(count, seed), ("probabilities",))
    return found


@lru_cache
def _post_training(op: str) -> tuple[bytes, bytes]:
    """Native and split form of a network with one block."""
    from tasks.learning.quantization import export_post_training, split_grouped_convolutions

    native = export_post_training(_built(_network(op)), _read(16))
    return native, split_grouped_convolutions(native)


def _ops(tflite: bytes, folder: Path) -> tuple[Op, ...]:
    path = folder / "model.tflite"
    path.write_bytes(tflite)
    return read_tflite(path).graph.ops


GROUPED = pytest.mark.parametrize("op", [IBN_GROUPED, IBN_FUSED_GROUPED])


@GROUPED
def test_split_form_gives_the_same_bits(op: str) -> None:
    native, split = _post_training(op)
    assert native != split
    outputs = _predicted(native, 40, seed=1)
    assert len(np.unique(outputs, axis=0)) > 10  # the network does tell images apart
    np.testing.assert_array_equal(outputs, _predicted(split, 40, seed=1))


@GROUPED
def test_split_form_has_one_convolution_a_group(op: str, tmp_path: Path) -> None:
    native, split = (_ops(tflite, tmp_path) for tflite in _post_training(op))
    # derived: 16 channels expanded 4 times are 64, in groups of 16: four of them
    assert [one.groups for one in native if one.groups > 1] == [4]
    assert all(one.groups == 1 for one in split)
    added = Counter(one.kind for one in split) - Counter(one.kind for one in native)
    assert added == {OpKind.CONV_2D: 3, OpKind.SPLIT: 1, OpKind.CONCATENATION: 1}
    grouped = next(one for one in native if one.groups == 4)
    parts = [one for one in split if one.input_shape[-1] == grouped.in_channels // 4]
    parts = [one for one in parts if one.kind is OpKind.CONV_2D and one.out_channels == 16]
    assert len(parts) == 4
    assert {(one.kernel_size, one.strides, one.activation) for one in parts} == {
        (grouped.kernel_size, grouped.strides, grouped.activation)
    }
    assert sum(one.macs for one in parts) == grouped.macs


@GROUPED
def test_split_form_needs_no_version_that_an_edge_tpu_compiler_lacks(op: str) -> None:
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    def versions(tflite: bytes) -> set[int]:
        model = flatbuffer_utils.convert_bytearray_to_object(bytearray(tflite))
        conv = schema.BuiltinOperator.CONV_2D
        return {code.version for code in model.operatorCodes if code.builtinCode == conv}

    native, split = _post_training(op)
    assert 6 in versions(native)
    assert versions(split) == {3}


def test_network_without_groups_is_split_into_itself(tmp_path: Path) -> None:
    native, split = _post_training(IBN_DW)
    assert _ops(native, tmp_path) == _ops(split, tmp_path)
    np.testing.assert_array_equal(_predicted(native, 4), _predicted(split, 4))


def test_native_group_convolution_is_slices_convolved_and_concatenated(tensorflow: Any) -> None:
    from spaces.trainable.keras_model import build_model, get_weights, set_weights

    shapes = ((1, 6, 6, 12), (1, 3, 3, 24))
    op = Op("grouped", OpKind.CONV_2D, (INPUT,), *shapes, (3, 3), (2, 2), groups=3)
    model = build_model(OpGraph(shapes[0], (op,)))
    rng = np.random.default_rng(0)
    (name, kernel), *rest = get_weights(model).items()
    assert (name, kernel.shape, rest) == ("grouped:kernel", (3, 3, 4, 24), [])
    kernel = rng.normal(size=kernel.shape).astype(np.float32)
    set_weights(model, {name: kernel})
    maps = rng.normal(size=(2, *shapes[0][1:])).astype(np.float32)
    parts = [
        tensorflow.nn.conv2d(
            maps[..., 4 * group : 4 * group + 4],
            kernel[..., 8 * group : 8 * group + 8],
            strides=2,
            padding="SAME",
        ).numpy()
        for group in range(3)
    ]
    found = model(maps).numpy()
    np.testing.assert_allclose(found, np.concatenate(parts, axis=-1), atol=1e-5)
    # by hand, too: one output at the middle of the map, where no padding reaches
    window = maps[0, 2:5, 2:5, 4:8]
    expected = np.sum(window * kernel[:, :, :, 10], dtype=np.float64)
    np.testing.assert_allclose(found[0, 1, 1, 10], expected, atol=1e-5)


@pytest.mark.parametrize("op", [IBN_DW, IBN_GROUPED])
def test_integer_file_takes_and_gives_int8(op: str) -> None:
    from ai_edge_litert.interpreter import Interpreter

    for tflite in _post_training(op):
        interpreter = Interpreter(model_content=tflite)
        (source,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
        assert (source["dtype"], tuple(source["shape"])) == (np.int8, SHAPE)
        assert (result["dtype"], tuple(result["shape"])) == (np.int8, (1, CLASSES))
        # derived: a softmax lies in [0, 1], 256 steps
        assert result["quantization"] == (1 / 256, -128)
        scale, zero_point = source["quantization"]
        assert scale * (-128 - zero_point) == pytest.approx(-1, abs=0.02)
        assert scale * (127 - zero_point) == pytest.approx(1, abs=0.02)


def _weight_scales(tflite: bytes) -> dict[str, tuple[int, int]]:
    """Of each convolution, by the name of its weights: filters, and scales for them."""
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(tflite))
    graph, found = model.subgraphs[0], {}
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex].builtinCode
        if code in (3, 4):  # CONV_2D, DEPTHWISE_CONV_2D in the schema
            weights = graph.tensors[operator.inputs[1]]
            filters = weights.shape[0] if code == 3 else weights.shape[3]
            distinct = len(np.unique(weights.quantization.scale))
            assert len(weights.quantization.scale) == filters
            found[weights.name.decode()] = (int(filters), distinct)
    return found


def _dense_scales(tflite: bytes) -> list[int]:
    """How many scales the weights of each FULLY_CONNECTED have."""
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(tflite))
    graph = model.subgraphs[0]
    dense = [o for o in graph.operators if model.operatorCodes[o.opcodeIndex].builtinCode == 9]
    return [len(graph.tensors[o.inputs[1]].quantization.scale) for o in dense]


def test_dense_layers_have_one_scale_which_every_runtime_reads(tmp_path: Path) -> None:
    """Of several TensorFlow Lite of 2021 gave one number for all classes, and no error."""
    from tasks.learning.quantization import split_grouped_convolutions

    for tflite in (*_post_training(IBN_DW), split_grouped_convolutions(_everything()["int8"])):
        assert _dense_scales(tflite) == [1]
        path = tmp_path / "model.tflite"
        path.write_bytes(tflite)
        check_accepted(read_tflite(path), "edgetpu_compiler_14")


def test_dense_layers_of_tokens_have_one_scale() -> None:
    """In the loop, too: those with a ReLU behind them would get one for each channel."""
    from tasks.learning.quantization import (
        export_post_training,
        export_quantize_aware,
        quantize_aware,
    )

    before, after = (1, 4, 8), (1, 4, 16)
    kind = OpKind.FULLY_CONNECTED
    expand = Op("expand", kind, (INPUT,), before, after, activation="relu")
    graph = OpGraph(before, (expand, Op("project", kind, ("expand",), after, before)))
    network = Network(_model(graph, "project"), graph, ("project",), ("project",))
    tokens = {"input": np.random.default_rng(0).normal(size=(8, 4, 8)).astype(np.float32)}
    assert _dense_scales(export_post_training(network, tokens)) == [1, 1]
    assert _dense_scales(export_quantize_aware(quantize_aware(network, tokens))) == [1, 1]


def test_a_layer_that_is_always_zero_is_run_by_kernels_that_take_it() -> None:
    from tasks.learning.quantization import (
        export_float,
        export_post_training,
        export_quantize_aware,
        quantize_aware,
    )

    kind, side = OpKind.FULLY_CONNECTED, (1, 4, 8)
    expand = Op("expand", kind, (INPUT,), side, side, activation="relu")
    graph = OpGraph(side, (expand, Op("project", kind, ("expand",), side, side)))
    network = Network(_model(graph, "project"), graph, ("project",), ("project",))
    layer, *_ = (one for one in network.model.layers if one.name.startswith("expand"))
    layer.set_weights([-np.abs(value) for value in layer.get_weights()])
    tokens = {"input": np.random.default_rng(0).uniform(size=(8, 4, 8)).astype(np.float32)}
    ptq = export_post_training(network, tokens)
    assert not runs_as_it_is(ptq)  # its output is scaled for -1e-6 to 1e-6
    assert runs_as_it_is(export_float(network))
    assert runs_as_it_is(export_quantize_aware(quantize_aware(network, tokens)))
    (found,) = predict(ptq, tokens, ("project",))
    assert np.ptp(found, axis=(0, 1)) == pytest.approx(0)  # the same of whatever it reads


@pytest.mark.parametrize("op", [IBN_DW, IBN_GROUPED, IBN_FUSED_GROUPED])
def test_each_filter_has_a_scale_of_its_own(op: str) -> None:
    native, split = map(_weight_scales, _post_training(op))
    assert len(native) in (3, 4)
    for filters, distinct in (*native.values(), *split.values()):
        assert distinct > 0.9 * filters > 1
    assert sum(filters for filters, _ in native.values()) == sum(
        filters for filters, _ in split.values()
    )


@lru_cache
def _everything() -> dict[str, Any]:
    """A network with a block of each kind, trained a little with quantization in the loop."""
    import tensorflow as tf
    import tf_keras as keras

    from tasks.learning.quantization import export_float, export_quantize_aware, quantize_aware

    keras.backend.clear_session()  # quantizing numbers its layers by the models made before
    graph = _network(IBN_DW, IBN_FUSED, IBN_GROUPED, IBN_FUSED_GROUPED)
    network = _built(graph)
    model = network.model
    floating = export_float(network)
    plain = model(normalise(_images(20, seed=2)), training=False).numpy()
    aware = quantize_aware(network, _read(16))
    quantized = aware.model
    before = [variable.numpy() for variable in quantized.trainable_variables]
    images, targets = normalise(_images(16)), np.eye(CLASSES, dtype=np.float32)[np.arange(16) % 5]
    rate = tf.constant(1e-3)
    for _ in range(30):  # the observed ranges are moving averages
        with tf.GradientTape() as tape:
            logits = quantized(images, training=True)
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, logits))
        gradients = tape.gradient(loss, quantized.trainable_variables)
        for variable, gradient in zip(quantized.trainable_variables, gradients, strict=True):
            variable.assign_sub(rate * gradient)
    return {
        "graph": graph,
        "float": floating,
        "logits": plain,
        "int8": export_quantize_aware(aware),
        "quantized": quantized(normalise(_images(20, seed=2)), training=False).numpy(),
        "before": before,
        "after": [variable.numpy() for variable in quantized.trainable_variables],
    }


def _softmax(logits: Any) -> Any:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def test_float_file_computes_what_keras_computes() -> None:
    made = _everything()
    found = _predicted(made["float"], 20, seed=2)
    assert found.dtype == np.float32
    assert np.ptp(found[:, 0]) > 1e-2
    np.testing.assert_allclose(found, _softmax(made["logits"]), atol=1e-5)


def test_gradients_pass_the_fake_quantization_of_every_kind_of_block() -> None:
    made = _everything()
    assert len(made["before"]) > 30
    for before, after in zip(made["before"], made["after"], strict=True):
        assert not np.array_equal(before, after)


def test_before_training_weights_are_quantized_by_ranges_of_their_own() -> None:
    from tasks.learning.quantization import quantize_aware

    network = _built(_network(IBN_FUSED, IBN_DW))
    aware = quantize_aware(network, _read(16))
    stem = aware.model.get_layer("quant_stem")
    ranges = {v.name.rpartition("/")[2]: v.numpy() for v in stem.weights}
    greatest = np.abs(network.model.get_layer("stem").kernel.numpy()).max(axis=(0, 1, 2))
    np.testing.assert_allclose(ranges["kernel_max:0"], greatest, rtol=1e-5)
    one, other = (built.model(_read(40, seed=1)["input"]) for built in (network, aware))
    assert np.corrcoef(np.ravel(one), np.ravel(other))[0, 1] > 0.98


def test_quantization_aware_file_is_the_graph_in_8_bits(tmp_path: Path) -> None:
    made = _everything()
    path = tmp_path / "model.tflite"
    path.write_bytes(made["int8"])
    model = read_tflite(path)
    assert model.unsupported == ()
    assert [(one.kind, one.output_shape, one.groups) for one in model.graph.ops] == [
        (one.kind, one.output_shape, one.groups) for one in made["graph"].ops
    ]
    assert model.graph.macs == made["graph"].macs
    for filters, distinct in _weight_scales(made["int8"]).values():
        assert distinct > 0.9 * filters > 1


def test_quantization_aware_file_computes_what_was_trained() -> None:
    from tasks.learning.quantization import split_grouped_convolutions

    made = _everything()
    found = _predicted(made["int8"], 20, seed=2)
    # derived: a softmax lies in [0, 1], 256 steps
    np.testing.assert_array_equal(found * 256, np.round(found * 256))
    expected = _softmax(made["quantized"])
    assert np.abs(found - expected).mean() < 0.02 < np.ptp(expected)
    split = split_grouped_convolutions(made["int8"])
    np.testing.assert_array_equal(_predicted(split, 20, seed=2), found)


def test_values_become_int8_by_scale_and_zero_point() -> None:
    values = normalise(np.array([0, 51, 255], np.uint8))
    details = {"dtype": np.int8, "quantization": (0.01, 10)}
    # derived: -1, -0.6, 1 in steps of 0.01 from 10: -90, -50, 110; at half the step 1 is clipped
    assert quantize(values, details).tolist() == [-90, -50, 110]
    half = {"dtype": np.int8, "quantization": (0.005, 10)}
    assert quantize(values, half).tolist() == [-128, -110, 127]
    plain = quantize(values, {"dtype": np.float32})
    np.testing.assert_allclose(plain, [-1, -0.6, 1], atol=1e-6)
    tokens = quantize(np.array([0, 7]), {"dtype": np.int32, "quantization": (0.0, 0)})
    assert (tokens.dtype, tokens.tolist()) == (np.int32, [0, 7])


def test_outputs_are_what_integers_stand_for() -> None:
    found = dequantize(np.array([-90, 10], np.int8), {"quantization": (0.01, 10)})
    np.testing.assert_allclose(found, [-1, 0], atol=1e-6)
    labels = np.array([3, 200], np.uint8)
    assert dequantize(labels, {"quantization": (0.0, 0)}) is labels


def _smallest(name: str) -> OpGraph:
    space = small_space(name)
    return space.lower(space.smallest())


def test_inputs_and_outputs_are_told_by_their_names_in_any_order() -> None:
    from tasks.learning.quantization import export_float

    problem = opened("question_answering")
    graph = problem.complete(_smallest(problem.name))
    network = Network(_model(graph, *problem.trained), graph, problem.trained, problem.deployed)
    inputs = problem.inputs(samples(problem.name, 3), graph)
    backwards = dict(reversed(inputs.items()))
    tflite = export_float(network)
    (one,), (other,) = (predict(tflite, each, ("span_logits",)) for each in (inputs, backwards))
    given = [inputs[name] for name, _ in graph.inputs]
    np.testing.assert_allclose(one, network.model(given).numpy(), atol=1e-4)
    np.testing.assert_array_equal(one, other)


EXPORT_ALL = """
import hashlib, sys
sys.path[:0] = {paths!r}
import test_quantization as tests
from tasks.learning.quantization import export_post_training, split_grouped_convolutions
from tasks.learning.training import configure_tensorflow
configure_tensorflow(2, True)
made = tests._everything()
native = export_post_training(tests._built(made["graph"]), tests._read(8))
for content in (made["float"], made["int8"], native, split_grouped_convolutions(native)):
    print(hashlib.sha256(content).hexdigest())
"""


def test_exported_bytes_do_not_depend_on_models_made_before() -> None:
    from tasks.learning.quantization import export_post_training

    again = export_post_training(_built(_network(IBN_DW)), _read(16))
    assert again == _post_training(IBN_DW)[0]


def test_large_networks_are_exported_as_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks.learning import quantization

    constant = _post_training(IBN_DW)[0]
    monkeypatch.setattr(quantization, "_CONSTANTS", 0)
    variable = quantization.export_post_training(_built(_network(IBN_DW)), _read(16))
    assert variable != constant  # tensors are named otherwise
    np.testing.assert_array_equal(_predicted(variable, 20), _predicted(constant, 20))


@pytest.mark.slow
def test_exports_of_two_processes_are_the_same_bytes() -> None:
    program = EXPORT_ALL.format(paths=[str(ROOT), str(Path(__file__).parent)])
    digests = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
        )
        digests.append(done.stdout.split()[-4:])
    assert digests[0] == digests[1]
    assert len(set(digests[0])) == 4
    here = [hashlib.sha256(_everything()[kind]).hexdigest() for kind in ("float", "int8")]
    assert here == digests[0][:2]
