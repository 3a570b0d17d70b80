"""What would help: the right thing is named, with savings that a second estimate bears out."""

from __future__ import annotations

import dataclasses

import pytest

from hw.device import load_device
from hw.families.edge_tpu.advice import MOST, Change, changes
from hw.families.edge_tpu.analytic import Analytic
from hw.families.edge_tpu.profile import Device
from spaces.graph import INPUT, Op, OpGraph, OpKind, Shape

CORAL = load_device("coral_usb3")


def conv(name: str, source: str, shape: Shape, outputs: int, kernel: int = 1) -> Op:
    after = (*shape[:-1], outputs)
    return Op(name, OpKind.CONV_2D, (source,), shape, after, (kernel, kernel))


def chain(shape: Shape, *outputs: int, kernel: int = 1) -> OpGraph:
    ops: list[Op] = []
    for number, channels in enumerate(outputs):
        source = ops[-1] if ops else None
        before = source.output_shape if source else shape
        name = source.name if source else INPUT
        ops.append(conv(f"c{number}", name, before, channels, kernel))
    return OpGraph(shape, tuple(ops))


def advise(graph: OpGraph, device: Device = CORAL) -> tuple[Change, ...]:
    return changes(graph, {}, device, Analytic(device).estimate(graph))


def latency(graph: OpGraph, device: Device = CORAL) -> float:
    return Analytic(device).estimate(graph).known_latency_ms


def test_streaming_comes_first_where_weights_do_not_fit() -> None:
    graph = chain((1, 7, 7, 512), *[1024] * 8, kernel=3)
    first = advise(graph)[0]
    assert "do not fit on chip" in first.text and "an inference" in first.text
    large = dataclasses.replace(CORAL.chip, wide_memory_bytes=1 << 30)
    without = latency(graph, dataclasses.replace(CORAL, chip=large))
    assert first.saving_ms == pytest.approx(latency(graph) - without, rel=0.1)


def test_a_constant_as_large_as_a_map_is_named() -> None:
    shape = (1, 128, 128, 32)
    ops = (
        conv("c", INPUT, shape, 32),
        Op("sum", OpKind.ADD, ("c",), shape, shape, constant=shape),
    )
    (told,) = (change.text for change in advise(OpGraph(shape, ops)) if "MiB" in change.text)
    assert told.startswith("these 0.5 MiB of weights and constant maps are not kept on chip")
    assert "the heaviest layers are sum (0.5 MiB)" in told


def test_an_op_on_the_host_is_named_and_several_subgraphs_are_tried() -> None:
    shape = (1, 28, 28, 64)
    ops = [conv("a", INPUT, shape, 64, 3)]
    ops.append(Op("stuck", OpKind.GELU, ("a",), shape, shape))
    ops += chain(shape, *[256] * 12, kernel=3).ops
    ops[2] = dataclasses.replace(ops[2], inputs=("stuck",))
    found = advise(OpGraph(shape, tuple(ops)))
    texts = [change.text for change in found]
    assert any("stay on the host" in text and "stuck" in text for text in texts)
    several = next(change for change in found if "-a would" in change.text)
    compiler = dataclasses.replace(CORAL.compiler, subgraphs="several")
    other = latency(OpGraph(shape, tuple(ops)), dataclasses.replace(CORAL, compiler=compiler))
    assert several.saving_ms == pytest.approx(latency(OpGraph(shape, tuple(ops))) - other)


def test_a_few_outputs_beyond_the_lanes_are_named() -> None:
    graph = chain((1, 56, 56, 64), *[72] * 12, kernel=3)
    lanes = next(change for change in advise(graph) if "a pass more" in change.text)
    narrower = chain((1, 56, 56, 64), *[64] * 12, kernel=3)
    # Narrower layers also have fewer inputs: the advice may not promise more than that saves.
    assert 0 < lanes.saving_ms <= latency(graph) - latency(narrower)


def test_depthwise_convolutions_are_named_where_they_dominate() -> None:
    shape = (1, 88, 88, 96)
    ops = [conv("stem", INPUT, (1, 88, 88, 3), 96)]
    for number in range(6):
        op = Op(
            f"d{number}", OpKind.DEPTHWISE_CONV_2D, (ops[-1].name,), shape, shape, (5, 5), (1, 1)
        )
        ops.append(op)
    ops.append(Op("mean", OpKind.MEAN, (ops[-1].name,), shape, (1, 96), (88, 88)))
    assert "depthwise" in advise(OpGraph((1, 88, 88, 3), tuple(ops)))[0].text


def test_a_network_too_small_for_the_tpu_is_told_so() -> None:
    first = advise(chain((1, 1, 1, 8), 8))[0]
    assert "the host alone would take" in first.text
    large = advise(chain((1, 56, 56, 64), *[64] * 12, kernel=3))
    assert not any("the host alone" in change.text for change in large)


def test_at_most_three_that_are_worth_it_the_best_first() -> None:
    for graph in (chain((1, 64, 64, 3), *[72] * 5, kernel=3), chain((1, 1, 1, 8), 8)):
        found = advise(graph)
        assert len(found) <= MOST
        assert [c.saving_ms for c in found] == sorted((c.saving_ms for c in found), reverse=True)
        assert all(change.saving_ms >= 0.02 * latency(graph) for change in found)


def test_nothing_is_promised_beyond_the_whole() -> None:
    graph = chain((1, 32, 32, 64), *[256] * 6, kernel=3)
    assert all(change.saving_ms < latency(graph) for change in advise(graph))
