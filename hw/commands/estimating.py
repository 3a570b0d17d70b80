"""``python -m hw estimate``, ``explain`` and ``devices``: the cost of a file, for people."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hw.text import number, short, table

if TYPE_CHECKING:
    from hw.protocols import Device
    from hw.report import CostReport, OpCost
    from spaces.graph import OpGraph


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Options of the three."""
    commands.add_parser("devices", help="list the device profiles")
    for name, text in (
        ("estimate", "the cost report of a quantized .tflite"),
        ("explain", "the same by op: where it runs, time, what bounds it, what would help"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("model", metavar="MODEL.tflite", type=Path)
        command.add_argument(
            "--device", required=True, help="name of a profile, or path to its YAML file"
        )
        command.add_argument(
            "--cost-model", default="analytic", help="analytic (default), compiled or macs_only"
        )
        command.add_argument(
            "--signature", metavar="NAME", help="which of several networks in the file (the first)"
        )
        command.add_argument(
            "-a",
            "--several-subgraphs",
            action="store_true",
            help="map what is behind a host op, too, as edgetpu_compiler -a does",
        )
        if name == "estimate":
            command.add_argument("--json", action="store_true", help="print the report as JSON")
        else:
            command.add_argument(
                "--model-explorer",
                type=Path,
                metavar="OUT.json",
                help="also write milliseconds by op as node data of Google's Model Explorer",
            )


def run(options: argparse.Namespace) -> str:
    """What the command prints.

    Raises:
        DeviceError, CostModelError, TfliteError, NodeDataError: Bad input.
    """
    if options.command == "devices":
        return _devices_text()
    device, graph, refused, report = _estimate(options)
    if options.command == "estimate" and options.json:
        return json.dumps(dataclasses.asdict(report), indent=2)
    from hw.cost_model import OWN
    from hw.family import family_of

    advice: tuple[str, ...] = ()
    told = family_of(device).advice
    if told is not None and options.cost_model == OWN:
        advice = told.changes(graph, refused, device, report)
    if options.command == "explain":
        text = _explain_text(report, advice)
        if options.model_explorer is None:
            return text
        from hw.commands.node_data import write

        names = {op.name for op in graph.ops}
        return f"{text}\n\n{write(options.model_explorer, report, names)}"
    return _estimate_text(report, device, advice)


def _estimate(
    options: argparse.Namespace,
) -> tuple[Device, OpGraph, Mapping[str, str], CostReport]:
    from hw.cost_model import OWN, load_cost_model
    from hw.device import load_device
    from hw.family import family_of
    from hw.tflite.reader import read_tflite

    device = load_device(options.device)
    family = family_of(device)
    if options.several_subgraphs:
        device = family.several_subgraphs(device)
    cost_model = load_cost_model(options.cost_model, device)
    model = read_tflite(options.model, options.signature)
    family.check_accepted(model, device)
    refused = family.refused(model, device)
    report = cost_model.estimate(model.graph, refused)
    if family.advice is not None and options.cost_model == OWN:
        report = family.advice.supposed(report, model.graph, refused, device)
    report = dataclasses.replace(report, left_out=model.left_out)
    return device, model.graph, refused, report


def _devices_text() -> str:
    from hw.device import device_names, load_device

    rows = [("device", "what", "calibrated on", "cross-validated error")]
    for name in device_names():
        device = load_device(name)
        fit = device.calibration
        if fit is None:
            rows.append((name, device.summary, "not calibrated", "unknown"))
        else:
            within = f"90 % within {_percent(fit.error_90)} in range"
            error = f"{fit.mape_percent:.1f} % on average, {within}"
            rows.append((name, device.summary, fit.measurements, error))
    return table(rows)


def _percent(log_ratio: float) -> str:
    return f"{100 * math.expm1(log_ratio):.0f} %"


def _estimate_text(report: CostReport, device: Device, advice: tuple[str, ...]) -> str:
    first = report.first_inference_ms
    energy = report.energy_mj
    rows = [
        ("device", f"{report.device}: {device.summary}"),
        ("method", report.method),
        ("latency", f"{report.known_latency_ms:.3f} ms"),
        ("90 % interval", _interval_text(report)),
        ("first inference", "unknown" if first is None else f"{first:.3f} ms"),
        (
            "energy",
            "unknown" if energy is None else f"{energy:.3f} mJ (modelled, uncalibrated)",
        ),
        ("peak memory", number(report.peak_memory_bytes, " B of activations")),
        ("weights", number(report.weight_bytes, " B")),
        ("streamed", number(report.streamed_bytes, " B an inference")),
        ("MACs", number(report.macs)),
        ("host ops", _host_text(report)),
    ]
    notes = (f"- {note}" for note in (*_warnings(report), *advice))
    return "\n".join([*_left_out_text(report), table(rows), *notes])


def _left_out_text(report: CostReport) -> list[str]:
    """The line that must come first: below it, a part is costed as if it were all."""
    if not report.left_out:
        return []
    return [f"NOT THE WHOLE FILE: the figures leave out {'; and '.join(report.left_out)}."]


def _interval_text(report: CostReport) -> str:
    interval = report.latency_interval_ms
    if interval is None:
        return "none: the profile is not calibrated"
    return f"{interval[0]:.3f} to {interval[1]:.3f} ms"


def _host_text(report: CostReport) -> str:
    if not report.host_ops:
        return "none"
    on_host = sum(share.latency_ms for share in report.per_op if share.unit == "host")
    return f"{len(report.host_ops)}, {on_host:.3f} ms"


def _warnings(report: CostReport) -> tuple[str, ...]:
    """What a reader must know before believing the numbers."""
    if not report.out_of_range:
        return report.supposed
    return (
        *report.supposed,
        f"out of the calibrated range in {', '.join(report.out_of_range)}: the interval is wider, "
        "and a guess.",
    )


def _explain_text(report: CostReport, advice: tuple[str, ...]) -> str:
    rows: list[tuple[str, ...]] = [("op", "kind", "unit", "ms", "share", "bound")]
    rows += [_op_row(share, report.known_latency_ms) for share in report.per_op]
    rows.append(("total", "", "", f"{report.known_latency_ms:.4f}", "100.0 %", ""))
    parts = [*_left_out_text(report), table(rows), _bounds_text(report)]
    if report.host_ops:
        reasons = [("host op", "why it stays on the host"), *report.host_ops]
        parts.append(table([(short(name), reason) for name, reason in reasons]))
    summary = [("90 % interval", _interval_text(report)), ("host ops", _host_text(report))]
    parts.append(table(summary))
    parts += [f"Note: {warning}" for warning in _warnings(report)]
    if advice:
        numbered = (f"{number}. {text}" for number, text in enumerate(advice, 1))
        parts.append("What would help most:\n" + "\n".join(numbered))
    return "\n\n".join(parts)


def _bounds_text(report: CostReport) -> str:
    """Time by what it is spent on."""
    spent: dict[str, float] = {}
    for share in report.per_op:
        spent[share.bound] = spent.get(share.bound, 0.0) + share.latency_ms
    total = report.known_latency_ms
    rows = [("bound by", "ms", "share")]
    for name, time in sorted(spent.items(), key=lambda item: -item[1]):
        rows.append((name, f"{time:.4f}", f"{100 * time / total:.1f} %"))
    return table(rows)


def _op_row(share: OpCost, total_ms: float) -> tuple[str, ...]:
    part = share.latency_ms / total_ms if total_ms else 0.0
    return (
        short(share.op),
        share.kind,
        share.unit,
        f"{share.latency_ms:.4f}",
        f"{100 * part:.1f} %",
        share.bound,
    )
