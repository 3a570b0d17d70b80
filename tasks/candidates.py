"""Candidates: what is said of an architecture, and the store that remembers every score."""

from __future__ import annotations

import errno
import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, final

import numpy as np

from hw.report import CostReport
from spaces import blocks
from spaces.graph import OpGraph
from spaces.ibn import IbnSpace
from spaces.space import Architecture
from tasks.workspace import explain_full_disk

Record = dict[str, Any]


def describe(space: IbnSpace, architecture: Architecture) -> Record:
    """A few typed numbers that people compare candidates by."""
    live = space.blocks(architecture.values)
    dense = {blocks.IBN_GROUPED, blocks.IBN_FUSED_GROUPED}

    def share(ops: set[str]) -> float:
        return round(sum(block.op in ops for block in live) / len(live), 4)

    return {
        "depth": len(live),
        "mean_kernel": round(float(np.mean([block.kernel_size for block in live])), 4),
        "mean_expansion": round(float(np.mean([block.expansion for block in live])), 4),
        "mean_width": round(float(np.mean([block.out_channels for block in live])), 4),
        "share_dw": share({blocks.IBN_DW}),
        "share_fused": share({blocks.IBN_FUSED}),
        "share_grouped": share(dense),
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
