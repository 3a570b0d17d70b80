"""Milliseconds by op in the form of Model Explorer's node data."""

from __future__ import annotations

import json

import pytest

from hw.__main__ import main
from hw.commands.node_data import node_data
from hw.report import CostReport, OpCost
from hw.tflite.reader import read_tflite


def _report(*shares: tuple[str, float]) -> CostReport:
    per_op = tuple(
        OpCost(name, "CONV_2D", "tpu", value, None, 0, "compute") for name, value in shares
    )
    whole = sum(value for _, value in shares)
    return CostReport("d", "analytic", whole, None, None, None, None, None, None, None, (), per_op)


def test_ops_are_keyed_by_the_tensors_that_they_put_out() -> None:
    report = _report(("fixed cost", 0.5), ("a", 1.0), ("b#2", 2.0), ("b", 3.0), ("c#9", 4.0))
    data = node_data(report, {"a", "b", "b#2", "c#9"})
    # Derived: fixed cost is no op; two ops that put out a tensor called b are one key.
    values = {name: one["value"] for name, one in data["results"].items()}
    assert values == {"a": 1.0, "b": 5.0, "c#9": 4.0}
    assert data["name"] == "ms on d, analytic"
    assert [one["stop"] for one in data["gradient"]] == [0.0, 0.5, 1.0]


def test_the_command_writes_what_it_tells(tmp_path, tiny_tflite, capsys) -> None:
    model, out = tmp_path / "net.tflite", tmp_path / "out.json"
    model.write_bytes(tiny_tflite(["MAXIMUM", "ADD"]))
    words = ["explain", str(model), "--device", "coral_usb3", "--model-explorer"]
    assert main([*words, str(out)]) == 0
    data = json.loads(out.read_text())
    assert set(data) == {"name", "results", "gradient"}
    ops = [op.name for op in read_tflite(model).graph.ops]
    assert list(data["results"]) == ops
    assert all(set(one) == {"value"} for one in data["results"].values())
    told = capsys.readouterr().out
    assert "2 nodes" in told
    assert main([*words, str(tmp_path / "no" / "folder.json")]) == 2
    assert "must be a file to write to, but got: No such file" in capsys.readouterr().err


def test_the_form_is_that_of_the_package(tmp_path) -> None:
    builder = pytest.importorskip("model_explorer.node_data_builder")
    data = node_data(_report(("a", 1.0)), {"a"})
    result = builder.NodeDataResult(value=1.0)
    stops = [builder.GradientItem(**one) for one in data["gradient"]]
    made = builder.GraphNodeData(results={"a": result}, name=data["name"], gradient=stops)
    assert {**json.loads(made.to_json_string()), **data} == json.loads(made.to_json_string())
