"""From a trained Keras model to full-integer TensorFlow Lite files.

Training and quantization use the native grouped convolution, which tensorflow-model-optimization
understands; for devices whose compiler refuses it, :func:`split_grouped_convolutions` rewrites the
exported file into slices, one convolution a group and a concatenation. All parts share one
quantization, so the rewrite changes no bit of the result.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

UInt8Images = NDArray[np.uint8]


def normalise(images: UInt8Images) -> NDArray[np.float32]:
    """uint8 pixels [N, H, W, C] to float32 in [-1, 1], as every model here is trained."""
    return images.astype(np.float32) / np.float32(127.5) - np.float32(1.0)


def quantize_aware(model: Any) -> Any:
    """The model with fake quantization on weights (per channel) and activations (per tensor)."""
    import tensorflow_model_optimization as tfmot

    return tfmot.quantization.keras.quantize_model(model)


def export_float(model: Any) -> bytes:
    """The model as a float32 ``.tflite``, softmax appended."""
    return _convert(_with_softmax(model), lambda converter: None)


def export_post_training(model: Any, images: UInt8Images) -> bytes:
    """Full-integer ``.tflite`` (int8 in and out) with ranges observed on ``images``."""
    import tensorflow as tf

    def configure(converter: Any) -> None:
        _full_integer(converter)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.representative_dataset = lambda: _representative(images)

    return _convert(_with_softmax(model), configure)


def export_quantize_aware(model: Any) -> bytes:
    """Full-integer ``.tflite`` (int8 in and out) with the ranges learned in training."""
    return _convert(_with_softmax(model), _full_integer)


def _with_softmax(model: Any) -> Any:
    import tf_keras as keras

    probabilities = keras.layers.Softmax(name="probabilities")(model.outputs[0])
    # The name is part of every tensor's name; Keras would number it by the models made before.
    return keras.Model(model.inputs, probabilities, name="network")


def _full_integer(converter: Any) -> None:
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8


def _representative(images: UInt8Images) -> Iterator[list[NDArray[np.float32]]]:
    for image in images:
        yield [normalise(image[np.newaxis])]


def _convert(model: Any, configure: Callable[[Any], None]) -> bytes:
    import tensorflow as tf

    specification = tf.TensorSpec((1, *model.inputs[0].shape[1:]), tf.float32, name="input")
    # A bare module around the variables: given the Keras model, the converter would trace every
    # one of its layers again to save them, which is three quarters of the time.
    module = tf.Module(name="network")
    module.held = model.variables
    module.call = tf.function(lambda image: model(image, training=False))
    concrete = module.call.get_concrete_function(specification)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
    configure(converter)
    converted: bytes = converter.convert()
    return converted


def split_grouped_convolutions(tflite: bytes) -> bytes:
    """Rewrite each native grouped CONV_2D as SPLIT, one CONV_2D a group, CONCATENATION.

    The result of the network is the same to the bit: slices and concatenation move values, and
    every part keeps the scale and zero point of the whole.

    Source: the released GC-IBN networks run in this form (arXiv:2204.14007), since the Edge TPU
    compiler does not map native grouped convolutions.
    """
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(tflite))
    graph = model.subgraphs[0]
    operators = []
    for operator in graph.operators:
        groups = _groups(model, graph, operator, schema)
        if groups == 1:
            operators.append(operator)
        else:
            operators.extend(_Splitter(model, graph, operator, groups, schema).operators())
    graph.operators = operators
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _groups(model: Any, graph: Any, operator: Any, schema: Any) -> int:
    code = model.operatorCodes[operator.opcodeIndex]
    if max(code.builtinCode, code.deprecatedBuiltinCode) != schema.BuiltinOperator.CONV_2D:
        return 1
    source, weights = graph.tensors[operator.inputs[0]], graph.tensors[operator.inputs[1]]
    return int(source.shape[3]) // int(weights.shape[3])


class _Splitter:
    """Writes the split form of one grouped convolution into a model's object form."""

    def __init__(self, model: Any, graph: Any, operator: Any, groups: int, schema: Any) -> None:
        self._model, self._graph, self._operator = model, graph, operator
        self._groups, self._schema = groups, schema

    def operators(self) -> list[Any]:
        """SPLIT, the convolutions, CONCATENATION, in order."""
        old = self._operator
        source, result = int(old.inputs[0]), int(old.outputs[0])
        parts_in = [self._activation(source, index) for index in range(self._groups)]
        parts_out = [self._activation(result, index) for index in range(self._groups)]
        weights = self._constants(int(old.inputs[1]))
        biases = self._constants(int(old.inputs[2]))
        axis = self._axis()
        split = self._new("SPLIT", [axis, source], parts_in, self._schema.SplitOptionsT())
        split.builtinOptions.numSplits = self._groups
        convolutions = []
        for index in range(self._groups):
            part = copy.copy(old)
            part.inputs = [parts_in[index], weights[index], biases[index]]
            part.outputs = [parts_out[index]]
            convolutions.append(part)
        options = self._schema.ConcatenationOptionsT()
        options.axis = 3
        concat = self._new("CONCATENATION", parts_out, [result], options)
        return [split, *convolutions, concat]

    def _activation(self, whole: int, index: int) -> int:
        tensor = copy.deepcopy(self._graph.tensors[whole])
        tensor.name = tensor.name + f"/group{index}".encode()
        tensor.shape = [*tensor.shape[:3], int(tensor.shape[3]) // self._groups]
        tensor.shapeSignature = None
        tensor.buffer = 0
        return self._append(tensor)

    def _constants(self, whole: int) -> list[int]:
        """Slices of a constant along output channels, its first dimension."""
        tensor = self._graph.tensors[whole]
        data = np.asarray(self._model.buffers[tensor.buffer].data, np.uint8)
        rows = np.split(data, self._groups)
        parts = []
        for index, row in enumerate(rows):
            part = copy.deepcopy(tensor)
            part.name = part.name + f"/group{index}".encode()
            part.shape = [int(tensor.shape[0]) // self._groups, *tensor.shape[1:]]
            part.shapeSignature = None
            part.buffer = self._buffer(row)
            quantization = part.quantization
            if quantization is not None and quantization.scale is not None:
                if len(quantization.scale) > 1:
                    quantization.scale = np.split(np.asarray(quantization.scale), self._groups)[
                        index
                    ]
                    zero = np.asarray(quantization.zeroPoint)
                    quantization.zeroPoint = np.split(zero, self._groups)[index]
            parts.append(self._append(part))
        return parts

    def _axis(self) -> int:
        tensor = self._schema.TensorT()
        tensor.name = f"split_axis_{len(self._graph.tensors)}".encode()
        tensor.shape = []
        tensor.type = self._schema.TensorType.INT32
        tensor.buffer = self._buffer(np.frombuffer(np.int32(3).tobytes(), np.uint8))
        return self._append(tensor)

    def _buffer(self, data: NDArray[np.uint8]) -> int:
        buffer = self._schema.BufferT()
        buffer.data = data
        self._model.buffers.append(buffer)
        return len(self._model.buffers) - 1

    def _append(self, tensor: Any) -> int:
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _new(self, kind: str, inputs: list[int], outputs: list[int], options: Any) -> Any:
        operator = self._schema.OperatorT()
        operator.opcodeIndex = self._opcode(getattr(self._schema.BuiltinOperator, kind))
        operator.inputs, operator.outputs = inputs, outputs
        name = "SplitOptions" if kind == "SPLIT" else "ConcatenationOptions"
        operator.builtinOptionsType = getattr(self._schema.BuiltinOptions, name)
        operator.builtinOptions = options
        return operator

    def _opcode(self, builtin: int) -> int:
        codes = self._model.operatorCodes
        for index, code in enumerate(codes):
            if code.builtinCode == builtin:
                return index
        code = self._schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, builtin, 2
        codes.append(code)
        return len(codes) - 1
