"""A person's own network as it lies on disk: a ``.tflite``, a ``.keras`` or a SavedModel folder.

All three are asked in the same way: what they take, and what they put out for it.
"""

from __future__ import annotations

import importlib
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tasks.learning.interpreter import dequantize

Arrays = Mapping[str, NDArray[Any]]
_MARK = b"TFL3"  # of a TensorFlow Lite file, behind its first four bytes
_SIGNATURE = "serving_default"


class ForeignNetworkError(ValueError):
    """A file that is no network, or one that cannot be asked."""


@dataclass(frozen=True, slots=True)
class Slot:
    """An input.

    Attributes:
        name: By which it is fed.
        shape: The number of samples first; None: any.
        dtype: Of NumPy.
        quantization: Scale and zero point; a scale of 0: none.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: Any
    quantization: tuple[float, int] = (0.0, 0)


@final
class ForeignNetwork:
    """What a network takes, and how it is run.

    Attributes:
        slots: Its inputs.
    """

    def __init__(self, slots: Sequence[Slot], run: Callable[[Arrays], dict[str, Any]]) -> None:
        self.slots, self._run = tuple(slots), run

    def __call__(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Outputs [n, ...] by name, for inputs [n, ...] by the names of the slots.

        One at a time where the file is for one sample.
        """
        if self.slots[0].shape[0] is None:
            return self._run(inputs)
        count = len(inputs[self.slots[0].name])
        rows = [
            self._run({name: array[at : at + 1] for name, array in inputs.items()})
            for at in range(count)
        ]
        return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def check_file(path: Path) -> None:
    """Refuse what is none of the three at first sight, without TensorFlow.

    Raises:
        ForeignNetworkError: It is missing, or something else.
    """
    if not path.exists():
        raise ForeignNetworkError(f"must exist, but there is no {path}")
    if path.is_dir():
        if not (path / "saved_model.pb").is_file():
            raise ForeignNetworkError(f"must be a SavedModel, but {path} has no saved_model.pb")
    elif path.suffix == ".tflite":
        with path.open("rb") as stream:
            if stream.read(8)[4:] != _MARK:
                raise ForeignNetworkError(f"must be TensorFlow Lite, but {path} is not")
    elif path.suffix != ".keras":
        raise ForeignNetworkError(
            f"must be a .tflite, a .keras or the folder of a SavedModel, but got {path}"
        )
    else:
        _keras_version(path)


def _keras_version(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            return str(json.loads(archive.read("metadata.json"))["keras_version"])
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise ForeignNetworkError(f"must be a Keras file, but {path} is not") from error


def open_network(path: Path, threads: int = 1) -> ForeignNetwork:
    """The network of a file or folder.

    Args:
        path: Of the file, or of the folder of a SavedModel.
        threads: Of LiteRT; those of TensorFlow are set elsewhere.

    Raises:
        ForeignNetworkError: It is none, it is damaged, or it takes batches of a fixed size.
    """
    check_file(path)
    try:
        if path.is_dir():
            found = _saved_model(path)
        elif path.suffix == ".tflite":
            found = _tflite(path, threads)
        else:
            found = _keras(path)
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:  # whatever the libraries raise on a damaged file
        reason = " ".join(str(error).split())[:200]
        raise ForeignNetworkError(f"must be readable, but {path} is not: {reason}") from error
    for slot in found.slots:
        if not slot.shape or slot.shape[0] not in (1, None):
            raise ForeignNetworkError(
                f"must take one sample or any number of them at once, but the input {slot.name} "
                f"of {path} has shape {list(slot.shape)}"
            )
    return found


def _tflite(path: Path, threads: int) -> ForeignNetwork:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=path.read_bytes(), num_threads=threads)
    if interpreter.get_signature_list():
        run = interpreter.get_signature_runner()
        sources, ends = run.get_input_details(), run.get_output_details()
    else:
        interpreter.allocate_tensors()
        sources, ends = (
            {one["name"]: one for one in found}
            for found in (interpreter.get_input_details(), interpreter.get_output_details())
        )

        def run(**inputs: Any) -> dict[str, Any]:
            for name, array in inputs.items():
                interpreter.set_tensor(sources[name]["index"], array)
            interpreter.invoke()
            return {name: interpreter.get_tensor(one["index"]) for name, one in ends.items()}

    def outputs(inputs: Arrays) -> dict[str, Any]:
        found = run(**inputs)
        return {name: dequantize(np.array(found[name]), ends[name]) for name in ends}

    slots = [
        Slot(name, (1, *map(int, one["shape"][1:])), one["dtype"], one["quantization"])
        for name, one in sources.items()
    ]
    return ForeignNetwork(slots, outputs)


def _keras(path: Path) -> ForeignNetwork:
    """A model of Keras 2 or 3; code in it (lambda layers) is refused by Keras itself."""
    import tensorflow as tf

    keras = importlib.import_module("tf_keras" if _keras_version(path)[:2] == "2." else "keras")
    model = keras.models.load_model(path, compile=False)
    slots = [_slot(one.name, one) for one in model.inputs]

    def call(*tensors: Any) -> Any:
        return model(list(tensors) if len(tensors) > 1 else tensors[0], training=False)

    run = tf.function(call, autograph=False, reduce_retracing=True)

    def outputs(inputs: Arrays) -> dict[str, Any]:
        found = run(*(tf.constant(inputs[slot.name]) for slot in slots))
        if isinstance(found, Mapping):
            return {name: tensor.numpy() for name, tensor in found.items()}
        listed = found if isinstance(found, list | tuple) else [found]
        names = getattr(model, "output_names", None) or [str(i) for i in range(len(listed))]
        return {name: one.numpy() for name, one in zip(names, listed, strict=True)}

    return ForeignNetwork(slots, outputs)


def _saved_model(path: Path) -> ForeignNetwork:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    run = loaded.signatures[_SIGNATURE]
    specifications = run.structured_input_signature[1]

    def outputs(inputs: Arrays, held: Any = loaded) -> dict[str, Any]:  # variables live with it
        found = run(**{name: tf.constant(array) for name, array in inputs.items()})
        return {name: tensor.numpy() for name, tensor in found.items()}

    slots = [_slot(name, one) for name, one in sorted(specifications.items())]
    return ForeignNetwork(slots, outputs)


def _slot(name: str, tensor: Any) -> Slot:
    """Of a tensor of Keras, or of a specification of TensorFlow."""
    dtype = np.dtype(getattr(tensor.dtype, "name", tensor.dtype))
    return Slot(name, tuple(tensor.shape), dtype.type)
