#!/usr/bin/env python3
"""Times the networks beside it on the board at hand, and writes rows.csv. Needs no project.

    python3 measure.py                               # this processor
    python3 measure.py --delegate libedgetpu.so.1    # a Coral, by NAME_edgetpu.tflite
    python3 measure.py --adb                         # a phone at adb, with benchmark_model on it

A row is written as soon as it is known; a second call measures what is missing or failed.
"""

# It runs on boards, with Pythons from 3.7 on, and knows nothing of the project.
from __future__ import annotations

import argparse
import csv
import glob
import importlib
import json
import os
import re
import subprocess
import sys
import time
from typing import Any

COLUMNS = ["tflite", "latency_ms", "failed", "bench"]
HERE = os.path.dirname(os.path.abspath(__file__))
PHONE = "/data/local/tmp"
WARM_UP_S = 0.2
ROUNDS = 5


def main(argv: list[str] | None = None) -> int:
    """Measure what is missing; 1 where nothing could be measured."""
    options = _options(argv)
    if options.one:
        print(json.dumps(_time(options.one, options)))
        return 0
    table = os.path.join(HERE, "rows.csv")
    bench = "adb" if options.adb else options.delegate or "cpu"
    bench += f" with {options.threads} threads"
    rows = {row["tflite"]: row for row in _read(table) if not row["failed"]}
    other = sorted({row["bench"] for row in rows.values()} - {bench})
    if other:
        print(f"{table}: must be of {bench}, but got {other[0]}. Rename it.", file=sys.stderr)
        return 2
    _write(table, list(rows.values()))
    files = sorted(glob.glob(os.path.join(HERE, "networks", "*.tflite")))
    files = [path for path in files if not path.endswith("_edgetpu.tflite")]
    for number, path in enumerate(files, 1):
        name = "networks/" + os.path.basename(path)
        if name in rows:
            continue
        latency, failed = _measured(path, options)
        text = "" if latency is None else f"{latency:.6f}"
        rows[name] = {"tflite": name, "latency_ms": text, "failed": failed, "bench": bench}
        _write(table, list(rows.values()))
        print(f"{number} of {len(files)}: {name}: {failed or text + ' ms'}", flush=True)
    measured = sum(not row["failed"] for row in rows.values())
    print(f"{measured} of {len(files)} networks measured: {table}")
    return 0 if measured else 1


def _measured(path: str, options: Any) -> tuple[float | None, str]:
    """Latency in ms, or None and why; in a process of its own, which may crash or hang."""
    if options.delegate:
        path = path[: -len(".tflite")] + "_edgetpu.tflite"
        if not os.path.exists(path):
            return None, "must be compiled: run edgetpu_compiler -o networks " + path
    if options.adb:
        return _on_phone(path, options)
    command = [sys.executable, os.path.abspath(__file__), "--one", path]
    command += ["--runs", str(options.runs), "--threads", str(options.threads)]
    command += ["--delegate", options.delegate] if options.delegate else []
    done, failed = _run(command, options.timeout)
    try:
        return (None, failed) if failed else (json.loads(done.splitlines()[-1]), "")
    except (ValueError, IndexError):
        return None, "no answer"


def _on_phone(path: str, options: Any) -> tuple[float | None, str]:
    remote = PHONE + "/" + os.path.basename(path)
    adb = [options.adb_program, *(["-s", options.serial] if options.serial else [])]
    _, failed = _run([*adb, "push", path, remote], options.timeout)
    if failed:
        return None, failed
    command = [options.benchmark_model, f"--graph={remote}"]
    command += [f"--num_threads={options.threads}"]
    command += [f"--num_runs={options.runs}", *options.phone_options]
    done, failed = _run([*adb, "shell", " ".join(command)], options.timeout)
    _run([*adb, "shell", f"rm -f {remote}"], options.timeout)
    if failed:
        return None, failed
    latency = latency_of(done)
    return latency, "" if latency is not None else "benchmark_model told no inference time"


def latency_of(text: str) -> float | None:
    """Milliseconds of a warm inference by what LiteRT's benchmark_model wrote; None: it has none.

    The median, where it is told (``count=50 first=... median=...``; of two such lines the first
    is of warming up), else the average of ``Inference timings in us``.
    """
    counted = re.findall(r"^.*count=\d+ .*$", text, re.M)
    median = re.search(r"median=([\d.eE+]+)", counted[-1]) if counted else None
    average = re.search(r"Inference timings in us:.*Inference \(avg\): ([\d.eE+]+)", text)
    found = median or average
    return float(found.group(1)) / 1e3 if found else None


def _run(command: list[str], timeout: float) -> tuple[str, str]:
    """What it wrote, or why it failed, in one line."""
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, check=False
        )
    except OSError as error:
        return "", f"{command[0]}: {error.strerror}"
    except subprocess.TimeoutExpired:
        return "", f"no end within {timeout:g} s"
    text = done.stdout.decode("utf-8", "replace")
    if done.returncode:
        last = [line for line in text.splitlines() if line.strip()] or ["no word"]
        return text, f"exit status {done.returncode}: {last[-1].strip()[:200]}"
    return text, ""


def _time(path: str, options: Any) -> float:
    """Median of warm inferences, in ms."""
    import numpy as np

    try:
        runtime = importlib.import_module("tflite_runtime.interpreter")
    except ImportError:
        runtime = importlib.import_module("ai_edge_litert.interpreter")
    delegates = [runtime.load_delegate(options.delegate)] if options.delegate else None
    model = runtime.Interpreter(
        model_path=path, experimental_delegates=delegates, num_threads=options.threads
    )
    model.allocate_tensors()
    rng = np.random.RandomState(0)
    times = []
    for number in range(ROUNDS):
        for detail in model.get_input_details():
            shape, kind = detail["shape"], np.dtype(detail["dtype"])
            if kind.kind == "f":
                value = rng.rand(*shape)
            else:
                value = rng.randint(0, 2 if kind.itemsize > 2 else 128, shape)
            model.set_tensor(detail["index"], value.astype(kind))
        model.invoke()
        end = time.perf_counter() + (WARM_UP_S if number == 0 else 0.0)
        while time.perf_counter() < end:
            model.invoke()
        for _ in range(max(1, options.runs // ROUNDS)):
            begin = time.perf_counter()
            model.invoke()
            times.append(1e3 * (time.perf_counter() - begin))
    return float(np.median(times))


def _read(path: str) -> list[dict[str, str]]:
    if not os.path.exists(path):
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def _write(path: str, rows: list[dict[str, str]]) -> None:
    with open(path + ".part", "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(path + ".part", path)


def _options(argv: list[str] | None) -> Any:
    parser = argparse.ArgumentParser(description="Times networks/*.tflite into rows.csv.")
    parser.add_argument("--runs", type=int, default=100, help="warm inferences (default 100)")
    parser.add_argument("--threads", type=int, default=1, help="of the processor (default 1)")
    parser.add_argument("--delegate", help="a library, e.g. libedgetpu.so.1")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds a network")
    parser.add_argument("--adb", action="store_true", help="on a phone, with benchmark_model")
    parser.add_argument("--adb-program", default="adb", help="default adb")
    parser.add_argument("--serial", help="of the phone, where there are several")
    parser.add_argument("--benchmark-model", default=PHONE + "/benchmark_model")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    known, more = parser.parse_known_args(argv)
    if more and not known.adb:
        parser.error("options of benchmark_model need --adb, but got " + " ".join(more))
    known.phone_options = more
    return known


if __name__ == "__main__":
    sys.exit(main())
