"""Runs a ``.tflite`` on given samples in a process of its own: a bench's outputs, to compare.

``python -m hw.measuring.running ORDER INPUTS.npz OUTPUTS.npz`` is that process.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw.measuring.bench import BenchSettings
from hw.measuring.stopwatch import Order, answered, asked, opened

Samples = Sequence[NDArray[Any]]
"""Arrays ``[n, ...]`` in the order of a file's inputs or outputs, in its own types."""


def run_file(
    tflite: Path,
    samples: Samples,
    settings: BenchSettings,
    cure: str,
    delegate: str | None = None,
    plain: bool = False,
) -> tuple[NDArray[Any], ...]:
    """The outputs of a file for samples, one inference each; ``cure`` closes an error's message.

    Args:
        tflite: What to run, of a batch of 1.
        samples: Its inputs.
        settings: Threads, and how long all of it may take.
        cure: What to do about a file that does not run.
        delegate: Name of the delegate's library; None: on this processor.
        plain: By LiteRT's own kernels, without XNNPACK.

    Raises:
        BenchError: It does not run, crashes, or takes too long.
    """
    order = Order(str(tflite.absolute()), delegate, 1, settings.threads, 0, plain)
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "inputs.npz", Path(folder) / "outputs.npz"
        np.savez(given, *samples)
        words = (str(given), str(made))
        asked("hw.measuring.running", tflite, order, settings.timeout_s, cure, *words)
        return _arrays(made)


def plain_outputs(
    tflite: Path, samples: Samples, settings: BenchSettings
) -> tuple[NDArray[Any], ...]:
    """What a file means: its outputs by LiteRT's own kernels, on one thread of this processor.

    Raises:
        BenchError: It does not run, crashes, or takes too long.
    """
    one = BenchSettings(timeout_s=settings.timeout_s)
    return run_file(tflite, samples, one, "Convert the model anew.", plain=True)


def _arrays(path: Path) -> tuple[NDArray[Any], ...]:
    with np.load(path, allow_pickle=False) as arrays:
        return tuple(arrays[f"arr_{number}"] for number in range(len(arrays.files)))


def main(argument: str, given: str, made: str) -> int:
    """Answer one order: outputs into a file, nothing on standard output."""

    def work(order: Order) -> dict[str, Any]:
        np.savez(Path(made), *_outputs(opened(order), _arrays(Path(given))))
        return {}

    return answered(argument, work)


def _outputs(interpreter: Any, samples: Samples) -> list[NDArray[Any]]:
    interpreter.allocate_tensors()
    sources, ends = interpreter.get_input_details(), interpreter.get_output_details()
    rows: list[list[NDArray[Any]]] = []
    for at in range(len(samples[0])):
        for source, array in zip(sources, samples, strict=True):
            interpreter.set_tensor(source["index"], array[at : at + 1])
        interpreter.invoke()
        rows.append([interpreter.get_tensor(end["index"]) for end in ends])
    return [np.concatenate(column) for column in zip(*rows, strict=True)]


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
