"""What a calibration knows a network by, counted by hand."""

import dataclasses

import numpy as np
import pytest

from hw.families.edge_tpu.analytic import Analytic
from hw.families.edge_tpu.features import COUNTS, FEATURES, LEAST_MS, TIMES, features
from hw.families.edge_tpu.placement import place, place_many
from spaces.graph import INPUT, Op, OpBatch, OpGraph, OpKind, split_grouped_convolutions

MAP = (1, 8, 8, 16)


def known(graph, device, refused=None):
    """Features of one network by name, counts as they are."""
    placement, _ = place([graph], device, [refused or {}])
    row = features(placement, Analytic(device).parts(placement))[0]
    return dict(zip(FEATURES, row, strict=True))


def counts(graph, device, refused=None):
    """Counts that are not 0."""
    row = known(graph, device, refused)
    exact = {name: np.expm1(row[name]) for name in COUNTS}
    return {name: round(count) for name, count in exact.items() if count > 1e-9}


def op(name, kind, *sources, after=MAP, window=(1, 1)):
    return Op(name, kind, sources or (INPUT,), MAP, after, window)


def test_ops_are_counted_by_what_they_are(round_device):
    graph = OpGraph(
        MAP,
        (
            op("a", OpKind.CONV_2D, window=(3, 3)),
            op("b", OpKind.CONV_2D, "a"),
            op("c", OpKind.DEPTHWISE_CONV_2D, "b", window=(3, 3)),
            op("d", OpKind.AVERAGE_POOL_2D, "c", window=(3, 3)),
            op("e", OpKind.ADD, "d", "a"),
            op("f", OpKind.LOGISTIC, "e"),
            op("g", OpKind.CONCATENATION, "f", "e", after=(1, 8, 8, 32)),
            op("h", OpKind.TRANSPOSE_CONV, "g", window=(2, 2)),
            op("i", OpKind.MEAN, "h", after=(1, 16), window=(8, 8)),
            op("j", OpKind.FULLY_CONNECTED, "i", after=(1, 10)),
            op("k", OpKind.CAST, "j", after=(1, 10)),
            op("l", OpKind.RESHAPE, "k", after=(1, 10)),
        ),
    )
    assert counts(graph, round_device) == {
        "window convolutions": 2,
        "pointwise and dense ops": 2,
        "depthwise convolutions": 1,
        "pooling ops": 2,
        "element-wise ops": 2,
        "moving ops": 1,
        "host ops": 2,
    }


def test_views_and_padding_that_is_taken_in_do_not_count(round_device):
    graph = OpGraph(
        MAP,
        (
            op("p", OpKind.PAD),
            op("a", OpKind.CONV_2D, "p"),
            op("r", OpKind.RELU, "a"),
            op("v", OpKind.RESHAPE, "r", after=(1, 1024)),
        ),
    )
    assert counts(graph, round_device) == {"pointwise and dense ops": 1}


def test_times_are_the_parts_of_the_latency(round_device, networks):
    graph = networks.interrupted(networks.stack(512, 3, 6, side=8), 4)
    row = known(graph, round_device)
    placement, _ = place([graph], round_device)
    parts = Analytic(round_device).parts(placement)
    expected = (
        parts.compute_ms,
        parts.movement_ms,
        parts.exposed_ms,
        parts.transfer_ms,
        parts.host_ms,
    )
    assert [row[name] for name in TIMES] == pytest.approx(
        [np.log(LEAST_MS + float(time[0])) for time in expected]
    )
    assert min(float(time[0]) for time in expected) > 0


def test_groups_count_as_they_run(round_device, changed, networks):
    grouped = networks.conv("g", INPUT, MAP, 32, 3, groups=4)
    graph = OpGraph(MAP, (grouped,))
    assert counts(graph, round_device) == {"window convolutions": 4, "moving ops": 2}
    native = changed(round_device, "compiler", grouped_convolution="native")
    assert counts(graph, native) == {"window convolutions": 1}
    assert counts(split_grouped_convolutions(graph), native) == counts(graph, round_device)


@pytest.mark.parametrize("grouped", ["split", "native"])
def test_a_batch_has_the_features_of_its_graphs(round_device, changed, networks, grouped):
    device = changed(round_device, "compiler", grouped_convolution=grouped)
    rng = np.random.default_rng(2)
    graphs = [networks.bottlenecks(rng, pools=3) for _ in range(30)]
    graphs += [networks.interrupted(graph, 2) for graph in graphs[:10]]
    model = Analytic(device)
    exact, _ = place(graphs, device)
    batch = place_many(OpBatch.of(graphs), device)
    one, other = features(exact, model.parts(exact)), features(batch, model.parts(batch))
    np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)
    assert one.shape == (40, len(FEATURES))
    varied = one[:, : len(COUNTS)].std(axis=0) > 0
    assert varied.all() or (grouped == "native" and varied.sum() == len(COUNTS) - 1)


def test_coefficients_do_not_change_counts(round_device, networks, changed):
    graph = networks.bottlenecks(np.random.default_rng(3))
    slow = changed(round_device, "chip", clock_mhz=100.0)
    one, other = known(graph, round_device), known(graph, slow)
    assert [one[name] for name in COUNTS] == [other[name] for name in COUNTS]
    assert other["compute"] > one["compute"]
    assert dataclasses.replace(slow, chip=round_device.chip) == round_device
