"""Any network on any device: a batch costs what its rows cost, and shares add up.

On each profile as it is, with groups split and native, with memories so small that weights are
streamed and maps overflow, and with a calibration that corrects.
"""

import dataclasses
import math

import numpy as np
import pytest

from hw.calibrating.residual import interval_ms
from hw.device import load_device
from hw.families.edge_tpu.analytic import Analytic
from hw.families.edge_tpu.features import FEATURES, features
from hw.families.edge_tpu.placement import place
from hw.fitted import Calibration
from spaces.graph import INPUT, OpBatch, OpGraph
from spaces.heads.classification import classification
from spaces.menu import load_space
from spaces.walk import sample
from tests.devices import devices_of

VARIANTS = ("as it is", "native", "small", "small, native", "calibrated", "small, calibrated")


def calibrated(device, graphs, spread=0.3):
    """``device`` with an interval and a correction between the first of ``graphs``."""
    placement, _ = place(graphs, device)
    known = features(placement, Analytic(device).parts(placement))
    middle, width = known.mean(axis=0), known.std(axis=0)
    calibration = Calibration(
        measurements="a test",
        count=10,
        mape_percent=5.0,
        within_10_percent=0.9,
        spearman=0.9,
        kendall=0.8,
        error_90=0.1,
        feature_low=tuple(middle - spread * width),
        feature_high=tuple(middle + spread * width),
        residual_scale=tuple(np.maximum(width, 0.1)),
        residual_length=3.0,
        residual_centres=tuple(map(tuple, known[:10])),
        residual_weights=tuple(np.linspace(-0.1, 0.2, 10)),
    )
    return dataclasses.replace(device, calibration=calibration)


def variant(device, words, changed, graphs):
    """``device`` as the words say; small: most weights are streamed, many maps overflow."""
    if "native" in words:
        device = changed(device, "compiler", grouped_convolution="native")
    if "small" in words:
        device = changed(
            device,
            "chip",
            wide_memory_bytes=150_000,
            narrow_memory_bytes=30_000,
            tiled_map_bytes=100_000,
            overflow_bytes=60_000,
            instruction_bytes_per_op=1000,
        )
    return calibrated(device, graphs) if "calibrated" in words else device


@pytest.fixture(scope="module")
def mixed(networks):
    """Narrow and wide bottlenecks, small and large maps, host ops in some."""
    rng = np.random.default_rng(0)
    graphs = [
        networks.bottlenecks(rng, width, sides=(16, 33, 64, 190), pools=2)
        for width in (8, 32)
        for _ in range(16)
    ]
    graphs += [
        networks.interrupted(graph, int(rng.integers(len(graph.ops) - 2))) for graph in graphs[::3]
    ]
    return [*graphs, networks.stack(32, 7, 12, side=64), networks.dense(100, 300, 20)]


# --- a batch and its rows --------------------------------------------------------------------


def assert_a_batch_costs_what_its_rows_cost(device, graphs):
    model = Analytic(device)
    columns = model.estimate_many(OpBatch.of(graphs))
    reports = [model.estimate(graph) for graph in graphs]
    for name, column in columns.items():
        if name in ("latency_low_ms", "latency_high_ms"):
            end = name == "latency_high_ms"
            rows = [report.latency_interval_ms[end] for report in reports]
        else:
            rows = [getattr(report, name) for report in reports]
        # Reports have whole bytes of each op; 1e-4 mJ are some of them.
        least = {"streamed_bytes": 1.0, "energy_mj": 1e-4}.get(name, 1e-12)
        assert column == pytest.approx(rows, rel=1e-9, abs=least), name
    return reports


@pytest.mark.parametrize("words", VARIANTS)
@pytest.mark.parametrize("name", devices_of("edge_tpu"))
def test_a_batch_costs_what_its_rows_cost(mixed, changed, name, words):
    device = variant(load_device(name), words, changed, mixed)
    reports = assert_a_batch_costs_what_its_rows_cost(device, mixed)
    assert any(report.host_ops for report in reports)
    streamed = sum(report.streamed_bytes > 0 for report in reports)
    assert streamed > 10 if "small" in words else streamed == 0
    if "calibrated" in words:
        assert any(report.out_of_range for report in reports)
        physical = Analytic(dataclasses.replace(device, calibration=None))
        corrected = [
            report.latency_ms / physical.estimate(graph).latency_ms
            for report, graph in zip(reports, mixed, strict=True)
        ]
        assert np.std(corrected) > 0.01


@pytest.mark.parametrize("memory", [0, 100_000, 400_000, 900_000, 2_000_000])
def test_a_batch_streams_what_its_rows_stream(networks, round_device, changed, memory):
    """Whatever of a grouped convolution is resident: none, some parts, part of one, all."""
    device = changed(round_device, "chip", wide_memory_bytes=memory, tiled_map_bytes=1 << 30)
    graphs = [
        OpGraph(
            (1, side, side, 128),
            tuple(
                networks.conv(f"g{n}", f"g{n - 1}" if n else INPUT, shape, 128, 3, groups=groups)
                for n in range(4)
            ),
        )
        for side in (4, 14, 40)
        for groups in (1, 2, 8)
        for shape in [(1, side, side, 128)]
    ]
    reports = assert_a_batch_costs_what_its_rows_cost(device, graphs)
    bounds = {share.bound for report in reports for share in report.per_op}
    assert ("streaming" in bounds) == (memory < 500_000)


def test_a_batch_of_a_space_costs_what_its_rows_cost(round_device):
    space, rng = load_space("mobilenet_edgetpu_v2_small"), np.random.default_rng(0)
    points = [sample(space, rng) for _ in range(20)]
    graphs = [classification(space.lower(point), 10) for point in points]
    assert_a_batch_costs_what_its_rows_cost(round_device, graphs)


def test_a_thousand_architectures_are_costed_at_once(networks, round_device):
    rng = np.random.default_rng(1)
    batch = OpBatch.of([networks.bottlenecks(rng) for _ in range(50)])
    tiled = batch.rows(np.repeat(np.arange(50), 20))
    latency = Analytic(round_device).estimate_many(tiled)["latency_ms"]
    assert latency.shape == (1000,)
    assert len(np.unique(latency[:20])) == 1


def test_batches_of_nothing_cost_nothing(round_device):
    model, empty = Analytic(round_device), OpGraph((1, 8, 8, 3), ())
    assert {len(column) for column in model.estimate_many(OpBatch.of([])).values()} == {0}
    assert model.estimate_many(OpBatch.of([empty]))["latency_ms"].tolist() == [0.0]
    assert model.estimate(empty).latency_ms == 0.0


# --- shares and parts ------------------------------------------------------------------------


@pytest.mark.parametrize("words", VARIANTS)
def test_shares_add_up_to_the_latency(mixed, round_device, changed, words):
    model = Analytic(variant(round_device, words, changed, mixed))
    for graph in mixed:
        report = model.estimate(graph)
        shares = report.per_op
        assert math.fsum(share.latency_ms for share in shares) == pytest.approx(report.latency_ms)
        assert math.fsum(share.energy_mj for share in shares) == pytest.approx(report.energy_mj)
        assert min(share.latency_ms for share in shares) >= 0
        assert report.macs == graph.macs
        host = {share.op for share in shares if share.unit == "host"}
        assert host == {op for op, _ in report.host_ops}
        assert {share.bound == "host" for share in shares if share.op in host} <= {True}


def test_parts_are_those_of_the_shares(mixed, round_device, changed):
    model = Analytic(variant(round_device, "small", changed, mixed))
    placement, lowered = place(mixed, model.device)
    parts = model.parts(placement)
    for row, graph in enumerate(mixed):
        shares = {share.op: share for share in model.estimate(graph).per_op}
        call = ("fixed cost", "instructions", "input transfer", "output transfer")
        told = [shares.pop(name).latency_ms if name in shares else 0.0 for name in call]
        assert told[0] == pytest.approx(parts.fixed_ms[row])
        assert told[1] == pytest.approx(parts.instructions_ms[row])
        assert told[2] + told[3] == pytest.approx(parts.transfer_ms[row])
        host = math.fsum(one.latency_ms for one in shares.values() if one.unit == "host")
        assert host == pytest.approx(parts.host_ms[row], abs=1e-12)
        assert len(shares) == len(lowered[row][0].ops)
    everything = (parts.fixed_ms + parts.transfer_ms + parts.instructions_ms + parts.start_ms) + (
        parts.load_ms + parts.compute_ms + parts.movement_ms + parts.exposed_ms + parts.host_ms
    )
    np.testing.assert_allclose(parts.latency_ms, everything, rtol=1e-12)
    for field in dataclasses.fields(parts):
        values = getattr(parts, field.name)
        assert values is None or field.name == "slot_exposed_ms" or (values >= 0).all()
    assert (parts.cached_bytes + parts.streamed_bytes <= parts.weight_bytes + 1e-6).all()


# --- intervals -------------------------------------------------------------------------------


def test_an_interval_needs_a_calibration(mixed, round_device):
    plain, known = Analytic(round_device), Analytic(calibrated(round_device, mixed))
    assert plain.estimate(mixed[0]).latency_interval_ms is None
    assert "latency_low_ms" not in plain.estimate_many(OpBatch.of(mixed[:1]))
    report = known.estimate(mixed[0])
    low, high = report.latency_interval_ms
    assert low < report.latency_ms < high
    assert low * high == pytest.approx(report.latency_ms**2)


def test_a_calibrated_report_is_that_of_its_features(mixed, round_device):
    device = calibrated(round_device, mixed)
    placement, _ = place(mixed, device)
    parts = Analytic(device).parts(placement)
    latency, low, high = interval_ms(
        parts.latency_ms, features(placement, parts), device.calibration
    )
    for row, graph in enumerate(mixed):
        report = Analytic(device).estimate(graph)
        assert report.latency_ms == pytest.approx(latency[row])
        assert report.latency_interval_ms == pytest.approx((low[row], high[row]))
        assert set(report.out_of_range) <= set(FEATURES)
