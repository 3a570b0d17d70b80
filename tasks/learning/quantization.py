"""From a trained Keras model to full-integer TensorFlow Lite files.

Training and quantization use the native grouped convolution, which tensorflow-model-optimization
understands; for devices whose compiler refuses it, :func:`split_grouped_convolutions` rewrites the
exported file into slices, one convolution a group and a concatenation. All parts share one
quantization, so the rewrite changes no bit of the result.
"""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spaces.graph import Op, OpGraph, Trait

Inputs = Mapping[str, NDArray[Any]]
"""What a network reads, [n, ...] by the names of its graph's inputs."""


@dataclass(frozen=True, slots=True)
class Network:
    """A trained Keras model, and what stands behind it when it is exported.

    Attributes:
        model: From :func:`spaces.trainable.keras_model.build_model`, up to ``trained``.
        graph: Of the whole network.
        trained: Ops whose outputs the model gives.
        deployed: Ops whose outputs the file gives.
    """

    model: Any
    graph: OpGraph
    trained: tuple[str, ...]
    deployed: tuple[str, ...]


def quantize_aware(network: Network, samples: Inputs) -> Network:
    """The network with fake quantization on weights and activations.

    Weights of convolutions have a range for each channel, those of dense layers and activations
    one for all.

    Ranges of activations begin with those observed on ``samples``.
    """
    import tensorflow_model_optimization as tfmot
    import tf_keras as keras

    from spaces.trainable.keras_model import Computed, integer_inputs
    from tasks.learning.quantize_configs import (
        Arithmetic,
        Moved,
        integers_pass,
        leave_alone,
        observed_ranges,
    )

    annotate = tfmot.quantization.keras.quantize_annotate_layer

    def annotated(layer: Any) -> Any:
        if not isinstance(layer, Computed):
            return annotate(layer)
        config = Moved() if Trait.RANGED in layer.op.kind.traits else Arithmetic()
        return annotate(layer, quantize_config=config)

    known = {one.__name__: one for one in (Computed, Moved, Arithmetic)}
    with tfmot.quantization.keras.quantize_scope(known), integers_pass():
        marked = keras.models.clone_model(network.model, clone_function=annotated)
        marked.set_weights(network.model.get_weights())
        model = tfmot.quantization.keras.quantize_apply(marked)
    leave_alone(model, integer_inputs(network.graph))
    with observed_ranges():
        for batch in _batches(samples, network.graph):
            model(batch if len(batch) > 1 else batch[0], training=False)
    return replace(network, model=model)


_OBSERVED = 32
"""Samples that are observed together."""


def _batches(samples: Inputs, graph: OpGraph) -> Iterator[list[NDArray[Any]]]:
    arrays = [samples[name] for name, _ in graph.inputs]
    for at in range(0, len(arrays[0]), _OBSERVED):
        yield [array[at : at + _OBSERVED] for array in arrays]


def export_float(network: Network) -> bytes:
    """A float32 ``.tflite``."""
    return _convert(network, lambda converter: None)


def export_post_training(network: Network, samples: Inputs) -> bytes:
    """Full-integer ``.tflite`` (int8 in and out) with ranges observed on ``samples``."""
    import tensorflow as tf

    def configure(converter: Any) -> None:
        _full_integer(converter)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.representative_dataset = functools.partial(_representative, samples)

    return _convert(network, configure)


def export_quantize_aware(network: Network) -> bytes:
    """Full-integer ``.tflite`` (int8 in and out) with the ranges learned in training."""
    return _convert(network, _full_integer)


def _full_integer(converter: Any) -> None:
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    # One scale for the weights of a FULLY_CONNECTED: with several its version is the same, so
    # runtimes take the file which read one alone, and give wrong numbers without a word (TFLite
    # Micro until May 2024, tensorflow/tflite-micro #2602).
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True


def _representative(samples: Inputs) -> Iterator[dict[str, NDArray[Any]]]:
    """By name: the converter has an order of inputs of its own."""
    for index in range(len(next(iter(samples.values())))):
        yield {name: array[index : index + 1] for name, array in samples.items()}


_CONSTANTS = 5_000_000
"""Weights up to which variables become constants before a conversion. The converter is then much
faster, as it writes no checkpoint and reads none, but it copies constants many times in memory."""


def _convert(network: Network, configure: Callable[[Any], None]) -> bytes:
    import tensorflow as tf

    from spaces.trainable.keras_model import integer_inputs

    graph, integers = network.graph, integer_inputs(network.graph)
    specifications = [
        tf.TensorSpec(shape, tf.int32 if name in integers else tf.float32, name=name)
        for name, shape in graph.inputs
    ]
    traced = tf.function(lambda *inputs: _deployed(network, list(inputs)), autograph=False)
    # A bare module around the weights: given the Keras model, the converter would trace every
    # one of its layers again to save them, which is three quarters of the time.
    module = tf.Module(name="network")
    if graph.total_parameters <= _CONSTANTS:
        concrete = traced.get_concrete_function(*specifications)
        module.call = _frozen(concrete, network.deployed)
    else:
        module.held, module.call = network.model.variables, traced
    concrete = module.call.get_concrete_function(*specifications)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
    configure(converter)
    with warnings.catch_warnings():
        # Inputs by name are observed with an interpreter that TensorFlow itself calls deprecated.
        warnings.filterwarnings("ignore", r"\s*Warning: tf\.lite\.Interpreter is deprecated")
        converted: bytes = converter.convert()
    return converted


def _frozen(concrete: Any, deployed: tuple[str, ...]) -> Any:
    """A function that is called as ``concrete``, with its variables as constants."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    frozen, names = convert_variables_to_constants_v2(concrete), sorted(deployed)
    return tf.function(  # the outputs come flat, in the order of their names
        lambda *inputs: dict(zip(names, tf.nest.flatten(frozen(*inputs)), strict=True)),
        autograph=False,
    )


def _deployed(network: Network, inputs: list[Any]) -> dict[str, Any]:
    """The deployed outputs: all that is computed behind the model's has no weights of its own."""
    import tensorflow as tf

    from spaces.trainable.keras_model import layer_name
    from spaces.trainable.tensor_ops import activate, compute

    given = network.model(inputs if len(inputs) > 1 else inputs[0], training=False)
    outputs = list(given) if isinstance(given, list | tuple) else [given]
    tensors = dict(zip(network.trained, outputs, strict=True))
    for op in _tail(network):
        sources = [tensors[name] for name in op.inputs]
        with tf.name_scope(layer_name(op.name)):  # by which people know it in the file
            tensors[op.name] = activate(op, compute(op, sources, {}))
    return {name: tensors[name] for name in network.deployed}


def deployed_outputs(network: Network, batches: Iterable[Inputs]) -> tuple[NDArray[Any], ...]:
    """The deployed outputs [n, ...] of the model as it is in memory, in floating point."""
    import tensorflow as tf

    names = [name for name, _ in network.graph.inputs]
    function = tf.function(
        lambda *inputs: _deployed(network, list(inputs)), autograph=False, reduce_retracing=True
    )
    parts = [function(*(tf.constant(batch[name]) for name in names)) for batch in batches]
    return tuple(
        np.concatenate([part[name].numpy() for part in parts]) for name in network.deployed
    )


def _tail(network: Network) -> list[Op]:
    """The ops between the trained and the deployed outputs, in order."""
    needed, kept = set(network.deployed) - set(network.trained), []
    for op in reversed(network.graph.ops):
        if op.name in needed:
            kept.append(op)
            needed.update(name for name in op.inputs if name not in network.trained)
    return kept[::-1]


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
    _lower_versions(model, graph, schema)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _lower_versions(model: Any, graph: Any, schema: Any) -> None:
    """Say of convolutions that none has groups any more.

    A converter writes version 6 of CONV_2D where one has groups, which edgetpu_compiler does not
    know: it would refuse the whole file (google-coral/edgetpu #631).

    Source: tensorflow/lite/tools/versioning/op_version.cc.
    """
    kinds = schema.TensorType
    versions = {kinds.INT8: 3, kinds.INT16: 4}
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        if code.builtinCode == schema.BuiltinOperator.CONV_2D and code.version >= 6:
            code.version = versions.get(graph.tensors[operator.inputs[0]].type, 1)


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
