"""Devices whose laws nobody told: all that is known of them comes from measurements."""

import dataclasses

import numpy as np
import pytest
import yaml

from hw.calibrating.calibration import calibrate, judge
from hw.calibrating.fitting import Measured, laws_of, scaled
from hw.cost_model import load_cost_model
from hw.device import dump_device, load_device, parse_device
from hw.families.by_kind.parts import COEFFICIENTS, numbers_of
from hw.families.by_kind.profile import CLASSES
from spaces.graph import INPUT, Op, OpBatch, OpGraph, OpKind
from spaces.menu import load_space
from spaces.walk import sample
from tasks.learning.problem import problem_of_space


@pytest.fixture(scope="module")
def device():
    return load_device("any_processor")


def drawn(count, seed, name="mobilenet_edgetpu_v2_small"):
    space, rng = load_space(name), np.random.default_rng(seed)
    problem = problem_of_space(space, 10)
    return [problem.complete(space.lower(sample(space, rng))) for _ in range(count)]


def test_an_op_is_costed_by_its_class(device):
    shape = (1, 8, 8, 16)
    conv = Op("y", OpKind.CONV_2D, (INPUT,), shape, shape, (3, 3))
    report = load_cost_model("analytic", device).estimate(OpGraph(shape, (conv,)))
    # Derived: start, multiply-accumulates, elements in and out, weights, each at its rate.
    rate = device.convolution
    expected = (
        device.call.fixed_ms
        + rate.start_us / 1e3
        + conv.macs / (rate.gmacs_per_s * 1e6)
        + 2 * 1024 / (rate.elements_per_us * 1e3)
        + 9 * 16 * 16 / (device.call.weights_gb_per_s * 1e6)
    )
    assert report.latency_ms == pytest.approx(expected)
    assert sum(op.latency_ms for op in report.per_op) == pytest.approx(expected)
    assert (report.weight_bytes, report.host_ops) == (9 * 16 * 16, ())


def test_classes_follow_from_kind_and_window():
    small, large = (1, 4, 4, 8), (1, 8, 8, 8)
    ops = (
        Op("convolution", OpKind.CONV_2D, (INPUT,), large, large, (3, 3)),
        Op("pointwise", OpKind.CONV_2D, ("convolution",), large, large),
        Op("depthwise", OpKind.DEPTHWISE_CONV_2D, ("pointwise",), large, large, (3, 3)),
        Op("elementwise", OpKind.ADD, ("depthwise", "pointwise"), large, large),
        Op("pooling", OpKind.MAX_POOL_2D, ("elementwise",), large, small, (2, 2), (2, 2)),
        Op("moving", OpKind.RESIZE_BILINEAR, ("pooling",), small, large),
        Op("dense", OpKind.FULLY_CONNECTED, ("moving",), (1, 512), (1, 10)),
    )
    batch = OpBatch.of([OpGraph(large, ops)])
    found = [CLASSES[one] for one in numbers_of(batch.distinct).classes[batch.index[0]]]
    assert found == [op.name for op in ops]


def test_one_network_and_many_cost_the_same(device):
    graphs = drawn(5, 0)
    model = load_cost_model("analytic", device)
    many = model.estimate_many(OpBatch.of(graphs))
    for name in ("latency_ms", "weight_bytes", "macs", "peak_memory_bytes"):
        one = [getattr(model.estimate(graph), name) for graph in graphs]
        assert many[name].tolist() == pytest.approx(one), name


def test_a_calibration_finds_a_processor_of_which_nothing_is_known(device):
    rng = np.random.default_rng(1)
    truth = scaled(device, {path: rng.normal(1.0, 0.7) for path in COEFFICIENTS})
    laws = laws_of(device)
    graphs = drawn(60, 1)
    placed = laws.place(graphs, device, [{}] * 60)
    noisy = laws.latency_ms(placed, truth) * np.exp(0.02 * rng.standard_normal(60))
    found = calibrate(device, Measured(device, placed, noisy, np.ones(60)), "sixty")
    assert found.scores.mape_percent < 4 < found.macs_only.mape_percent
    others = laws.place(drawn(60, 2), device, [{}] * 60)
    plain = dataclasses.replace(found.device, calibration=None)
    judged = judge(laws.latency_ms(others, plain), laws.latency_ms(others, truth))
    assert judged.mape_percent < 4 and judged.spearman > 0.99
    read = parse_device("any_processor", yaml.safe_load(dump_device(found.device)), "")
    assert read == found.device
