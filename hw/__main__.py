"""``python -m hw``: device profiles, and what a ``.tflite`` costs on them.

Takes well under a second; needs neither TensorFlow nor a device.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hw import inspecting, measuring
from hw.text import short, table

if TYPE_CHECKING:
    from hw.device import Device
    from hw.report import CostReport, OpCost


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0: done, 2: bad input, said in one line on standard error."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "devices":
            print(_devices_text())
        elif options.command == "inspect":
            print(inspecting.inspect(options))
        elif options.command == "measure":
            print(measuring.measure(options))
        else:
            report, device = _estimate(options)
            if options.command == "explain":
                print(_explain_text(report))
            elif options.json:
                print(json.dumps(dataclasses.asdict(report), indent=2))
            else:
                print(_estimate_text(report, device))
    except BrokenPipeError:
        sys.stderr.close()
    except KeyboardInterrupt:
        return 130  # as shells tell it
    except ValueError as error:
        # Each mistake a user can make is a ValueError of its own class with a one-line message.
        if type(error) is ValueError:
            raise
        print(f"hw: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hw", description="What a network costs on an Edge TPU."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
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
            "--cost-model", default="analytic", help="analytic (default) or macs_only"
        )
        if name == "estimate":
            command.add_argument("--json", action="store_true", help="print the report as JSON")
    inspecting.add_command(commands)
    measuring.add_command(commands)
    return parser


def _estimate(options: argparse.Namespace) -> tuple[CostReport, Device]:
    from hw.cost_model import load_cost_model
    from hw.device import load_device
    from hw.tflite import read_tflite

    device = load_device(options.device)
    cost_model = load_cost_model(options.cost_model, device)
    model = read_tflite(options.model)
    model.check_quantized()
    return cost_model.estimate(model.graph, dict(model.unsupported)), device


def _devices_text() -> str:
    from hw.device import device_names, load_device

    rows = [("device", "what", "calibrated on")]
    for name in device_names():
        device = load_device(name)
        fit = device.calibration
        rows.append(
            (
                name,
                device.summary,
                fit.measurements if fit else "not calibrated: laws fitted to published rows",
            )
        )
    return table(rows)


def _estimate_text(report: CostReport, device: Device) -> str:
    interval = report.latency_interval_ms
    first = report.first_inference_ms
    energy = report.energy_mj
    rows = [
        ("device", report.device),
        ("method", report.method),
        ("latency", f"{report.known_latency_ms:.3f} ms"),
        (
            "90 % interval",
            f"{interval[0]:.3f} to {interval[1]:.3f} ms" if interval else "none: not calibrated",
        ),
        ("first inference", "unknown" if first is None else f"{first:.3f} ms"),
        (
            "energy",
            "unknown" if energy is None else f"{energy:.3f} mJ (modelled, uncalibrated)",
        ),
        ("peak memory", f"{report.peak_memory_bytes:,} B"),
        ("weights", f"{report.weight_bytes:,} B"),
        ("streamed", f"{report.streamed_bytes:,} B an inference"),
        ("MACs", f"{report.macs:,}"),
        ("host ops", str(len(report.host_ops))),
    ]
    notes = _advice(report)
    return "\n".join([table(rows), *(f"- {note}" for note in notes)])


def _explain_text(report: CostReport) -> str:
    rows: list[tuple[str, ...]] = [("op", "kind", "unit", "ms", "share", "bound")]
    rows += [_op_row(share, report.known_latency_ms) for share in report.per_op]
    rows.append(("total", "", "", f"{report.known_latency_ms:.4f}", "100.0 %", ""))
    parts = [table(rows)]
    if report.host_ops:
        reasons = [("host op", "why it stays on the host"), *report.host_ops]
        parts.append(table([(short(name), reason) for name, reason in reasons]))
    notes = _advice(report)
    parts += ["What would help:\n" + "\n".join(f"- {note}" for note in notes)] if notes else []
    return "\n\n".join(parts)


def _op_row(share: OpCost, total_ms: float) -> tuple[str, ...]:
    part = share.latency_ms / total_ms if total_ms else 0.0
    return (
        short(share.op),
        share.kind,
        share.unit,
        f"{share.latency_ms:.4f}",
        f"{part:.1%}".replace("%", " %"),
        share.bound,
    )


def _advice(report: CostReport) -> list[str]:
    """What the report should make its reader notice."""
    notes = []
    latency_ms = report.known_latency_ms
    tpu_ms = sum(share.latency_ms for share in report.per_op if share.unit == "tpu")
    call_ms = sum(share.latency_ms for share in report.per_op if share.bound == "transfer")
    host_ms = latency_ms - tpu_ms
    if report.host_ops:
        name, reason = report.host_ops[0]
        notes.append(
            f"{len(report.host_ops)} ops stay on the host and take {host_ms:.3f} ms; the first "
            f"is {short(name)} ({reason}). Replace it, and those behind it may map."
        )
    if report.streamed_bytes:
        notes.append(
            f"{report.streamed_bytes:,} B of weights do not fit on chip and are streamed at every "
            "inference. Fewer parameters would save that time."
        )
    if call_ms > 0.5 * latency_ms:
        notes.append(
            f"the call and its transfers are {call_ms:.3f} of {latency_ms:.3f} ms: a "
            "smaller input or output helps more than a smaller network, and a CPU may be faster."
        )
    moving = sum(share.latency_ms for share in report.per_op if share.bound == "movement")
    if moving > 0.5 * latency_ms:
        notes.append(
            f"starting ops and moving activations takes {moving:.3f} of {latency_ms:.3f} "
            "ms: fewer, wider ops (fused instead of grouped or depthwise) would help."
        )
    return notes


if __name__ == "__main__":
    raise SystemExit(main())
