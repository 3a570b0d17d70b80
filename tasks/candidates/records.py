"""Candidates: what is said of an architecture."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from hw.report import CostReport
from spaces.families import blocks
from spaces.graph import Op, OpGraph, OpKind

Record = dict[str, Any]
_VARIANTS = (*blocks.BLOCK_OPS, blocks.CONV_PAIR)


def describe(graph: OpGraph) -> Record:
    """A few typed numbers that people compare candidates by; None where a network has none.

    Blocks are the ops of one prefix that bear the op of an inverted bottleneck as their variant.
    """
    found = [_block(ops) for ops in _blocks(graph).values()]
    names = {op.name.rpartition("/")[0] for op in graph.ops if op.weights}

    def mean(values: list[float]) -> float | None:
        return round(float(np.mean(values)), 4) if values else None

    return {
        "depth": len(found) or len(names),
        "mean_kernel": mean([block["kernel"] for block in found]),
        "mean_expansion": mean([block["expansion"] for block in found]),
        "mean_width": mean([block["width"] for block in found]),
        "share_dw": mean([block["op"] == blocks.IBN_DW and block["dw"] for block in found]),
        "share_fused": mean([block["op"] == blocks.IBN_FUSED for block in found]),
        "share_grouped": mean([block["op"] in blocks.GROUPED_OPS for block in found]),
    }


def _blocks(graph: OpGraph) -> dict[str, list[Op]]:
    """Ops of each inverted bottleneck, by their prefix."""
    found: dict[str, list[Op]] = {}
    for op in graph.ops:
        if op.variant in _VARIANTS and op.weights:
            found.setdefault(op.name.rpartition("/")[0], []).append(op)
    return found


def _block(ops: Sequence[Op]) -> Record:
    return {
        "op": ops[0].variant,
        "dw": any(op.kind is OpKind.DEPTHWISE_CONV_2D for op in ops),
        "kernel": max(max(op.kernel_size) for op in ops),
        "expansion": max(op.out_channels for op in ops[:-1] or ops) / ops[0].in_channels
        if len(ops) > 1
        else 1.0,
        "width": ops[-1].out_channels,
    }


def costs(graph: OpGraph, report: CostReport) -> Record:
    """The numbers of a cost report that a candidate carries."""
    return {
        "latency_ms": report.latency_ms,
        "energy_mj": report.energy_mj,
        "peak_memory_bytes": report.peak_memory_bytes,
        "weight_bytes": report.weight_bytes,
        "streamed_bytes": report.streamed_bytes,
        "macs": graph.macs,
        "parameters": graph.trainable_parameters,
    }


def digest(*parts: object) -> str:
    """SHA-256 of parts that JSON can write, in hexadecimal."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
