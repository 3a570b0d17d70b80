"""Compiles a network with Arm's Vela for an Ethos-U: what maps, its memory, estimated cycles."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import final

from hw.device import load_device
from hw.families.ethos_u.acceptance import check_accepted
from hw.families.ethos_u.profile import FAMILY, Device
from hw.families.ethos_u.vela_output import Compiled, Row, VelaOutputError, read_output
from hw.measuring.bench import BenchError, BenchSettings, version_of
from hw.measuring.child import run_child
from hw.protocols import Device as AnyDevice
from hw.report import Bound, CostReport, OpCost
from hw.tflite.reader import read_tflite

MODULE = "ethosu.vela"
WHERE = "Vela must be installed (package ethos-u-vela)"
CONFIGURATION = "Arm/vela.ini"
"""Systems and memory modes as they come with it."""
DEFAULT_DEVICE = "ethos_u55_128"
UNSAID = "left on the host without a word of Vela's"
LAST_WORDS = 200
"""Characters of a traceback's last line that a message repeats."""


@final
class Vela:
    """Times are Vela's estimates, no measurements."""

    summary = "compiles a model for an Ethos-U: which ops map, memory, estimated cycles"
    concurrent = True

    def __init__(self, settings: BenchSettings) -> None:
        """For ``settings.device``, an Ethos-U; ``settings.timeout_s`` limits one compilation."""
        self.settings = settings

    @property
    def version(self) -> str:
        """Vela's."""
        return version_of("ethos-u-vela")

    def missing(self) -> str | None:
        """The compiler, where it was not installed."""
        parent = MODULE.partition(".")[0]
        found = importlib.util.find_spec(parent) and importlib.util.find_spec(MODULE)
        return None if found else WHERE

    def measure(self, tflite: Path) -> CostReport:
        """Estimated latency op by op, memory, and the ops on the host with Vela's reasons.

        Time on the host is not counted: Vela tells none. Where no op maps there is no latency.

        Raises:
            BenchError: Vela is not there, does not compile the file, or the device is none of its.
            TfliteError: The file is no ``.tflite``, or has nothing in it for an Ethos-U.
        """
        model = read_tflite(tflite)
        check_accepted(model)
        compiled = self.compile(tflite)
        left = [row for row in compiled.rows if row.on_host]
        mapped = [row for row in compiled.rows if not row.on_host]
        uncounted = (f"{len(left)} ops on the host, whose time Vela does not tell",)
        return CostReport(
            device=f"vela {compiled.accelerator}, {compiled.system}, {compiled.memory}",
            method="compiled",
            latency_ms=compiled.latency_ms if mapped else None,
            latency_interval_ms=None,
            first_inference_ms=None,
            energy_mj=None,
            peak_memory_bytes=compiled.sram_bytes,
            weight_bytes=compiled.outer_bytes,
            streamed_bytes=compiled.fetched_bytes,
            macs=model.macs,
            host_ops=tuple((row.name, compiled.reasons.get(row.name, UNSAID)) for row in left),
            per_op=tuple(_cost(row, compiled.clock_mhz) for row in compiled.rows),
            left_out=(*model.left_out, *(uncounted if left else ())),
        )

    def fits(self, device: AnyDevice) -> bool:
        """Whether it is an Ethos-U."""
        return isinstance(device, Device)

    def written(self, tflite: Path, folder: Path) -> Path:
        """``NAME_vela.tflite`` in ``folder``.

        Raises:
            BenchError: Vela is not there, or does not compile the file.
        """
        self.compile(tflite, folder)
        return folder / f"{tflite.stem}_vela.tflite"

    def compile(self, tflite: Path, into: Path | None = None) -> Compiled:
        """What Vela makes of a file that is known to be one; ``into`` keeps what it writes.

        Raises:
            BenchError: It is not there, fails, or takes longer than allowed.
        """
        if self.missing() is not None:
            raise BenchError(f"{WHERE}, but got none.")
        device = self._device()
        with tempfile.TemporaryDirectory() as name:
            folder = into or Path(name)
            command = [sys.executable, "-m", MODULE, str(tflite.absolute())]
            command += ["--config", CONFIGURATION, "--output-dir", str(folder)]
            command += ["--accelerator-config", device.chip.accelerator]
            command += ["--system-config", device.system.name]
            command += ["--memory-mode", device.memory.name, "--verbose-performance"]
            done = run_child(command, folder, self.settings.timeout_s)
            if done.status is None:
                raise BenchError(
                    f"{tflite}: must compile within {self.settings.timeout_s:g} s, but got no "
                    "end. Allow more time, or make its largest activations smaller."
                )
            if done.status != 0:
                told = [line for line in done.errors.splitlines() if line.strip()] or ["nothing"]
                raise BenchError(
                    f"{tflite}: must compile with Vela for {device.chip.accelerator}, but got: "
                    f"{told[-1].strip()[:LAST_WORDS]} ({done.ending}). Run vela on it to see all."
                )
            try:
                return read_output(folder, f"{done.output}\n{done.errors}")
            except VelaOutputError as error:
                raise BenchError(str(error)) from None

    def _device(self) -> Device:
        device = load_device(self.settings.device or DEFAULT_DEVICE)
        if not isinstance(device, Device):
            raise BenchError(
                f"device must be of the family {FAMILY} to be compiled for by Vela, but got "
                f"{device.name} of {device.family}."
            )
        return device


def _cost(row: Row, clock_mhz: float) -> OpCost:
    bounds: tuple[tuple[Bound, float], ...] = (
        ("compute", row.npu_cycles),
        ("movement", row.sram_cycles),
        ("streaming", row.outer_cycles),
    )
    bound = max(bounds, key=lambda one: one[1])[0]
    return OpCost(
        op=row.name,
        kind=row.operator,
        unit="host" if row.on_host else "tpu",
        latency_ms=row.cycles / (clock_mhz * 1e3),
        energy_mj=None,
        dram_bytes=0,
        bound="host" if row.on_host else bound,
    )
