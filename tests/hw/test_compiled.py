"""A compiler as the oracle: asked once for a network, and never for what it cannot have."""

import dataclasses

import numpy as np
import pytest

from hw.benches.vela import Vela
from hw.cost_model import CostModelError, load_cost_model
from hw.cost_models import compiled
from hw.device import changed, load_device
from hw.measuring.bench import BenchError, BenchSettings
from hw.report import CostReport, OpCost
from spaces.graph import OpBatch
from spaces.menu import load_space
from spaces.walk import sample
from tasks.candidates.coster import Coster
from tasks.run.manifest import DataManifest
from tasks.run.params import CostParams
from tests.samples import SMALL, opened

pytestmark = pytest.mark.skipif(
    Vela(BenchSettings()).missing() is not None, reason="Vela is not installed"
)


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Files that the compiler was given; it takes a millisecond for 8 kB."""
    monkeypatch.setattr(compiled, "KEPT", tmp_path / "kept")
    files = []

    def measure(self, tflite):
        assert load_device(self.settings.device).chip.accelerator.startswith("ethos-u55-128")
        files.append(tflite.read_bytes())
        ops = (OpCost("a", "CONV_2D", "tpu", 1.0, None, 0, "compute"),)
        return CostReport(
            "vela", "compiled", len(files[-1]) / 8000, None, None, None, 1, 2, 3, 4,
            (("b", "why"),), ops,
        )  # fmt: skip

    monkeypatch.setattr(Vela, "measure", measure)
    return files


def graphs(count):
    space, rng = load_space("mobilenet_v2_small"), np.random.default_rng(0)
    return [space.lower(sample(space, rng)) for _ in range(count)]


def test_a_network_is_compiled_once(asked):
    device, (one, other) = load_device("ethos_u55_128"), graphs(2)
    first = load_cost_model("compiled", device).estimate(one)
    assert load_cost_model("compiled", device).estimate(one) == first and len(asked) == 1
    assert (first.method, first.device, first.macs) == ("compiled", "ethos_u55_128", one.macs)
    assert first.latency_ms == len(asked[0]) / 8000 and first.host_ops == (("b", "why"),)
    load_cost_model("compiled", device).estimate(other)
    slower = changed(device, system=dataclasses.replace(device.system, clock_mhz=250.0))
    load_cost_model("compiled", slower).estimate(one)
    assert len(asked) == 3


def test_what_cannot_be_compiled_is_one_line(asked, monkeypatch):
    model = load_cost_model("compiled", load_device("ethos_u55_128"))
    with pytest.raises(CostModelError, match="must be compiled one by one, but got a batch"):
        model.estimate_many(OpBatch.of(graphs(1)))
    space = load_space("nas_bench_201")
    cell = space.lower(sample(space, np.random.default_rng(0)))
    with pytest.raises(CostModelError, match=r"but got .*RELU.*Choose analytic"):
        model.estimate(cell)

    def fails(self, tflite):
        raise BenchError("must compile, but got a crash.")

    monkeypatch.setattr(Vela, "measure", fails)
    with pytest.raises(CostModelError, match="compiled: must compile, but got a crash"):
        model.estimate(graphs(1)[0])


@pytest.mark.parametrize("name", ["coral_usb3", "any_processor"])
def test_families_without_a_compiler_that_tells_a_latency_are_refused(name):
    with pytest.raises(CostModelError, match=f"{name}: must be of a family whose compiler"):
        load_cost_model("compiled", load_device(name))


def test_a_search_compiles_what_it_evaluates_and_no_more(asked):
    problem, (space, shape) = opened("classification"), SMALL["classification"]
    told = {"input_shape": shape, "problem": "classification", "classes": (), "splits": {}}
    cost = CostParams(device="ethos_u55_128", method="compiled")
    coster = Coster(space, DataManifest.of(told), cost, problem)
    before, rng = len(asked), np.random.default_rng(0)
    points = [sample(coster.space, rng) for _ in range(20)]
    assert len(coster.columns(points, ("latency_ms",))["latency_ms"]) == 20
    assert len(asked) == before
    known = coster.costs(points[0])
    assert len(asked) == before + 1 and known["latency_ms"] == len(asked[-1]) / 8000
