"""What is costed is what is trained is what is exported.

The graph of an architecture, its Keras model and its int8 ``.tflite`` must agree op by op. Each
side is counted by itself: the model from its layers, the file by :mod:`hw.tflite`.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from hw.cost_model import load_cost_model
from hw.device import load_device
from hw.tflite import TfliteModel, read_tflite
from spaces.graph import INPUT, WEIGHTED_KINDS, Op, OpGraph, OpKind
from spaces.heads import classification
from spaces.space import Architecture, SearchSpace, load_space, names_in, sample
from tasks.estimate_cost import estimate_file
from tasks.params import CostParams

INPUT_SHAPE = (1, 17, 21, 3)  # odd, so that each stride rounds
DRAWN, TESTED = 12, 2
"""Random architectures of each space, and how many of them are exported: the lightest."""

LAYERS = {
    OpKind.CONV_2D: "Conv2D",
    OpKind.DEPTHWISE_CONV_2D: "DepthwiseConv2D",
    OpKind.ADD: "Add",
    OpKind.AVERAGE_POOL_2D: "AveragePooling2D",
    OpKind.RELU: "ReLU",
    OpKind.MEAN: "GlobalAveragePooling2D",
    OpKind.FULLY_CONNECTED: "Dense",
}
CONSTANT_OPERAND = "Activation"  # does nothing; the batch normalisation behind it does it all
KERNELS = {"Conv2D": "kernel", "DepthwiseConv2D": "depthwise_kernel", "Dense": "kernel"}

pytestmark = pytest.mark.usefixtures("tensorflow")


class Case(NamedTuple):
    """One architecture in its forms."""

    graph: OpGraph
    model: Any
    native: TfliteModel
    split: TfliteModel


def _drawn(space: SearchSpace) -> list[Architecture]:
    rng = np.random.default_rng(0)
    drawn = {sample(space, rng) for _ in range(DRAWN)}
    return sorted(drawn, key=lambda one: space.lower(one).total_parameters)[:TESTED]


def _train(model: Any) -> None:
    """What training would do to the graph: a shift that is not zero is not folded away."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if layer.name.endswith(".bn"):
            layer.beta.assign(rng.uniform(-0.1, 0.1, layer.beta.shape))


def _branches(graph: OpGraph) -> bool:
    """Whether there is more to its order than that each op follows what it reads."""
    before = [INPUT, *(op.name for op in graph.ops)]
    return any(name not in op.inputs for name, op in zip(before, graph.ops, strict=False))


@lru_cache
def _cases(name: str, folder: Path) -> list[Case]:
    from spaces.keras_model import build_model
    from tasks import quantization

    space = load_space(name).for_input(INPUT_SHAPE)
    images = np.random.default_rng(0).integers(0, 256, (1, *INPUT_SHAPE[1:]), np.uint8)
    cases = []
    for one in _drawn(space):
        graph = classification(space.lower(one), classes=7)
        model = build_model(graph, output="logits")
        _train(model)
        native = quantization.export_post_training(model, images)
        files = {"native": native, "split": quantization.split_grouped_convolutions(native)}
        paths = {kind: folder / f"{one.id}-{kind}.tflite" for kind in files}
        for kind, path in paths.items():
            path.write_bytes(files[kind])
        cases.append(Case(graph, model, *map(read_tflite, paths.values())))
    return cases


@pytest.fixture(params=names_in("catalog"))
def cases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    folder = tmp_path_factory.getbasetemp() / "keystone"
    folder.mkdir(exist_ok=True)
    return _cases(request.param, folder)


def _seen_by_a_device(op: Op) -> tuple[object, ...]:
    """All of an op that a file tells, too; names differ, and so does the window of a mean."""
    windowed = op.kind in WEIGHTED_KINDS or op.kind is OpKind.AVERAGE_POOL_2D
    window = (op.kernel_size, op.strides, op.groups) if windowed else ()
    return (op.kind, op.input_shape, op.output_shape, op.activation, *window)


def test_keras_model_has_the_ops_of_the_graph_with_their_shapes(cases: list[Case]) -> None:
    from spaces.keras_model import layer_name

    for graph, model, _, _ in cases:
        trained = [op for op in graph.ops if op.kind is not OpKind.SOFTMAX]  # added at export
        parts = (INPUT, ".bn", ".act")
        made = {layer.name for layer in model.layers if not layer.name.endswith(parts)}
        assert made == {layer_name(op.name) for op in trained}
        for op in trained:
            layer = model.get_layer(layer_name(op.name))
            by_constants = op.kind in (OpKind.MUL, OpKind.ADD) and len(op.inputs) == 1
            assert type(layer).__name__ == (CONSTANT_OPERAND if by_constants else LAYERS[op.kind])
            shape = layer.input_shape
            shape = shape[0] if isinstance(shape, list) else shape
            assert (shape[1:], layer.output_shape[1:]) == (op.input_shape[1:], op.output_shape[1:])


def test_keras_model_has_the_macs_and_weights_of_the_graph(cases: list[Case]) -> None:
    for graph, model, _, _ in cases:
        macs = weights = 0
        for layer in model.layers:
            if type(layer).__name__ in KERNELS:
                size = math.prod(getattr(layer, KERNELS[type(layer).__name__]).shape)
                weights += size
                macs += size * math.prod(layer.output_shape[1:-1])  # once at each position
        assert macs == graph.macs
        assert weights == sum(op.weights for op in graph.ops)
        trainable = sum(math.prod(variable.shape) for variable in model.trainable_variables)
        assert trainable == graph.trainable_parameters
        assert model.count_params() == graph.total_parameters


def test_exported_file_is_the_graph_op_by_op(cases: list[Case]) -> None:
    for graph, _, native, _ in cases:
        exported = native.graph
        assert Counter(op.kind for op in exported.ops) == Counter(op.kind for op in graph.ops)
        seen = [[_seen_by_a_device(op) for op in one.ops] for one in (exported, graph)]
        if _branches(graph):  # of many orders the converter takes one of its own
            seen = [sorted(ops, key=str) for ops in seen]
        assert seen[0] == seen[1]
        assert exported.macs == graph.macs
        weights = [sorted(op.weights for op in one.ops) for one in (exported, graph)]
        assert weights[0] == weights[1]


def test_exported_file_is_of_8_bits_throughout(cases: list[Case]) -> None:
    for _, _, native, split in cases:
        for model in (native, split):
            model.check_quantized()
            assert model.unsupported == ()
            assert {kind for _, kind in model.data_types} == {"int8"}


def test_split_file_is_the_split_graph(cases: list[Case]) -> None:
    for graph, _, _, split in cases:
        groups = [op.groups for op in graph.ops if op.groups > 1]
        expected = Counter(op.kind for op in graph.ops)
        # derived: a grouped convolution becomes as many convolutions, and two ops around them
        expected[OpKind.CONV_2D] += sum(groups) - len(groups)
        expected += Counter({OpKind.SPLIT: len(groups), OpKind.CONCATENATION: len(groups)})
        assert Counter(op.kind for op in split.graph.ops) == expected
        assert all(op.groups == 1 for op in split.graph.ops)
        assert split.graph.macs == graph.macs


@pytest.mark.parametrize(("device", "form"), [("coral_usb3", "split"), ("tensor_g1", "native")])
def test_costs_of_the_file_are_told_by_the_names_of_the_graph(
    cases: list[Case], device: str, form: str
) -> None:
    cost = CostParams(device=device)
    model = load_cost_model(cost.method, load_device(device))
    for case in cases:
        path = Path(getattr(case, form).path)
        told = [one.op for one in estimate_file(path, cost, case.graph).per_op]
        meant = [one.op for one in model.estimate(case.graph).per_op]
        if _branches(case.graph):
            told, meant = sorted(told), sorted(meant)
        # The name of a SPLIT is that of its first output; it costs the same under any name.
        known = [(one, other) for one, other in zip(told, meant, strict=True)]
        assert [one for one, other in known if not other.endswith("/split")] == [
            other for _, other in known if not other.endswith("/split")
        ]


@pytest.mark.parametrize(("device", "form"), [("coral_usb3", "split"), ("tensor_g1", "native")])
def test_cost_of_the_graph_is_the_cost_of_the_file(
    cases: list[Case], device: str, form: str
) -> None:
    model = load_cost_model("analytic", load_device(device))
    for case in cases:
        file: TfliteModel = getattr(case, form)
        meant = model.estimate(case.graph)
        exported = model.estimate(file.graph, dict(file.unsupported))
        assert meant.latency_ms > 0
        for name in ("latency_ms", "peak_memory_bytes", "weight_bytes", "streamed_bytes", "macs"):
            assert getattr(exported, name) == pytest.approx(getattr(meant, name), rel=0.02)
        assert exported.host_ops == meant.host_ops == ()


def test_grouped_convolutions_are_among_the_cases(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.getbasetemp() / "keystone"
    folder.mkdir(exist_ok=True)
    graphs = [case.graph for case in _cases("mobilenet_edgetpu_v2_small", folder)]
    assert any(op.groups > 1 for graph in graphs for op in graph.ops)
