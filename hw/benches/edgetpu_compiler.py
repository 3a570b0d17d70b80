"""Compiles a network with Google's ``edgetpu_compiler``: what maps, and what fits on chip."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import final

from hw.families.edge_tpu.compiler_log import CompilerLog, parse_log
from hw.families.edge_tpu.profile import Device as EdgeTpu
from hw.measuring.bench import BenchError, BenchSettings
from hw.measuring.child import run_child
from hw.measuring.compiled import compiled_path, left_on_host
from hw.protocols import Device
from hw.report import CostReport
from hw.tflite.reader import read_tflite
from spaces.graph import Op, OpKind

PROGRAM = "edgetpu_compiler"
WHERE = f"{PROGRAM} must be on PATH (Google's Debian package edgetpu-compiler, x86-64 only)"
UNSAID = "left on the host without a word in the compiler's log"
CURES = {
    "Model not quantized": "Convert it with full integer quantization (int8).",
    "static-sized tensors": "Set batch_size=1 in the input layer, and convert again.",
    "Didn't find op": "Convert with TensorFlow 2.6 or older, or replace that layer.",
    "Compilation timeout": "Make its largest activations smaller.",
    "Internal compiler error": "Try again, as some versions fail by chance, or with smaller "
    "activations.",
}
OTHER_CURE = f"Run {PROGRAM} -s on it to see the whole log."


@final
class EdgetpuCompiler:
    """Knows no time: the report tells what the compiler decided."""

    summary = "compiles a model: which ops map, which weights fit on chip; tells no time"
    concurrent = True

    def __init__(self, settings: BenchSettings) -> None:
        """``settings.timeout_s`` limits one compilation."""
        self.settings = settings

    @property
    def version(self) -> str:
        """Its log says which; it is no package."""
        return ""

    def missing(self) -> str | None:
        """The compiler, where it is not on PATH."""
        return WHERE if shutil.which(PROGRAM) is None else None

    def measure(self, tflite: Path) -> CostReport:
        """Weights on chip and streamed, and the ops that stay on the host with the reason.

        Raises:
            BenchError: There is no compiler, or it does not compile the file.
            TfliteError: The file is no ``.tflite``, is not quantized or is compiled already.
        """
        model = read_tflite(tflite)
        model.check_quantized()
        with tempfile.TemporaryDirectory() as folder:
            log = self.compile(tflite, Path(folder))
            compiled = read_tflite(compiled_path(tflite, Path(folder)))
        cached, streamed = log.cached_bytes, log.streamed_bytes
        return CostReport(
            device=_name(log),
            method="compiled",
            latency_ms=None,
            latency_interval_ms=None,
            first_inference_ms=None,
            energy_mj=None,
            peak_memory_bytes=None,
            weight_bytes=None if cached is None or streamed is None else cached + streamed,
            streamed_bytes=streamed,
            macs=model.macs,
            host_ops=_with_reasons(left_on_host(model.graph, compiled.graph), log),
            per_op=(),
        )

    def fits(self, device: Device) -> bool:
        """Whether the device's file says that this compiler is its own."""
        return isinstance(device, EdgeTpu) and device.compiler.rules.startswith(PROGRAM)

    def written(self, tflite: Path, folder: Path) -> Path:
        """``NAME_edgetpu.tflite`` in ``folder``.

        Raises:
            BenchError: There is no compiler, or it does not compile the file.
        """
        self.compile(tflite, folder)
        return compiled_path(tflite, folder)

    def compile(self, tflite: Path, folder: Path) -> CompilerLog:
        """Write ``NAME_edgetpu.tflite`` to ``folder``.

        Raises:
            BenchError: There is no compiler, it fails, or takes longer than allowed.
        """
        program = shutil.which(PROGRAM)
        if program is None:
            raise BenchError(f"{WHERE}, but got none.")
        # Not resolved: the name of the output is made of the name of the link, if it is one.
        command = [program, "-s", "-o", str(folder), str(tflite.absolute())]
        try:
            done = run_child(command, folder, self.settings.timeout_s)
        except OSError as error:
            raise BenchError(
                f"{program}: must be a program for this machine, but got: {error.strerror}."
            ) from None
        if done.status is None:
            raise BenchError(
                f"{tflite}: must compile within {self.settings.timeout_s:g} s, but got no end. "
                "Allow more time, or make its largest activations smaller."
            )
        log = parse_log(f"{done.output}\n{done.errors}")
        if log.error is not None or not compiled_path(tflite, folder).is_file():
            why = log.error or "no compiled file"
            cure = next((cure for words, cure in CURES.items() if words in why), OTHER_CURE)
            raise BenchError(
                f"{tflite}: must compile with {_name(log)}, but got: {why} ({done.ending}). {cure}"
            )
        return log


def _name(log: CompilerLog) -> str:
    return f"{PROGRAM} {log.version}" if log.version else PROGRAM


def _with_reasons(ops: tuple[Op, ...], log: CompilerLog) -> tuple[tuple[str, str], ...]:
    """The log has reasons by kind of op only; where a kind has several, all are given."""
    other, reasons = OpKind.OTHER.value, dict[str, list[str]]()
    for row in log.rows:
        kind = row.operator if row.operator in OpKind.__members__ else other
        if not row.mapped:
            reasons.setdefault(kind, []).append(row.status)
    # Operators of other names than their kinds, PADV2 or CUSTOM, stand under OTHER.
    found = ((op.name, reasons.get(op.kind) or reasons.get(other) or [UNSAID]) for op in ops)
    return tuple((name, " or: ".join(dict.fromkeys(statuses))) for name, statuses in found)
