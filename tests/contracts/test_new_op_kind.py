"""An op kind added as a stranger would: which files that takes, and what comes of itself.

In a copy of the rooms, each file is edited as CONTRIBUTING says; nothing else is touched.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hw.conftest import INT8, write_model

ROOT = Path(__file__).parents[2]
ROW = ("spaces/graph/kinds.py", "    OTHER = ", '    EXP = "EXP", Trait.UNARY\n    OTHER = ')
RULE = ("hw/families/edge_tpu/compilers/tensor.yaml", "value: [ADD, ", "value: [ADD, EXP, ")
LAYER = (
    "spaces/trainable/tensor_ops.py",
    "    OpKind.RSQRT: ",
    "    OpKind.EXP: lambda _, inputs, __: tf.math.exp(inputs[0]),\n    OpKind.RSQRT: ",
)
EXP = 47  # in the schema
COST = """
from pathlib import Path
from hw.cost_model import load_cost_model
from hw.device import load_device
from hw.tflite.reader import read_tflite

model = read_tflite(Path("exp.tflite"))
for name in ("tensor_g1", "coral_usb3"):
    report = load_cost_model("analytic", load_device(name)).estimate(model.graph)
    op = next(cost for cost in report.per_op if cost.op == "y")
    print(op.kind, op.unit, op.latency_ms > 0, *(reason for _, reason in report.host_ops))
"""
TRAIN = """
import numpy as np
from spaces.graph import INPUT, Op, OpGraph, OpKind
from spaces.trainable.keras_model import build_model

op = Op("y", OpKind("EXP"), (INPUT,), (1, 4), (1, 4))
print(build_model(OpGraph((1, 4), (op,)))(np.zeros((1, 4), np.float32)).numpy().tolist())
"""


def rooms_with(folder: Path, *edits: tuple[str, str, str]) -> int:
    """A copy of the two rooms with ``edits``: file, text that is there once, what it becomes."""
    for room in ("spaces", "hw"):
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name, before, after in edits:
        text = (folder / name).read_text(encoding="utf-8")
        assert text.count(before) == 1, name
        (folder / name).write_text(text.replace(before, after), encoding="utf-8")
    return len({name for name, _, _ in edits})


def run(folder: Path, code: str) -> list[str]:
    """What ``code`` prints there."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def exp_file(folder: Path) -> None:
    """A file of the one op."""
    shape = [1, 8, 8, 16]
    tensors = [("x", shape, INT8, False), ("y", shape, INT8, False)]
    (folder / "exp.tflite").write_bytes(write_model(tensors, [(EXP, [0], [1], None)]))


def test_what_has_no_kind_stays_on_the_host(tmp_path: Path) -> None:
    rooms_with(tmp_path)
    exp_file(tmp_path)
    told = "OTHER host True Operation not supported"
    assert run(tmp_path, COST) == [told, told]


def test_a_kind_like_others_is_a_row_and_a_rule(tmp_path: Path) -> None:
    assert rooms_with(tmp_path, ROW, RULE) == 2
    exp_file(tmp_path)
    assert run(tmp_path, COST) == ["EXP tpu True", "EXP host True Operation not supported"]


@pytest.mark.slow
def test_what_a_kind_computes_is_a_third_file(tmp_path: Path) -> None:
    assert rooms_with(tmp_path, ROW, RULE, LAYER) == 3
    assert run(tmp_path, TRAIN) == ["[[1.0, 1.0, 1.0, 1.0]]"]


def test_a_rule_without_a_row_is_a_mistake_that_names_the_kinds(tmp_path: Path) -> None:
    rooms_with(tmp_path, RULE)
    exp_file(tmp_path)
    command = [sys.executable, "-m", "hw", "estimate", "exp.tflite", "--device", "tensor_g1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("hw: an op kind must be one of ADD, ARG_MAX, ")
    assert done.stderr.endswith("but got 'EXP'. A new one is a row of spaces/graph/kinds.py.\n")
    assert done.stderr.count("\n") == 1
