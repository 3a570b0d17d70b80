"""Milliseconds by op as node data of Google's Model Explorer, to be laid over its graph of a file.

Source: ``node_data_builder.py`` of the package ``ai-edge-model-explorer``: what is not keyed by
graphs is for the graph that is shown; a node is found by the name of a tensor that it puts out.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

from hw.report import CostReport

GRADIENT: Final = (("0", "#ffffff"), ("0.5", "#fdd49e"), ("1", "#d7301f"))
"""From what takes no time to what takes most."""


class NodeDataError(ValueError):
    """A file that cannot be written."""


def node_data(report: CostReport, ops: Collection[str]) -> dict[str, Any]:
    """Milliseconds of each op of the file; fixed cost and transfers are no nodes of it.

    Args:
        report: By op.
        ops: Names of the file's ops.
    """
    spent: dict[str, float] = {}
    for share in report.per_op:
        if share.op in ops:
            tensor = _tensor(share.op, ops)
            spent[tensor] = spent.get(tensor, 0.0) + share.latency_ms
    return {
        "name": f"ms on {report.device}, {report.method}",
        "results": {name: {"value": round(value, 6)} for name, value in spent.items()},
        "gradient": [{"stop": float(stop), "bgColor": colour} for stop, colour in GRADIENT],
    }


def _tensor(op: str, ops: Collection[str]) -> str:
    """The tensor that an op is called after: a second op of that name has a number behind it."""
    name, mark, number = op.rpartition("#")
    return name if mark and number.isdecimal() and name in ops else op


def write(path: Path, report: CostReport, ops: Collection[str]) -> str:
    """Write node data, and tell of it.

    Raises:
        NodeDataError: It cannot be written.
    """
    data = node_data(report, ops)
    try:
        path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise NodeDataError(
            f"{path}: must be a file to write to, but got: {error.strerror}."
        ) from None
    shown = sum(one["value"] for one in data["results"].values())
    return (
        f"Written to {path}: {len(data['results'])} nodes, {shown:.4f} of "
        f"{report.known_latency_ms:.4f} ms; the rest belongs to no op. Open the model in Model "
        "Explorer, and this file as its node data."
    )
