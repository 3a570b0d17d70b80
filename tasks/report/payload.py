"""The data of the interactive front, small and safe inside a script element."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence

from tasks.candidates.candidate import Candidate
from tasks.report.records import Finalist, ReportData

FIELDS = (
    "id",
    "name",
    "origin",
    "status",
    "reason",
    "trial",
    "generation",
    "score",
    "latency_ms",
    "peak_memory_bytes",
    "weight_bytes",
    "streamed_bytes",
    "macs",
    "parameters",
    "energy_mj",
    "depth",
    "mean_kernel",
    "mean_expansion",
    "share_dw",
    "share_fused",
    "share_grouped",
    "mean_width",
    "on_pareto",
    "rank",
)


def payload(data: ReportData) -> str:
    """JSON for ``<script type="application/json">``: no ``<``, ``>`` or ``&`` in it."""
    others = data.deciding
    there = [one.latency for one in others]
    record = {
        "metric": dataclasses.asdict(data.metric),
        "target_latency_ms": data.target_latency_ms,
        "linear_floor": _plain(data.linear_floor),
        "is_below_floor": data.is_below_floor,
        "best": data.best.id if data.best else None,
        "fields": [*FIELDS, *there],
        "candidates": [
            [_plain(getattr(c, name)) for name in FIELDS] + [_plain(c.value(n)) for n in there]
            for c in data.candidates
        ],
        "decisions": _decisions(data.candidates),
        "finalists": [
            _finalist(finalist) | {one.latency: _plain(one.latency_ms[at]) for one in others}
            for at, finalist in enumerate(data.finalists)
        ],
        "devices": [
            {"field": one.latency, "name": one.device, "target_ms": one.target_latency_ms}
            for one in others
        ],
    }
    written = json.dumps(record, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        written = written.replace(character, f"\\u{ord(character):04x}")
    return written


def _decisions(candidates: Sequence[Candidate]) -> dict[str, object]:
    """Decisions as indices into lists of values; -1: not decided. A tenth of the plain size."""
    names = sorted({name for c in candidates for name in c.architecture}, key=_natural)
    values: list[dict[str, int]] = [{} for _ in names]
    rows = [
        [
            _index(name, candidate.architecture, seen)
            for name, seen in zip(names, values, strict=True)
        ]
        for candidate in candidates
    ]
    return {"names": names, "values": [list(seen) for seen in values], "rows": rows}


def _index(name: str, architecture: Mapping[str, object], seen: dict[str, int]) -> int:
    if name not in architecture:
        return -1
    return seen.setdefault(str(architecture[name]), len(seen))


def _natural(name: str) -> list[tuple[int, int | str]]:
    """Input and stem first, top last, stages and blocks by number."""
    first = {"input": 0, "stem": 0, "top": 2, "head": 2}.get(name.partition("/")[0], 1)
    pieces = "".join(c if c.isdigit() else f"\0{c}\0" for c in name).split("\0")
    numbers: list[tuple[int, int | str]] = [
        (0, int(piece)) if piece.isdecimal() and piece.isascii() else (1, piece)
        for piece in pieces
        if piece
    ]
    return [(first, first), *numbers]


def _finalist(finalist: Finalist) -> dict[str, object]:
    cost = finalist.cost
    record = {
        "id": finalist.id,
        "name": finalist.name,
        "split": finalist.split,
        "baseline": finalist.is_baseline,
        "score_float": finalist.score_float,
        "score_ptq": finalist.score_ptq,
        "score_int8": finalist.score_int8,
        "supernet_score": finalist.supernet_score,
        "latency_ms": cost.latency_ms,
        "macs": cost.macs,
        "weight_bytes": cost.weight_bytes,
        "streamed_bytes": cost.streamed_bytes,
        "peak_memory_bytes": cost.peak_memory_bytes,
        "energy_mj": cost.energy_mj,
        "parameters": finalist.parameters,
        "file_bytes": finalist.file_bytes,
    }
    return {name: _plain(value) for name, value in record.items()}


def _plain(value: object) -> object:
    """Numbers to six significant digits; NaN and infinity are unknown."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
