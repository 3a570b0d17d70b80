"""Parameters that are constant operands, and weights that are no parameters."""

import json

import numpy as np
import pytest

from hw.__main__ import main
from hw.cost_models.macs_only import MacsOnly
from hw.device import load_device
from hw.families.edge_tpu.analytic import Analytic
from hw.tflite.reader import parse_tflite
from hw.tflite.reasons import NO_CONSTANTS
from spaces.graph import INPUT, Op, OpBatch, OpGraph, OpKind

INT32, INT8 = 2, 9
ADD, CONCATENATION, CONV, DENSE, MUL, PRELU, SUB, DIV, BATCH_MATMUL = (
    0,
    2,
    3,
    9,
    18,
    54,
    41,
    42,
    126,
)
LSTM, TRANSPOSE_CONV = 44, 67
CONV_3X3 = (1, {1: ("i", 1), 2: ("i", 1)})


def elementwise(model_bytes, builtin, constant, shape=(1, 128, 128, 32)):
    tensors = [
        ("x", list(shape), INT8, False),
        ("c", list(constant), INT8, True),
        ("y", list(shape), INT8, False),
    ]
    return model_bytes(tensors, [(builtin, [0, 1], [2], None)])


@pytest.mark.parametrize("builtin", [ADD, SUB, MUL, PRELU])
@pytest.mark.parametrize("device", ["coral_usb3", "coral_dev_board", "tensor_g1"])
def test_a_large_constant_operand_is_streamed(model_bytes, tmp_path, capsys, builtin, device):
    if builtin == PRELU and device != "tensor_g1":
        pytest.skip("no Coral maps it")
    path = tmp_path / "net.tflite"
    path.write_bytes(elementwise(model_bytes, builtin, (1, 128, 128, 32)))
    assert main(["estimate", str(path), "--device", device, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    # derived: 128 * 128 * 32 = 512 KiB
    assert record["weight_bytes"] == record["streamed_bytes"] == 512 << 10
    assert record["per_op"][-1]["dram_bytes"] == 512 << 10


def test_streaming_of_a_constant_hides_behind_the_work_of_its_op(round_device):
    shape = (1, 128, 128, 32)
    plain = Op("y", OpKind.ADD, (INPUT,), shape, shape, constant=(32,))
    large = Op("y", OpKind.ADD, (INPUT,), shape, shape, constant=shape)
    few, many = (Analytic(round_device).estimate(OpGraph(shape, (op,))) for op in (plain, large))
    # derived: 0.5 MiB at 2 ms/MiB, less 2 * 128 * 128 words of 64 B at 32 GB/s
    work = 2 * 128 * 128 * 64 / 32e6
    loaded = 64 / 16e6
    assert many.latency_ms - few.latency_ms == pytest.approx(1.0 - work - loaded)
    assert (few.weight_bytes, few.streamed_bytes) == (64, 0)  # a scale of channels stays


def test_a_single_number_is_no_parameter(model_bytes):
    graph = parse_tflite(elementwise(model_bytes, MUL, ()), "net.tflite").graph
    report = Analytic(load_device("coral_usb3")).estimate(graph)
    assert (report.weight_bytes, report.streamed_bytes) == (0, 0)


def test_constants_are_streamed_beside_weights_that_stay(round_device, networks):
    conv = networks.conv("c", INPUT, (1, 16, 16, 64), 64, 3)
    scale = Op("s", OpKind.MUL, ("c",), (1, 16, 16, 64), (1, 16, 16, 64), constant=(16, 16, 64))
    alone, both = (OpGraph((1, 16, 16, 64), ops) for ops in ((conv,), (conv, scale)))
    model = Analytic(round_device)
    held, more = model.estimate(alone), model.estimate(both)
    assert more.weight_bytes - held.weight_bytes == more.streamed_bytes == 16 * 16 * 64
    # The first inference loads what stays; what is streamed anyway it does not load twice.
    extra = [one.first_inference_ms - one.latency_ms for one in (held, more)]
    assert extra[0] == pytest.approx(extra[1])
    batch = model.estimate_many(OpBatch.of([alone, both]))
    for name in ("latency_ms", "weight_bytes", "streamed_bytes", "energy_mj"):
        expected = [getattr(held, name), getattr(more, name)]
        np.testing.assert_allclose(batch[name], expected, rtol=1e-9)


def test_constants_of_joins_products_and_recurrent_ops_count(model_bytes):
    join = [
        ("x", [1, 4, 4, 8], INT8, False),
        ("c", [1, 4, 4, 8], INT8, True),
        ("y", [1, 4, 4, 16], INT8, False),
    ]
    product = [
        ("x", [1, 5, 16], INT8, False),
        ("c", [1, 16, 8], INT8, True),
        ("y", [1, 5, 8], INT8, False),
    ]
    lstm = [
        ("x", [1, 5, 16], INT8, False),
        *((f"w{gate}", [8, 16], INT8, True) for gate in range(4)),
        *((f"r{gate}", [8, 8], INT8, True) for gate in range(4)),
        ("b", [8], INT32, True),
        ("y", [1, 5, 8], INT8, False),
    ]
    found = [
        parse_tflite(
            model_bytes(tensors, [(op, [*range(len(tensors) - 1)], [len(tensors) - 1], None)]), ""
        )
        for op, tensors in ((CONCATENATION, join), (BATCH_MATMUL, product), (LSTM, lstm))
    ]
    # derived: 4 * 4 * 8; 16 * 8; 4 * (8 * 16 + 8 * 8), the bias apart
    assert [model.graph.ops[0].weights for model in found] == [128, 128, 768]


# --- weights that are inputs -------------------------------------------------------------------


def fed(model_bytes, builtin, constant_weights=False, constant_bias=True, made=False):
    """A convolution or dense op whose weights or bias are inputs, or made by another op."""
    dense = builtin == DENSE
    tensors = [
        ("x", [1, 64] if dense else [1, 8, 8, 64], INT8, False),
        ("w", [64, 64] if dense else [64, 3, 3, 64], INT8, constant_weights),
        ("b", [64], INT32, constant_bias),
        ("y", [1, 64] if dense else [1, 8, 8, 64], INT8, False),
        ("sizes", [4], INT32, True),
        ("made", [64, 64] if dense else [64, 3, 3, 64], INT8, False),
    ]
    weights = 5 if made else 1
    operands = [4, weights, 0, 2] if builtin == TRANSPOSE_CONV else [0, weights, 2]
    options = None if builtin != CONV else CONV_3X3
    relu = [(19, [1], [5], None)] if made else []
    inputs = [0, *([] if constant_weights else [1]), *([] if constant_bias else [2])]
    return model_bytes(tensors, [*relu, (builtin, operands, [3], options)], tuple(inputs))


@pytest.mark.parametrize("builtin", [CONV, DENSE, TRANSPOSE_CONV])
@pytest.mark.parametrize(
    "how", [{}, {"made": True}, {"constant_weights": True, "constant_bias": False}]
)
def test_weights_that_are_inputs_are_no_parameters_and_stay_on_the_host(
    model_bytes, tmp_path, capsys, builtin, how
):
    path = tmp_path / "net.tflite"
    path.write_bytes(fed(model_bytes, builtin, **how))
    for device in ("coral_usb3", "tensor_g1"):
        assert main(["estimate", str(path), "--device", device, "--json"]) == 0
        record = json.loads(capsys.readouterr().out)
        assert ["y", NO_CONSTANTS] in record["host_ops"]
        assert record["weight_bytes"] == record["streamed_bytes"] == 0
        assert record["macs"] > 0
        assert record["per_op"][-1]["unit"] == "host"


@pytest.mark.parametrize("builtin", [CONV, DENSE, TRANSPOSE_CONV])
def test_constant_weights_map(model_bytes, builtin):
    model = parse_tflite(fed(model_bytes, builtin, constant_weights=True), "net.tflite")
    assert model.unsupported == () and model.graph.ops[0].weight_bits == 8


def test_the_straight_line_counts_parameters_alone(model_bytes):
    counted = [
        MacsOnly(load_device("coral_usb3"))
        .estimate(parse_tflite(fed(model_bytes, DENSE, one), "").graph)
        .weight_bytes
        for one in (False, True)
    ]
    assert counted == [0, 64 * 64]


def test_a_straight_line_knows_nothing_of_memory(model_bytes):
    graph = parse_tflite(fed(model_bytes, DENSE, True), "").graph
    report = MacsOnly(load_device("coral_usb3")).estimate(graph)
    assert (report.peak_memory_bytes, report.streamed_bytes) == (None, None)
