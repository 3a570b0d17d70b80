"""What nothing shows to map is said, and the interval reaches to what it would cost otherwise."""

import json

import pytest

from hw.__main__ import main
from hw.device import load_device
from hw.families.edge_tpu.analytic import Analytic
from hw.families.edge_tpu.mapping import compiler_names, rules_of
from hw.families.edge_tpu.suppositions import with_suppositions
from hw.tflite.reasons import NOT_SUPPORTED
from spaces.graph import OpKind

SHAPE = (1, 56, 56, 64)
DEVICE = load_device("tensor_g1")


def stack(networks, kind):
    """Convolutions with an op of that kind in their middle."""
    return networks.interrupted(networks.stack(64, 3, 8, 56), 3, kind)


@pytest.mark.parametrize("kind", sorted(rules_of("tensor").supposed_kinds))
def test_an_op_that_may_not_map_widens_the_interval(networks, kind):
    graph = stack(networks, kind)
    plain = Analytic(DEVICE).estimate(graph)
    assert plain.host_ops == ()
    report = with_suppositions(plain, graph, {}, DEVICE)
    worst = Analytic(DEVICE).estimate(graph, {"host": NOT_SUPPORTED})
    assert worst.latency_ms > 2 * plain.latency_ms
    assert report.latency_ms == plain.latency_ms
    assert report.latency_interval_ms == (
        plain.latency_interval_ms[0],
        worst.latency_interval_ms[1],
    )
    (said,) = report.supposed
    assert f"{kind} is supposed to run on the TPU" in said and f"{worst.latency_ms:.2f} ms" in said


def test_what_is_shown_or_matters_little_is_not_said(networks):
    shown = stack(networks, OpKind.LOGISTIC)
    last = networks.interrupted(networks.stack(64, 3, 8, 56), 7, OpKind.DEQUANTIZE)
    for graph in (shown, last):
        report = Analytic(DEVICE).estimate(graph)
        assert with_suppositions(report, graph, {}, DEVICE) == report


def test_without_a_calibration_there_is_no_interval_to_widen(networks, round_device, changed):
    device = changed(round_device, "compiler", rules="tensor")
    graph = stack(networks, OpKind.GELU)
    report = with_suppositions(Analytic(device).estimate(graph), graph, {}, device)
    assert report.latency_interval_ms is None and report.supposed


def test_only_mapped_kinds_are_supposed():
    for name in compiler_names():
        assert rules_of(name).supposed_kinds <= rules_of(name).kinds
    assert not rules_of("edgetpu_compiler_16").supposed_kinds


def test_commands_say_it(model_bytes, tmp_path, capsys):
    tensors = [
        ("x", [1, 56, 56, 64], 9, False),
        ("w", [64, 3, 3, 64], 9, True),
        *((f"t{number}", [1, 56, 56, 64], 9, False) for number in range(5)),
    ]
    conv = (1, {1: ("i", 1), 2: ("i", 1)})
    ops = [(3, [0, 1], [2], conv), (117, [2], [3], None)]
    ops += [(3, [source, 1], [source + 1], conv) for source in range(3, 6)]
    path = tmp_path / "net.tflite"
    path.write_bytes(model_bytes(tensors, ops))
    for command in ("estimate", "explain"):
        assert main([command, str(path), "--device", "tensor_g1"]) == 0
        assert "HARD_SWISH is supposed to run on the TPU" in capsys.readouterr().out
    assert main(["estimate", str(path), "--device", "tensor_g1", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert len(record["supposed"]) == 1
