"""Estimated against measured latency: the analytic cost model beside the line in MACs.

    python -m benchmarks.cost_models --measurements DIR [--tflite DIR] --json cost_models.json

``DIR`` holds published rows as CSV files: ``pixel6_edgetpu.csv`` (model, task, latency_ms),
``coral_benchmarks.csv`` (model, desktop_usb3_edgetpu_ms, dev_board_edgetpu_ms),
``coral_models.csv`` (model, in_h, latency_ms), ``keras_applications.csv`` (keras_model, host,
latency_ms) and ``reference_latency_by_host.csv`` (tflite, host, edgetpu_latency_ms). Files that
are missing are left out. Only rows whose network is at hand count: as a baseline of a space, or as
a ``.tflite`` in the second folder.

The devices' coefficients were fitted to published rows, some of these among them: this shows how
well the laws fit, not how well they predict.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.results import Result, machine, save
from hw.cost_model import load_cost_model
from hw.device import load_device
from hw.tflite import read_tflite
from spaces.graph import OpGraph
from spaces.heads import classification
from spaces.ibn import IbnSpace
from spaces.space import load_baselines, load_input_shapes, load_space

METHODS = ("analytic", "macs_only")
IMAGENET = 1001
"""Classes of the released classifiers: 1000 and background."""
Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Measured:
    """A network and how long a device took for it.

    Attributes:
        group: Rows that are judged together.
        name: For people.
        device: A file of ``hw/devices``.
        latency_ms: As published.
        graph: The network with its head.
    """

    group: str
    name: str
    device: str
    latency_ms: float
    graph: OpGraph


def published(space_name: str, baseline: str) -> OpGraph:
    """A baseline of a space at its published input size, with its classifier."""
    space = load_space(space_name)
    assert isinstance(space, IbnSpace)
    shape = load_input_shapes(space_name).get(baseline, space.input_shape)
    network = load_baselines(space_name)[baseline]
    return classification(space.for_input(shape).lower(network), IMAGENET)


def pixel6(rows: Sequence[Row], _: Path | None) -> Iterator[Measured]:
    """MobileNetEdgeTPU v1 and v2 on Tensor G1."""
    for row in rows:
        if row["task"] == "classification":
            space, baseline = row["model"].rsplit("_", 1)
            latency = float(row["latency_ms"])
            graph = published(space, baseline)
            yield Measured("pixel6", row["model"], "tensor_g1", latency, graph)


def coral_benchmarks(rows: Sequence[Row], _: Path | None) -> Iterator[Measured]:
    """EfficientNet-EdgeTPU-S on two hosts."""
    hosts = {"desktop_usb3_edgetpu_ms": "coral_usb3", "dev_board_edgetpu_ms": "coral_dev_board"}
    for row in rows:
        if row["model"] == "EfficientNet-EdgeTpu-S":
            for column, device in hosts.items():
                graph = published("efficientnet_edgetpu", "s")
                yield Measured("coral", row["model"], device, float(row[column]), graph)


def keras_applications(rows: Sequence[Row], _: Path | None) -> Iterator[Measured]:
    """MobileNetV2 on a desktop's USB accelerator."""
    for row in rows:
        if (row["keras_model"], row["host"]) == ("MobileNetV2", "Desktop"):
            graph = published("mobilenet_v2", "w1.0")
            latency = float(row["latency_ms"])
            yield Measured("coral", "Keras MobileNetV2", "coral_usb3", latency, graph)


def reference_latency_by_host(rows: Sequence[Row], _: Path | None) -> Iterator[Measured]:
    """EfficientNet-EdgeTPU-S on the Dev Board."""
    for row in rows:
        if row["host"] == "dev_board" and row["tflite"].startswith("efficientnet-edgetpu-S"):
            graph = published("efficientnet_edgetpu", "s")
            latency = float(row["edgetpu_latency_ms"])
            yield Measured("coral", row["tflite"], "coral_dev_board", latency, graph)


def coral_models(rows: Sequence[Row], tflite: Path | None) -> Iterator[Measured]:
    """Whole models on USB 3 whose quantized file is at hand."""
    files = {
        ("MobileNet V1", "128"): "mobilenet_v1_0.25_128_quant.tflite",
        ("MoveNet.SinglePose.Lightning", "192"): "movenet_single_pose_lightning_ptq.tflite",
    }
    for row in rows:
        file = files.get((row["model"], row["in_h"]))
        if tflite is not None and file is not None and (tflite / file).is_file():
            graph = read_tflite(tflite / file).graph
            latency = float(row["latency_ms"])
            yield Measured("coral", row["model"], "coral_usb3", latency, graph)


READERS: Mapping[str, Callable[[Sequence[Row], Path | None], Iterator[Measured]]] = {
    "pixel6_edgetpu.csv": pixel6,
    "coral_benchmarks.csv": coral_benchmarks,
    "coral_models.csv": coral_models,
    "keras_applications.csv": keras_applications,
    "reference_latency_by_host.csv": reference_latency_by_host,
}


def measured_in(folder: Path, tflite: Path | None) -> list[Measured]:
    """Every row of the folder whose network is at hand."""
    found: list[Measured] = []
    for name, reader in READERS.items():
        if (folder / name).is_file():
            with (folder / name).open(newline="") as stream:
                found += reader(list(csv.DictReader(stream)), tflite)
    return found


def estimates(rows: Sequence[Measured], method: str) -> list[float]:
    """Latency in ms of each row by one cost model."""
    return [
        load_cost_model(method, load_device(row.device)).estimate(row.graph).latency_ms
        for row in rows
    ]


def judge(estimated: Sequence[float], measured: Sequence[float]) -> dict[str, float | None]:
    """Mean absolute error in percent, share within 10 %, and rank correlations from 5 rows on."""
    from scipy import stats

    error = np.abs(np.asarray(estimated) / np.asarray(measured) - 1.0)
    ranked = len(measured) >= 5
    return {
        "rows": len(measured),
        "mape_percent": 100.0 * float(error.mean()),
        "within_10_percent": float((error <= 0.1).mean()),
        "spearman": float(stats.spearmanr(estimated, measured).statistic) if ranked else None,
        "kendall": float(stats.kendalltau(estimated, measured).statistic) if ranked else None,
    }


def report(group: str, rows: Sequence[Measured]) -> Result:
    """Judge one group by every method and print it."""
    truth = [row.latency_ms for row in rows]
    found = {method: estimates(rows, method) for method in METHODS}
    print(f"\n{group}: {len(rows)} rows")
    print(f"  {'network':<44}{'device':<17}{'measured':>9}{'analytic':>10}{'macs_only':>10}  ms")
    for index, row in enumerate(rows):
        values = "".join(f"{found[method][index]:10.2f}" for method in METHODS)
        print(f"  {row.name:<44}{row.device:<17}{row.latency_ms:9.2f}{values}")
    judged = {method: judge(found[method], truth) for method in METHODS}
    for method, scores in judged.items():
        words = (f"{k} {'-' if v is None else format(v, '.3g')}" for k, v in scores.items())
        print(f"  {method:<10} {', '.join(words)}")
    listed = [
        {"name": row.name, "device": row.device, "measured_ms": row.latency_ms}
        | {f"{method}_ms": found[method][index] for method in METHODS}
        for index, row in enumerate(rows)
    ]
    return {"scores": judged, "rows": listed}


def main() -> None:
    """Judge, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost_models")
    parser.add_argument("--measurements", type=Path, required=True, metavar="DIR")
    parser.add_argument("--tflite", type=Path, metavar="DIR", help="quantized models")
    parser.add_argument("--json", type=Path, metavar="OUT")
    options = parser.parse_args()
    rows = measured_in(options.measurements, options.tflite)
    if not rows:
        parser.error(f"--measurements must hold {' or '.join(READERS)}, but got none of them")
    groups = dict.fromkeys(row.group for row in rows)
    result = {name: report(name, [r for r in rows if r.group == name]) for name in groups}
    save(options.json, {"machine": machine(), "groups": result})


if __name__ == "__main__":
    main()
