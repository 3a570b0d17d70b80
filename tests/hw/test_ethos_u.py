"""Ethos-U: profiles that agree with their names, laws that behave, batches like their rows."""

import dataclasses
import math

import numpy as np
import pytest

from hw.calibrating import calibration
from hw.cost_model import load_cost_model
from hw.device import DeviceError, changed, dump_device, load_device, parse_device
from hw.families.ethos_u.family import FILES
from hw.families.ethos_u.parts import parts_of, place
from hw.family import family_of
from hw.leaves import read_yaml
from spaces.graph import INPUT, Op, OpBatch, OpGraph, OpKind
from spaces.heads.classification import classification
from spaces.menu import load_space
from spaces.walk import sample
from tasks.candidates.coster import Coster
from tasks.run.manifest import DataManifest
from tasks.run.params import CostParams
from tests.devices import devices_of
from tests.samples import SMALL as SAMPLES
from tests.samples import opened

NAMES = devices_of("ethos_u")
DEVICES = pytest.mark.parametrize("name", NAMES)
SMALL = "ethos_u55_128"
KINDS = pytest.mark.parametrize(
    "name", ["ethos_u55_32", "ethos_u55_128", "ethos_u65_512", "ethos_u85_512"]
)


def model_of(device):
    return load_cost_model("analytic", device)


def graph_of(*ops, shape=(1, 16, 16, 32)):
    return OpGraph(shape, ops)


def conv(channels=32, after=64, window=1, side=16, **options):
    kind = options.pop("kind", OpKind.CONV_2D)
    before, made = (1, side, side, channels), (1, side, side, after)
    return graph_of(
        Op("c", kind, (INPUT,), before, made, (window, window), **options), shape=before
    )


def ms(graph, device):
    return model_of(device).estimate(graph).latency_ms


# --- profiles ----------------------------------------------------------------------------------


def test_the_profiles_are_there():
    assert {"ethos_u55_128", "ethos_u85_512"} <= set(NAMES) and len(NAMES) >= 11


@DEVICES
def test_a_chip_multiplies_as_often_as_its_name_says(name):
    chip = load_device(name).chip
    # Derived: every output of a microblock adds 8 products a cycle.
    for block in (*chip.microblocks, *chip.depthwise_microblocks):
        assert 8 * math.prod(block) == int(chip.accelerator.rpartition("-")[2])


@DEVICES
def test_a_profile_is_read_back_as_it_is_written(name):
    import yaml

    device = load_device(name)
    assert parse_device(name, yaml.safe_load(dump_device(device)), "d.yaml") == device


@pytest.mark.parametrize("section", FILES)
def test_a_file_that_does_not_exist_is_answered_with_those_that_do(section):
    from hw.device import DEVICES as FOLDER

    content = read_yaml(FOLDER / f"{SMALL}.yaml") | {section: "none"}
    with pytest.raises(DeviceError, match=rf"d\.yaml: {section} must be one of .*, or a mapping"):
        parse_device("d", content, "d.yaml")


def test_there_is_no_option_for_several_subgraphs():
    device = load_device(SMALL)
    with pytest.raises(DeviceError, match="-a must be of an Edge TPU, but got an Ethos-U"):
        family_of(device).several_subgraphs(device)


# --- laws --------------------------------------------------------------------------------------


def test_weights_from_flash_bound_what_has_small_maps():
    device = load_device(SMALL)
    graph = conv(256, 512, 3, side=4)
    report = model_of(device).estimate(graph)
    # Derived: 1,179,648 weights and 5,120 B of scales, at 8 B x 1/8 a cycle of 500 MHz.
    assert report.latency_ms == pytest.approx((1_179_648 + 5_120) / 500e3, rel=0.01)
    assert report.per_op[0].bound == "streaming"
    assert report.streamed_bytes == pytest.approx(1_179_648 + 5_120, rel=0.01)
    faster = changed(device, system=dataclasses.replace(device.system, outer_scale=0.25))
    assert ms(graph, faster) == pytest.approx(report.latency_ms / 2, rel=0.01)


def test_a_wide_convolution_over_a_large_map_takes_its_multiplications():
    device = load_device(SMALL)
    graph = conv(64, 64, 3, side=64)
    # Derived: 64 x 64 x 64 x 64 x 9 products, 128 a cycle of 500 MHz.
    assert ms(graph, device) == pytest.approx(64**4 * 9 / (128 * 500e3), rel=0.1)


def test_a_depthwise_convolution_leaves_most_multipliers_idle():
    device = load_device(SMALL)
    whole = conv(64, 64, 3, side=32)
    alone = conv(64, 64, 3, side=32, kind=OpKind.DEPTHWISE_CONV_2D)
    rate = {graph: graph.macs / ms(graph, device) for graph in (whole, alone)}
    assert rate[alone] < rate[whole] / 4


def test_an_activation_that_is_fused_speeds_up_the_output_stage():
    device = load_device(SMALL)
    plain, fused = conv(16, 64, side=32), conv(16, 64, side=32, activation="relu")
    assert ms(fused, device) < 0.7 * ms(plain, device)


def test_an_addition_behind_a_convolution_is_free_of_stages_on_a_chip_that_chains():
    def added(name):
        shape = (1, 16, 16, 32)
        first = Op("c", OpKind.CONV_2D, (INPUT,), shape, shape)
        last = Op("a", OpKind.ADD, ("c", INPUT), shape, shape)
        report = model_of(load_device(name)).estimate(graph_of(first, last))
        return report.per_op[1].latency_ms / report.latency_ms

    assert added(SMALL) > 0.5 > 0.3 > added("ethos_u85_512")


def test_weights_hide_behind_the_op_before():
    device = load_device("ethos_u85_512_flash")
    shape, wide = (1, 64, 64, 16), (1, 64, 64, 64)
    first = Op("a", OpKind.CONV_2D, (INPUT,), shape, shape, (7, 7))
    last = Op("b", OpKind.CONV_2D, ("a",), shape, wide, (3, 3))
    both = ms(graph_of(first, last, shape=shape), device)
    alone = (
        ms(graph_of(first, shape=shape), device),
        ms(graph_of(dataclasses.replace(last, inputs=(INPUT,)), shape=shape), device),
    )
    assert both < sum(alone)


@DEVICES
def test_a_larger_chip_is_never_slower_by_much(name):
    family, _, size = name.removesuffix("_flash").rpartition("_")
    larger = f"{family}_{2 * int(size)}"
    if larger not in NAMES:
        pytest.skip("it is the largest")
    for graph in (conv(64, 64, 3, side=32), conv(128, 256, 1), conv(16, 32, 5, side=8)):
        assert ms(graph, load_device(larger)) < 1.15 * ms(graph, load_device(name))


# --- whole networks ----------------------------------------------------------------------------


CLASSIFIERS = ("mobilenet_edgetpu_v2_small", "nas_bench_201")


def networks(names=(*CLASSIFIERS, "segmentation_small"), count=4):
    rng = np.random.default_rng(0)
    made = []
    for name in names:
        space = load_space(name)
        for _ in range(count):
            made.append(classification(space.lower(sample(space, rng)), 10))
    return made


@pytest.fixture(scope="module")
def mixed():
    graphs = networks()
    assert any(op.groups > 1 for graph in graphs for op in graph.ops)
    return graphs


@KINDS
def test_shares_add_up(name, mixed):
    device = load_device(name)
    for graph in mixed:
        report = model_of(device).estimate(graph)
        total = math.fsum(share.latency_ms for share in report.per_op)
        assert total == pytest.approx(report.latency_ms) and report.latency_ms > 0
        assert report.macs == graph.macs
        assert 0 <= report.streamed_bytes <= report.weight_bytes


@KINDS
def test_a_batch_costs_what_its_rows_cost(name, mixed):
    model = model_of(load_device(name))
    reports = [model.estimate(graph) for graph in mixed]
    columns = model.estimate_many(OpBatch.of(mixed))
    assert set(columns) == {
        "latency_ms",
        "peak_memory_bytes",
        "weight_bytes",
        "streamed_bytes",
        "macs",
    }
    for key, column in columns.items():
        rows = [getattr(report, key) for report in reports]
        assert column == pytest.approx(rows, rel=1e-9, abs=1.0 if "bytes" in key else 0), key


@KINDS
def test_batches_of_nothing_cost_nothing(name):
    model, empty = model_of(load_device(name)), OpGraph((1, 8, 8, 3), ())
    assert {len(column) for column in model.estimate_many(OpBatch.of([])).values()} == {0}
    assert model.estimate_many(OpBatch.of([empty]))["latency_ms"].tolist() == [0.0]
    assert model.estimate(empty).latency_ms == 0.0


@pytest.mark.parametrize("problem", ["classification", "segmentation", "detection"])
def test_a_search_costs_its_candidates_on_it(problem):
    space, shape = SAMPLES[problem]
    told = {"input_shape": shape, "problem": problem, "classes": (), "splits": {}}
    coster = Coster(space, DataManifest.of(told), CostParams(device=SMALL), opened(problem))
    rng = np.random.default_rng(0)
    for point in (sample(coster.space, rng) for _ in range(3)):
        known = coster.costs(point)
        assert known["latency_ms"] == ms(coster.graph(point), load_device(SMALL)) > 0


def test_what_is_refused_runs_on_the_host():
    device = load_device(SMALL)
    report = model_of(device).estimate(conv(), {"c": "of another type"})
    assert report.host_ops == (("c", "of another type"),)
    assert (report.per_op[0].unit, report.per_op[0].bound) == ("host", "host")
    assert report.weight_bytes == 0


def test_it_is_calibrated_to_another_clock(monkeypatch):
    monkeypatch.setattr(calibration, "FOLDS", 2)
    monkeypatch.setattr(calibration, "REPEATS", 1)
    device, mixed = load_device(SMALL), networks(CLASSIFIERS, 6)
    placed = place(mixed, device, [{}] * len(mixed))[0]
    # Derived: half the clock, twice the time.
    latency = 2 * parts_of(placed, device).latency_ms.sum(axis=1)
    measured = calibration.Measured(device, placed, latency, np.ones(len(mixed)))
    found = calibration.calibrate(device, measured, "twelve").device
    assert found.calibration.mape_percent < 5
    estimated = [model_of(found).estimate(graph) for graph in mixed]
    assert [one.latency_ms for one in estimated] == pytest.approx(latency.tolist(), rel=0.05)
    assert all(one.latency_interval_ms is not None for one in estimated)


@pytest.mark.parametrize(("kind", "hosts"), [("DIV", [SMALL]), ("SPACE_TO_DEPTH", None)])
def test_kinds_that_its_list_lacks_stay_on_the_host(kind, hosts):
    both = [SMALL, "ethos_u85_512"]
    shape = (1, 16, 16, 32)
    graph = graph_of(Op("o", OpKind(kind), (INPUT,), shape, shape))
    left = [name for name in both if model_of(load_device(name)).estimate(graph).host_ops]
    assert left == (hosts or both)


def resized(factor, kind=OpKind.RESIZE_BILINEAR):
    shape = (1, 8, 8, 32)
    return graph_of(Op("o", kind, (INPUT,), shape, (1, 8 * factor, 8 * factor, 32)), shape=shape)


@pytest.mark.parametrize(
    ("graph", "hosts"),
    [
        (resized(2), []),
        (resized(4), [SMALL]),
        (resized(3), [SMALL, "ethos_u85_512"]),
        (resized(4, OpKind.RESIZE_NEAREST_NEIGHBOR), []),
        (resized(3, OpKind.RESIZE_NEAREST_NEIGHBOR), [SMALL]),
        (conv(kind=OpKind.MAX_POOL_2D, after=32, strides=(3, 3)), []),
        (conv(kind=OpKind.MAX_POOL_2D, after=32, strides=(4, 4)), [SMALL]),
    ],
)
def test_strides_and_scales_have_limits(graph, hosts):
    reports = [model_of(load_device(name)).estimate(graph) for name in (SMALL, "ethos_u85_512")]
    assert [one.device for one in reports if one.host_ops] == hosts
    reasons = {why for one in reports for _, why in one.host_ops}
    assert reasons <= {"Operation is supported, but not with these strides or scales"}
