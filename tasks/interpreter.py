"""A ``.tflite`` file at work in LiteRT: how finalists are scored, without TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.quantization import normalise


def predict(tflite: bytes | Path, images: NDArray[np.uint8], threads: int = 1) -> NDArray[Any]:
    """Raw outputs [n, ...] for uint8 images [n, H, W, C], one inference an image.

    Integer models are fed by their own input scale and zero point, as a person's program would.
    """
    from ai_edge_litert.interpreter import Interpreter

    content = tflite.read_bytes() if isinstance(tflite, Path) else tflite
    interpreter = Interpreter(model_content=content, num_threads=threads)
    interpreter.allocate_tensors()
    source, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    outputs = []
    for image in quantize_input(images, source):
        interpreter.set_tensor(source["index"], image[np.newaxis])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(result["index"])[0])
    return np.asarray(outputs)


def quantize_input(images: NDArray[np.uint8], details: Any) -> NDArray[Any]:
    """uint8 images as the model's input type: float32 in [-1, 1], or int8 by its scale."""
    values = normalise(images)
    if details["dtype"] == np.float32:
        return values
    scale, zero_point = details["quantization"]
    limits = np.iinfo(details["dtype"])
    steps = np.round(values / np.float32(scale)) + zero_point
    clipped: NDArray[Any] = np.clip(steps, limits.min, limits.max).astype(details["dtype"])
    return clipped
