"""A ``.tflite`` file as an :class:`~spaces.graph.OpGraph`, without TensorFlow.

Constants and ops on constants alone are no ops of the graph. Numbers of fields, operators and
types are those of the TensorFlow Lite schema, version 3.

Source: tensorflow/lite/schema/schema.fbs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from hw.flatbuffer import FlatbufferError, Table
from hw.mapping import DATA_TYPE
from spaces.graph import INPUT, Activation, Op, OpGraph, OpKind, Shape, ShapeError

# fmt: off
BUILTINS: dict[int, OpKind] = {
    number: OpKind(name) for number, name in (
        (0, "ADD"), (1, "AVERAGE_POOL_2D"), (2, "CONCATENATION"), (3, "CONV_2D"),
        (4, "DEPTHWISE_CONV_2D"), (5, "DEPTH_TO_SPACE"), (6, "DEQUANTIZE"),
        (7, "EMBEDDING_LOOKUP"), (9, "FULLY_CONNECTED"), (11, "L2_NORMALIZATION"),
        (14, "LOGISTIC"), (17, "MAX_POOL_2D"), (18, "MUL"), (19, "RELU"), (21, "RELU6"),
        (22, "RESHAPE"), (23, "RESIZE_BILINEAR"), (25, "SOFTMAX"), (26, "SPACE_TO_DEPTH"),
        (28, "TANH"), (34, "PAD"), (36, "GATHER"), (39, "TRANSPOSE"), (40, "MEAN"), (41, "SUB"),
        (42, "DIV"), (43, "SQUEEZE"), (44, "UNIDIRECTIONAL_SEQUENCE_LSTM"),
        (45, "STRIDED_SLICE"), (49, "SPLIT"), (53, "CAST"), (54, "PRELU"), (55, "MAXIMUM"),
        (56, "ARG_MAX"), (57, "MINIMUM"), (60, "PAD"), (65, "SLICE"), (67, "TRANSPOSE_CONV"),
        (70, "EXPAND_DIMS"), (74, "SUM"), (76, "RSQRT"), (82, "REDUCE_MAX"), (83, "PACK"),
        (88, "UNPACK"), (97, "RESIZE_NEAREST_NEIGHBOR"), (98, "LEAKY_RELU"),
        (99, "SQUARED_DIFFERENCE"), (102, "SPLIT"), (107, "GATHER_ND"), (114, "QUANTIZE"),
        (117, "HARD_SWISH"), (126, "BATCH_MATMUL"), (150, "GELU"),
    )
}
TYPES = (
    "float32", "float16", "int32", "uint8", "int64", "string", "bool", "int16", "complex64",
    "int8", "float64", "complex128", "uint64", "resource", "variant", "uint32", "uint16", "int4",
)
# fmt: on
CUSTOM = 32
COMPILED_OP = "edgetpu-custom-op"
DETECTION_POSTPROCESS = "TFLite_Detection_PostProcess"
WEIGHT_BITS = {"int4": 4, "int16": 16, "float16": 16, "float32": 32}
QUANTIZED = frozenset({"int8", "uint8"})
ACTIVATIONS: dict[int, Activation] = {1: "relu", 3: "relu6"}
OPTIONS_TYPE = {
    OpKind.CONV_2D: 1,
    OpKind.DEPTHWISE_CONV_2D: 2,
    OpKind.AVERAGE_POOL_2D: 5,
    OpKind.MAX_POOL_2D: 5,
    OpKind.FULLY_CONNECTED: 8,
    OpKind.ADD: 11,
    OpKind.MUL: 21,
    OpKind.SUB: 28,
    OpKind.TRANSPOSE_CONV: 49,
}
ACTIVATION_FIELD = {1: 3, 2: 4, 5: 5, 8: 0, 11: 0, 21: 0, 28: 0, 49: 3}
STRIDED_OPTIONS = frozenset({1, 2, 5, 49})
POOL_OPTIONS = 5
CONVOLUTIONS = frozenset({OpKind.CONV_2D, OpKind.DEPTHWISE_CONV_2D, OpKind.TRANSPOSE_CONV})
LARGEST_TENSOR = 1 << 36


class TfliteError(ValueError):
    """A file that is no ``.tflite``, is damaged, or cannot run on an Edge TPU."""


@dataclass(frozen=True, slots=True)
class TfliteModel:
    """What a ``.tflite`` file holds.

    Attributes:
        path: Of the file, for messages.
        graph: Its main subgraph.
        data_types: Of each op's output, e.g. ``("conv1", "int8")``.
        unsupported: Ops that work on a data type the Edge TPU does not have, with the reason.
        quantized: Some op reads or writes 8-bit numbers.
        compiled: The file is the output of the Edge TPU compiler.
    """

    path: str
    graph: OpGraph
    data_types: tuple[tuple[str, str], ...]
    unsupported: tuple[tuple[str, str], ...]
    quantized: bool
    compiled: bool

    def check_quantized(self) -> None:
        """Check that the Edge TPU compiler would take this file.

        Raises:
            TfliteError: Nothing in it is of 8 bits, or it is compiled already.
        """
        if self.compiled:
            raise TfliteError(
                f"{self.path}: must be the model before compilation, but got the output of "
                "edgetpu_compiler. Give the .tflite it was made of."
            )
        if not self.quantized:
            types = sorted({name for _, name in self.data_types})
            raise TfliteError(
                f"{self.path}: ops must work on int8 or uint8 to run on an Edge TPU, but got "
                f"{', '.join(types)} everywhere. Convert with full integer quantization (int8)."
            )


@dataclass(frozen=True, slots=True)
class _Tensor:
    name: str
    shape: Shape
    type: str
    constant: bool


@dataclass(frozen=True, slots=True)
class _Call:
    """An operator with its tensors resolved."""

    kind: OpKind
    custom: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Table | None
    options_type: int


def read_tflite(path: Path) -> TfliteModel:
    """Read a file.

    Raises:
        TfliteError: It cannot be read, is damaged or is something else.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TfliteError(f"{path}: must be a readable file, but got: {error.strerror}.") from None
    try:
        return _parse(data, str(path))
    except (FlatbufferError, ShapeError, OverflowError) as error:
        raise TfliteError(
            f"{path}: must be a whole .tflite file, but got {len(data)} bytes in which "
            f"{str(error).rstrip('.')}."
        ) from None


def _parse(data: bytes, path: str) -> TfliteModel:
    model = Table.root(data, b"TFL3")
    subgraphs = model.tables(2)
    if not subgraphs:
        raise FlatbufferError("there must be a subgraph")
    tensors = _tensors(subgraphs[0], model.tables(4))
    calls = [_call(table, model.tables(1), len(tensors)) for table in subgraphs[0].tables(3)]
    graph_inputs = [number for number in subgraphs[0].numbers(1) if number >= 0]
    for number in graph_inputs:
        _check_number(number, len(tensors))
    return _Builder(path, tensors, graph_inputs).build(calls)


def _tensors(subgraph: Table, buffers: list[Table]) -> list[_Tensor]:
    filled = [_has_data(buffer) for buffer in buffers]
    return [_tensor(table, filled) for table in subgraph.tables(0)]


def _has_data(buffer: Table) -> bool:
    # Data lie in the table, or, in files over 2 GB, behind it at an offset (fields 1 and 2).
    return buffer.length(0) > 0 or buffer.number(1, "u64") > 1


def _tensor(table: Table, filled: list[bool]) -> _Tensor:
    shape = table.numbers(0)
    kind = table.number(1, "i8")
    buffer = table.number(2, "u32")
    if buffer >= max(len(filled), 1):
        raise FlatbufferError(f"buffer {buffer} must be one of {len(filled)}")
    if any(size < 0 for size in shape) or math.prod(shape) > LARGEST_TENSOR:
        raise FlatbufferError(f"a tensor must have a sane shape, but {list(shape)} is not one")
    variable = table.number(5, "u8")
    name = TYPES[kind] if 0 <= kind < len(TYPES) else f"type{kind}"
    constant = bool(filled) and filled[buffer] and not variable
    return _Tensor(table.text(3), shape, name, constant)


def _call(table: Table, codes: list[Table], tensors: int) -> _Call:
    index = table.number(0, "u32")
    if index >= len(codes):
        raise FlatbufferError(f"operator code {index} must be one of {len(codes)}")
    code = codes[index]
    # Codes up to 127 stood in a byte in old files; newer ones write both (schema.fbs).
    number = max(code.number(0, "i8"), code.number(3, "i32"))
    custom = code.text(1) if number == CUSTOM else ""
    kind = BUILTINS.get(number, OpKind.OTHER)
    if custom == DETECTION_POSTPROCESS:
        kind = OpKind.TFLITE_DETECTION_POSTPROCESS
    inputs, outputs = table.numbers(1), table.numbers(2)
    for tensor in (*inputs, *outputs):
        if tensor != -1:
            _check_number(tensor, tensors)
    return _Call(kind, custom, inputs, outputs, table.table(4), table.number(3, "u8"))


def _check_number(tensor: int, tensors: int) -> None:
    if not 0 <= tensor < tensors:
        raise FlatbufferError(f"tensor {tensor} must be one of {tensors}")


class _Builder:
    """Collects ops; knows which op made which tensor."""

    def __init__(self, path: str, tensors: list[_Tensor], graph_inputs: list[int]) -> None:
        self._path = path
        self._tensors = tensors
        self._graph_inputs = graph_inputs
        self._producers = dict.fromkeys(graph_inputs, INPUT)
        self._constants = {
            number for number, tensor in enumerate(tensors) if tensor.constant
        } - set(graph_inputs)
        self._names = {INPUT}

    def build(self, calls: list[_Call]) -> TfliteModel:
        ops: list[Op] = []
        types: list[tuple[str, str]] = []
        unsupported: list[tuple[str, str]] = []
        for call in calls:
            present = [number for number in call.inputs if number >= 0]
            if present and all(number in self._constants for number in present):
                self._constants.update(call.outputs)
                continue
            op = self._op(call)
            ops.append(op)
            types.append((op.name, self._tensors[call.outputs[0]].type))
            if not self._is_quantized(call):
                unsupported.append((op.name, DATA_TYPE))
        if not ops:
            raise FlatbufferError("there must be an op")
        shapes = [self._tensors[number].shape for number in self._graph_inputs]
        graph = OpGraph((shapes or [ops[0].input_shape])[0], tuple(ops))
        compiled = any(call.custom == COMPILED_OP for call in calls)
        quantized = any(self._touches_bytes(call) for call in calls)
        return TfliteModel(
            self._path, graph, tuple(types), tuple(unsupported), quantized, compiled
        )

    def _touches_bytes(self, call: _Call) -> bool:
        numbers = {number for number in (*call.inputs, *call.outputs) if number >= 0}
        return any(self._tensors[number].type in QUANTIZED for number in numbers - self._constants)

    def _is_quantized(self, call: _Call) -> bool:
        """Whether activations and weights have 8 bits (16 in the state of an LSTM)."""
        allowed = QUANTIZED
        if call.kind is OpKind.UNIDIRECTIONAL_SEQUENCE_LSTM:
            allowed |= {"int16"}
        numbers = [number for number in call.inputs if number >= 0]
        used = [number for number in numbers if number not in self._constants]
        if call.kind in CONVOLUTIONS or call.kind is OpKind.FULLY_CONNECTED:
            used.append(numbers[1])
        return all(self._tensors[number].type in allowed for number in (*used, *call.outputs))

    def _op(self, call: _Call) -> Op:
        if not call.outputs:
            raise FlatbufferError("each op must have an output")
        present = [number for number in call.inputs if number >= 0]
        data = [number for number in present if number not in self._constants]
        produced = [self._producers[number] for number in data if number in self._producers]
        output = self._tensors[call.outputs[0]]
        name = self._unique(output.name or call.kind.value)
        weights = self._weights(call, present)
        input_shape = self._tensors[data[0]].shape if data else output.shape
        activation, strides, kernel_size = _options(call)
        if weights is not None and call.kind in CONVOLUTIONS:
            kernel_size = (weights.shape[1], weights.shape[2])
        op = Op(
            name=name,
            kind=call.kind,
            inputs=tuple(dict.fromkeys(produced)),
            input_shape=_flattened(call.kind, input_shape, weights),
            output_shape=output.shape,
            kernel_size=kernel_size,
            strides=strides,
            groups=_groups(call.kind, name, input_shape, weights),
            weight_bits=WEIGHT_BITS.get(weights.type, 8) if weights is not None else 8,
            activation=activation,
            use_bias=len(present) > 2 and weights is not None,
        )
        for number in call.outputs:
            self._producers[number] = name
        return op

    def _weights(self, call: _Call, present: list[int]) -> _Tensor | None:
        if call.kind not in CONVOLUTIONS and call.kind is not OpKind.FULLY_CONNECTED:
            return None
        if len(present) < 2:
            raise FlatbufferError(f"{call.kind} must have an input and weights")
        weights = self._tensors[present[1]]
        rank = 4 if call.kind in CONVOLUTIONS else 2
        if len(weights.shape) != rank or min(weights.shape) < 1:
            raise FlatbufferError(
                f"weights of {call.kind} must have {rank} dimensions, unlike {list(weights.shape)}"
            )
        return weights

    def _unique(self, name: str) -> str:
        unique, count = name, 1
        while unique in self._names:
            count += 1
            unique = f"{name}#{count}"
        self._names.add(unique)
        return unique


def _options(call: _Call) -> tuple[Activation, tuple[int, int], tuple[int, int]]:
    """Fused activation, strides and pooling window."""
    kind = OPTIONS_TYPE.get(call.kind)
    if call.options is None or kind is None or call.options_type != kind:
        return "none", (1, 1), (1, 1)
    activation = ACTIVATIONS.get(call.options.number(ACTIVATION_FIELD[kind], "i8"), "none")
    strides = window = (1, 1)
    if kind in STRIDED_OPTIONS:
        strides = (call.options.number(2), call.options.number(1))
    if kind == POOL_OPTIONS:
        window = (call.options.number(4), call.options.number(3))
    if min(*strides, *window) < 1:
        raise FlatbufferError(f"strides and window of {call.kind} must be positive")
    return activation, strides, window


def _flattened(kind: OpKind, shape: Shape, weights: _Tensor | None) -> Shape:
    """A dense op reads its input as rows of as many numbers as its weights have columns."""
    if kind is not OpKind.FULLY_CONNECTED or weights is None or shape[-1:] == weights.shape[1:]:
        return shape
    columns = weights.shape[1]
    return (math.prod(shape) // columns, columns)


def _groups(kind: OpKind, name: str, shape: Shape, weights: _Tensor | None) -> int:
    """Groups of a native grouped convolution: input channels over those a filter sees."""
    if kind is not OpKind.CONV_2D or weights is None:
        return 1
    channels = shape[-1] if shape else 0
    if channels < 1 or channels % weights.shape[3]:
        raise FlatbufferError(
            f"{name} must have a multiple of {weights.shape[3]} input channels, unlike {channels}"
        )
    return channels // weights.shape[3]
