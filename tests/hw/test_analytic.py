"""The analytic cost model: what a network takes, what bounds it, and what is streamed.

Laws of single ops are tested in ``test_laws.py``, boundaries of host and TPU in
``test_placement.py``, batches in ``test_batches.py``. ``round_device`` has round coefficients;
arithmetic stands in the tests.
"""

import csv
import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from hw.cost_model import CostModelError, load_cost_model
from hw.device import load_device
from hw.families.edge_tpu.analytic import MIB, Analytic
from hw.families.edge_tpu.placement import place
from spaces.graph import INPUT, Op, OpBatch, OpGraph, OpKind, split_grouped_convolutions
from spaces.heads.classification import classification
from spaces.menu import load_space
from spaces.notation import read_architecture

MEASUREMENTS = Path(__file__).parents[2].parent / "shared" / "measurements"


def test_a_network_by_hand(networks, round_device):
    report = Analytic(round_device).estimate(networks.stack(64, 3, 1, side=16, channels=3))
    conv_us = 1 + 2 * 2  # start, two rows of borders
    conv_us += 4 * 4 * 1.25 * 9 / 500  # cycles of 2 ns
    conv_us += 2 * 256 * 64 / 32e3  # words of 64 in and out
    conv_us += (3 * 12 + 8) * 64 / 16e3  # weights
    expected_ms = 0.25 + 1024 / MIB * 2 + 768 / 250e3 + 16_384 / 125e3 + conv_us / 1e3
    assert report.latency_ms == pytest.approx(expected_ms)
    assert [share.op for share in report.per_op] == [
        "fixed cost",
        "instructions",
        "input transfer",
        "output transfer",
        "c0",
    ]
    assert report.peak_memory_bytes == 768 + 16_384
    assert report.device == "round" and report.method == "analytic"


@pytest.mark.parametrize("method", ["analytic", "macs_only"])
def test_each_cost_model_says_where_its_time_goes(networks, round_device, method):
    graph = networks.bottlenecks(np.random.default_rng(3))
    model = load_cost_model(method, round_device)
    report = model.estimate(graph)
    total = math.fsum(share.latency_ms for share in report.per_op)
    assert total == pytest.approx(report.latency_ms, rel=1e-12)
    assert report.macs == graph.macs
    many = model.estimate_many(OpBatch.of([graph]))
    assert many["latency_ms"] == pytest.approx([report.latency_ms])


def test_an_unknown_cost_model_is_answered_with_those_that_exist(round_device):
    with pytest.raises(
        CostModelError, match="one of analytic, compiled, macs_only, but got 'oracle'"
    ):
        load_cost_model("oracle", round_device)


# --- bounds ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "bound"),
    [
        # 36,864 cycles against 5 us of start and 34 us of movement.
        (Op("x", OpKind.CONV_2D, (INPUT,), (1, 64, 64, 64), (1, 64, 64, 64), (3, 3)), "compute"),
        (Op("x", OpKind.CONV_2D, (INPUT,), (1, 64, 64, 3), (1, 64, 64, 64)), "movement"),
        (Op("x", OpKind.ADD, (INPUT, INPUT), (1, 8, 8, 64), (1, 8, 8, 64)), "movement"),
        (Op("x", OpKind.FULLY_CONNECTED, (INPUT,), (1, 8), (1, 8)), "movement"),
        (Op("x", OpKind.FULLY_CONNECTED, (INPUT,), (1, 4096), (1, 4096)), "streaming"),
        (Op("x", OpKind.GELU, (INPUT,), (1, 8, 8, 64), (1, 8, 8, 64)), "host"),
    ],
)
def test_each_op_is_bound_by_what_takes_longest(round_device, op, bound):
    share = Analytic(round_device).estimate(OpGraph(op.input_shape, (op,))).per_op[-1]
    assert (share.op, share.bound) == ("x", bound)
    assert (share.unit == "host") == (bound == "host")


def test_what_is_not_of_ops_is_bound_by_transfer(networks, round_device):
    report = Analytic(round_device).estimate(networks.stack(8, 3, 2, side=8))
    assert [share.bound for share in report.per_op[:4]] == ["transfer"] * 4
    assert [share.kind for share in report.per_op[:4]] == ["CALL", *["TRANSFER"] * 3]


# --- groups, views, the host -----------------------------------------------------------------


def test_grouped_convolutions_cost_the_same_in_either_form(networks, round_device):
    shape = (1, 14, 14, 64)
    graph = OpGraph(shape, (networks.conv("g", INPUT, shape, 256, 3, groups=4),))
    model = Analytic(round_device)
    native, split = model.estimate(graph), model.estimate(split_grouped_convolutions(graph))
    assert native == split
    names = ["g/split", *(f"g/group{number}" for number in range(4)), "g"]
    assert [share.op for share in native.per_op[4:]] == names


def test_a_device_that_runs_grouped_convolutions_keeps_them_whole(networks, round_device, changed):
    native = changed(round_device, "compiler", grouped_convolution="native")
    shape = (1, 14, 14, 64)
    graph = OpGraph(shape, (networks.conv("g", INPUT, shape, 256, 3, groups=4),))
    report = Analytic(native).estimate(graph)
    assert [share.op for share in report.per_op[4:]] == ["g"]
    assert report.latency_ms < Analytic(round_device).estimate(graph).latency_ms


def test_padding_layout_and_views_cost_nothing(networks, round_device):
    shape, padded = (1, 32, 32, 16), (1, 33, 33, 16)
    conv = networks.conv("c", INPUT, shape, 32, 3, 2)
    plain = OpGraph(shape, (conv, *networks.head(conv)))
    exported = OpGraph(
        shape,
        (
            Op("pad", OpKind.PAD, (INPUT,), shape, padded),
            dataclasses.replace(conv, inputs=("pad",), input_shape=padded),
            Op("relu", OpKind.RELU6, ("c",), conv.output_shape, conv.output_shape),
            dataclasses.replace(plain.ops[1], inputs=("relu",), output_shape=(1, 1, 1, 32)),
            Op("flat", OpKind.RESHAPE, ("mean",), (1, 1, 1, 32), (1, 32)),
            dataclasses.replace(plain.ops[2], inputs=("flat",)),
        ),
    )
    one, other = (Analytic(round_device).estimate(graph) for graph in (plain, exported))
    assert other.latency_ms == pytest.approx(one.latency_ms, rel=1e-9)
    assert other.peak_memory_bytes == one.peak_memory_bytes


def test_a_graph_that_stays_on_the_host_makes_no_call(round_device):
    shape = (1, 8, 8, 8)
    graph = OpGraph(shape, (Op("t", OpKind.GELU, (INPUT,), shape, shape),))
    report = Analytic(round_device).estimate(graph)
    assert [share.unit for share in report.per_op] == ["host"]
    assert report.latency_ms == report.first_inference_ms == pytest.approx((4 + 1024 / 100) / 1e3)


def test_a_view_alone_on_the_host_takes_no_time(round_device):
    shape = (1, 8, 8, 8)
    graph = OpGraph(shape, (Op("r", OpKind.RESHAPE, (INPUT,), shape, (1, 512)),))
    report = Analytic(round_device).estimate(graph, {"r": "a reason"})
    assert report.latency_ms == 0.0 and report.host_ops == (("r", "a reason"),)


# --- weights beyond the cache ----------------------------------------------------------------


def test_weights_beyond_the_cache_are_streamed_in_op_order(networks, round_device):
    report = Analytic(round_device).estimate(networks.stack(512, 3, 5, side=8))
    on_chip = (9 * 512 + 8) * 512
    package = int((9 * 512) * 512 * 1.05 + 8 * 512)  # small maps: 5 % more
    left = 8 << 20  # instructions take no room from weights
    gone = 4 - left / on_chip  # of the fourth; the fifth wholly
    shares = report.per_op[4:]
    assert [share.dram_bytes for share in shares] == [0, 0, 0, int(gone * package), package]
    assert report.weight_bytes == 5 * package
    assert report.streamed_bytes == pytest.approx((1 + gone) * package, abs=1)
    assert [share.bound for share in shares] == ["movement"] * 3 + ["streaming"] * 2

    work_ms = 2 * 2 * 8 * 1.25 * 9 * 128 / 500e3 + 2 * 64 * 512 / 32e6
    start_ms, load_ms = (1 + 2 * 2) / 1e3, on_chip / 16e6
    fetch_ms = package / MIB * 2.0
    assert shares[0].latency_ms == pytest.approx(start_ms + work_ms + load_ms)
    # Fetched while the op works; what is not resident is not loaded.
    assert shares[4].latency_ms == pytest.approx(start_ms + fetch_ms)
    expected = start_ms + max(work_ms, gone * fetch_ms) + (1 - gone) * load_ms
    assert shares[3].latency_ms == pytest.approx(expected)


def test_long_work_hides_its_streaming(networks, round_device):
    """Published: stacks of 7x7 convolutions that stream show no penalty, iwatake2222."""
    model = Analytic(round_device)
    placement, _ = place([networks.stack(32, 7, 100, side=128)], round_device)
    parts = model.parts(placement)
    assert parts.streamed_bytes[0] > 2 * MIB and parts.exposed_ms[0] == 0.0


@pytest.mark.parametrize(("width", "passes"), [(452, 3), (632, 3), (642, 5), (702, 5)])
def test_large_maps_stream_spilled_weights_several_times(networks, round_device, width, passes):
    """Published: 64x64 maps, 3 passes to 632 channels, 5 from 642, Jorgitou98."""
    report = Analytic(round_device).estimate(networks.stack(width, 3, 5, side=64))
    last = report.per_op[-1]
    package = report.weight_bytes / 5
    assert last.dram_bytes == passes * package
    # Several passes wait for their weights: nothing hides them.
    start_ms = (1 + 2 * 2) / 1e3
    words, turns = -(-width // 64), 16 * 16
    work_ms = turns * words * 1.25 * 9 * -(-width // 4) / 500e3 + 2 * 64 * 64 * 64 * words / 32e6
    operands = 2 * 64 * 64 * -(-width // 4) * 4
    overflow_ms = operands / 8e6 if operands > 193_632 * 16 else 0.0
    fetch_ms = passes * package / MIB * 2.0
    assert last.latency_ms == pytest.approx(start_ms + work_ms + overflow_ms + fetch_ms)


# --- first inference, energy -----------------------------------------------------------------


def test_the_first_inference_loads_the_weights(networks, round_device):
    report = Analytic(round_device).estimate(networks.stack(512, 3, 5, side=8))
    cached_mib = (report.weight_bytes - report.streamed_bytes) / MIB
    extra_ms = 0.5 + 2.0 * cached_mib
    assert report.first_inference_ms == pytest.approx(report.latency_ms + extra_ms, rel=1e-6)


def test_energy_is_modelled_only_where_the_profile_has_a_table(networks, round_device):
    graph = networks.stack(512, 3, 5, side=8)
    report = Analytic(round_device).estimate(graph)
    # Derived: 1 pJ a MAC, 100 pJ a streamed byte, 0.5 W for as long as it lasts.
    dynamic = graph.macs * 1e-9 + report.streamed_bytes * 100e-9
    assert report.energy_mj == pytest.approx(dynamic + 0.5 * report.latency_ms)
    bare = Analytic(dataclasses.replace(round_device, energy=None))
    assert bare.estimate(graph).energy_mj is None
    assert "energy_mj" not in bare.estimate_many(OpBatch.of([graph]))


# --- measured --------------------------------------------------------------------------------


@pytest.mark.skipif(not MEASUREMENTS.is_dir(), reason="measurements are not at hand")
def test_measured_networks_are_ranked_far_better_than_by_macs():
    with (MEASUREMENTS / "nas_bench_201.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["coral_dev_board_ms"]]
    measured = np.array([float(row["coral_dev_board_ms"]) for row in rows])
    space, device = load_space("nas_bench_201"), load_device("coral_dev_board")
    points = [read_architecture(space, row["architecture"]) for row in rows]
    graphs = [classification(space.lower(point), 10) for point in points]
    batch = OpBatch.of(graphs)

    def spearman(method):
        estimated = load_cost_model(method, device).estimate_many(batch)["latency_ms"]
        ranks = [np.argsort(np.argsort(values)) for values in (estimated, measured)]
        return np.corrcoef(*ranks)[0, 1]

    assert spearman("analytic") > 0.95
    assert spearman("macs_only") < 0.7
