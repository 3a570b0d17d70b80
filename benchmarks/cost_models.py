"""What the cost model is worth: estimated against published latencies, bytes and intervals.

    python -m benchmarks.cost_models --measurements DIR --networks DIR [--tflite DIR]
        [--json OUT] [--markdown OUT]

Ten minutes on one core. ``--measurements`` holds the published CSV files, ``--networks`` what
``python -m benchmarks.keras_networks`` makes, ``--tflite`` models of google-coral/test_data with
their compiled twins; what is missing is left out. Beside the analytic model stands the straight
line in multiply-accumulates, fitted on the same data. Nothing is judged on what it was fitted to,
but where the text above a table says so.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.networks import Networks
from benchmarks.results import Result, machine, save
from benchmarks.validation import nas_bench_201, packages, pixel6, pixel8, stacks, whole_models
from benchmarks.validation.section import Section


def makers(options: argparse.Namespace) -> list[Callable[[], list[Section]]]:
    """The parts of the validation, in the order in which they are printed."""
    folder, tflite = options.measurements, options.tflite
    networks = Networks([path for path in (options.networks, tflite) if path is not None])
    chosen: list[Callable[[], list[Section]]] = [
        lambda: nas_bench_201.sections(folder),
        lambda: stacks.sections(folder),
        lambda: whole_models.sections(folder, networks),
        lambda: pixel6.sections(folder),
        lambda: pixel8.sections(folder),
    ]
    if tflite is not None:
        chosen.append(lambda: packages.sections(tflite))
    return chosen


def all_sections(options: argparse.Namespace) -> list[Section]:
    """Every table, printed as it is made."""
    found: list[Section] = []
    for make in makers(options):
        start = time.perf_counter()
        for section in make():
            print(section.words())
            found.append(section)
        print(f"({time.perf_counter() - start:.0f} s)\n", flush=True)
    return found


def document(sections: Sequence[Section]) -> str:
    """All tables, for ``docs/cost_model.md``."""
    return "\n".join(section.markdown() for section in sections)


def main() -> None:
    """Judge, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost_models")
    parser.add_argument("--measurements", type=Path, required=True, metavar="DIR")
    parser.add_argument("--networks", type=Path, metavar="DIR", help="converted Keras networks")
    parser.add_argument("--tflite", type=Path, metavar="DIR", help="models and compiled twins")
    parser.add_argument("--json", type=Path, metavar="OUT")
    parser.add_argument("--markdown", type=Path, metavar="OUT")
    options = parser.parse_args()
    if not options.measurements.is_dir():
        parser.error(f"--measurements must be a folder, but got {options.measurements}")
    sections = all_sections(options)
    if not sections:
        parser.error("--measurements must hold published CSV files, but got none of them")
    if options.markdown is not None:
        options.markdown.write_text(document(sections), encoding="utf-8")
        print(f"written to {options.markdown}")
    result: Result = {"sections": [section.record() for section in sections]}
    save(options.json, {"machine": machine(["numpy", "scipy"]), **result})


if __name__ == "__main__":
    main()
