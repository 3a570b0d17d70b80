"""A ``.tflite`` file at work in LiteRT: how finalists are scored, without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.problem import Outputs


def predict(tflite: bytes | Path, inputs: Mapping[str, NDArray[Any]], threads: int = 1) -> Outputs:
    """Outputs [n, ...] of a file for inputs [n, ...] by name, one inference a sample.

    Integer models are fed and read by their own scales and zero points, as a person's program
    would; outputs without a scale (labels) are given as they are.
    """
    from ai_edge_litert.interpreter import Interpreter

    content = tflite.read_bytes() if isinstance(tflite, Path) else tflite
    interpreter = Interpreter(model_content=content, num_threads=threads)
    interpreter.allocate_tensors()
    # The signature keeps the names that tensors lose on their way through the converter.
    signature = interpreter.get_signature_runner()
    sources, ends = signature.get_input_details(), signature.get_output_details()
    results = [ends[name] for name in outputs]
    fed = [
        (sources[name]["index"], quantize(array, sources[name])) for name, array in inputs.items()
    ]
    found: list[list[NDArray[Any]]] = [[] for _ in results]
    for sample in range(len(next(iter(inputs.values())))):
        for index, array in fed:
            interpreter.set_tensor(index, array[sample : sample + 1])
        interpreter.invoke()
        for rows, result in zip(found, results, strict=True):
            rows.append(interpreter.get_tensor(result["index"])[0])
    return tuple(
        dequantize(np.asarray(rows), result) for rows, result in zip(found, results, strict=True)
    )


def quantize(values: NDArray[Any], details: Any) -> NDArray[Any]:
    """Values as a model's input takes them: as they are, or int8 by its scale."""
    if details["dtype"] in (np.float32, np.int32):
        return np.ascontiguousarray(values, details["dtype"])
    scale, zero_point = details["quantization"]
    limits = np.iinfo(details["dtype"])
    steps = np.round(values / np.float32(scale)) + zero_point
    clipped: NDArray[Any] = np.clip(steps, limits.min, limits.max).astype(details["dtype"])
    return clipped


def dequantize(values: NDArray[Any], details: Any) -> NDArray[Any]:
    """What a model's output stands for."""
    scale, zero_point = details["quantization"]
    if not scale:
        return values
    real: NDArray[Any] = (values.astype(np.float32) - zero_point) * np.float32(scale)
    return real
