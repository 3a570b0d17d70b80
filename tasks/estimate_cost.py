"""Costs an exported file: what the device is asked to run, not what was meant."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from hw.cost_model import load_cost_model
from hw.device import load_device
from hw.report import CostReport
from hw.tflite import read_tflite
from spaces.graph import OpGraph
from tasks.params import CostParams

_GROUP = re.compile(r"/(group\d+)$")


def estimate_file(tflite: Path, cost: CostParams, graph: OpGraph) -> CostReport:
    """The cost report of one quantized ``.tflite``, its ops named as in ``graph``.

    Raises:
        TfliteError: The file cannot be read or is not quantized.
        DeviceError: There is no such device.
    """
    model = read_tflite(tflite)
    model.check_quantized()
    estimated = load_cost_model(cost.method, load_device(cost.device)).estimate(
        model.graph, dict(model.unsupported)
    )
    names = sorted((op.name for op in graph.ops), key=len, reverse=True)
    # Converters call the result what they like.
    last = {model.graph.output.name: graph.output.name}

    def named(op: str) -> str:
        return last.get(op) or readable_name(op, names)

    return dataclasses.replace(
        estimated,
        per_op=tuple(dataclasses.replace(op, op=named(op.op)) for op in estimated.per_op),
        host_ops=tuple((named(op), why) for op, why in estimated.host_ops),
    )


def readable_name(tensor: str, names: list[str]) -> str:
    """The op that a converter's tensor name stands for; the tensor name where there is none.

    Converters join the names of all that they folded, with layer names for op names. ``names``
    are tried in order, the longest first.

    >>> readable_name("net/quant_stage1.block0.expand.act/Relu;net/x", ["stage1/block0/expand"])
    'stage1/block0/expand'
    """
    group = _GROUP.search(tensor)
    for name in names:
        layer = re.escape(name.replace("/", "."))
        if re.search(rf"(?:^|[/_;]){layer}(?:[./;_]|$)", tensor):
            return f"{name}/{group[1]}" if group else name
    return tensor
