"""The analytic cost model: its laws, its consistency, and one row against the batch."""

import csv
import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from hw.cost_model import CostModelError, cost_model_names, load_cost_model
from hw.cost_models.analytic import Analytic
from hw.device import Calibration, device_names, load_device
from spaces.graph import INPUT, Op, OpBatch, OpGraph, OpKind, split_grouped_convolutions

MEASUREMENTS = Path(__file__).parents[2].parent / "shared" / "measurements"
CORAL = load_device("coral_usb3")


def conv(name, source, shape, filters, kernel=1, strides=1, groups=1, kind=OpKind.CONV_2D):
    side = math.ceil(shape[1] / strides)
    after = (1, side, side, filters)
    return Op(name, kind, (source,), shape, after, (kernel, kernel), (strides, strides), groups)


def random_network(rng, width=8):
    """Inverted bottlenecks of all kinds with residuals, average and classifier."""
    side = int(rng.choice([16, 33, 64]))
    ops = [conv("stem", INPUT, (1, side, side, 3), width, 3, 2)]
    for block in range(int(rng.integers(1, 6))):
        source, shape = ops[-1].name, ops[-1].output_shape
        expanded, kernel = shape[-1] * int(rng.choice([2, 4])), int(rng.choice([3, 5]))
        strides, kind = int(rng.choice([1, 1, 2])), rng.choice(["dw", "fused", "grouped"])
        first, second = f"{block}/expand", f"{block}/depthwise"
        if kind == "dw":
            ops.append(conv(first, source, shape, expanded))
            ops.append(
                conv(
                    second,
                    first,
                    ops[-1].output_shape,
                    expanded,
                    kernel,
                    strides,
                    kind=OpKind.DEPTHWISE_CONV_2D,
                )
            )
        else:
            groups = int(rng.choice([2, 4])) if kind == "grouped" else 1
            ops.append(conv(first, source, shape, expanded, kernel, strides, groups))
        filters = shape[-1] if rng.random() < 0.5 else shape[-1] + 8
        ops.append(conv(f"{block}/project", ops[-1].name, ops[-1].output_shape, filters))
        if ops[-1].output_shape == shape:
            names = (ops[-1].name, source)
            ops.append(Op(f"{block}/add", OpKind.ADD, names, shape, shape))
    return OpGraph((1, side, side, 3), (*ops, *head(ops[-1])))


def head(last, classes=10):
    pooled = (1, last.out_channels)
    mean = Op("mean", OpKind.MEAN, (last.name,), last.output_shape, pooled)
    return mean, Op("logits", OpKind.FULLY_CONNECTED, ("mean",), pooled, (1, classes))


def stack(filters, kernel, depth, side=128):
    ops, source, shape = [], INPUT, (1, side, side, filters)
    for index in range(depth):
        ops.append(conv(f"c{index}", source, shape, filters, kernel))
        source = ops[-1].name
    return OpGraph(shape, tuple(ops))


def small_cache(device):
    """A chip on which some weights of the random networks do not fit, and some maps neither."""
    chip = dataclasses.replace(
        device.chip,
        wide_memory_bytes=200_000,
        narrow_memory_bytes=30_000,
        tiled_map_bytes=100_000,
        instruction_bytes_per_op=1000,
    )
    return dataclasses.replace(device, chip=chip)


@pytest.mark.parametrize("device", [*map(load_device, device_names()), small_cache(CORAL)])
@pytest.mark.parametrize("width", [8, 32])
def test_a_batch_costs_what_its_rows_cost(device, width):
    rng = np.random.default_rng(0)
    graphs = [random_network(rng, width) for _ in range(40)]
    model = Analytic(device)
    columns = model.estimate_many(OpBatch.of(graphs))
    reports = [model.estimate(graph) for graph in graphs]
    for name, column in columns.items():
        ends = {"latency_low_ms": 0, "latency_high_ms": 1}
        if name in ends:
            rows = [report.latency_interval_ms[ends[name]] for report in reports]
        else:
            rows = [getattr(report, name) for report in reports]
        assert column == pytest.approx(rows, rel=1e-9), name
    streamed = [report.streamed_bytes for report in reports]
    assert any(streamed) == (device.chip.wide_memory_bytes == 200_000)


def test_a_batch_knows_ops_that_stay_on_the_host():
    before, names = (1, 8, 8, 8), ["a", "gelu", "b"]
    kinds = [OpKind.CONV_2D, OpKind.GELU, OpKind.CONV_2D]
    ops = [
        Op(name, kind, (source,), before, before)
        for name, kind, source in zip(names, kinds, [INPUT, *names], strict=False)
    ]
    graph = OpGraph(before, tuple(ops))
    model = Analytic(CORAL)
    report = model.estimate(graph)
    assert [name for name, _ in report.host_ops] == ["gelu", "b"]
    assert model.estimate_many(OpBatch.of([graph]))["latency_ms"] == pytest.approx(
        [report.latency_ms], rel=1e-9
    )


@pytest.mark.parametrize("method", cost_model_names())
def test_shares_add_up_to_the_latency(method):
    graph = random_network(np.random.default_rng(3))
    report = load_cost_model(method, CORAL).estimate(graph)
    total = sum(share.latency_ms for share in report.per_op)
    assert total == pytest.approx(report.latency_ms, rel=1e-12)
    assert min(share.latency_ms for share in report.per_op) >= 0
    assert report.macs == graph.macs


def test_grouped_convolutions_cost_the_same_in_either_form():
    graph = OpGraph((1, 14, 14, 64), (conv("g", INPUT, (1, 14, 14, 64), 256, 3, groups=4),))
    model = Analytic(CORAL)
    native, split = model.estimate(graph), model.estimate(split_grouped_convolutions(graph))
    assert native == split
    assert len(native.per_op) == 3 + 6  # call, then split, four convolutions, concatenation


def test_a_device_that_runs_grouped_convolutions_keeps_them_whole():
    compiler = dataclasses.replace(CORAL.compiler, grouped_convolution="native")
    model = Analytic(dataclasses.replace(CORAL, compiler=compiler))
    graph = OpGraph((1, 14, 14, 64), (conv("g", INPUT, (1, 14, 14, 64), 256, 3, groups=4),))
    report = model.estimate(graph)
    assert [share.op for share in report.per_op][3:] == ["g"]
    assert report.latency_ms < Analytic(CORAL).estimate(graph).latency_ms
    assert model.estimate_many(OpBatch.of([graph]))["latency_ms"] == pytest.approx(
        [report.latency_ms], rel=1e-9
    )


def test_a_convolution_follows_the_lane_law():
    # Derived: 32 * 32 tiles' turns, 1 pass of 64 lanes, 49 * 32 / 4 steps = 401,408 cycles.
    report = Analytic(CORAL).estimate(stack(32, 7, 3))
    extra_ms = report.per_op[-1].latency_ms - 401_408 / 500e3
    assert report.per_op[-1].bound == "compute"
    assert 0 < extra_ms < 0.03


def test_padding_layout_and_views_cost_nothing():
    shape, padded = (1, 32, 32, 16), (1, 33, 33, 16)
    plain = OpGraph(
        shape, (conv("c", INPUT, shape, 32, 3, 2), *head(conv("c", INPUT, shape, 32, 3, 2)))
    )
    c = dataclasses.replace(plain.ops[0], inputs=("pad",), input_shape=padded)
    mean = Op("mean", OpKind.AVERAGE_POOL_2D, ("c",), c.output_shape, (1, 1, 1, 32), (16, 16))
    flat = Op("flat", OpKind.RESHAPE, ("mean",), (1, 1, 1, 32), (1, 32))
    pad = Op("pad", OpKind.PAD, (INPUT,), shape, padded)
    logits = dataclasses.replace(plain.ops[-1], inputs=("flat",))
    exported = OpGraph(shape, (pad, c, mean, flat, logits))
    model = Analytic(CORAL)
    assert model.estimate(exported).latency_ms == pytest.approx(
        model.estimate(plain).latency_ms, rel=1e-9
    )
    assert model.estimate(exported).peak_memory_bytes == model.estimate(plain).peak_memory_bytes


def test_weights_beyond_the_cache_are_streamed_in_op_order():
    report = Analytic(CORAL).estimate(stack(512, 3, 5, side=8))
    shares = [share.dram_bytes for share in report.per_op]
    assert report.streamed_bytes == sum(shares) > 0
    assert shares[3] == 0 and shares[-1] > 0
    assert report.per_op[-1].bound == "streaming"
    # Derived: weights of five 512 x 512 x 9 convolutions and 8 bytes a channel.
    assert report.weight_bytes == 5 * (512 * 512 * 9 + 8 * 512)


def test_large_maps_stream_spilled_weights_several_times():
    model = Analytic(CORAL)
    # Published regimes (Jorgitou98/EdgeTPU-QuantRL-Evaluation): 64x64 maps, 3 passes up to 632
    # channels, 5 from 642.
    for width, passes in ((452, 3), (632, 3), (642, 5), (702, 5)):
        report = model.estimate(stack(width, 3, 5, side=64))
        assert report.per_op[-1].dram_bytes == passes * report.weight_bytes / 5, width


def test_the_first_inference_loads_the_weights():
    report = Analytic(CORAL).estimate(stack(256, 3, 2, side=8))
    cached_mib = (report.weight_bytes - report.streamed_bytes) / 2**20
    link = CORAL.link
    extra = link.first_inference_ms + link.streaming_ms_per_mib * cached_mib
    assert report.first_inference_ms == pytest.approx(report.latency_ms + extra)


def test_energy_is_modelled_only_where_the_profile_has_a_table():
    graph = stack(64, 3, 2, side=16)
    report = Analytic(CORAL).estimate(graph)
    # Derived: 1 pJ a MAC and 0.5 W for the whole of the inference, nothing streamed.
    assert report.energy_mj == pytest.approx(graph.macs * 1e-9 + 0.5 * report.latency_ms)
    bare = Analytic(dataclasses.replace(CORAL, energy=None))
    assert bare.estimate(graph).energy_mj is None
    assert "energy_mj" not in bare.estimate_many(OpBatch.of([graph]))


def test_an_interval_needs_a_calibration():
    graph = stack(64, 3, 1, side=16)
    assert Analytic(CORAL).estimate(graph).latency_interval_ms is None
    fitted = dataclasses.replace(CORAL, calibration=Calibration("ten nets", 0.9, 1.2))
    report = Analytic(fitted).estimate(graph)
    low, high = report.latency_interval_ms
    assert (low, high) == pytest.approx((0.9 * report.latency_ms, 1.2 * report.latency_ms))


def test_a_graph_that_stays_on_the_host_makes_no_call():
    shape = (1, 8, 8, 8)
    graph = OpGraph(shape, (Op("t", OpKind.TRANSPOSE, (INPUT,), shape, shape),))
    model = Analytic(CORAL)
    report = model.estimate(graph)
    assert [share.unit for share in report.per_op] == ["host"]
    assert model.estimate_many(OpBatch.of([graph]))["latency_ms"] == pytest.approx(
        [report.latency_ms]
    )


def test_many_architectures_take_little_time_each():
    rng = np.random.default_rng(1)
    batch = OpBatch.of([random_network(rng) for _ in range(50)])
    tiled = batch.rows(np.repeat(np.arange(50), 20))
    latency = Analytic(CORAL).estimate_many(tiled)["latency_ms"]
    assert latency.shape == (1000,)
    assert len(np.unique(latency[:20])) == 1


def test_an_unknown_cost_model_is_answered_with_those_that_exist():
    with pytest.raises(CostModelError, match="one of analytic, macs_only, but got 'oracle'"):
        load_cost_model("oracle", CORAL)


def cell_network(text):
    """The NAS-Bench-201 network of a cell, dead branches left out."""
    nodes = [[edge.split("~") for edge in node.strip("|").split("|")] for node in text.split("+")]
    ops = [conv("stem", INPUT, (1, 32, 32, 3), 16, 3)]

    def add(name, kind, source, after, **more):
        before = next((op.output_shape for op in ops if op.name == source), None)
        ops.append(Op(f"{len(ops)}/{name}", kind, (source,), before, after, **more))
        return ops[-1].name

    def live(node):
        return node == 0 or any(op != "none" and live(int(j)) for op, j in nodes[node - 1])

    def used(node):
        later = range(node + 1, 4)
        return node == 3 or any(
            used(k) and op != "none" and int(j) == node for k in later for op, j in nodes[k - 1]
        )

    for stage, filters in enumerate((16, 32, 64)):
        side = 32 >> stage
        shape = (1, side, side, filters)
        if stage:
            source, wide = ops[-1].name, (1, side, side, filters // 2)
            one = add("a", OpKind.CONV_2D, source, shape, kernel_size=(3, 3), strides=(2, 2))
            one = add("b", OpKind.CONV_2D, one, shape, kernel_size=(3, 3))
            two = add(
                "p", OpKind.AVERAGE_POOL_2D, source, wide, kernel_size=(2, 2), strides=(2, 2)
            )
            add("c", OpKind.CONV_2D, two, shape)
            add("add", OpKind.ADD, one, shape)
        for _ in range(5):
            values = {0: ops[-1].name}
            for node in (1, 2, 3):
                if not (live(node) and used(node)):
                    continue
                terms = []
                for op, j in nodes[node - 1]:
                    if op == "none" or int(j) not in values:
                        continue
                    source = values[int(j)]
                    if op.startswith("nor_conv"):
                        size = (int(op[-1]),) * 2
                        source = add("c", OpKind.CONV_2D, source, shape, kernel_size=size)
                    elif op == "avg_pool_3x3":
                        source = add(
                            "p", OpKind.AVERAGE_POOL_2D, source, shape, kernel_size=(3, 3)
                        )
                    terms.append(source)
                for _ in terms[1:]:
                    terms[0] = add("add", OpKind.ADD, terms[0], shape)
                values[node] = terms[0]
    return OpGraph((1, 32, 32, 3), (*ops, *head(ops[-1])))


@pytest.mark.skipif(not MEASUREMENTS.is_dir(), reason="measurements are not at hand")
def test_measured_networks_are_ranked_far_better_than_by_macs():
    with (MEASUREMENTS / "nas_bench_201.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["coral_dev_board_ms"]]
    measured = np.array([float(row["coral_dev_board_ms"]) for row in rows])
    batch = OpBatch.of([cell_network(row["architecture"]) for row in rows])
    device = load_device("coral_dev_board")

    def spearman(method):
        estimated = load_cost_model(method, device).estimate_many(batch)["latency_ms"]
        ranks = [np.argsort(np.argsort(values)) for values in (estimated, measured)]
        return np.corrcoef(*ranks)[0, 1], np.mean(np.abs(estimated / measured - 1))

    rho, error = spearman("analytic")
    assert rho > 0.95 and error < 0.08
    assert spearman("macs_only")[0] < 0.7
