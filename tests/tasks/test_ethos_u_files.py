"""Exported networks on Arm's compiler: nothing on the host, the same MACs, a near estimate."""

import numpy as np
import pytest

from hw.benches.vela import Vela
from hw.cost_model import load_cost_model
from hw.device import load_device
from hw.family import family_of
from hw.measuring.bench import BenchSettings
from hw.tflite.reader import read_tflite
from spaces.walk import sample
from tests.samples import opened, samples, small_space

pytestmark = [
    pytest.mark.usefixtures("tensorflow"),
    pytest.mark.skipif(
        Vela(BenchSettings()).missing() is not None, reason="Vela is not installed"
    ),
]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A classifier with random weights, group convolutions split."""
    from spaces.trainable.keras_model import build_model
    from tasks.learning.quantization import (
        Network,
        export_post_training,
        split_grouped_convolutions,
    )

    problem, space = opened("classification"), small_space("classification")
    rng = np.random.default_rng(0)
    drawn = [problem.complete(space.lower(sample(space, rng))) for _ in range(50)]
    grouped = [one for one in drawn if any(op.groups > 1 for op in one.ops)]
    graph = min(grouped, key=lambda one: len(one.ops))
    model = build_model(graph, outputs=problem.trained)
    ranges = problem.inputs(samples("classification", 2), graph)
    network = Network(model, graph, problem.trained, problem.deployed)
    path = tmp_path_factory.mktemp("ethos_u") / "int8.tflite"
    path.write_bytes(split_grouped_convolutions(export_post_training(network, ranges)))
    return path


@pytest.mark.parametrize("name", ["ethos_u55_128", "ethos_u85_512"])
def test_a_network_compiles_whole(exported, name):
    device = load_device(name)
    assert family_of(device).splits_groups(device)
    compiled = Vela(BenchSettings(device=name, timeout_s=120)).compile(exported)
    graph = read_tflite(exported).graph
    assert [row.name for row in compiled.rows if row.on_host] == []
    assert compiled.macs == pytest.approx(graph.macs, rel=0.01)
    estimated = load_cost_model("analytic", device).estimate(graph)
    assert estimated.host_ops == ()
    assert estimated.latency_ms == pytest.approx(compiled.latency_ms, rel=0.35)


def test_what_is_compiled_can_be_kept(exported, tmp_path):
    bench = Vela(BenchSettings(device="ethos_u55_64", timeout_s=120))
    assert bench.fits(load_device("ethos_u55_64")) and not bench.fits(load_device("tensor_g1"))
    path = bench.written(exported, tmp_path)
    assert path.name == "int8_vela.tflite"
    assert b"ethos-u" in path.read_bytes()  # the custom op that the chip runs
