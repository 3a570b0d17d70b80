"""What an estimate rests on that nothing shows: ops that a compiler is supposed to map.

If such an op stays on the host after all, so does what depends on it, and a figure can be wrong by
many times. So the same network is costed that way, too: where it makes much of a difference the
interval reaches that far, and the report says why.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from hw.families.edge_tpu.analytic import Analytic
from hw.families.edge_tpu.mapping import rules_of
from hw.families.edge_tpu.profile import Device
from hw.report import CostReport
from hw.tflite.reasons import NOT_SUPPORTED
from spaces.graph import OpGraph

MUCH = 2.0
"""Ratio of latencies from which on a supposition must be told."""


def with_suppositions(
    report: CostReport, graph: OpGraph, refused: Mapping[str, str], device: Device
) -> CostReport:
    """``report``, the analytic estimate of ``graph``, with what it is like if ops do not map.

    Args:
        report: By the device's own rules.
        graph: The network.
        refused: Ops that stay on the host for reasons a graph does not show.
        device: Whose compiler it is.
    """
    rules, on_host = rules_of(device.compiler.rules), {name for name, _ in report.host_ops}
    supposed = {
        op.name: op.kind
        for op in graph.ops
        if op.kind in rules.supposed_kinds and op.name not in on_host
    }
    if not supposed:
        return report
    otherwise = Analytic(device).estimate(
        graph, {**dict.fromkeys(supposed, NOT_SUPPORTED), **refused}
    )
    if otherwise.known_latency_ms < MUCH * report.known_latency_ms:
        return report
    kinds = ", ".join(sorted(set(supposed.values())))
    said = (
        f"{kinds} {'are' if ',' in kinds else 'is'} supposed to run on the TPU, which nothing "
        f"published shows; if not, an inference takes {otherwise.known_latency_ms:.2f} ms."
    )
    interval = report.latency_interval_ms
    if interval is not None:
        high = (otherwise.latency_interval_ms or interval)[1]
        interval = (interval[0], max(interval[1], high))
    return dataclasses.replace(report, latency_interval_ms=interval, supposed=(said,))
