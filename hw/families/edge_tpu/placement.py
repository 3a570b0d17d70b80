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

from hw.activations import peak_bytes, peak_bytes_many
from hw.columns import BINARY, JOINING, KINDS, SPLITTING, FloatArray, mask_of, op_macs, slot_sum
from hw.cost_model import CostModelError
from hw.families.edge_tpu.mapping import Mapped, is_told, map_ops, on_tpu, rules_of
from hw.families.edge_tpu.memory import LOOKUPS, free_slots
from hw.families.edge_tpu.profile import Device
from spaces.graph import (
    WEIGHTED_KINDS,
    BoolArray,
    IntArray,
    Op,
    OpBatch,
    OpColumns,
    OpGraph,
    OpKind,
    Shape,
    split_grouped_convolutions,
)

NUMBER_BYTES = 4


@dataclass(frozen=True, slots=True)
class Placement:
    """Networks with their ops on TPU or host; arrays are ``[n]`` or ``[n, n_op_slots]``.

    Attributes:
        batch: The ops.
        mapped: Slots that run on the TPU.
        free: Slots that cost nothing there: views, padding taken in by the next op.
        peak_bytes: High-water mark of activations.
        calls: Calls of the TPU in one inference, one for each subgraph.
        arriving: Bytes that go to the TPU.
        leaving: Bytes that come back, as laid out for the output.
        parts: Convolutions that a slot stands for: a grouped one that is still to be split.
        host_elements: Elements that a slot reads and writes, were it on the host; 0 where its time
            there is that of its multiply-accumulates.
    """

    batch: OpBatch
    mapped: BoolArray
    free: BoolArray
    peak_bytes: IntArray
    calls: IntArray
    arriving: FloatArray
    leaving: FloatArray
    parts: IntArray
    host_elements: FloatArray

    @property
    def macs(self) -> FloatArray:
        """Multiply-accumulates of each network, ``[n]``."""
        return slot_sum(op_macs(self.batch.distinct), self.batch)

    def rows(self, which: IntArray) -> Placement:
        """Some of the networks."""
        columns = {
            item.name: getattr(self, item.name)[which]
            for item in dataclasses.fields(self)
            if item.name != "batch"
        }
        return Placement(batch=self.batch.rows(which), **columns)


def place_many(batch: OpBatch, device: Device) -> Placement:
    """Networks of a space: one subgraph, entered at its first op; what the host reads comes back.

    Equal to :func:`place` for networks that the compiler takes whole, or up to a point behind
    which nothing is mapped.

    Raises:
        CostModelError: A network of which a batch does not tell where its ops run
            (:func:`hw.families.edge_tpu.mapping.is_told`).
    """
    splits = device.compiler.grouped_convolution == "split"
    mapped, free = on_tpu(batch, rules_of(device.compiler.rules)), free_slots(batch)
    _check_told(is_told(batch, mapped), device)
    ops, any_mapped = batch.distinct, mapped.any(axis=1)
    arriving, leaving = np.zeros(len(mapped)), np.zeros(len(mapped))
    if mapped.shape[1]:
        first = batch.index[np.arange(len(mapped)), mapped.argmax(axis=1)]
        arriving = np.where(any_mapped, ops.input_hwc.prod(axis=1)[first], 0.0)
        padded = np.maximum(ops.output_hwc[:, 2], device.link.output_channels)
        out = ops.output_hwc[:, 0] * ops.output_hwc[:, 1] * padded
        numbers = ops.kind == KINDS.index(OpKind.ARG_MAX)
        out = np.where(numbers, NUMBER_BYTES * ops.output_hwc.prod(axis=1), out)
        leaving = np.where(_returning(batch, mapped), out[batch.index], 0.0).sum(axis=1)
    grouped = splits & (ops.kind == KINDS.index(OpKind.CONV_2D))
    parts = np.where(grouped, np.maximum(ops.groups, 1), 1)
    return Placement(
        batch=batch,
        mapped=mapped,
        free=free,
        peak_bytes=peak_bytes_many(batch, free, splits),
        calls=np.array(any_mapped, np.int64),
        arriving=arriving,
        leaving=leaving,
        parts=parts[batch.index],
        host_elements=_host_elements_many(ops, parts)[batch.index],
    )


def _check_told(told: BoolArray, device: Device) -> None:
    if not told.all():
        raise CostModelError(
            f"{device.name}: networks of a batch must have one input, no detections and no branch "
            f"beside ops of the host, but got others in {np.count_nonzero(~told)} of {len(told)}. "
            "Cost them one by one."
        )


def _returning(batch: OpBatch, mapped: BoolArray) -> BoolArray:
    """Slots on the TPU whose output nobody reads, or the host does, ``[n, n_op_slots]``."""
    reader = batch.last_reader[:, 1:]
    unread = reader == np.arange(reader.shape[1])
    result: BoolArray = mapped & (unread | ~np.take_along_axis(mapped, reader, axis=1))
    return result


def _host_elements_many(ops: OpColumns, parts: IntArray) -> FloatArray:
    """:func:`_host_elements` of each distinct op, second inputs taken to be as large as first."""
    before, after = ops.input_hwc.prod(axis=1), ops.output_hwc.prod(axis=1)
    read = np.where(mask_of(BINARY)[ops.kind], 2 * before, before)
    read = np.where(mask_of(JOINING)[ops.kind], after, read)
    written = np.where(mask_of(SPLITTING)[ops.kind], before, after)
    regrouped = np.where(parts > 1, 2 * before + 2 * after, 0)
    weighted = mask_of(WEIGHTED_KINDS)[ops.kind]
    return np.where(weighted, regrouped, read + written).astype(np.float64)


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
        parts=np.ones(here.shape, np.int64),
        host_elements=elements,
    )
    return placement, tuple(zip(lowered, mapped, strict=True))


def _traffic(graph: OpGraph, mapped: Mapped, device: Device) -> tuple[float, float]:
    """Bytes that go to the TPU and, as laid out, those that come back, over all subgraphs.

    A tensor crosses once into each subgraph that reads it and was not made there, and comes back
    if the host or another subgraph reads it, or nobody: then it is a result. Elements have 8 bits,
    but numbers of tokens and of classes 32.
    """
    shapes: dict[str, Shape] = {op.name: op.output_shape for op in graph.ops}
    shapes |= dict(graph.inputs)
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
    wide = _numbers(graph)
    arriving = math.fsum(
        math.prod(shapes[name]) * (NUMBER_BYTES if name in wide else 1) for name, _ in entering
    )
    leaving = math.fsum(
        math.prod(shapes[name]) * NUMBER_BYTES if name in wide else _laid_out(shapes[name], least)
        for name in returning
    )
    return arriving, leaving


def _numbers(graph: OpGraph) -> set[str]:
    """Tensors of numbers of tokens or classes, 32 bits each."""
    read = {op.inputs[0] for op in graph.ops if op.kind in LOOKUPS and op.constant}
    return read | {op.name for op in graph.ops if op.kind is OpKind.ARG_MAX}


def _laid_out(shape: Shape, least_channels: int) -> int:
    return math.prod(shape[:-1]) * max(shape[-1] if shape else 1, least_channels)


def _host_elements(graph: OpGraph) -> list[float]:
    """Elements of all inputs and outputs of each op; 0 of ops with weights."""
    sizes = {op.name: math.prod(op.output_shape) for op in graph.ops}
    sizes |= {name: math.prod(shape) for name, shape in graph.inputs}
    return [
        0.0
        if op.kind in WEIGHTED_KINDS
        else float(sum(sizes[name] for name in op.inputs) + math.prod(_written(op)))
        for op in graph.ops
    ]


def _written(op: Op) -> Shape:
    """Shape of all that an op makes: the parts of a SPLIT together are its input."""
    return op.input_shape if op.kind in SPLITTING else op.output_shape
