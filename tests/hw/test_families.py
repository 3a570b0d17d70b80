"""Another family of accelerators, as a stranger would add it: one folder and one device file.

It is made here and lies in a temporary folder; nothing of the project is touched or told of it.
"""

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import hw.families
from hw.__main__ import main
from hw.calibrating import calibration
from hw.cost_model import CostModelError, load_cost_model
from hw.device import DeviceError, dump_device, load_device, parse_device
from hw.family import family_names, family_of
from spaces.graph import OpBatch
from spaces.walk import sample
from tasks import calibrate_device
from tasks.candidates.coster import Coster
from tasks.run.manifest import DataManifest
from tasks.run.params import CostParams
from tests.samples import SMALL, opened

ROOT = Path(__file__).parents[2]
FIXED_MS, GMACS_PER_S = 0.25, 8.0

FAMILY = '''
"""An engine that multiplies and adds at one rate, whatever the op; all ops run on it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from hw.columns import op_macs, slot_sum
from hw.fitted import Calibration, MacsLine, check_lists
from hw.leaves import DeviceError, leaf, read_sections, written_sections
from hw.report import CostReport, OpCost


@dataclass(frozen=True)
class Engine:
    fixed_ms: float = leaf("ms")
    gmacs_per_s: float = leaf("GMAC/s", divides=True)


SECTIONS = {"engine": Engine, "macs_line": MacsLine, "calibration": Calibration}


@dataclass(frozen=True)
class Device:
    name: str
    summary: str
    engine: Engine
    macs_line: MacsLine | None
    calibration: Calibration | None
    sources: tuple[tuple[str, str], ...]
    energy: None = None
    family: str = "dot_engine"

    def ms(self, macs):
        return self.engine.fixed_ms + macs / (self.engine.gmacs_per_s * 1e6)


class Model:
    def __init__(self, device):
        self.device = device

    def estimate(self, graph, refused=None):
        device, fixed = self.device, self.device.engine.fixed_ms
        ops = [("call", "CALL", fixed, "transfer")]
        for op in graph.ops:
            ops.append((op.name, op.kind.value, device.ms(op.macs) - fixed, "compute"))
        return CostReport(
            device=device.name, method="analytic", latency_ms=device.ms(graph.macs),
            latency_interval_ms=None, first_inference_ms=None, energy_mj=None,
            peak_memory_bytes=None, weight_bytes=sum(op.weights for op in graph.ops),
            streamed_bytes=0, macs=graph.macs, host_ops=(),
            per_op=tuple(OpCost(op, kind, "tpu", ms, None, 0, by) for op, kind, ms, by in ops),
        )

    def estimate_many(self, batch):
        macs = slot_sum(op_macs(batch.distinct), batch)
        return {"latency_ms": self.device.ms(macs), "macs": macs}


@dataclass(frozen=True)
class Networks:
    macs: np.ndarray

    def rows(self, which):
        return Networks(self.macs[which])


class Laws:
    coefficients = {"engine.fixed_ms": 1.0, "engine.gmacs_per_s": 1.0}
    known_by = ("multiply-accumulates",)

    def place(self, graphs, device, refused):
        return Networks(np.array([float(graph.macs) for graph in graphs]))

    def latency_ms(self, networks, device):
        return device.ms(networks.macs)

    def features(self, networks, device):
        return np.log1p(networks.macs)[:, None]


class DotEngine:
    laws, advice = Laws(), None
    compiler = None

    def parse(self, name, summary, content, where):
        sections, sources = read_sections(content, SECTIONS, ("macs_line", "calibration"), where)
        device = Device(name=name, summary=summary, sources=sources, **sections)
        if device.calibration is not None:
            check_lists(device.calibration, 1, where)
        return device

    def sections(self, device):
        return written_sections(device, SECTIONS, dict(device.sources))

    def cost_model(self, device):
        return Model(device)

    def splits_groups(self, device):
        return False

    def several_subgraphs(self, device):
        raise DeviceError(f"{device.name}: -a must be of an Edge TPU, but got a dot engine.")

    def check_accepted(self, model, device):
        pass

    def refused(self, model, device):
        return {}


FAMILY = DotEngine()
'''
DEVICE = {
    "summary": "a dot engine",
    "family": "dot_engine",
    "engine": {
        "fixed_ms": {"value": FIXED_MS, "unit": "ms", "source": "assumed: a test"},
        "gmacs_per_s": {"value": GMACS_PER_S, "unit": "GMAC/s", "source": "assumed: a test"},
    },
}


@pytest.fixture
def board(tmp_path, monkeypatch):
    """The path of the device file; the folder of the family is found beside ours."""
    folder = tmp_path / "families" / "dot_engine"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text('"""A dot engine."""\n')
    (folder / "family.py").write_text(FAMILY)
    path = tmp_path / "board.yaml"
    path.write_text(yaml.safe_dump(DEVICE))
    monkeypatch.setattr(hw.families, "__path__", [*hw.families.__path__, str(folder.parent)])
    importlib.invalidate_caches()
    yield path
    for name in [name for name in sys.modules if name.startswith("hw.families.dot_engine")]:
        del sys.modules[name]


def expected_ms(macs):
    return FIXED_MS + macs / (GMACS_PER_S * 1e6)


def test_a_family_is_found_in_its_folder(board, tmp_path):
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    added = {"families/dot_engine/__init__.py", "families/dot_engine/family.py", "board.yaml"}
    assert files == added
    assert family_names() == ("by_kind", "dot_engine", "edge_tpu", "ethos_u")
    assert load_device(board).engine.gmacs_per_s == GMACS_PER_S


def test_the_command_costs_a_file_on_it_and_loads_nothing_of_the_first_family(
    board, tmp_path, conv_model
):
    model = tmp_path / "conv.tflite"
    model.write_bytes(conv_model(in_channels=8, filter_channels=2))  # with groups, as they are
    code = (
        "import sys, hw.families\n"
        f"hw.families.__path__.append({str(tmp_path / 'families')!r})\n"
        "from hw.__main__ import main\n"
        f"status = main(['estimate', {str(model)!r}, '--device', {str(board)!r}])\n"
        "print([name for name in sys.modules if name.startswith('hw.families.edge_tpu')])\n"
        "sys.exit(status)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "board: a dot engine" in done.stdout and "host ops         none" in done.stdout
    assert done.stdout.endswith("[]\n")


def test_explain_tells_each_op_and_has_no_advice(board, tmp_path, conv_model, capsys):
    model = tmp_path / "conv.tflite"
    model.write_bytes(conv_model())
    assert main(["explain", str(model), "--device", str(board)]) == 0
    text = capsys.readouterr().out
    assert "CONV_2D" in text and "What would help most" not in text
    assert main(["explain", str(model), "--device", str(board), "-a"]) == 2
    assert "-a must be of an Edge TPU" in capsys.readouterr().err


def test_one_network_and_many_cost_the_same(board, networks):
    model = load_cost_model("analytic", load_device(board))
    graphs = [networks.stack(16, 3, depth, 8) for depth in (1, 2, 4)]
    many = model.estimate_many(OpBatch.of(graphs))["latency_ms"]
    assert many.tolist() == pytest.approx([expected_ms(graph.macs) for graph in graphs])
    assert [model.estimate(graph).latency_ms for graph in graphs] == pytest.approx(many.tolist())


def test_a_search_costs_its_candidates_on_it(board):
    problem, (space, shape) = opened("classification"), SMALL["classification"]
    told = {"input_shape": shape, "problem": "classification", "classes": (), "splits": {}}
    coster = Coster(space, DataManifest.of(told), CostParams(device=str(board)), problem)
    rng = np.random.default_rng(0)
    for point in (sample(coster.space, rng) for _ in range(3)):
        known = coster.costs(point)
        assert known["latency_ms"] == pytest.approx(expected_ms(coster.graph(point).macs))
    assert not family_of(load_device(board)).splits_groups(load_device(board))


def test_it_is_calibrated_as_the_first_is(board, networks, monkeypatch):
    monkeypatch.setattr(calibration, "FOLDS", 2)
    monkeypatch.setattr(calibration, "REPEATS", 1)
    device = load_device(board)
    graphs = [networks.stack(16, 3, depth, 16) for depth in range(1, 13)]
    placed = calibration.laws_of(device).place(graphs, device, [{}] * 12)
    # Derived: a board of half the rate and twice the call.
    latency = 2 * FIXED_MS + 2 * placed.macs / (GMACS_PER_S * 1e6)
    found = calibration.calibrate(
        device, calibration.Measured(device, placed, latency, np.ones(12)), "twelve"
    )
    assert found.device.engine.gmacs_per_s == pytest.approx(GMACS_PER_S / 2, rel=0.02)
    assert found.device.engine.fixed_ms == pytest.approx(2 * FIXED_MS, rel=0.02)
    read = parse_device("board", yaml.safe_load(dump_device(found.device)), "board.yaml")
    assert read == found.device


def test_a_family_without_laws_cannot_be_calibrated(board, tmp_path):
    text = FAMILY.replace("laws, advice = Laws(), None", "laws, advice = None, None")
    (tmp_path / "families" / "dot_engine" / "family.py").write_text(text)
    with pytest.raises(calibration.CalibrationError, match="fitted, but got one of dot_engine"):
        calibrate_device.run(str(board), tmp_path / "rows.csv", tmp_path / "out.yaml")


def test_macs_only_needs_its_line(board):
    with pytest.raises(CostModelError, match="board: must have a macs_line"):
        load_cost_model("macs_only", load_device(board))


@pytest.mark.parametrize("name", ["npu", "../edge_tpu", None, 3, ["edge_tpu"]])
def test_a_family_that_does_not_exist_is_answered_with_those_that_do(name):
    words = r"d\.yaml: family must be one of by_kind, edge_tpu, ethos_u, but got"
    with pytest.raises(DeviceError, match=words):
        parse_device("d", DEVICE | {"family": name}, "d.yaml")


def test_a_file_that_names_no_family_is_of_the_first(tmp_path):
    text = dump_device(load_device("coral_usb3"))
    path = tmp_path / "old.yaml"
    path.write_text(text.replace("family: edge_tpu\n", ""))
    assert load_device(path).chip == load_device("coral_usb3").chip
