"""Times a network on this machine's own processor, with LiteRT and its XNNPACK kernels."""

from __future__ import annotations

import importlib.util
import platform
from pathlib import Path
from typing import Any, final

from numpy.typing import NDArray

from hw.measuring.bench import (
    BenchError,
    BenchSettings,
    measured_report,
    stored_weight_bytes,
    version_of,
)
from hw.measuring.running import Samples, run_file
from hw.measuring.stopwatch import time_file
from hw.report import CostReport
from hw.tflite.model import TfliteModel
from hw.tflite.reader import read_tflite

CURE = "Convert the model anew, to builtin ops only."


@final
class HostCpu:
    """Any ``.tflite`` of builtin ops, 8-bit or floating point."""

    summary = "times a model on this processor (LiteRT, XNNPACK)"
    concurrent = False

    def __init__(self, settings: BenchSettings) -> None:
        """With ``settings.threads`` threads."""
        self.settings = settings

    @property
    def version(self) -> str:
        """LiteRT's."""
        return version_of("ai-edge-litert")

    def missing(self) -> str | None:
        """LiteRT, where it was not installed."""
        if importlib.util.find_spec("ai_edge_litert") is None:
            return "LiteRT must be installed (package ai-edge-litert)"
        return None

    def measure(self, tflite: Path) -> CostReport:
        """Median, spread and first inference.

        Raises:
            BenchError: The file is compiled for an Edge TPU, or does not run.
            TfliteError: It is no ``.tflite``.
        """
        model = _runnable(tflite)
        threads = self.settings.threads
        device = f"host_cpu {platform.machine()}, {threads} thread{'s' if threads > 1 else ''}"
        return measured_report(
            device,
            time_file(tflite, self.settings, CURE),
            model,
            weight_bytes=stored_weight_bytes(model),
            streamed_bytes=0,
        )

    def outputs(self, tflite: Path, samples: Samples) -> tuple[NDArray[Any], ...]:
        """What XNNPACK makes of samples.

        Raises:
            BenchError: The file is compiled for an Edge TPU, or does not run.
            TfliteError: It is no ``.tflite``.
        """
        _runnable(tflite)
        return run_file(tflite, samples, self.settings, CURE)


def _runnable(tflite: Path) -> TfliteModel:
    model = read_tflite(tflite)
    if model.compiled:
        raise BenchError(
            f"{tflite}: must be the model before compilation to run on a processor, but got the "
            "output of edgetpu_compiler. Give the .tflite it was made of, or measure it with "
            "coral_board."
        )
    return model
