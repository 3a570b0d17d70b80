"""Converts, compiles and simulates a ``.tflite`` with the three programs for Synaptics' Torq.

They could not be had where this was written. What they are called with is what their sources and
manuals say; what comes of them in another form than these tell is refused.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hw.measuring.bench import BenchError
from hw.measuring.child import Finished, run_child
from hw.measuring.running import Samples
from hw.measuring.stopwatch import one_line

CONVERTER: Final = "tosa-converter-for-tflite"
COMPILER: Final = "torq-compile"
RUNNER: Final = "torq-run-module"
PROGRAMS: Final = (CONVERTER, COMPILER, RUNNER)
WHERE: Final = (
    "must be on PATH (packages tosa-converter-for-tflite, torq-compiler and torq-runtime, for "
    "Linux on x86-64 with Python 3.12 and glibc 2.38 or newer)"
)
CHIP: Final = "SL2610"
NPU_ALONE: Final = ("--torq-disable-host", "--torq-disable-css")
"""With these, an op that the NPU does not take is an error."""
FOR_THIS_HOST: Final = "--torq-target-host-triple=native"
"""Ops on the host are to run where the simulator does, not on the board's processor."""
IR, MODULE = "model.mlir", "model.vmfb"
CURES: Final = {
    "GLIBC": "Run it on a system with glibc 2.38 or newer, such as Ubuntu 24.04.",
    CONVERTER: "Convert the model to builtin ops, with full integer quantization (int8).",
    COMPILER: "Make its largest activations smaller, or try another version of torq-compiler.",
    RUNNER: "Try another version of torq-compiler, and torq-runtime of the same.",
}
LAST_WORDS: Final = 300
"""Characters of a reason that a message repeats."""
ERROR: Final = re.compile(r"error:|: [A-Z][A-Z_]+; ")
"""In the line that says why, of a compiler or of a runtime; what follows tells where."""


def missing() -> str | None:
    """Those of the programs that are not on PATH, and what has them."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"{', '.join(absent)} {WHERE}" if absent else None


class TorqJob:
    """The work on one file, in a folder of its own and within one time limit."""

    def __init__(self, tflite: Path, folder: Path, timeout_s: float) -> None:
        """Nothing runs yet; the time does.

        Raises:
            BenchError: One of the programs is not on PATH.
        """
        absent = missing()
        if absent is not None:
            raise BenchError(f"{absent}, but got none.")
        self._tflite, self._folder, self._timeout_s = tflite, folder, timeout_s
        self._end = time.monotonic() + timeout_s

    def compile(self) -> bool:
        """Compile the file, and tell whether all of it runs on the NPU.

        Raises:
            BenchError: It does not compile, or takes too long.
        """
        self._must(CONVERTER, [str(self._tflite.absolute()), "--text", "-o", IR], [IR])
        arguments = [IR, "-o", MODULE, f"--torq-hw={CHIP}"]
        if self._attempt(COMPILER, [*arguments, *NPU_ALONE], [MODULE]) is None:
            return True
        self._must(COMPILER, [*arguments, FOR_THIS_HOST], [MODULE])
        return False

    def run(self, inputs: Samples, like: Samples) -> tuple[NDArray[Any], ...]:
        """What the simulator makes of one sample, once the file is compiled.

        Args:
            inputs: Of the sample, in the file's order and types.
            like: Arrays of the number, shapes and types that the outputs must have.

        Raises:
            BenchError: It does not run, takes too long, or outputs are not as they must be.
        """
        given = [f"input{number}.npy" for number in range(len(inputs))]
        made = [f"output{number}.npy" for number in range(len(like))]
        for name, array in zip(given, inputs, strict=True):
            np.save(self._folder / name, np.ascontiguousarray(array))
        # No function is named: the only one that a module exports is run, and of several, none.
        arguments = [f"--module={MODULE}", "--device=torq", "--torq_hw_type=sim"]
        arguments += [f"--input=@{name}" for name in given]
        arguments += [f"--output=@{name}" for name in made]
        self._must(RUNNER, arguments, made)
        return tuple(self._read(name, one) for name, one in zip(made, like, strict=True))

    def _must(self, program: str, arguments: Sequence[str], made: Sequence[str]) -> None:
        why = self._attempt(program, arguments, made)
        if why is not None:
            cure = CURES["GLIBC" if "GLIBC" in why else program]
            raise BenchError(f"{self._tflite}: must pass {program}, but got: {why}. {cure}")

    def _attempt(self, program: str, arguments: Sequence[str], made: Sequence[str]) -> str | None:
        """Run a program that makes files; None, or why it did not.

        Raises:
            BenchError: It cannot be started, or the time is over.
        """
        for name in made:  # What an earlier run has left is no answer of this one.
            (self._folder / name).unlink(missing_ok=True)
        path = shutil.which(program) or program
        try:
            left = max(self._end - time.monotonic(), 0.0)
            done = run_child([path, *arguments], self._folder, left)
        except OSError as error:
            raise BenchError(
                f"{path}: must be a program for this machine, but got: {error.strerror}. "
                f"{program} {WHERE}."
            ) from None
        if done.status is None:
            raise BenchError(
                f"{self._tflite}: must pass {program} within {self._timeout_s:g} s for all of its "
                "work, but got no end. Allow more time, or make its largest activations smaller."
            )
        if done.status != 0:
            return f"{_told(done)} ({done.ending})"
        empty = [name for name in made if not _size(self._folder / name)]
        return f"no {empty[0]} ({done.ending})" if empty else None

    def _read(self, name: str, like: NDArray[Any]) -> NDArray[Any]:
        """An output, which must be of the shape and the type of ``like``."""
        try:
            with (self._folder / name).open("rb") as file:
                found = np.lib.format.read_array(file, allow_pickle=False)
        except (OSError, ValueError, MemoryError) as error:
            got = f"what NumPy does not read: {one_line(str(error))[:LAST_WORDS]}"
        else:
            if (found.shape, found.dtype) == (like.shape, like.dtype):
                return found
            got = _form(found)
        raise BenchError(
            f"{self._tflite}: {name} of {RUNNER} must be {_form(like)}, but got {got}. "
            f"{CURES[RUNNER]}"
        )


def _told(done: Finished) -> str:
    """The first error that a program names, or its last word."""
    lines = f"{done.output}\n{done.errors}".splitlines()
    told = [line for line in lines if line.strip()] or ["nothing"]
    return one_line(next(filter(ERROR.search, told), told[-1]))[:LAST_WORDS]


def _form(array: NDArray[Any]) -> str:
    return f"{array.dtype} of {'x'.join(map(str, array.shape)) or 'no axes'}"


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
