"""What each kind of op must have: traits, a layer, a way from a file, a rule and a law on devices.

Or it is refused by name: nothing is passed over in silence.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np
import pytest

from hw.cost_model import CostModel, load_cost_model
from hw.device import device_names, load_device
from hw.tflite.reader import parse_tflite
from hw.tflite.schema import BUILTINS, DETECTION_POSTPROCESS
from spaces.graph import INPUT, Op, OpGraph, OpKind, Shape, Trait, kinds_with
from tests.hw.conftest import INT8, INT32, write_model

KINDS = pytest.mark.parametrize("kind", OpKind)
MORE = "more"
"""The second input of what takes two."""
MAP: Shape = (1, 8, 8, 16)
SHAPES: dict[OpKind, tuple[Shape, Shape]] = {
    OpKind.ARG_MAX: (MAP, (1, 8, 8)),
    OpKind.BATCH_MATMUL: ((1, 8, 16), (1, 8, 16)),
    OpKind.CONCATENATION: (MAP, (1, 8, 8, 32)),
    OpKind.DEPTH_TO_SPACE: (MAP, (1, 16, 16, 4)),
    OpKind.EMBEDDING_LOOKUP: ((1, 8), (1, 8, 16)),
    OpKind.EXPAND_DIMS: ((1, 8, 16), (1, 1, 8, 16)),
    OpKind.FULLY_CONNECTED: ((1, 16), (1, 8)),
    OpKind.GATHER: ((1, 8), (1, 8, 16)),
    OpKind.PACK: ((1, 16), (1, 2, 16)),
    OpKind.PAD: (MAP, (1, 10, 10, 16)),
    OpKind.RESHAPE: (MAP, (1, 64, 16)),
    OpKind.SLICE: (MAP, (1, 4, 4, 16)),
    OpKind.SOFTMAX: ((1, 16), (1, 16)),
    OpKind.SPACE_TO_DEPTH: (MAP, (1, 4, 4, 64)),
    OpKind.SPLIT: (MAP, (1, 8, 8, 8)),
    OpKind.SQUEEZE: ((1, 1, 8, 16), (1, 8, 16)),
    OpKind.STRIDED_SLICE: (MAP, (1, 4, 4, 16)),
    OpKind.UNIDIRECTIONAL_SEQUENCE_LSTM: ((1, 8, 16), (1, 8, 4)),
    OpKind.UNPACK: (MAP, (1, 8, 16)),
    **dict.fromkeys(kinds_with(Trait.REDUCING), (MAP, (1, 16))),
    **dict.fromkeys(kinds_with(Trait.RESIZING), (MAP, (1, 16, 16, 16))),
}
"""Before and after, where an op does more than to give back what it is given."""
SECOND: dict[OpKind, Shape] = {OpKind.BATCH_MATMUL: (1, 16, 16)}
CONSTANTS: dict[OpKind, Shape] = {
    # derived: 4 gates, 4 units, each of 16 inputs and 4 states
    OpKind.UNIDIRECTIONAL_SEQUENCE_LSTM: (4 * 4 * (16 + 4),),
    **dict.fromkeys(kinds_with(Trait.LOOKUP), (100, 16)),
}
WINDOWS: dict[OpKind, tuple[int, int]] = {
    **dict.fromkeys(kinds_with(Trait.WINDOWED), (3, 3)),
    **dict.fromkeys(kinds_with(Trait.REDUCING), (8, 8)),
}
TWO_INPUTS = kinds_with(Trait.BINARY) | kinds_with(Trait.JOINING) | {OpKind.BATCH_MATMUL}


def one_op(kind: OpKind) -> OpGraph:
    """A graph of one op of that kind, called ``y``."""
    before, after = SHAPES.get(kind, (MAP, MAP))
    more = ((MORE, SECOND.get(kind, before)),) if kind in TWO_INPUTS else ()
    op = Op(
        "y",
        kind,
        (INPUT, *(name for name, _ in more)),
        before,
        after,
        kernel_size=WINDOWS.get(kind, (1, 1)),
        axes=(0, 2, 1, 3) if kind is OpKind.TRANSPOSE else (),
        constant=CONSTANTS.get(kind, ()),
    )
    return OpGraph(before, (op,), more_inputs=more)


@KINDS
def test_a_kind_has_traits(kind: OpKind) -> None:
    assert kind.traits
    assert Trait.HOST not in kind.traits or kind.traits == {Trait.HOST}
    if Trait.CONVOLUTION in kind.traits:
        assert {Trait.WEIGHTED, Trait.WINDOWED} <= kind.traits


# --- layers ------------------------------------------------------------------------------------


@KINDS
@pytest.mark.usefixtures("tensorflow")
def test_a_kind_has_a_layer_that_computes_what_the_supernet_does_or_is_refused(
    kind: OpKind,
) -> None:
    from spaces.trainable.keras_model import build_model
    from spaces.trainable.tensor_ops import UnsupportedOpError, compute, weight_shapes

    graph = one_op(kind)
    try:
        model = build_model(graph)
    except UnsupportedOpError as refusal:
        told = re.fullmatch(r"y: op kind must be one of (.*), but got (\w+)\.", str(refusal))
        assert told is not None
        assert told[2] == kind
        assert kind not in told[1].split(", ")
        return
    assert model.output_shape[1:] == graph.output.output_shape[1:]
    shapes = weight_shapes(graph.output)
    values = [
        value.reshape(shape)
        for value, shape in zip(model.get_weights(), shapes.values(), strict=True)
    ]
    given = list(map(_numbers, [shape for _, shape in graph.inputs]))
    computed = compute(graph.output, given, dict(zip(shapes, values, strict=True)))
    modelled = model(given if len(given) > 1 else given[0])
    np.testing.assert_allclose(modelled, computed, rtol=1e-5, atol=1e-6)


def _numbers(shape: Shape) -> np.ndarray[Any, Any]:
    """Small whole numbers above zero, which may be rows of a table, too."""
    drawn = np.random.default_rng(0).integers(1, 9, shape)
    return drawn.astype(np.int32 if len(shape) == 2 and shape[1] == 8 else np.float32)


# --- files -------------------------------------------------------------------------------------


def _file_of(kind: OpKind, builtin: int | str) -> bytes:
    """A quantized file of the one op, its constants where the schema has them."""
    graph = one_op(kind)
    op = graph.output
    tensors: list[Any] = [(name, list(shape), INT8, False) for name, shape in graph.inputs]
    weights = _weights_in_file(op)
    operands = list(range(len(tensors)))
    if weights:
        tensors.append(("w", list(weights), INT8, True))
        operands.append(len(tensors) - 1)
    if kind is OpKind.GATHER:
        operands.reverse()  # the table, then the numbers of its rows
    if kind is OpKind.TRANSPOSE_CONV:
        tensors.append(("size", [4], INT32, True))
        operands = [2, 1, 0]
    tensors.append(("y", list(op.output_shape), INT8, False))
    inputs = tuple(range(len(graph.inputs)))
    return write_model(tensors, [(builtin, operands, [len(tensors) - 1], None)], inputs)


def _weights_in_file(op: Op) -> Shape:
    if op.constant or Trait.WEIGHTED not in op.kind.traits:
        return op.constant
    if op.kind is OpKind.FULLY_CONNECTED:
        return (op.out_channels, op.in_channels)
    if op.kind is OpKind.DEPTHWISE_CONV_2D:
        return (1, *op.kernel_size, op.out_channels)
    return (op.out_channels, *op.kernel_size, op.in_channels)


@KINDS
def test_a_kind_is_read_from_a_file_as_it_is_or_stays_on_the_host_by_name(kind: OpKind) -> None:
    numbers = [number for number, known in BUILTINS.items() if known is kind]
    if kind is OpKind.OTHER:
        assert not numbers
        model = parse_tflite(_file_of(kind, 47), "")
        assert model.graph.output.kind is OpKind.OTHER
        assert dict(model.unsupported)["y"].endswith(": EXP")
        return
    custom = [DETECTION_POSTPROCESS] if kind is OpKind.TFLITE_DETECTION_POSTPROCESS else []
    assert numbers or custom, f"{kind} must have a number in the schema"
    for builtin in (*numbers, *custom):
        model = parse_tflite(_file_of(kind, builtin), "")
        read, made = model.graph.output, one_op(kind).output
        assert read.kind is kind
        assert (read.input_shape, read.output_shape) == (made.input_shape, made.output_shape)
        assert (read.weights, read.macs) == (made.weights, made.macs)
        assert model.unsupported == ()


# --- devices -----------------------------------------------------------------------------------


@cache
def _cost_models() -> dict[str, CostModel]:
    return {name: load_cost_model("analytic", load_device(name)) for name in device_names()}


@KINDS
def test_a_kind_is_mapped_and_has_a_law_or_stays_on_the_host_with_a_reason(kind: OpKind) -> None:
    for device, model in _cost_models().items():
        report = model.estimate(one_op(kind))
        (spent,) = (cost for cost in report.per_op if cost.op == "y")
        if spent.unit == "host":
            assert report.host_ops == (("y", "Operation not supported"),), device
        else:
            assert report.host_ops == (), device
            # What is a processor itself has no host beside it.
            alone = load_device(device).family == "by_kind"
            assert alone or Trait.HOST not in kind.traits, device
        # What only says where elements lie, a compiler may do without.
        free = kind.traits & {Trait.VIEW, Trait.FOLDED, Trait.JOINING, Trait.SPLITTING}
        free |= {Trait.MOVING} if kind in {OpKind.SLICE, OpKind.STRIDED_SLICE} else set()
        assert spent.latency_ms >= 0 if free else spent.latency_ms > 0, device
