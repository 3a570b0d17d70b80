"""MLflow "models from code": serves a quantised ``.tflite`` file without TensorFlow.

MLflow copies this one file beside the model and runs it on load, wherever that is; hence it knows
no other file of the project. Imported as part of the project it does nothing.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

MASKED = -16.0
"""Added to attention scores of padding; what the networks of token sequences are trained with."""

Arrays = Mapping[str, NDArray[Any]]


class TFLiteModel:
    """Images or token ids as people hold them in, the file's outputs as real numbers out."""

    def __init__(
        self, tflite: str, *, pixel_divisor: float, pixel_shift: float, outputs: str
    ) -> None:
        """Open a model file.

        Args:
            tflite: path of the model; its inputs are those that :func:`role` knows, batch 1.
            pixel_divisor: a pixel 0..255 enters the network, as in its training, as
                ``pixel / pixel_divisor - pixel_shift``.
            pixel_shift: see ``pixel_divisor``.
            outputs: what the file ends in: ``probabilities``, ``logits`` or something ``raw``.
        """
        from ai_edge_litert.interpreter import Interpreter

        self._divisor, self._shift = np.float32(pixel_divisor), np.float32(pixel_shift)
        self._ends_in_logits = outputs == "logits"
        self._interpreter = Interpreter(model_path=tflite, num_threads=1)
        self._interpreter.allocate_tensors()
        self._inputs = {role(one): one for one in self._interpreter.get_input_details()}
        self._outputs = outputs_of(self._interpreter)
        self._lock = threading.Lock()  # An interpreter serves one thread at a time.

    def predict(self, given: NDArray[Any] | Arrays) -> NDArray[Any] | dict[str, NDArray[Any]]:
        """Run the network on each of N samples.

        Args:
            given: uint8 images [N, H, W, C]; or token ids [N, T], alone or, by name, ``tokens``
                and (where the file has them) ``types``, int32. 0 is padding.

        Returns:
            The output [N, ...], float32 or, for class numbers, an integer; of a file with several
            outputs all of them by name.
        """
        arrays = given if isinstance(given, Mapping) else {next(iter(self._inputs)): given}
        rows = [self._run(row) for row in _rows(arrays)]
        served = {
            name: np.stack([row[name] for row in rows])
            if rows
            else np.empty((0, *one["shape"][1:]), served_type(one))
            for name, one in self._outputs.items()
        }
        return served[""] if "" in served else served

    def _run(self, row: Arrays) -> dict[str, NDArray[Any]]:
        values = {name: self._value(name, row) for name in self._inputs}
        with self._lock:
            for name, tensor in self._inputs.items():
                self._interpreter.set_tensor(tensor["index"], _shaped(values[name], tensor))
            self._interpreter.invoke()
            raw = {
                name: self._interpreter.get_tensor(one["index"])[0]
                for name, one in self._outputs.items()
            }
        found = {name: _dequantize(raw[name], one) for name, one in self._outputs.items()}
        return {n: _softmax(v) for n, v in found.items()} if self._ends_in_logits else found

    def _value(self, name: str, row: Arrays) -> NDArray[Any]:
        """One input as the network takes it; the mask follows from the tokens."""
        if name == "image":
            pixels = row[name].astype(np.float32) / self._divisor - self._shift
            return _quantize(pixels, self._inputs[name])
        if name == "mask":
            hidden = np.where(row["tokens"] == 0, MASKED, 0.0).astype(np.float32)
            return _quantize(hidden, self._inputs[name])
        return row[name].astype(self._inputs[name]["dtype"])


def role(tensor: Mapping[str, Any]) -> str:
    """What an input is: ``image``, ``tokens``, ``types``, or the ``mask`` of attention."""
    words = re.split(r"[^a-z]+", str(tensor["name"]).lower())
    known = next((name for name in ("mask", "types") if name in words), None)
    if known is not None:
        return known
    shape = [int(size) for size in tensor["shape"]]
    if len(shape) == 2:
        return "tokens"
    return "mask" if len(shape) == 4 and shape[1:3] == [1, 1] else "image"


def outputs_of(interpreter: Any) -> dict[str, dict[str, Any]]:
    """Outputs by name; a single one is called by the empty name."""
    details = interpreter.get_output_details()
    if len(details) == 1:
        return {"": details[0]}
    signatures = interpreter.get_signature_list()
    if len(signatures) == 1:
        ((key, signature),) = signatures.items()
        named = interpreter.get_signature_runner(key).get_output_details()
        return {name: named[name] for name in sorted(signature["outputs"])}
    return {str(one["name"]): one for one in details}


def served_type(tensor: Mapping[str, Any]) -> type[np.generic]:
    """Class numbers stay whole numbers; everything else is served as float32."""
    return np.int32 if _counts(tensor) else np.float32


def _counts(tensor: Mapping[str, Any]) -> bool:
    """Whether the tensor holds whole numbers, not steps of a scale."""
    return np.issubdtype(tensor["dtype"], np.integer) and not tensor["quantization"][0]


def _rows(arrays: Arrays) -> list[dict[str, NDArray[Any]]]:
    amount = min((len(array) for array in arrays.values()), default=0)
    return [{name: array[n] for name, array in arrays.items()} for n in range(amount)]


def _shaped(values: NDArray[Any], tensor: Mapping[str, Any]) -> NDArray[Any]:
    return values.reshape([int(size) for size in tensor["shape"]])


def _quantize(values: NDArray[np.float32], tensor: Mapping[str, Any]) -> NDArray[Any]:
    """``round(value / scale) + zero_point``, clipped to the tensor's integer type."""
    if np.issubdtype(tensor["dtype"], np.floating):
        return values.astype(tensor["dtype"])
    scale, zero_point = tensor["quantization"]
    limits = np.iinfo(tensor["dtype"])
    steps = np.round(values / scale) + zero_point
    quantized: NDArray[Any] = np.clip(steps, limits.min, limits.max).astype(tensor["dtype"])
    return quantized


def _dequantize(values: NDArray[Any], tensor: Mapping[str, Any]) -> NDArray[Any]:
    """``(value - zero_point) * scale``."""
    if _counts(tensor) or np.issubdtype(tensor["dtype"], np.floating):
        return values.astype(served_type(tensor))
    scale, zero_point = tensor["quantization"]
    return np.asarray((values.astype(np.float32) - zero_point) * scale, np.float32)


def _softmax(logits: NDArray[Any]) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)


def _hand_over_to_mlflow() -> None:
    """Wrap the model as MLflow wants it; its import takes seconds, hence not above."""
    from mlflow.models import set_model
    from mlflow.pyfunc.model import PythonModel

    class Served(PythonModel):
        def load_context(self, context: Any) -> None:
            config = context.model_config
            self._model = TFLiteModel(
                context.artifacts["tflite"],
                pixel_divisor=config["pixel_divisor"],
                pixel_shift=config["pixel_shift"],
                outputs=config["outputs"],
            )

        # MLflow reads the hint of the input, and of arrays it knows only the bare type.
        def predict(
            self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None
        ) -> Any:
            return self._model.predict(model_input)

    set_model(Served())


if __name__ != "tasks.tracking.tflite_pyfunc":  # MLflow runs the file under a name of its own.
    _hand_over_to_mlflow()
