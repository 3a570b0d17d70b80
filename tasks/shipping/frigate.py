"""A detector as Frigate reads it: bytes of pixels in, boxes after suppression out.

Frigate feeds pictures of 8 bits without a sign, and takes the four outputs of
``TFLite_Detection_PostProcess`` in their order. Our files take signed numbers and give boxes by
anchors. So a QUANTIZE is put before the network, and that op, with the anchors, behind it; what is
between stays as it is.

Sources: frigate/detectors/plugins/{cpu_tfl,edgetpu_tfl}.py and detector_config.py of Frigate;
tensorflow/lite/kernels/detection_postprocess.cc.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tasks.learning.interpreter import Signature

FOLDER: Final = "frigate"
FAMILY: Final = "edge_tpu"
"""Of the devices whose compiled files Frigate runs."""
MOST: Final = 20
"""Detections of a picture that Frigate looks at."""
LEAST_SCORE, OVERLAP = 0.05, 0.5
_OP: Final = "TFLite_Detection_PostProcess"
_UNSIGNED: Final = 128  # what is added to a signed byte


def as_frigate_reads(
    tflite: bytes, signature: Signature, anchors: NDArray[np.float32], classes: int, most: int
) -> bytes:
    """A detector's file with Frigate's inputs and outputs.

    Args:
        tflite: With inputs and outputs of int8: a picture; ``boxes`` and ``scores``.
        signature: Its own.
        anchors: Centres and sizes [A, 4].
        classes: How many.
        most: Detections in a picture.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema
    from flatbuffers import flexbuffers

    model = schema.ModelT.InitFromPackedBuf(tflite, 0)
    graph = model.subgraphs[0]
    parts = _Parts(model, graph, schema)
    (own,) = (int(number) for number in graph.inputs)
    picture = copy.deepcopy(graph.tensors[own])
    picture.name, picture.type = b"picture", schema.TensorType.UINT8
    zero_points = np.asarray(picture.quantization.zeroPoint, np.int64)
    picture.quantization.zeroPoint = zero_points + _UNSIGNED
    source = parts.tensor(picture)
    real = [
        parts.real(int(graph.outputs[list(signature.outputs).index(name)]), name)
        for name in ("boxes", "scores")
    ]
    given = parts.constant("anchors", anchors)
    shapes = ([1, most, 4], [1, most], [1, most], [1])
    ends = [
        parts.number(_OP + f":{place}" * bool(place), shape) for place, shape in enumerate(shapes)
    ]
    options = {
        "max_detections": most,
        "max_classes_per_detection": 1,
        "detections_per_class": most,
        "use_regular_nms": True,
        "nms_score_threshold": LEAST_SCORE,
        "nms_iou_threshold": OVERLAP,
        "num_classes": classes,
        **{f"{side}_scale": 10.0 for side in "yx"},
        **{f"{side}_scale": 5.0 for side in "hw"},
    }
    kinds = schema.BuiltinOperator
    graph.operators = [
        parts.op(kinds.QUANTIZE, [source], [own]),
        *graph.operators,
        *(parts.op(kinds.DEQUANTIZE, [one], [other]) for one, other in real),
        parts.op(kinds.CUSTOM, [*(other for _, other in real), given], ends, _OP),
    ]
    graph.operators[-1].customOptions = np.frombuffer(flexbuffers.Dumps(options), np.uint8)
    graph.inputs, graph.outputs = [source], ends
    model.signatureDefs = None  # its names are those of other tensors
    builder = flatbuffers.Builder(len(tflite) + 4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class _Parts:
    """Adds tensors and ops to a graph in its object form."""

    def __init__(self, model: Any, graph: Any, schema: Any) -> None:
        self._model, self._graph, self._schema = model, graph, schema

    def tensor(self, made: Any) -> int:
        self._graph.tensors.append(made)
        return len(self._graph.tensors) - 1

    def number(self, name: str, shape: Sequence[int], buffer: int = 0) -> int:
        """A tensor of real numbers."""
        made = self._schema.TensorT()
        made.name, made.shape, made.buffer = name.encode(), list(shape), buffer
        made.type = self._schema.TensorType.FLOAT32
        return self.tensor(made)

    def constant(self, name: str, values: NDArray[np.float32]) -> int:
        buffer = self._schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values, "<f4").tobytes(), np.uint8)
        self._model.buffers.append(buffer)
        return self.number(name, values.shape, len(self._model.buffers) - 1)

    def real(self, quantized: int, name: str) -> tuple[int, int]:
        """An output, and what it stands for."""
        shape = [int(size) for size in self._graph.tensors[quantized].shape]
        return quantized, self.number(f"{name}/real", shape)

    def op(
        self, kind: int, inputs: Sequence[int], outputs: Sequence[int], custom: str | None = None
    ) -> Any:
        code = self._schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode = kind, min(kind, 127)
        code.version, code.customCode = (1, custom) if custom else (2, None)
        self._model.operatorCodes.append(code)
        made = self._schema.OperatorT()
        made.opcodeIndex = len(self._model.operatorCodes) - 1
        made.inputs, made.outputs = list(inputs), list(outputs)
        return made


def labels(classes: Sequence[str]) -> bytes:
    """Frigate's ``labelmap.txt``: number, two spaces, name."""
    lines = (f"{number}  {' '.join(name.split())}\n" for number, name in enumerate(classes))
    return "".join(lines).encode()


def settings(file: str, reading: Mapping[str, Any], classes: Sequence[str], compiled: bool) -> str:
    """The part of Frigate's configuration that speaks of the model."""
    import yaml

    detector = {"type": "edgetpu", "device": "usb"} if compiled else {"type": "cpu"}
    tree = {
        "detectors": {"coral" if compiled else "cpu": detector},
        "model": {
            "path": f"/config/edgenas/{file}",
            "labelmap_path": "/config/edgenas/labelmap.txt",
            "width": int(reading["width"]),
            "height": int(reading["height"]),
            "input_tensor": "nhwc",
            "input_pixel_format": "rgb",
            "model_type": "ssd",
        },
        "objects": {"track": [" ".join(name.split()) for name in classes]},
    }
    return str(yaml.safe_dump(tree, sort_keys=False))
