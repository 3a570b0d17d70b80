"""Every kind of op that a shipped device maps has a law, and a cost that its work explains."""

import dataclasses

import pytest

from hw.columns import BINARY
from hw.cost_model import CostModelError
from hw.device import load_device
from hw.families.edge_tpu.analytic import Analytic
from hw.families.edge_tpu.laws import ELEMENT_STEPS, ELEMENTWISE, WITH_A_LAW, check_laws
from hw.families.edge_tpu.mapping import rules_of
from hw.families.edge_tpu.memory import VIEWS
from hw.tflite.reader import parse_tflite
from spaces.graph import INPUT, Op, OpGraph, OpKind
from tests.devices import devices_of

INT8 = 9
MAP = (1, 16, 16, 64)
PARTS = {OpKind.SPLIT, OpKind.UNPACK}
DEVICES = pytest.mark.parametrize("name", devices_of("edge_tpu"))


def graph(kind):
    """An op of that kind on maps, on two of them if it takes two."""
    operands = (
        (INPUT, "more") if kind in BINARY | {OpKind.CONCATENATION, OpKind.PACK} else (INPUT,)
    )
    shape = (1, 1, 64) if kind in {OpKind.FULLY_CONNECTED, OpKind.SOFTMAX} else MAP
    constant = ()
    if kind in {OpKind.GATHER, OpKind.EMBEDDING_LOOKUP}:
        shape, constant = (1, 16, 64), (100, 64)
    if kind is OpKind.UNIDIRECTIONAL_SEQUENCE_LSTM:
        shape, constant = (1, 16, 64), (1 << 15,)
    op = Op("y", kind, operands, shape, shape, constant=constant)
    return OpGraph(shape, (op,), more_inputs=(("more", MAP),))


@DEVICES
def test_every_mapped_kind_takes_time(name):
    device = load_device(name)
    for kind in sorted(rules_of(device.compiler.rules).kinds):
        report = Analytic(device).estimate(graph(kind))
        assert report.host_ops == (), kind
        spent = report.per_op[-1].latency_ms
        assert spent >= 0 if kind in VIEWS else spent > 3e-4, kind


@DEVICES
def test_no_element_wise_op_is_cheaper_than_the_cheapest_by_a_factor(name):
    device = load_device(name)
    kinds = ELEMENTWISE & rules_of(device.compiler.rules).kinds - VIEWS - {OpKind.SOFTMAX}
    costs = {kind: Analytic(device).estimate(graph(kind)).per_op[-1].latency_ms for kind in kinds}
    assert max(costs.values()) < 1.6 * min(costs.values()), costs


@DEVICES
def test_all_binary_ops_cost_the_same(name):
    device = load_device(name)
    kinds = BINARY & rules_of(device.compiler.rules).kinds
    costs = {kind: Analytic(device).estimate(graph(kind)).latency_ms for kind in kinds}
    assert min(costs.values()) == pytest.approx(max(costs.values())), costs


def test_a_mapped_kind_without_a_law_is_refused(monkeypatch):
    rules = rules_of("tensor")
    assert OpKind.OTHER not in WITH_A_LAW
    check_laws(rules.kinds, "tensor")
    with pytest.raises(
        CostModelError,
        match=r"tensor: each kind .* in hw/families/edge_tpu/laws\.py, but got OTHER",
    ):
        check_laws(rules.kinds | {OpKind.OTHER}, "tensor")
    more = dataclasses.replace(rules, kinds=rules.kinds | {OpKind.TFLITE_DETECTION_POSTPROCESS})
    monkeypatch.setattr("hw.families.edge_tpu.analytic.rules_of", lambda _: more)
    with pytest.raises(CostModelError, match="but got TFLITE_DETECTION_POSTPROCESS"):
        Analytic(load_device("tensor_g1"))


def test_only_what_the_host_alone_runs_has_no_law():
    without = set(OpKind) - WITH_A_LAW
    assert without == {OpKind.OTHER, OpKind.TFLITE_DETECTION_POSTPROCESS}
    assert set(ELEMENT_STEPS) <= WITH_A_LAW


def test_parts_and_joins_move_all_of_what_they_cut_and_join(round_device):
    whole, part = (1, 8, 16, 64), (1, 16, 64)
    reports = {}
    for kind in PARTS:
        op = Op("y", kind, (INPUT,), whole, part)
        chip = dataclasses.replace(round_device.compiler, rules="tensor")
        device = dataclasses.replace(round_device, compiler=chip)
        reports[kind] = Analytic(device).estimate(OpGraph(whole, (op,)))
    split, unpack = reports.values()
    assert split.per_op[-1].latency_ms == unpack.per_op[-1].latency_ms
    assert split.peak_memory_bytes == unpack.peak_memory_bytes == 2 * 8 * 16 * 64


# --- files -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "window"),
    [
        ([1, 7, 5, 64], [1, 64], (7, 5)),
        ([1, 7, 5, 64], [1, 1, 1, 64], (7, 5)),
        ([1, 20, 64], [1, 64], (1, 20)),
        ([1, 8, 4, 64], [1, 1, 4, 64], (1, 8)),
        ([1, 8, 4, 64], [1, 8, 4], (1, 1)),
    ],
)
@pytest.mark.parametrize("builtin", [40, 74, 82])
def test_a_mean_in_a_file_has_the_window_that_it_takes_away(
    model_bytes, builtin, before, after, window
):
    tensors = [("x", before, INT8, False), ("axes", [2], 2, True), ("y", after, INT8, False)]
    (op,) = parse_tflite(model_bytes(tensors, [(builtin, [0, 1], [2], None)]), "").graph.ops
    assert op.kernel_size == window


def test_a_mean_costs_the_same_in_a_file_as_in_a_graph(model_bytes, round_device):
    tensors = [
        ("x", [1, 7, 7, 640], INT8, False),
        ("axes", [2], 2, True),
        ("y", [1, 640], INT8, False),
    ]
    read = parse_tflite(model_bytes(tensors, [(40, [0, 1], [2], None)]), "").graph
    built = Op("y", OpKind.MEAN, (INPUT,), (1, 7, 7, 640), (1, 640), (7, 7))
    model = Analytic(round_device)
    assert model.estimate(read) == model.estimate(OpGraph((1, 7, 7, 640), (built,)))


def test_a_recurrent_op_multiplies_in_each_step(round_device):
    op = Op(
        "y",
        OpKind.UNIDIRECTIONAL_SEQUENCE_LSTM,
        (INPUT,),
        (1, 5, 100),
        (1, 5, 32),
        constant=(16_896,),
    )
    graph = OpGraph((1, 5, 100), (op,))
    # derived: 4 * 32 * (100 + 32) weights, 66 steps of 256 at 500 MHz in each of 5 steps
    report = Analytic(round_device).estimate(graph)
    none = Analytic(round_device).estimate(
        OpGraph((1, 5, 100), (dataclasses.replace(op, constant=()),))
    )
    assert report.macs == 5 * 16_896
    loaded = 16_896 / 16e6
    assert report.latency_ms - none.latency_ms == pytest.approx(5 * 66 / 500e3 + loaded)
