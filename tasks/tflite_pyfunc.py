"""MLflow "models from code": serves a quantised ``.tflite`` classifier without TensorFlow.

MLflow copies this one file beside the model and runs it on load, wherever that is; hence it knows
no other file of the project. Imported as part of the project it does nothing.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray


class TFLiteClassifier:
    """Images as people hold them in, class probabilities out."""

    def __init__(
        self, tflite: str, *, pixel_divisor: float, pixel_shift: float, outputs: str
    ) -> None:
        """Open a model file.

        Args:
            tflite: path of the model; input [1, H, W, C], output [1, classes].
            pixel_divisor: a pixel 0..255 enters the network, as in its training, as
                ``pixel / pixel_divisor - pixel_shift``.
            pixel_shift: see ``pixel_divisor``.
            outputs: what the file ends in, ``probabilities`` or ``logits``.
        """
        from ai_edge_litert.interpreter import Interpreter

        self._divisor, self._shift = np.float32(pixel_divisor), np.float32(pixel_shift)
        self._ends_in_logits = outputs == "logits"
        self._interpreter = Interpreter(model_path=tflite, num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]
        self._lock = threading.Lock()  # An interpreter serves one thread at a time.

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Classify uint8 images [N, H, W, C]; gives float32 probabilities [N, classes]."""
        rows = [self._classify(image) for image in images]
        classes = int(self._output["shape"][-1])
        return np.stack(rows) if rows else np.empty((0, classes), np.float32)

    def _classify(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        values = _quantize(image.astype(np.float32) / self._divisor - self._shift, self._input)
        with self._lock:
            self._interpreter.set_tensor(self._input["index"], values[np.newaxis])
            self._interpreter.invoke()
            raw = self._interpreter.get_tensor(self._output["index"])[0]
        scores = _dequantize(raw, self._output)
        return _softmax(scores) if self._ends_in_logits else scores


def _quantize(values: NDArray[np.float32], tensor: dict[str, Any]) -> NDArray[Any]:
    """``round(value / scale) + zero_point``, clipped to the tensor's integer type."""
    if np.issubdtype(tensor["dtype"], np.floating):
        return values.astype(tensor["dtype"])
    scale, zero_point = tensor["quantization"]
    limits = np.iinfo(tensor["dtype"])
    steps = np.round(values / scale) + zero_point
    quantized: NDArray[Any] = np.clip(steps, limits.min, limits.max).astype(tensor["dtype"])
    return quantized


def _dequantize(values: NDArray[Any], tensor: dict[str, Any]) -> NDArray[np.float32]:
    """``(value - zero_point) * scale``."""
    if np.issubdtype(tensor["dtype"], np.floating):
        return values.astype(np.float32)
    scale, zero_point = tensor["quantization"]
    return np.asarray((values.astype(np.float32) - zero_point) * scale, np.float32)


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum(), np.float32)


def _hand_over_to_mlflow() -> None:
    """Wrap the classifier as MLflow wants it; its import takes seconds, hence not above."""
    from mlflow.models import set_model
    from mlflow.pyfunc.model import PythonModel

    class Served(PythonModel):
        def load_context(self, context: Any) -> None:
            config = context.model_config
            self._classifier = TFLiteClassifier(
                context.artifacts["tflite"],
                pixel_divisor=config["pixel_divisor"],
                pixel_shift=config["pixel_shift"],
                outputs=config["outputs"],
            )

        # MLflow reads the hint of the input, and of arrays it knows only the bare type.
        def predict(
            self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None
        ) -> NDArray[np.float32]:
            return self._classifier.predict(model_input)

    set_model(Served())


if __name__ != "tasks.tflite_pyfunc":  # MLflow runs the file under a name of its own.
    _hand_over_to_mlflow()
