"""Compiles a network for Synaptics' SL2610, the first chip with a Coral NPU, and simulates it.

It was tested on stand-ins of the three programs, never on Synaptics'.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from hw.measuring.bench import BenchSettings
from hw.measuring.running import Samples, plain_outputs
from hw.measuring.torq_programs import CHIP, TorqJob, missing
from hw.report import CostReport
from hw.tflite.model import TfliteModel
from hw.tflite.reader import read_tflite

NO_TIME = "no time, as its profile calls one unit cycles and microseconds"
ON_NPU = "all of it on the NPU"
FALLBACK = "part of it on the host or the CSS"
UNCOUNTED = "ops on the host or the CSS, as the compiler does not tell which these are"


@final
class Torq:
    """Knows no time: the report tells where a file runs, and what comes out can be compared."""

    summary = f"compiles a model for Synaptics' {CHIP} (Torq) and simulates it; tells no time"
    concurrent = True

    def __init__(self, settings: BenchSettings) -> None:
        """``settings.timeout_s`` limits all the work on one file."""
        self.settings = settings

    @property
    def version(self) -> str:
        """None that is known: they are programs on PATH, of whatever package."""
        return ""

    def missing(self) -> str | None:
        """Those of the three programs that are not on PATH."""
        return missing()

    def measure(self, tflite: Path) -> CostReport:
        """Whether all of a file runs on the NPU; nothing is simulated.

        Raises:
            BenchError: A program is not there, or the file does not compile.
            TfliteError: The file is no ``.tflite``, is not quantized or is compiled already.
        """
        model = _checked(tflite)
        with self._job(tflite) as job:
            alone = job.compile()
        return CostReport(
            device=f"torq {CHIP}, {ON_NPU if alone else FALLBACK}; {NO_TIME}",
            method="compiled",
            latency_ms=None,
            latency_interval_ms=None,
            first_inference_ms=None,
            energy_mj=None,
            peak_memory_bytes=None,
            weight_bytes=None,
            streamed_bytes=None,
            macs=model.macs,
            host_ops=(),
            per_op=(),
            left_out=(*model.left_out, *(() if alone else (UNCOUNTED,))),
        )

    def outputs(self, tflite: Path, samples: Samples) -> tuple[NDArray[Any], ...]:
        """What the simulator makes of samples.

        LiteRT tells, by the first of them, how many outputs there are, and of what form.

        Raises:
            BenchError: A program is not there, the file does not compile or run, or outputs have
                another form than LiteRT's.
            TfliteError: The file is no ``.tflite``, is not quantized or is compiled already.
        """
        _checked(tflite)
        with self._job(tflite) as job:
            like = plain_outputs(tflite, [array[:1] for array in samples], self.settings)
            job.compile()
            rows = [
                job.run([array[at : at + 1] for array in samples], like)
                for at in range(len(samples[0]))
            ]
        return tuple(np.concatenate(column) for column in zip(*rows, strict=True))

    @contextmanager
    def _job(self, tflite: Path) -> Iterator[TorqJob]:
        with tempfile.TemporaryDirectory() as folder:
            yield TorqJob(tflite, Path(folder), self.settings.timeout_s)


def _checked(tflite: Path) -> TfliteModel:
    model = read_tflite(tflite)
    model.check_quantized()
    return model
