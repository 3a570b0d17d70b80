"""Costs an exported file: what the device is asked to run, not what was meant."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from hw.cost_model import load_cost_model
from hw.device import load_device
from hw.family import family_of
from hw.report import CostReport
from hw.tflite.model import TfliteError
from hw.tflite.reader import read_tflite
from spaces.graph import Op, OpGraph
from tasks.run.params import CostParams

_GROUP = re.compile(r"/(group\d+)$")


def estimate_file(
    tflite: Path, cost: CostParams, graph: OpGraph, deployed: Sequence[str]
) -> CostReport:
    """The cost report of one quantized ``.tflite``, its ops named as in ``graph``.

    What ``graph`` does behind ``deployed``, the outputs of the file, is the host's and is counted.

    Raises:
        TfliteError: The file cannot be read, is not quantized, or the device's compiler refuses
            it.
        DeviceError: There is no such device.
    """
    device, model = load_device(cost.device), read_tflite(tflite)
    family_of(device).check_accepted(model, device)
    ends = _ends(model.graph, [graph.op(name) for name in deployed])
    estimated = load_cost_model(cost.method, device).estimate(
        _with_host_ops(model.graph, graph, ends), dict(model.unsupported)
    )
    known = sorted(graph.ops, key=lambda op: len(op.name), reverse=True)
    kinds = {op.name: op.kind for op in model.graph.ops}
    called = {end: name for name, end in ends.items()}

    def named(op: str) -> str:
        alike = sorted(known, key=lambda one: one.kind is not kinds.get(op))
        return called.get(op) or readable_name(op, [one.name for one in alike])

    return dataclasses.replace(
        estimated,
        per_op=tuple(dataclasses.replace(op, op=named(op.op)) for op in estimated.per_op),
        host_ops=tuple((named(op), why) for op, why in estimated.host_ops),
    )


def latency_elsewhere(
    tflite: Path, device: str, method: str, graph: OpGraph, deployed: Sequence[str]
) -> float | None:
    """Milliseconds of a file on another device than its own; None: that does not run it."""
    try:
        cost = CostParams(device=device, method=method)
        return estimate_file(tflite, cost, graph, deployed).latency_ms
    except TfliteError:
        return None


def _ends(file: OpGraph, deployed: Sequence[Op]) -> dict[str, str]:
    """What a file calls its outputs, by the names that they have in the graph.

    Converters call them what they like, so they are told by their shapes.
    """
    read = {name for op in file.ops for name in op.inputs}
    ends = [op for op in file.ops if op.name not in read]
    found = {}
    for wanted in deployed:
        alike = [end for end in ends if end.output_shape == wanted.output_shape] or ends[-1:]
        same = [end for end in alike if end.kind is wanted.kind]
        found[wanted.name] = (same or alike)[0].name
    return found


def _with_host_ops(file: OpGraph, graph: OpGraph, ends: Mapping[str, str]) -> OpGraph:
    """The graph of a file, and behind its ends what ``graph`` has there."""
    behind, added = set(ends), []
    for op in graph.ops:
        if behind.intersection(op.inputs):
            behind.add(op.name)
            inputs = tuple(ends.get(name, name) for name in op.inputs)
            added.append(dataclasses.replace(op, inputs=inputs))
    return dataclasses.replace(file, ops=(*file.ops, *added))


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
