"""A ``.tflite`` file at work: what every example needs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

try:
    from ai_edge_litert.interpreter import Interpreter
except ModuleNotFoundError:  # older boards
    from tflite_runtime.interpreter import Interpreter

HERE = Path(__file__).parent
"""The folder of the model, its card and its labels."""


class Model:
    """A file that is fed and read by the names of its signature."""

    def __init__(self, path: Path) -> None:
        """Open the file; on a Coral device pass ``experimental_delegates`` to the interpreter."""
        self._interpreter = Interpreter(model_path=str(path))  # it must outlive its runner
        self._run = self._interpreter.get_signature_runner()
        self._inputs = self._run.get_input_details()
        self._outputs = self._run.get_output_details()

    def length(self, name: str) -> int:
        """Of the last dimension of an input."""
        return int(self._inputs[name]["shape"][-1])

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The outputs as the file gives them, for real or whole numbers by name."""
        fed = {name: _quantized(inputs[name], one) for name, one in self._inputs.items()}
        outputs: dict[str, Any] = self._run(**fed)
        return outputs

    def real(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        """What outputs stand for: real numbers, or whole ones where they have no scale."""
        return {name: _dequantized(value, self._outputs[name]) for name, value in outputs.items()}


def _quantized(values: Any, tensor: Mapping[str, Any]) -> Any:
    if tensor["dtype"] in (np.float32, np.int32):
        return np.ascontiguousarray(values, tensor["dtype"])
    scale, zero_point = tensor["quantization"]
    limits = np.iinfo(tensor["dtype"])
    steps = np.round(values / np.float32(scale)) + zero_point
    return np.clip(steps, limits.min, limits.max).astype(tensor["dtype"])


def _dequantized(values: Any, tensor: Mapping[str, Any]) -> Any:
    scale, zero_point = tensor["quantization"]
    return (values.astype(np.float32) - zero_point) * np.float32(scale) if scale else values


def arguments(*words: str) -> argparse.Namespace:
    """The command line: ``words`` in order, the file, and where to write raw outputs."""
    parser = argparse.ArgumentParser()
    for word in words:
        parser.add_argument(word)
    parser.add_argument("--model", type=Path, default=HERE / "int8.tflite")
    parser.add_argument("--raw", type=Path, help="an .npz to write the outputs to, as they are")
    return parser.parse_args()


def reading() -> Any:
    """What reading the inputs and outputs needs, from the model card beside this file."""
    return json.loads((HERE / "card.json").read_text("utf-8"))["reading"]


def lines(name: str) -> list[str]:
    """A text file beside this one, line by line."""
    return (HERE / name).read_text("utf-8").split("\n")[:-1]


def answered(model: Model, inputs: Mapping[str, Any], asked: argparse.Namespace) -> dict[str, Any]:
    """Real outputs of one sample; raw ones are written where that was asked for."""
    outputs = model.run(inputs)
    if asked.raw:
        np.savez(asked.raw, **outputs)
    return model.real(outputs)
