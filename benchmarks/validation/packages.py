"""Parameter bytes of real models against what their compiled twins say of themselves."""

from __future__ import annotations

from pathlib import Path

from benchmarks.validation.section import Cell, Section
from hw.device import load_device
from hw.families.edge_tpu.analytic import Analytic
from hw.families.edge_tpu.compiled_package import read_compiled
from hw.tflite.reader import read_tflite

COMPILED = "_edgetpu.tflite"


def sections(folder: Path) -> list[Section]:
    """The table of all pairs in a folder."""
    pairs = [
        (path, path.with_name(path.name.replace(COMPILED, ".tflite")))
        for path in sorted(folder.glob(f"*{COMPILED}"))
    ]
    rows = tuple(_row(original, twin) for twin, original in pairs if original.is_file())
    if not rows:
        return []
    return [
        Section(
            "Parameter bytes of real models",
            "Estimated from the `.tflite`, told by the compiled file beside it.",
            (
                ("model", 0),
                ("estimated, B", 0),
                ("told, B", 0),
                ("error, %", 1),
                ("streamed: estimated, B", 0),
                ("streamed: told, B", 0),
            ),
            rows,
        )
    ]


def _row(original: Path, twin: Path) -> tuple[Cell, ...]:
    model = read_tflite(original)
    report = Analytic(load_device("coral_usb3")).estimate(model.graph, dict(model.unsupported))
    assert report.weight_bytes is not None
    total = read_compiled(twin).totals()
    streamed = total["streamed_parameter_bytes"]
    told = total["cached_parameter_bytes"] + streamed
    error = 100.0 * (report.weight_bytes / told - 1.0)
    name = original.stem
    return name, report.weight_bytes, told, error, report.streamed_bytes, streamed
