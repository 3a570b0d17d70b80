"""Times a compiled network on a Coral Edge TPU at this machine, on USB, PCIe or the board."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any, final

from numpy.typing import NDArray

from hw.families.edge_tpu.compiled_package import read_compiled
from hw.measuring.bench import BenchError, BenchSettings, measured_report, version_of
from hw.measuring.compiled import compiled_path, left_on_host, original_path
from hw.measuring.running import Samples, run_file
from hw.measuring.stopwatch import time_file
from hw.report import CostReport
from hw.tflite.model import TfliteError, TfliteModel
from hw.tflite.reader import read_tflite

LIBRARY = "libedgetpu.so.1"
WHERE = f"{LIBRARY} must be installed (Google's Debian package libedgetpu1-std) and loadable"
CURE = (
    "Check that an Edge TPU is attached, that you may open it, and that no other process has it."
)
LEFT = "left on the host by edgetpu_compiler"


@final
class CoralBoard:
    """A compiled file, or a model with its compiled file beside it."""

    summary = "times a compiled model on a Coral Edge TPU at this machine"
    concurrent = False

    def __init__(self, settings: BenchSettings) -> None:
        """``settings.threads`` are for ops that stay on the host."""
        self.settings = settings

    @property
    def version(self) -> str:
        """The older runtime's."""
        return version_of("tflite-runtime")

    def missing(self) -> str | None:
        """The delegate's library; whether a device is attached shows when a model runs."""
        return None if _loads(LIBRARY) else WHERE

    def measure(self, tflite: Path) -> CostReport:
        """Median, spread and first inference.

        Weights are told by the compiled file, other facts by the one before compilation, if that
        is at hand.

        Raises:
            BenchError: There is no library or device, or nothing compiled.
            TfliteError: The file is no ``.tflite``.
        """
        original, compiled = self._pair(tflite)
        timing = time_file(Path(compiled.path), self.settings, CURE, LIBRARY)
        weights, streamed = _parameter_bytes(Path(compiled.path))
        left = left_on_host(original.graph, compiled.graph) if original else ()
        return measured_report(
            "coral_board",
            timing,
            original,
            weight_bytes=weights,
            streamed_bytes=streamed,
            host_ops=tuple((op.name, LEFT) for op in left),
        )

    def outputs(self, tflite: Path, samples: Samples) -> tuple[NDArray[Any], ...]:
        """What the Edge TPU, and the host for the rest, make of samples.

        Raises:
            BenchError: There is no library or device, or nothing compiled.
            TfliteError: The file is no ``.tflite``.
        """
        _, compiled = self._pair(tflite)
        return run_file(Path(compiled.path), samples, self.settings, CURE, LIBRARY)

    def _pair(self, tflite: Path) -> tuple[TfliteModel | None, TfliteModel]:
        """The model before compilation, if at hand, and after, where they can be run."""
        pair = _pair(tflite)
        missing = self.missing()
        if missing is not None:
            raise BenchError(f"{missing}, but got none.")
        return pair


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _parameter_bytes(compiled: Path) -> tuple[int | None, int | None]:
    """All and streamed parameters; None where a package is laid out as no known compiler does.

    The runtime may know it all the same.
    """
    try:
        totals = read_compiled(compiled).totals()
    except TfliteError:
        return None, None
    streamed = totals["streamed_parameter_bytes"]
    return totals["cached_parameter_bytes"] + streamed, streamed


def _pair(tflite: Path) -> tuple[TfliteModel | None, TfliteModel]:
    """The model before compilation, if at hand, and after."""
    given = read_tflite(tflite)
    if given.compiled:
        path = original_path(tflite)
        return (read_tflite(path) if path else None), given
    path = compiled_path(tflite)
    if path.is_file():
        compiled = read_tflite(path)
        if compiled.compiled:
            return given, compiled
    raise BenchError(
        f"{tflite}: must be the output of edgetpu_compiler or have it beside it as {path.name}, "
        "but got a model before compilation alone. Run edgetpu_compiler on it."
    )
