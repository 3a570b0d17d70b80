"""What crosses between host and TPU, by hand, and how often the TPU is called."""

import dataclasses

import numpy as np
import pytest

from hw.families.edge_tpu.analytic import Analytic
from hw.families.edge_tpu.placement import place, place_many
from spaces.graph import INPUT, Op, OpBatch, OpGraph, OpKind

MAP = (1, 8, 8, 16)  # 1024 elements, as many in the output layout: 16 channels are the least
THIN = (1, 8, 8, 3)  # 192 elements, 1024 as they come back
CONV, GELU, ADD = OpKind.CONV_2D, OpKind.GELU, OpKind.ADD


def op(name, kind, *sources, before=MAP, after=MAP):
    return Op(name, kind, sources or (INPUT,), before, after)


def traffic(device, *ops, shape=MAP, refused=None):
    """Elements that arrive and that leave, and calls."""
    placement, _ = place([OpGraph(shape, ops)], device, [refused or {}])
    return placement.arriving[0], placement.leaving[0], placement.calls[0]


@pytest.fixture
def several(round_device, changed):
    return changed(round_device, "compiler", subgraphs="several")


# --- one subgraph ------------------------------------------------------------------------------


def test_input_and_output_cross(round_device):
    # Derived: 8 * 8 * 3 arrive as they are, 8 * 8 * 3 leave in 16 channels.
    ops = (op("a", CONV, before=THIN), op("b", CONV, "a", after=THIN))
    assert traffic(round_device, *ops, shape=THIN) == (192, 1024, 1)


def test_wide_outputs_leave_as_they_are(round_device):
    assert traffic(round_device, op("a", CONV, after=(1, 8, 8, 40))) == (1024, 8 * 8 * 40, 1)
    assert traffic(round_device, op("a", CONV, after=(1, 10))) == (1024, 16, 1)


def test_a_tensor_that_is_read_twice_arrives_once(round_device):
    ops = (op("a", CONV), op("b", CONV), op("c", ADD, "a", "b"))
    assert traffic(round_device, *ops) == (1024, 1024, 1)


def test_a_tensor_that_the_host_reads_twice_leaves_once(round_device):
    ops = (op("a", CONV), op("b", GELU, "a"), op("c", GELU, "a"), op("d", ADD, "b", "c"))
    assert traffic(round_device, *ops) == (1024, 1024, 1)


def test_a_residual_around_a_host_op_leaves_as_well(round_device):
    # a is read by b and, on the host, by d: it comes back beside b.
    ops = (op("a", CONV), op("b", CONV, "a"), op("c", GELU, "b"), op("d", ADD, "c", "a"))
    assert traffic(round_device, *ops) == (1024, 2 * 1024, 1)


def test_what_nobody_reads_is_a_result(round_device):
    ops = (op("a", CONV), op("b", CONV, "a"), op("c", CONV, "a", after=(1, 8, 8, 32)))
    assert traffic(round_device, *ops) == (1024, 1024 + 2048, 1)


def test_a_host_op_before_the_subgraph_brings_its_output(round_device):
    ops = (op("a", OpKind.CAST, before=MAP, after=(1, 16, 16, 16)),)
    ops += (op("b", CONV, "a", before=(1, 16, 16, 16)),)
    assert traffic(round_device, *ops) == (4096, 1024, 1)


def test_input_and_the_output_of_a_host_op_both_arrive(round_device):
    ops = (op("a", OpKind.CAST), op("b", CONV), op("c", ADD, "a", "b"))
    assert traffic(round_device, *ops) == (2 * 1024, 1024, 1)


def test_a_network_on_the_host_crosses_nothing(round_device):
    assert traffic(round_device, op("a", GELU), op("b", GELU, "a")) == (0, 0, 0)
    assert traffic(round_device, op("a", CONV), refused={"a": "float"}) == (0, 0, 0)
    assert traffic(round_device) == (0, 0, 0)


# --- several -----------------------------------------------------------------------------------


def test_each_boundary_is_crossed(several):
    ops = (op("a", CONV), op("b", GELU, "a"), op("c", CONV, "b"), op("d", GELU, "c"))
    ops += (op("e", CONV, "d"),)
    assert traffic(several, *ops) == (3 * 1024, 3 * 1024, 3)
    assert traffic(several, *ops[:2]) == (1024, 1024, 1)


def test_a_tensor_of_one_subgraph_arrives_in_the_next(several):
    # a goes back to the host and, as the residual of c, to the second subgraph.
    ops = (op("a", CONV), op("b", GELU, "a"), op("c", ADD, "b", "a"), op("d", ADD, "c", "a"))
    assert traffic(several, *ops) == (1024 + 2 * 1024, 2 * 1024, 2)


def test_the_input_arrives_in_each_subgraph_that_reads_it(several):
    ops = (op("a", CONV), op("b", GELU, "a"), op("c", ADD, "b", INPUT))
    assert traffic(several, *ops) == (1024 + 2 * 1024, 2 * 1024, 2)


def test_several_subgraphs_cost_a_call_and_transfers_each(several, round_device):
    ops = (op("a", CONV), op("b", GELU, "a"), op("c", CONV, "b"))
    graph = OpGraph(MAP, ops)
    one, two = Analytic(round_device).estimate(graph), Analytic(several).estimate(graph)
    calls = {share.op: share.latency_ms for share in two.per_op}
    # Derived: 0.25 ms a call; 1024 elements at 250 MB/s in and 125 MB/s out, twice.
    assert calls["fixed cost"] == pytest.approx(2 * 0.25)
    assert calls["input transfer"] == pytest.approx(2 * 1024 / 250e3)
    assert calls["output transfer"] == pytest.approx(2 * 1024 / 125e3)
    assert calls["instructions"] == pytest.approx(2 * 1024 / 2**20 * 2.0)
    # The host needs 4 us and 16 * 16 * 64 MACs at 10 GMAC/s for c, far less than a call.
    assert two.latency_ms > one.latency_ms + 0.2
    assert [name for name, _ in two.host_ops] == ["b"]
    assert [name for name, _ in one.host_ops] == ["b", "c"]


def test_several_subgraphs_save_time_where_the_host_has_much_to_do(
    several, round_device, networks
):
    graph = networks.interrupted(networks.stack(64, 3, 8, side=64), 1)
    one, two = Analytic(round_device).estimate(graph), Analytic(several).estimate(graph)
    # Derived: six convolutions of 151 MMACs, 15.1 ms each at 10 GMAC/s; their 0.26 MB arrive and
    # leave in 3.1 ms, and the op between takes 5.2 ms either way.
    assert one.latency_ms - two.latency_ms == pytest.approx(6 * 15.1 - 3.1 - 0.25, rel=0.02)
    assert two.latency_ms < 15


def test_many_boundaries_cost_more_than_the_host(several, round_device):
    """Published: models compiled with -a ran up to ten times slower (google-coral/edgetpu)."""
    kinds = [CONV, GELU] * 20
    names = [f"o{number}" for number in range(len(kinds))]
    sources = [INPUT, *names[:-1]]
    ops = (op(*parts) for parts in zip(names, kinds, sources, strict=True))
    graph = OpGraph(MAP, tuple(ops))
    one, two = Analytic(round_device).estimate(graph), Analytic(several).estimate(graph)
    assert two.latency_ms > 5 * one.latency_ms
    shares = {share.op: share.latency_ms for share in two.per_op}
    assert shares["fixed cost"] == pytest.approx(20 * 0.25)


# --- host work ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "expected_us"),
    [
        # 4 us a start, 100 elements a us.
        (op("h", GELU, "a"), 4 + (1024 + 1024) / 100),
        (op("h", ADD, "a", "a"), 4 + 3 * 1024 / 100),
        (op("h", OpKind.CONCATENATION, "a", "a", after=(1, 8, 8, 32)), 4 + 2 * 2048 / 100),
        # Parts of a SPLIT together are as large as its input.
        (op("h", OpKind.SPLIT, "a", after=(1, 8, 8, 4)), 4 + 2 * 1024 / 100),
        # Weights: 10 multiply-accumulates a ns.
        (op("h", CONV, "a", after=(1, 8, 8, 64)), 4 + 64 * 16 * 64 / 10e3),
        # Scores of all 64 anchors at 20 a us, and each of 2 detections beside each anchor at 10.
        (
            op("h", OpKind.TFLITE_DETECTION_POSTPROCESS, "a", after=(1, 2, 6)),
            4 + (1024 + 12) / 20 + 64 * 2 / 10,
        ),
        # A view moves nothing.
        (op("h", OpKind.RESHAPE, "a", after=(1, 1024)), 0),
    ],
)
def test_the_host_takes_its_time_by_what_it_moves_or_multiplies(round_device, host, expected_us):
    graph = OpGraph(MAP, (op("a", CONV), host))
    report = Analytic(round_device).estimate(graph, {"h": "a reason"})
    share = report.per_op[-1]
    assert (share.op, share.unit, share.bound) == ("h", "host", "host")
    assert share.latency_ms == pytest.approx(expected_us / 1e3)
    assert report.host_ops == (("h", "a reason"),)


# --- a batch -----------------------------------------------------------------------------------


def same(batch_placement, exact):
    for field in dataclasses.fields(exact):
        if field.name in ("calls", "arriving", "leaving", "peak_bytes", "mapped", "free"):
            left, right = getattr(batch_placement, field.name), getattr(exact, field.name)
            np.testing.assert_array_equal(left, right, field.name)
    left, right = batch_placement.host_elements, exact.host_elements
    np.testing.assert_array_equal(left[exact.batch.live], right[exact.batch.live])


def test_a_batch_of_interrupted_networks_is_placed_as_its_graphs_are(
    round_device, networks, changed
):
    native = changed(round_device, "compiler", grouped_convolution="native")
    rng = np.random.default_rng(0)
    graphs = [networks.bottlenecks(rng) for _ in range(40)]
    graphs += [
        networks.interrupted(graph, int(rng.integers(len(graph.ops) - 2))) for graph in graphs
    ]
    exact, _ = place(graphs, native)
    same(place_many(OpBatch.of(graphs), native), exact)
    assert len(set(exact.leaving - exact.leaving.min())) > 10  # residuals cross, too


def test_rows_of_a_placement_are_those_of_its_networks(round_device, networks):
    rng = np.random.default_rng(1)
    graphs = [networks.bottlenecks(rng) for _ in range(6)]
    placement, _ = place(graphs, round_device)
    which = np.array([4, 1])
    model = Analytic(round_device)
    picked = model.parts(placement.rows(which)).latency_ms
    np.testing.assert_allclose(picked, model.parts(placement).latency_ms[which], rtol=1e-12)


def test_nothing_is_placed(round_device):
    placement, networks = place([], round_device)
    assert networks == () and placement.arriving.shape == (0,)
    assert place_many(OpBatch.of([]), round_device).leaving.shape == (0,)
    empty = OpBatch.of([OpGraph(MAP, ())])
    assert place_many(empty, round_device).calls.tolist() == [0]
