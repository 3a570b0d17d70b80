"""Candidates: what is said of an architecture, and the store that remembers every score."""

from __future__ import annotations

import errno
import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, final

import numpy as np

from hw.report import CostReport
from spaces.families import blocks
from spaces.graph import Op, OpGraph, OpKind
from spaces.space import Architecture
from tasks.run.workspace import explain_full_disk

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


@final
class ScoreStore:
    """Scores by content: the key names weights, data, evaluation and architecture.

    A score is written once, in one durable transaction, and never evaluated again: not by a
    resumed search, nor by a later one with a larger budget.
    """

    def __init__(self, path: Path, context: Mapping[str, object]) -> None:
        """Open or create the store; ``context`` is all that a score depends on but the network.

        Raises:
            WorkspaceError: The disk is full.
        """
        self._path, self._context = path, digest(dict(context))
        with explain_full_disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS score "
                "(key TEXT PRIMARY KEY, context TEXT, architecture TEXT, result TEXT)"
            )

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A transaction; the full disk that SQLite reports in its own way is told as any other."""
        try:
            with closing(sqlite3.connect(self._path, timeout=60)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=FULL")
                with connection:
                    yield connection
        except sqlite3.OperationalError as error:
            if "full" not in str(error):
                raise
            with explain_full_disk(self._path):
                raise OSError(errno.ENOSPC, str(error)) from error

    def get(self, architecture: Architecture) -> Record | None:
        """The score of an architecture, or None."""
        with self._open() as connection:
            row = connection.execute(
                "SELECT result FROM score WHERE key = ?", (self._key(architecture),)
            ).fetchone()
        return None if row is None else json.loads(row[0])

    def put(self, architecture: Architecture, result: Mapping[str, object]) -> None:
        """Remember a score; the first one counts.

        Raises:
            WorkspaceError: The disk is full.
        """
        row = (
            self._key(architecture),
            self._context,
            architecture.to_json(),
            json.dumps(dict(result), sort_keys=True),
        )
        with self._open() as connection:
            connection.execute("INSERT OR IGNORE INTO score VALUES (?, ?, ?, ?)", row)

    def __len__(self) -> int:
        """Scores in this context."""
        with self._open() as connection:
            row = connection.execute(
                "SELECT COUNT(*) FROM score WHERE context = ?", (self._context,)
            ).fetchone()
        return int(row[0])

    def _key(self, architecture: Architecture) -> str:
        return digest(self._context, architecture.to_json())
