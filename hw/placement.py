"""Where the ops of networks run, and what crosses between host and TPU.

It depends on the compiler's rules and on the sizes of the chip, not on any speed: it is made once
and costed as often as coefficients change.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hw.columns import FloatArray
from hw.device import Device
from hw.mapping import Mapped, map_ops, on_tpu, rules_of
from hw.memory import free_slots, peak_bytes, peak_bytes_many
from spaces.graph import (
    INPUT,
    BoolArray,
    IntArray,
    OpBatch,
    OpGraph,
    Shape,
    split_grouped_convolutions,
)


@dataclass(frozen=True, slots=True)
class Placement:
    """Networks with their ops on TPU or host; arrays are ``[n]`` or ``[n, n_op_slots]``.

    Attributes:
        batch: The ops.
        mapped: Slots that run on the TPU.
        free: Slots that cost nothing there: views, padding taken in by the next op.
        peak_bytes: High-water mark of activations.
        calls: Calls of the TPU in one inference, one for each subgraph.
        arriving: Elements that go to the TPU.
        leaving: Elements that come back, as laid out for the output.
        host_elements: Elements that a slot reads and writes, were it on the host.
    """

    batch: OpBatch
    mapped: BoolArray
    free: BoolArray
    peak_bytes: IntArray
    calls: IntArray
    arriving: FloatArray
    leaving: FloatArray
    host_elements: FloatArray

    def rows(self, which: IntArray) -> Placement:
        """Some of the networks."""
        columns = {
            item.name: getattr(self, item.name)[which]
            for item in dataclasses.fields(self)
            if item.name != "batch"
        }
        return Placement(batch=self.batch.rows(which), **columns)


def place_many(batch: OpBatch, device: Device) -> Placement:
    """Networks of a space: one subgraph, entered at its first op and left at its last.

    Equal to :func:`place` for networks that the compiler takes whole, or up to a point behind
    which nothing is mapped (see :func:`hw.mapping.on_tpu`).
    """
    splits = device.compiler.grouped_convolution == "split"
    mapped, free = on_tpu(batch, rules_of(device.compiler.rules)), free_slots(batch)
    rows, any_mapped = np.arange(len(mapped)), mapped.any(axis=1)
    ops = batch.distinct
    arriving, leaving = np.zeros(len(rows)), np.zeros(len(rows))
    if mapped.shape[1]:
        first = batch.index[rows, mapped.argmax(axis=1)]
        last = batch.index[rows, mapped.shape[1] - 1 - mapped[:, ::-1].argmax(axis=1)]
        arriving = np.where(any_mapped, ops.input_hwc.prod(axis=1)[first], 0.0)
        padded = np.maximum(ops.output_hwc[:, 2], device.link.output_channels)
        out = ops.output_hwc[:, 0] * ops.output_hwc[:, 1] * padded
        leaving = np.where(any_mapped, out[last], 0.0)
    elements = ops.input_hwc.prod(axis=1) + ops.output_hwc.prod(axis=1)
    return Placement(
        batch=batch,
        mapped=mapped,
        free=free,
        peak_bytes=peak_bytes_many(batch, free, splits),
        calls=np.array(any_mapped, np.int64),
        arriving=arriving,
        leaving=leaving,
        host_elements=elements[batch.index].astype(np.float64),
    )


def place(
    graphs: Sequence[OpGraph],
    device: Device,
    refused: Sequence[Mapping[str, str]] | None = None,
) -> tuple[Placement, tuple[tuple[OpGraph, Mapped], ...]]:
    """Any networks, exactly; and each as it runs, with what was mapped and why not.

    Args:
        graphs: Grouped convolutions in either form.
        device: Whose compiler and sizes count.
        refused: Of each graph the ops that stay on the host for reasons a graph does not show.
    """
    splits = device.compiler.grouped_convolution == "split"
    several = device.compiler.subgraphs == "several"
    rules = rules_of(device.compiler.rules)
    reasons = refused or [{}] * len(graphs)
    lowered = [
        split_grouped_convolutions(graph, known) if splits else graph
        for graph, known in zip(graphs, reasons, strict=True)
    ]
    mapped = [
        map_ops(graph, rules, known, several)
        for graph, known in zip(lowered, reasons, strict=True)
    ]
    batch = OpBatch.of(lowered)
    free = free_slots(batch)
    traffic = [_traffic(graph, one, device) for graph, one in zip(lowered, mapped, strict=True)]
    here = np.zeros(batch.live.shape, np.bool_)
    elements = np.zeros(batch.live.shape)
    peaks = []
    for row, (graph, one) in enumerate(zip(lowered, mapped, strict=True)):
        end = len(graph.ops)
        here[row, :end] = [op.name in one.subgraph for op in graph.ops]
        elements[row, :end] = _host_elements(graph)
        views = {op.name: bool(free[row, slot]) for slot, op in enumerate(graph.ops)}
        peaks.append(peak_bytes(graph, views))
    placement = Placement(
        batch=batch,
        mapped=here,
        free=free,
        peak_bytes=np.array(peaks, np.int64),
        calls=np.array([one.subgraphs for one in mapped], np.int64),
        arriving=np.array([arriving for arriving, _ in traffic]),
        leaving=np.array([leaving for _, leaving in traffic]),
        host_elements=elements,
    )
    return placement, tuple(zip(lowered, mapped, strict=True))


def _traffic(graph: OpGraph, mapped: Mapped, device: Device) -> tuple[float, float]:
    """Elements that go to the TPU and, as laid out, those that come back, over all subgraphs.

    A tensor crosses once into each subgraph that reads it and was not made there, and comes back
    if the host or another subgraph reads it, or nobody: then it is a result.
    """
    shapes: dict[str, Shape] = {op.name: op.output_shape for op in graph.ops}
    shapes[INPUT] = graph.input_shape
    here = mapped.subgraph
    entering = {
        (name, here[op.name])
        for op in graph.ops
        if op.name in here
        for name in op.inputs
        if here.get(name) != here[op.name]
    }
    read = {name for op in graph.ops for name in op.inputs}
    returning = {
        name
        for op in graph.ops
        for name in op.inputs
        if name in here and here.get(op.name) != here[name]
    } | {name for name in here if name not in read}
    least = device.link.output_channels
    arriving = math.fsum(math.prod(shapes[name]) for name, _ in entering)
    leaving = math.fsum(_laid_out(shapes[name], least) for name in returning)
    return arriving, leaving


def _laid_out(shape: Shape, least_channels: int) -> int:
    return math.prod(shape[:-1]) * max(shape[-1] if shape else 1, least_channels)


def _host_elements(graph: OpGraph) -> list[float]:
    """Elements of all inputs and of the output of each op."""
    sizes = {op.name: math.prod(op.output_shape) for op in graph.ops}
    sizes[INPUT] = math.prod(graph.input_shape)
    return [
        float(sum(sizes[name] for name in op.inputs) + math.prod(op.output_shape))
        for op in graph.ops
    ]
