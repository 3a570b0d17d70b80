"""Properties of the cost model that hold for any network."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.calibrating.fitting import scaled
from hw.cost_model import CostModelError
from hw.device import load_device
from hw.families.edge_tpu.analytic import Analytic
from hw.families.edge_tpu.placement import place, place_many
from spaces.graph import INPUT, Op, OpBatch, OpGraph, OpKind
from tests.devices import devices_of

QUICK = settings(max_examples=30, deadline=None, derandomize=True, database=None)
KERNELS = st.sampled_from([1, 2, 3, 5, 7, 9])


@pytest.fixture(scope="module")
def roomy(round_device, changed):
    """A device on which everything fits."""
    return changed(
        round_device,
        "chip",
        wide_memory_bytes=1 << 40,
        narrow_memory_bytes=1 << 40,
        tiled_map_bytes=1 << 40,
    )


# --- monotone ----------------------------------------------------------------------------------


@QUICK
@given(
    width=st.integers(1, 300),
    side=st.integers(1, 100),
    depth=st.integers(1, 5),
    kernel=KERNELS,
    more=st.integers(1, 100),
)
def test_a_plain_stack_takes_longer_the_larger_it_is(
    networks, roomy, width, side, depth, kernel, more
):
    graphs = [
        networks.stack(width, kernel, depth, side),
        networks.stack(width + more, kernel, depth, side),
        networks.stack(width, kernel, depth, side + more),
        networks.stack(width, kernel, depth + 1, side),
    ]
    columns = Analytic(roomy).estimate_many(OpBatch.of(graphs))
    for name in ("latency_ms", "first_inference_ms", "energy_mj", "peak_memory_bytes", "macs"):
        least = columns[name][0]
        assert (columns[name][1:] >= least * (1 - 1e-12)).all(), name
    assert columns["latency_ms"][3] > columns["latency_ms"][0]


@QUICK
@given(seed=st.integers(0, 2**32), divisor=st.floats(1.0, 100.0))
def test_less_memory_makes_nothing_faster(networks, round_device, changed, seed, divisor):
    graph = networks.bottlenecks(np.random.default_rng(seed), 32)
    chip = round_device.chip
    less = changed(
        round_device,
        "chip",
        wide_memory_bytes=int(chip.wide_memory_bytes / divisor**2),
        narrow_memory_bytes=int(chip.narrow_memory_bytes / divisor),
        tiled_map_bytes=int(chip.tiled_map_bytes / divisor),
        # What is not resident is not loaded either, which may save more than streaming costs.
        weight_gb_per_s=1e9,
    )
    most = changed(round_device, "chip", weight_gb_per_s=1e9)
    one, other = (Analytic(device).estimate(graph) for device in (less, most))
    assert one.latency_ms >= other.latency_ms * (1 - 1e-12)
    assert one.streamed_bytes >= other.streamed_bytes


# --- scale -------------------------------------------------------------------------------------

RATES = ("input_mb_per_s", "output_mb_per_s")


@QUICK
@given(seed=st.integers(0, 2**32), factor=st.floats(0.01, 100.0))
def test_transfers_scale_with_the_rates_of_the_link(networks, round_device, seed, factor):
    graph = networks.bottlenecks(np.random.default_rng(seed))
    log = math.log(factor)
    faster = {f"link.{rate}": log for rate in RATES} | {"link.streaming_ms_per_mib": -log}
    one, other = (
        {share.op: share.latency_ms for share in Analytic(device).estimate(graph).per_op}
        for device in (round_device, scaled(round_device, faster))
    )
    for name in ("input transfer", "output transfer", "instructions"):
        assert other[name] == pytest.approx(one[name] / factor), name
    for op in graph.ops:  # nothing is streamed: the work of ops is that of the chip
        if op.name in one:
            assert other[op.name] == one[op.name]


PACES = (
    "chip.clock_mhz chip.activation_gb_per_s chip.overflow_gb_per_s chip.weight_gb_per_s "
    "link.input_mb_per_s link.output_mb_per_s host.gmacs_per_s host.elements_per_us "
    "host.scores_per_us"
).split()
TIMES = (
    "chip.convolution_us chip.window_us chip.elementwise_us chip.pool_us chip.movement_us "
    "link.fixed_ms link.streaming_ms_per_mib link.first_inference_ms host.op_us"
).split()


@QUICK
@given(seed=st.integers(0, 2**32), factor=st.floats(0.1, 10.0), slot=st.integers(0, 40))
def test_a_device_twice_as_slow_in_all_takes_twice_as_long(
    networks, round_device, changed, seed, factor, slot
):
    """Also where weights are streamed, maps overflow and the host works."""
    small = changed(round_device, "chip", wide_memory_bytes=60_000, narrow_memory_bytes=30_000)
    graph = networks.bottlenecks(np.random.default_rng(seed), 32)
    graph = networks.interrupted(graph, slot) if slot < len(graph.ops) else graph
    log = math.log(factor)
    logs = dict.fromkeys(PACES, -log) | dict.fromkeys(TIMES, log)
    one, other = (Analytic(d).estimate(graph) for d in (small, scaled(small, logs)))
    assert other.latency_ms == pytest.approx(factor * one.latency_ms)
    assert other.first_inference_ms == pytest.approx(factor * one.first_inference_ms)
    assert other.streamed_bytes == one.streamed_bytes


# --- anything ----------------------------------------------------------------------------------


def any_shape(rng):
    sizes = (1, 2, 3, 7, 16, 33, 64, 100)
    return (1, *(int(rng.choice(sizes)) for _ in range(rng.integers(0, 4))))


def any_graph(seed):
    """Ops of all kinds that read anything before them, of shapes that need not make sense."""
    rng = np.random.default_rng(seed)
    shapes, ops = {INPUT: any_shape(rng)}, []
    for number in range(int(rng.integers(0, 20))):
        sources = tuple(map(str, rng.choice(list(shapes), int(rng.integers(0, 4)))))
        before = shapes[sources[0]] if sources else any_shape(rng)
        after = before if rng.random() < 0.5 else any_shape(rng)
        kind = list(OpKind)[int(rng.integers(len(OpKind)))]
        if rng.random() < 0.5:
            kind = OpKind(rng.choice(["CONV_2D", "ADD", "DEPTHWISE_CONV_2D", "CONCATENATION"]))
        common = math.gcd(before[-1], after[-1]) if kind is OpKind.CONV_2D else 1
        groups = int(rng.choice([n for n in range(1, common + 1) if common % n == 0]))
        window, strides = tuple(rng.integers(1, 10, 2)), tuple(rng.integers(1, 4, 2))
        window, strides = tuple(map(int, window)), tuple(map(int, strides))
        ops.append(Op(f"o{number}", kind, sources, before, after, window, strides, groups))
        shapes[ops[-1].name] = after
    return OpGraph(shapes[INPUT], tuple(ops))


@pytest.mark.parametrize("name", devices_of("edge_tpu"))
@pytest.mark.parametrize("subgraphs", ["one", "several"])
@pytest.mark.parametrize("memory", [1, 1000])
def test_every_graph_has_a_cost_that_adds_up(changed, name, subgraphs, memory):
    device = changed(load_device(name), "compiler", subgraphs=subgraphs)
    chip = device.chip
    device = changed(
        device,
        "chip",
        wide_memory_bytes=chip.wide_memory_bytes // memory,
        narrow_memory_bytes=chip.narrow_memory_bytes // memory,
        tiled_map_bytes=chip.tiled_map_bytes // memory,
    )
    model = Analytic(device)
    for seed in range(25):
        graph = any_graph(seed)
        report = model.estimate(graph)
        numbers = dataclasses.asdict(report)
        for key in ("latency_ms", "first_inference_ms", "energy_mj"):
            assert numbers[key] is None or (math.isfinite(numbers[key]) and numbers[key] >= 0)
        for key in ("peak_memory_bytes", "weight_bytes", "streamed_bytes", "macs"):
            assert numbers[key] >= 0
        assert report.streamed_bytes <= report.weight_bytes
        assert min((share.latency_ms for share in report.per_op), default=0) >= -1e-12
        total = math.fsum(share.latency_ms for share in report.per_op)
        assert total == pytest.approx(report.latency_ms, rel=1e-9, abs=1e-12)
        on_host = {share.op for share in report.per_op if share.unit == "host"}
        assert on_host == {op for op, _ in report.host_ops}


def is_placed(graph, device):
    try:
        place_many(OpBatch.of([graph]), device)
    except CostModelError:
        return False
    return True


@pytest.mark.parametrize("name", devices_of("edge_tpu"))
def test_every_batch_has_finite_costs_or_is_refused(name):
    device = load_device(name)
    told = [graph for graph in map(any_graph, range(100)) if is_placed(graph, device)]
    assert len(told) > 20
    for key, column in Analytic(device).estimate_many(OpBatch.of(told)).items():
        assert column.shape == (len(told),), key
        assert np.isfinite(column).all() and (column >= 0).all(), key


def random_dag(rng):
    """Ops over one map that read one or two of the last tensors; some are the host's."""
    ops, shape = [], (1, 8, 8, 16)
    for number in range(int(rng.integers(1, 12))):
        names = [INPUT, *(done.name for done in ops)][-int(rng.integers(1, 4)) :]
        kind = OpKind(rng.choice(["CONV_2D", "ADD", "LOGISTIC", "GELU"], p=[0.4, 0.3, 0.1, 0.2]))
        sources = tuple(map(str, rng.choice(names, 2 if kind is OpKind.ADD else 1)))
        ops.append(Op(f"o{number}", kind, sources, shape, shape))
    return OpGraph(shape, tuple(ops))


def test_a_batch_is_placed_as_its_graphs_or_refused(round_device):
    rng, placed, split = np.random.default_rng(0), 0, 0
    for graph in (random_dag(rng) for _ in range(2000)):
        if not is_placed(graph, round_device):
            continue
        many = place_many(OpBatch.of([graph]), round_device)
        one, _ = place([graph], round_device)
        for field in ("mapped", "calls", "arriving", "leaving", "peak_bytes"):
            left, right = getattr(many, field), getattr(one, field)
            assert left.tolist() == right.tolist(), (field, graph)
        host = ~one.mapped
        assert many.host_elements[host].tolist() == one.host_elements[host].tolist(), graph
        placed += 1
        split += bool(one.mapped.any() and host.any())
    assert placed > 500 and split > 100
