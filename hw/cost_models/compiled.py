"""The device's own compiler as the oracle: each network is written, compiled, and remembered."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from hw.columns import FloatArray
from hw.cost_model import CostModelError
from hw.device import changed, dump_device
from hw.family import family_of
from hw.measuring.bench import BenchError, BenchSettings, load_bench
from hw.protocols import Device
from hw.report import CostReport, OpCost
from hw.tflite.model import TfliteError
from hw.tflite.writer import UnwritableError, written
from spaces.graph import OpBatch, OpGraph

KEPT = Path(".edgenas/compiled")
"""Answers by content of file and device."""


@final
class Compiled:
    """About a second a network; nothing for one that was compiled before, by this run or another.

    Weights are random ones: a compiler's estimate depends on them through their compression.
    """

    def __init__(self, device: Device) -> None:
        """For ``device``; refused are families without a compiler that tells a latency."""
        family = family_of(device)
        if family.compiler is None:
            raise CostModelError(
                f"{device.name}: must be of a family whose compiler estimates a latency to be "
                f"costed by compiled, but got {device.family}. Choose analytic."
            )
        self.device, self._splits = device, family.splits_groups(device)
        self._bench = load_bench(family.compiler, BenchSettings())
        missing = self._bench.missing()
        if missing is not None:
            raise CostModelError(f"{missing} to cost by compiled, but got none.")
        self._text = dump_device(changed(device, calibration=None))
        self._name = family.compiler

    def estimate(self, graph: OpGraph, refused: Mapping[str, str] | None = None) -> CostReport:
        """What the compiler says; ``refused`` is ignored, as it decides itself.

        Raises:
            CostModelError: The network cannot be written without training, or does not compile.
        """
        try:
            data = written(graph, 0, self._splits)
        except UnwritableError as error:
            raise CostModelError(f"compiled: {error} Choose analytic.") from None
        key = hashlib.sha256(data + self._text.encode()).hexdigest()
        known = KEPT / self._bench.version / f"{key}.json"
        if not known.is_file():
            _keep(known, self._compile(data))
        record = json.loads(known.read_text(encoding="utf-8"))
        report = _report(record)
        return dataclasses.replace(report, device=self.device.name, macs=graph.macs)

    def estimate_many(self, batch: OpBatch) -> Mapping[str, FloatArray]:
        """Nothing: columns are no networks that one could compile.

        Raises:
            CostModelError: Always; networks are to be costed one by one.
        """
        raise CostModelError(
            f"{self.device.name}: networks must be compiled one by one, but got a batch."
        )

    def _compile(self, data: bytes) -> CostReport:
        with tempfile.TemporaryDirectory() as name:
            profile, model = Path(name, "device.yaml"), Path(name, "network.tflite")
            profile.write_text(self._text, encoding="utf-8")
            model.write_bytes(data)
            bench = load_bench(self._name, BenchSettings(device=str(profile)))
            try:
                return bench.measure(model)
            except (BenchError, TfliteError) as error:
                raise CostModelError(f"compiled: {error}") from None


def _keep(path: Path, report: CostReport) -> None:
    """Write at once or not at all: several processes may compile the same network."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps(dataclasses.asdict(report)), encoding="utf-8")
    part.replace(path)


def _report(record: dict[str, Any]) -> CostReport:
    names = {"host_ops", "left_out", "out_of_range"}
    lists = {name: tuple(_plain(one) for one in record[name]) for name in names & set(record)}
    per_op = tuple(OpCost(**one) for one in record["per_op"])
    return CostReport(**record | lists | {"per_op": per_op})


def _plain(item: Any) -> Any:
    return tuple(item) if isinstance(item, list) else item
