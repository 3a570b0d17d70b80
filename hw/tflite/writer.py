"""A network as an int8 ``.tflite`` of random weights, written op by op: no training framework.

What a compiler or a board takes for a network depends on its shapes, hardly on its weights. A
converter needs seconds for what stands here in milliseconds, and makes the same calls of the same
shapes (``tests/hw/test_writer.py`` compares them).

Source: tensorflow/lite/schema/schema.fbs; scales and zero points as the quantization
specification of LiteRT asks for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from hw.tflite.schema import OPERATORS, SCHEMA_VERSION
from spaces.graph import (
    INPUT,
    WEIGHTED_KINDS,
    Op,
    OpGraph,
    OpKind,
    Shape,
    Trait,
    kinds_with,
    split_grouped_convolutions,
)

NUMBERS = {name: number for number, name in OPERATORS.items()}
VERSIONS = {
    OpKind.CONV_2D: 3,
    OpKind.DEPTHWISE_CONV_2D: 3,
    OpKind.FULLY_CONNECTED: 4,
    OpKind.RESHAPE: 1,
    OpKind.RESIZE_BILINEAR: 3,
    OpKind.RESIZE_NEAREST_NEIGHBOR: 3,
}
"""Of operators, for int8 tensors; 2 of all others. Source: tensorflow/lite/tools/versioning."""
GROUPED_VERSION = 6
"""Of a convolution with groups."""
FUSED = {"none": 0, "relu": 1, "relu6": 3}
SAME, VALID = 0, 1
PIXELS = (2 / 255, -1)
"""Scale and zero point of pixels from -1 to 1."""
UNIT = (1 / 256, -128)
"""Of what lies between 0 and 1 by its nature."""
SHARING = kinds_with(Trait.RANGED) - {OpKind.SOFTMAX, OpKind.LOGISTIC} | frozenset(
    {OpKind.MAX_POOL_2D, OpKind.AVERAGE_POOL_2D, OpKind.CONCATENATION, OpKind.SPLIT}
)
"""Ops whose output must be quantized as their inputs are."""
TWO_STEPS = 0.8796
"""Standard deviation of a normal distribution that is cut off at two of its own."""


class UnwritableError(ValueError):
    """A network that holds ops which are not written here."""


def unwritable(graph: OpGraph) -> tuple[str, ...]:
    """Ops of a network that :func:`written` refuses, in words; none: it writes it."""
    found = {
        f"{op.kind.value} of one input" if op.kind in _OPTIONS else op.kind.value
        for op in graph.ops
        if op.kind not in _OPTIONS or (op.kind in _TWO and len(op.inputs) != 2) or op.constant
    }
    more = {"several inputs"} if graph.more_inputs else set()
    return tuple(sorted(found | more))


def written(graph: OpGraph, seed: int, splits_groups: bool) -> bytes:
    """An int8 file that computes ``graph`` with weights by chance.

    Args:
        graph: Of one input. Its last op is the output, and so is each that nobody reads.
        seed: Of weights and ranges.
        splits_groups: Write group convolutions as SPLIT, convolutions, CONCATENATION.

    Raises:
        UnwritableError: It holds other ops than those of picture networks.
    """
    refused = unwritable(graph)
    if refused:
        raise UnwritableError(
            "a network must be made of ops that are written without a converter "
            f"({', '.join(_OPTIONS)}), but got {', '.join(refused)}."
        )
    lowered = split_grouped_convolutions(graph) if splits_groups else graph
    return _Writer(lowered, np.random.default_rng(seed)).file()


@final
class _Writer:
    """The object form of one file, and where its tensors are."""

    def __init__(self, graph: OpGraph, rng: np.random.Generator) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.schema: Any = schema
        self.rng, self.graph = rng, graph
        self.ranges = _ranges(graph, rng)
        self.model, self.network = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.description = SCHEMA_VERSION, b"random weights"
        self.model.subgraphs, self.model.buffers = [self.network], [schema.BufferT()]
        self.model.operatorCodes, self.network.tensors = [], []
        self.network.operators = []
        self.codes: dict[tuple[str, int], int] = {}
        self.made: dict[str, list[int]] = {}
        self.taken: dict[str, int] = {}

    def file(self) -> bytes:
        """All of it."""
        import flatbuffers

        first = self._tensor(INPUT, self.graph.input_shape, "INT8", [self.ranges[INPUT]])
        self.made[INPUT] = [first]
        for op in self.graph.ops:
            self._add(op)
        read = {name for op in self.graph.ops for name in op.inputs}
        ends = [op.name for op in self.graph.ops if op.name not in read]
        self.network.inputs = [first]
        self.network.outputs = [number for name in ends for number in self.made[name]]
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _add(self, op: Op) -> None:
        sources = [self._source(name) for name in op.inputs]
        parts = op.in_channels // op.out_channels if op.kind is OpKind.SPLIT else 1
        names = [op.name] if parts == 1 else [f"{op.name}/{part}" for part in range(parts)]
        quantized = [self.ranges[op.name]]
        made = [self._tensor(name, op.output_shape, "INT8", quantized) for name in names]
        self.made[op.name] = made
        call = self.schema.OperatorT()
        call.opcodeIndex = self._code(op)
        call.inputs = _operands(self, op, sources)
        call.outputs = made
        kind = _OPTIONS[op.kind]
        if kind is not None:
            name, fill = kind
            options = getattr(self.schema, f"{name}T")()
            fill(op, options)
            call.builtinOptionsType = getattr(self.schema.BuiltinOptions, name)
            call.builtinOptions = options
        self.network.operators.append(call)

    def _source(self, name: str) -> int:
        """Tensor that the next reader of an op takes: of a SPLIT one part after the other."""
        parts = self.made[name]
        at = self.taken.get(name, 0)
        self.taken[name] = at + 1
        return parts[at % len(parts)]

    def _code(self, op: Op) -> int:
        grouped = op.kind is OpKind.CONV_2D and op.groups > 1
        key = (op.kind.value, GROUPED_VERSION if grouped else VERSIONS.get(op.kind, 2))
        if key not in self.codes:
            code = self.schema.OperatorCodeT()
            code.builtinCode = NUMBERS[op.kind.value]
            code.deprecatedBuiltinCode = min(code.builtinCode, 127)
            code.version = key[1]
            self.model.operatorCodes.append(code)
            self.codes[key] = len(self.codes)
        return self.codes[key]

    def _tensor(
        self,
        name: str,
        shape: Shape,
        kind: str,
        quantized: list[tuple[float, int]],
        axis: int = 0,
        data: NDArray[Any] | None = None,
    ) -> int:
        tensor = self.schema.TensorT()
        tensor.name, tensor.shape = name.encode(), list(shape)
        tensor.type, tensor.buffer = getattr(self.schema.TensorType, kind), 0
        if data is not None:
            buffer = self.schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        if quantized:
            of = self.schema.QuantizationParametersT()
            of.scale = np.array([scale for scale, _ in quantized], np.float32)
            of.zeroPoint = np.array([zero for _, zero in quantized], np.int64)
            of.quantizedDimension = axis
            tensor.quantization = of
        self.network.tensors.append(tensor)
        return len(self.network.tensors) - 1

    def numbers(self, op: Op, what: str, values: list[int], scalar: bool = False) -> int:
        """A constant that says how, int32."""
        shape = () if scalar else (len(values),)
        return self._tensor(f"{op.name}/{what}", shape, "INT32", [], 0, np.array(values, np.int32))

    def parameters(self, op: Op) -> list[int]:
        """Weights int8, normal or for a dense op even, and a bias of zeros."""
        depthwise, dense = op.kind is OpKind.DEPTHWISE_CONV_2D, op.kind is OpKind.FULLY_CONNECTED
        inputs = op.in_channels // op.groups
        window = op.kernel_size
        if depthwise:
            shape: Shape = (1, *window, op.out_channels)
            fan, axis = math.prod(window), 3
        elif dense:
            shape, fan, axis = (op.out_channels, inputs), inputs, 0
        else:
            shape, fan, axis = (op.out_channels, *window, inputs), math.prod(window) * inputs, 0
        if dense:
            limit = math.sqrt(6 / (inputs + op.out_channels))
            weights: NDArray[Any] = self.rng.uniform(-limit, limit, shape)
        else:
            chance = np.clip(self.rng.standard_normal(shape, np.float32), -2, 2)
            weights = chance * math.sqrt(2 / fan) / TWO_STEPS
        others = tuple(at for at in range(len(shape)) if at != axis)
        scales = np.maximum(np.abs(weights).max(axis=others) / 127, 1e-6)
        steps = np.reshape(scales, [-1 if at == axis else 1 for at in range(len(shape))])
        data = np.clip(np.rint(weights / steps), -127, 127).astype(np.int8)
        quantized = [(float(scale), 0) for scale in scales]
        first = self._tensor(f"{op.name}/weights", shape, "INT8", quantized, axis, data)
        entering = self.ranges[op.inputs[0]][0]
        sums = [(entering * scale, 0) for scale, _ in quantized]
        zeros = np.zeros(op.out_channels, np.int32)
        return [first, self._tensor(f"{op.name}/bias", zeros.shape, "INT32", sums, 0, zeros)]


def _operands(writer: _Writer, op: Op, sources: list[int]) -> list[int]:
    """Tensors that a call takes, constants among them."""
    if op.kind in WEIGHTED_KINDS:
        return [sources[0], *writer.parameters(op)]
    if op.kind is OpKind.SPLIT:
        axis = writer.numbers(op, "axis", [len(op.input_shape) - 1], scalar=True)
        return [axis, sources[0]]
    if op.kind is OpKind.MEAN:
        return [sources[0], writer.numbers(op, "axes", list(_mean_axes(op)))]
    if op.kind is OpKind.RESHAPE:
        return [sources[0], writer.numbers(op, "shape", list(op.output_shape))]
    if op.kind in RESIZES:
        return [sources[0], writer.numbers(op, "size", list(op.output_shape[1:3]))]
    return sources


RESIZES = kinds_with(Trait.RESIZING)


def _ranges(graph: OpGraph, rng: np.random.Generator) -> dict[str, tuple[float, int]]:
    """Scale and zero point of each tensor; those that must be alike are."""
    group: dict[str, str] = {INPUT: INPUT}

    def root(name: str) -> str:
        while group[name] != name:
            name = group[name]
        return name

    fixed: dict[str, tuple[float, int]] = {INPUT: PIXELS}
    for op in graph.ops:
        group[op.name] = op.name
        if op.kind in {OpKind.SOFTMAX, OpKind.LOGISTIC}:
            fixed[op.name] = UNIT
        elif op.kind in SHARING:
            for name in op.inputs:
                one, other = root(name), root(op.name)
                group[max(one, other)] = min(one, other)
                for old in (one, other):
                    if old in fixed:
                        fixed[min(one, other)] = fixed[old]
    fused = {op.name for op in graph.ops if op.activation != "none"}
    fused = {root(name) for name in fused}
    known: dict[str, tuple[float, int]] = {}
    for name in group:
        top = root(name)
        if top not in known:
            scale = float(rng.uniform(0.015, 0.03))
            by_chance = (scale, -128 if top in fused else int(rng.integers(-16, 17)))
            known[top] = fixed.get(top, by_chance)
    return {name: known[root(name)] for name in group}


def _mean_axes(op: Op) -> tuple[int, ...]:
    before, after = op.input_shape, op.output_shape
    if len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return tuple(axis for axis, (one, other) in pairs if one != other) or (1, 2)
    return tuple(range(1, 1 + len(before) - len(after)))


def _padding(op: Op) -> int:
    kept = [-(-size // step) for size, step in zip(op.input_shape[1:3], op.strides, strict=True)]
    return SAME if tuple(kept) == op.output_shape[1:3] else VALID


def _moved(op: Op, options: Any) -> None:
    options.padding = _padding(op)
    options.strideH, options.strideW = op.strides
    options.fusedActivationFunction = FUSED[op.activation]


def _convolved(op: Op, options: Any) -> None:
    _moved(op, options)
    options.dilationHFactor, options.dilationWFactor = op.dilation
    if op.kind is OpKind.DEPTHWISE_CONV_2D:
        options.depthMultiplier = 1


def _pooled(op: Op, options: Any) -> None:
    _moved(op, options)
    options.filterHeight, options.filterWidth = op.kernel_size


def _dense(op: Op, options: Any) -> None:
    options.fusedActivationFunction = FUSED[op.activation]
    options.keepNumDims = len(op.output_shape) > 2


def _fused(op: Op, options: Any) -> None:
    options.fusedActivationFunction = FUSED[op.activation]


def _joined(op: Op, options: Any) -> None:
    options.axis = op.axes[0] if op.axes else len(op.output_shape) - 1


def _split(op: Op, options: Any) -> None:
    options.numSplits = op.in_channels // op.out_channels


def _reduced(op: Op, options: Any) -> None:
    options.keepDims = len(op.input_shape) == len(op.output_shape)


def _shaped(op: Op, options: Any) -> None:
    options.newShape = list(op.output_shape)


def _resized(op: Op, options: Any) -> None:
    options.alignCorners, options.halfPixelCenters = False, True


def _softmax(op: Op, options: Any) -> None:
    options.beta = 1.0


def _plain(op: Op, options: Any) -> None:
    """Nothing to say."""


_TWO = frozenset({OpKind.ADD, OpKind.MUL, OpKind.SUB, OpKind.MAXIMUM})
_OPTIONS: dict[OpKind, tuple[str, Callable[[Op, Any], None]] | None] = {
    OpKind.CONV_2D: ("Conv2DOptions", _convolved),
    OpKind.DEPTHWISE_CONV_2D: ("DepthwiseConv2DOptions", _convolved),
    OpKind.FULLY_CONNECTED: ("FullyConnectedOptions", _dense),
    OpKind.ADD: ("AddOptions", _fused),
    OpKind.SUB: ("SubOptions", _fused),
    OpKind.MUL: ("MulOptions", _fused),
    OpKind.MAXIMUM: ("MaximumMinimumOptions", _plain),
    OpKind.AVERAGE_POOL_2D: ("Pool2DOptions", _pooled),
    OpKind.MAX_POOL_2D: ("Pool2DOptions", _pooled),
    OpKind.MEAN: ("ReducerOptions", _reduced),
    OpKind.CONCATENATION: ("ConcatenationOptions", _joined),
    OpKind.SPLIT: ("SplitOptions", _split),
    OpKind.RESHAPE: ("ReshapeOptions", _shaped),
    OpKind.RESIZE_BILINEAR: ("ResizeBilinearOptions", _resized),
    OpKind.RESIZE_NEAREST_NEIGHBOR: ("ResizeNearestNeighborOptions", _resized),
    OpKind.SOFTMAX: ("SoftmaxOptions", _softmax),
    OpKind.LOGISTIC: None,
}
"""Kinds that are written, with the options of their calls."""
