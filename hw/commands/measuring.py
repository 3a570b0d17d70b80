"""``python -m hw measure``: a model on a bench, and its row for a calibration."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hw.text import number, short, table

if TYPE_CHECKING:
    from hw.protocols import Bench
    from hw.report import CostReport


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``measure`` to the commands of ``python -m hw``."""
    command = commands.add_parser(
        "measure", help="time or compile a .tflite on a bench; without --bench, list the benches"
    )
    command.add_argument("model", metavar="MODEL.tflite", type=Path, nargs="?")
    command.add_argument(
        "--bench", help="host_cpu, coral_board, edgetpu_compiler, google_tensor, torq or vela"
    )
    command.add_argument("--runs", type=int, default=100, help="warm inferences (default 100)")
    command.add_argument("--threads", type=int, default=1, help="of the processor (default 1)")
    command.add_argument("--seed", type=int, default=0, help="of the random inputs (default 0)")
    command.add_argument(
        "--timeout", type=float, default=600.0, metavar="SECONDS", help="limit (default 600)"
    )
    command.add_argument(
        "--device",
        help="what vela compiles for, e.g. ethos_u85_512 (default ethos_u55_128), or what "
        "google_tensor does, tensor_g3 to tensor_g6 (default tensor_g5)",
    )
    command.add_argument("--json", action="store_true", help="print the report as JSON")
    command.add_argument(
        "--append",
        type=Path,
        metavar="MEASUREMENTS.csv",
        help="add a row tflite,latency_ms, as python -m flows calibrate reads it",
    )


def measure(options: argparse.Namespace) -> str:
    """Run the command and tell what to print.

    Raises:
        BenchError: There is no such bench, or it cannot measure this file.
        TfliteError: The file is no ``.tflite``.
        MeasurementsError: The row cannot be added.
    """
    from hw.measuring.bench import BenchError, BenchSettings, bench_names, load_bench

    settings = BenchSettings(
        options.runs, options.threads, options.seed, options.timeout, options.device
    )
    if options.bench is None:
        return _listing({name: load_bench(name, settings) for name in bench_names()}, options.json)
    bench = load_bench(options.bench, settings)
    if options.model is None:
        raise BenchError("--bench must come with the path of a .tflite file, but got none.")
    report = _report(bench, options.model, options.append)
    return json.dumps(dataclasses.asdict(report), indent=2) if options.json else _text(report)


def _report(bench: Bench, model: Path, append_to: Path | None) -> CostReport:
    from hw.measuring.measurements import append, row_model

    if append_to is None:
        return bench.measure(model)
    # What can be wrong with the row is said before a minute is spent on it.
    named = row_model(append_to, model)
    report = bench.measure(model)
    append(append_to, named, report)
    return report


def _listing(benches: Mapping[str, Bench], as_json: bool) -> str:
    rows = [(name, bench.summary, bench.missing()) for name, bench in benches.items()]
    if as_json:
        keys = ("bench", "summary", "missing")
        return json.dumps([dict(zip(keys, row, strict=True)) for row in rows], indent=2)
    head = ("bench", "what it does", "at hand")
    return table([head, *((*row[:2], f"no: {row[2]}" if row[2] else "yes") for row in rows)])


def _text(report: CostReport) -> str:
    rows = [("device", report.device), ("method", report.method), *_time_rows(report)]
    rows += [
        ("peak memory", number(report.peak_memory_bytes, " B")),
        ("weights", number(report.weight_bytes, " B")),
        ("streamed", number(report.streamed_bytes, " B an inference")),
        ("MACs", number(report.macs)),
        ("host ops", str(len(report.host_ops))),
    ]
    parts = [*(f"NOT COUNTED: {left}." for left in report.left_out), table(rows)]
    if report.host_ops:
        left = [(short(name), reason) for name, reason in report.host_ops]
        parts.append(table([("host op", "why it stays on the host"), *left]))
    return "\n\n".join(parts)


def _time_rows(report: CostReport) -> list[tuple[str, str]]:
    if report.latency_ms is None:
        return [("latency", "unknown: this bench tells none")]
    if report.method == "compiled":
        return [("latency", f"{report.latency_ms:.4f} ms, as the compiler estimates")]
    interval, first = report.latency_interval_ms, report.first_inference_ms
    return [
        ("latency", f"{report.latency_ms:.4f} ms, median"),
        (
            "5 % to 95 %",
            f"{interval[0]:.4f} to {interval[1]:.4f} ms" if interval else "none: too few runs",
        ),
        ("first inference", "unknown" if first is None else f"{first:.4f} ms"),
    ]
