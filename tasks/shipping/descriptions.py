"""What a file says of itself: its inputs and outputs in words, and the files to read them with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hw.tflite.metadata import AssociatedFile, Content, ModelMetadata, TensorMetadata
from tasks.learning.interpreter import Signature

LABELS: Final = AssociatedFile(
    "labels.txt", "Classes by number, one a line, from 0.", "axis_labels"
)
VALUES: Final = AssociatedFile("labels.txt", LABELS.description, "value_labels")
VOCABULARY: Final = AssociatedFile(
    "vocabulary.txt", "Tokens by number, one a line, from 0.", "vocabulary"
)
ANCHORS: Final = AssociatedFile(
    "anchors.csv", "Centre y and x, height and width by row, as fractions.", "unknown"
)
_MEAN, _DEVIATION = 127.5, 127.5
_WORDS: Final = {
    "input": "A picture: pixel / 127.5 - 1.",
    "tokens": "Numbers of tokens; 0 behind the end.",
    "mask": "Added to the scores of attention: 0 for a token, -16 for padding.",
    "types": "0 for the question, 1 for its text.",
    "probabilities": "How likely each class is.",
    "labels": "The class of each pixel, by number.",
    "boxes": (
        "Relative to anchors cy, cx, h, w: a prediction y, x, u, v is centred at y / 10 * h + cy, "
        "x / 10 * w + cx, and of size exp(u / 5) * h, exp(v / 5) * w."
    ),
    "scores": "How likely each class is at each anchor.",
    "span_logits": "How likely each token is the first, and the last, of the answer.",
}
_FILES: Final = {
    "tokens": (VOCABULARY,),
    "probabilities": (LABELS,),
    "labels": (VALUES,),
    "boxes": (ANCHORS,),
    "scores": (LABELS,),
}


def tensors(signature: Signature) -> dict[str, list[dict[str, Any]]]:
    """Inputs and outputs as the card has them, in the order of the file."""
    return {
        side: [_record(name, details) for name, details in named.items()]
        for side, named in (("inputs", signature.inputs), ("outputs", signature.outputs))
    }


def metadata(
    signature: Signature,
    files: Mapping[str, bytes],
    name: str,
    description: str,
    version: str,
    author: str,
    licence: str,
) -> ModelMetadata:
    """What goes into the file, beside which ``files`` lie."""
    inputs, outputs = (
        tuple(_described(tensor, details, files) for tensor, details in named.items())
        for named in (signature.inputs, signature.outputs)
    )
    return ModelMetadata(name, description, version, author, licence, inputs, outputs)


def beside(
    classes: tuple[str, ...], decoding: Mapping[str, NDArray[Any]], vocabulary: bytes | None
) -> dict[str, bytes]:
    """Files that a model is read with, by name."""
    files = {}
    if classes:
        files[LABELS.name] = "".join(f"{_one_line(name)}\n" for name in classes).encode()
    if vocabulary is not None:
        files[VOCABULARY.name] = vocabulary
    if "anchors" in decoding:
        rows = decoding["anchors"].astype(np.float32)
        # Nine digits tell any two numbers of 32 bits apart.
        lines = (",".join(f"{value:.9g}" for value in row) for row in rows)
        files[ANCHORS.name] = ("cy,cx,h,w\n" + "\n".join(lines) + "\n").encode()
    return files


def _one_line(name: str) -> str:
    return " ".join(name.split())


def _role(name: str, details: Mapping[str, Any]) -> str:
    return "tokens" if name == "input" and len(details["shape"]) == 2 else name


def _record(name: str, details: Mapping[str, Any]) -> dict[str, Any]:
    scale, zero_point = details["quantization"]
    return {
        "name": name,
        "shape": [int(size) for size in details["shape"]],
        "type": np.dtype(details["dtype"]).name,
        "scale": float(scale) or None,
        "zero_point": int(zero_point) if scale else None,
        "meaning": _WORDS.get(_role(name, details), ""),
    }


def _described(
    name: str, details: Mapping[str, Any], files: Mapping[str, bytes]
) -> TensorMetadata:
    role, shape = _role(name, details), details["shape"]
    picture = role == "input" and len(shape) == 4
    content: Content = "feature"
    if picture:
        content = "rgb" if shape[-1] == 3 else "greyscale"
    return TensorMetadata(
        name,
        _WORDS.get(role, ""),
        content,
        (_MEAN, _DEVIATION) if picture else None,
        tuple(one for one in _FILES.get(role, ()) if one.name in files),
    )
