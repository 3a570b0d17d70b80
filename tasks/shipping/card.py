"""The model card: all that is known of a finalist, as JSON of a stated form.

``card.schema.json`` beside this file is the form; both carry :data:`SCHEMA`. What is not known is
null, never left out.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hw.report import CostReport
from tasks.learning.parity import Parity
from tasks.shipping.intervals import SHARES, Interval, wilson

SCHEMA: Final = "edgenas/card/1"
KINDS: Final = ("float", "ptq", "qat", "int8")
PACKAGES: Final = (
    "tensorflow",
    "tf-keras",
    "tensorflow-model-optimization",
    "ai-edge-litert",
    "numpy",
)
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Licence:
    """What the person who ships says; None: nothing."""

    model: str | None
    data: str | None
    author: str | None


@dataclass(frozen=True, slots=True)
class Scores:
    """Metrics by split and kind of file, and intervals of some, by metric.

    Attributes:
        metric: The one that counts.
        label: What people call it.
        counts: Samples by split.
        by_split: Metrics by split, then by kind of file.
        drawn: Intervals of the int8 file on the split of the report, by metric.
        split: That of the report.
    """

    metric: str
    label: str
    counts: Mapping[str, int]
    by_split: Mapping[str, Mapping[str, Mapping[str, float]]]
    drawn: Mapping[str, Interval]
    split: str

    def told(self) -> Json:
        """As the card has them."""
        return {
            "metric": self.metric,
            "label": self.label,
            "split": self.split,
            "splits": {
                split: {
                    "items": self.counts[split],
                    "files": {
                        kind: {name: self._value(split, kind, name, of[name]) for name in of}
                        for kind, of in kinds.items()
                    },
                }
                for split, kinds in self.by_split.items()
            },
        }

    def _value(self, split: str, kind: str, name: str, value: float) -> Json:
        interval = None
        if name in SHARES:
            interval = wilson(value, self.counts[split])
        elif (split, kind) == (self.split, "int8"):
            interval = self.drawn.get(name)
        return {
            "value": value,
            "interval": None if interval is None else [interval.low, interval.high],
            "interval_kind": None if interval is None else interval.kind,
        }


def data_of(manifest: Mapping[str, Any]) -> Json:
    """What the network learned from."""
    return {
        "source": manifest.get("source"),
        "format": manifest.get("format"),
        "source_sha256": manifest.get("source_sha256"),
        "synthetic": bool(manifest.get("synthetic", False)),
        "classes": list(manifest["classes"]),
        "input_shape": list(manifest["input_shape"]),
        "split_rule": manifest.get("split_rule"),
        "splits": {
            name: {
                "items": split.get("items"),
                "carved": split.get("carved"),
                "sha256": {key: one for key, one in split.items() if key.endswith("sha256")},
            }
            for name, split in manifest["splits"].items()
        },
        "skipped": {why: told["count"] for why, told in manifest.get("skipped", {}).items()},
    }


def latency_of(
    device: str,
    predicted: CostReport,
    compiled: Mapping[str, CostReport | str],
    measured: Mapping[str, CostReport | str],
) -> Json:
    """Estimated, compiled and measured, each by its own name; a reason stands for a report."""
    return {
        "device": device,
        "predicted": _cost(predicted),
        "compiled": [_benched(name, one) for name, one in compiled.items()],
        "measured": [_benched(name, one) for name, one in measured.items()],
    }


def _benched(bench: str, found: CostReport | str) -> Json:
    if isinstance(found, str):
        return {"bench": bench, "cost": None, "reason": found}
    return {"bench": bench, "cost": _cost(found), "reason": None}


def _cost(report: CostReport) -> Json:
    interval = report.latency_interval_ms
    return {
        "on": report.device,
        "method": report.method,
        "latency_ms": report.latency_ms,
        "latency_interval_ms": None if interval is None else list(interval),
        "out_of_range": list(report.out_of_range),
        "energy_mj": report.energy_mj,
        "peak_memory_bytes": report.peak_memory_bytes,
        "weight_bytes": report.weight_bytes,
        "streamed_bytes": report.streamed_bytes,
        "macs": report.macs,
        "host_ops": [list(pair) for pair in report.host_ops],
    }


def parity_of(rows: Sequence[Parity]) -> list[Json]:
    """Each bench beside LiteRT's own kernels."""
    return [{**dataclasses.asdict(row), "reason": row.reason or None} for row in rows]


def versions() -> Json:
    """Of what made the files."""
    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


def schema() -> bytes:
    """The form of a card, in JSON Schema."""
    return Path(__file__).with_name("card.schema.json").read_bytes()
