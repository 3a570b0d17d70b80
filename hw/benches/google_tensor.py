"""Compiles a network for a Google Tensor chip with LiteRT and Google's compiler: what maps.

The terms of that compiler forbid to compare the chip with other devices, to publish what is
observed, and to pass on what it makes. So each report says so, nothing of it goes into a bundle,
and no profile is fitted to it. It was tested on a stand-in of the library, never on Google's.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
from pathlib import Path
from typing import final

from hw.measuring.bench import BenchError, BenchSettings, version_of
from hw.measuring.compiled import left_on_host
from hw.measuring.tensor_compiler import Compiled, compiled
from hw.protocols import Device
from hw.report import CostReport
from hw.tflite.model import TfliteError, TfliteModel
from hw.tflite.reader import read_tflite
from hw.tflite.reasons import NOT_SUPPORTED
from hw.tflite.schema import DISPATCH_OP
from spaces.graph import Op

PACKAGE = "ai_edge_litert_sdk_google_tensor"
VARIABLE = "GOOGLE_TENSOR_COMPILER_LIB"
LIBRARY = "liblitert_plugin_compiler.so"
SIGN_UP = "for Linux on x86-64; sign up at https://ai.google.dev/edge/litert/next/tensor-sdk"
WHERE = (
    "Google's compiler for Tensor must be installed "
    f"(package {PACKAGE.replace('_', '-')}, or its folder in {VARIABLE}; {SIGN_UP})"
)
NO_FOLDER = f"{VARIABLE} must be the folder that {LIBRARY} lies in ({SIGN_UP})"
TERMS = "by its terms, results are not to be published, compared or passed on"
CHIPS = {f"tensor_g{number}": f"Tensor_G{number}" for number in (3, 4, 5, 6)}
DEFAULT_DEVICE = "tensor_g5"
UNSAID = "left on the host without a word of the compiler's"
DISPATCHED = f"{NOT_SUPPORTED}: {DISPATCH_OP}"
"""What reading a compiled file says of a part for the chip."""


@final
class GoogleTensor:
    """Knows no time: the report tells what the compiler decided."""

    summary = f"compiles a model for Google Tensor: which ops map; {TERMS}"
    concurrent = True

    def __init__(self, settings: BenchSettings) -> None:
        """For ``settings.device``, a Tensor; ``settings.timeout_s`` limits one file."""
        self.settings = settings

    @property
    def version(self) -> str:
        """LiteRT's, which calls the compiler."""
        return version_of("ai-edge-litert")

    def missing(self) -> str | None:
        """The compiler's library, where it is at neither place."""
        if importlib.util.find_spec(PACKAGE) is not None:
            return None
        folder = os.environ.get(VARIABLE)
        if not folder:
            return WHERE
        return None if Path(folder, LIBRARY).is_file() else NO_FOLDER

    def measure(self, tflite: Path) -> CostReport:
        """How many ops map, in how many partitions, and those that stay on the host.

        Raises:
            BenchError: There is no compiler, it does not compile the file, or not for that chip.
            TfliteError: The file is no ``.tflite``, is not quantized or is compiled already.
        """
        model = _checked(tflite)
        with tempfile.TemporaryDirectory() as folder:
            made = self.compile(tflite, Path(folder))
            after = read_tflite(made.path)
        return CostReport(
            device=_told(self._chip(), made),
            method="compiled",
            latency_ms=None,
            latency_interval_ms=None,
            first_inference_ms=None,
            energy_mj=None,
            peak_memory_bytes=None,
            weight_bytes=None,
            streamed_bytes=None,
            macs=model.macs,
            host_ops=tuple((op.name, UNSAID) for op in _on_host(model, after)),
            per_op=(),
            left_out=model.left_out,
        )

    def fits(self, device: Device) -> bool:
        """Never: what fits a device goes into bundles, and this must not be passed on."""
        return False

    def written(self, tflite: Path, folder: Path) -> Path:
        """``NAME_Google_Tensor_G5.tflite`` in ``folder``, or of the chip that is asked for.

        Raises:
            BenchError: There is no compiler, it does not compile the file, or not for that chip.
            TfliteError: The file is no ``.tflite``, is not quantized or is compiled already.
        """
        _checked(tflite)
        return self.compile(tflite, folder).path

    def compile(self, tflite: Path, folder: Path) -> Compiled:
        """What comes of a file that is known to be quantized.

        Raises:
            BenchError: There is no compiler, it fails, takes longer than allowed, or the chip is
                none of its.
        """
        chip, missing = self._chip(), self.missing()
        if missing is not None:
            raise BenchError(f"{missing}, but got none.")
        return compiled(tflite, chip, folder, self.settings.timeout_s)

    def _chip(self) -> str:
        name = self.settings.device or DEFAULT_DEVICE
        if name.lower() not in CHIPS:
            raise BenchError(
                f"device must be one of {', '.join(CHIPS)} to be compiled for by google_tensor, "
                f"but got {name!r}. Google's compiler has no other chip, neither Tensor G1 nor "
                "G2."
            )
        return CHIPS[name.lower()]


def _checked(tflite: Path) -> TfliteModel:
    model = read_tflite(tflite)
    model.check_quantized()
    if DISPATCH_OP in model.custom_operators:
        raise TfliteError(
            f"{tflite}: must be the model before compilation, but got one that LiteRT compiled "
            "for a chip already. Give the .tflite it was made of."
        )
    return model


def _on_host(before: TfliteModel, after: TfliteModel) -> tuple[Op, ...]:
    """Ops that the compiler left as they were.

    A part for the chip has the name of its last op, and no kind. Here, other than on an Edge TPU,
    that op may have had none either: the operator tells them apart.
    """
    parts = {name for name, reason in after.unsupported if reason == DISPATCHED}
    return tuple(op for op in left_on_host(before.graph, after.graph) if op.name not in parts)


def _told(chip: str, made: Compiled) -> str:
    several = "s" if made.partitions != 1 else ""
    how = ", half precision and maximum sharding" if made.forced else ""
    return (
        f"google_tensor {chip}{how}, {made.mapped} of {made.ops} ops in {made.partitions} "
        f"partition{several}; {TERMS}"
    )
