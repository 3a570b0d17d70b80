"""What is costed is what is trained is what is exported, for every space and what it is for.

The graph of an architecture, head included, its Keras model, the supernet's run of it and its
``.tflite`` must agree op by op, and compute the same. Each side is counted by itself: the model
from its layers, the file by :mod:`hw.tflite.reader`.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hw.cost_model import load_cost_model
from hw.device import load_device
from hw.families.edge_tpu.acceptance import check_accepted
from hw.tflite.model import TfliteModel
from hw.tflite.reader import read_tflite
from spaces.graph import WEIGHTED_KINDS, Op, OpGraph, OpKind
from spaces.menu import load_problems, load_space, names_in
from spaces.space import Architecture, SearchSpace
from spaces.walk import sample
from tasks.estimate_cost import estimate_file
from tasks.learning.problem import problem_of_space
from tasks.learning.protocols import Problem
from tasks.run.params import CostParams
from tests.samples import SMALL, VOCABULARY, opened, samples

SHAPES = {name: shape for name, (_, shape) in SMALL.items()}
SHAPES["classification"] = (1, 17, 21, 3)  # odd, so that each stride rounds
DRAWN = 60
"""Random architectures of each space, of which the one of fewest ops is exported."""
GROUPED_TOO = "mobilenet_edgetpu_v2_small"
"""Here the one of fewest ops among those with a grouped convolution is, too."""
SLOW = {
    "mobilebert_edgetpu",
    "autoseg_edgetpu",
    "deeplab_edgetpu_v2",
    "mobiledet_edgetpu",
    "mobilenet_edgetpu_v1",
    "spaghettinet_edgetpu",
}
"""Hundreds of ops of kinds, and under heads, that other spaces have, too."""
CASES = tuple(
    pytest.param((name, one), id=f"{name}-{one}", marks=[pytest.mark.slow] * (name in SLOW))
    for name in names_in("catalog")
    for one in load_problems(name)
)

LAYERS = {
    OpKind.CONV_2D: "Conv2D",
    OpKind.DEPTHWISE_CONV_2D: "DepthwiseConv2D",
    OpKind.FULLY_CONNECTED: "Dense",
    OpKind.AVERAGE_POOL_2D: "AveragePooling2D",
    OpKind.MAX_POOL_2D: "MaxPooling2D",
    OpKind.RELU: "ReLU",
    OpKind.RESHAPE: "Reshape",
    OpKind.CONCATENATION: "Concatenate",
    OpKind.SOFTMAX: "Softmax",
}
"""Layers that Keras has; others are sums, or computed by :mod:`spaces.trainable.tensor_ops`."""
KERNELS = {"Conv2D": "kernel", "DepthwiseConv2D": "depthwise_kernel", "Dense": "kernel"}

pytestmark = pytest.mark.usefixtures("tensorflow")


@dataclasses.dataclass(frozen=True)
class Case:
    """One architecture in its forms, and what each of them computes.

    Attributes:
        problem: With made-up data.
        graph: What is deployed of it: up to the outputs of the file.
        whole: With what the host does behind them.
        model: Up to the trained outputs.
        native, split: The int8 file in both forms of group convolutions.
        space: Its name.
        outputs: Of the trained ops by supernet and Keras, of the deployed ones by supernet, float
            file and int8 file.
    """

    problem: Problem
    graph: OpGraph
    whole: OpGraph
    model: Any
    native: TfliteModel
    split: TfliteModel
    space: str
    outputs: dict[str, tuple[Any, ...]]


@dataclasses.dataclass(frozen=True)
class _Alone:
    """A space of one architecture, whose supernet is as large as its network."""

    space: SearchSpace
    point: Architecture

    @property
    def input_shape(self) -> Any:
        return self.space.input_shape

    def lower(self, architecture: Architecture) -> OpGraph:
        return self.space.lower(architecture)

    def extremes(self) -> tuple[Architecture, ...]:
        return (self.point,)


def _drawn(space: SearchSpace) -> list[Architecture]:
    rng = np.random.default_rng(0)
    drawn = {sample(space, rng) for _ in range(DRAWN)}
    graphs = {one: space.lower(one) for one in drawn}
    order = sorted(drawn, key=lambda one: (len(graphs[one].ops), one.id))
    grouped = [one for one in order if any(op.groups > 1 for op in graphs[one].ops)]
    return list(dict.fromkeys([order[0], *grouped[: space.name == GROUPED_TOO]]))


def _sized(name: str, problem: str) -> SearchSpace:
    space: Any = load_space(name).for_input(SHAPES[problem])
    if hasattr(space, "for_vocabulary"):
        space = space.for_vocabulary(VOCABULARY, 2 if problem == "question_answering" else 0)
    sized: SearchSpace = space
    return sized


def _trained(space: SearchSpace, point: Architecture, problem: Problem) -> Any:
    """A supernet of one network in which every weight matters, as after training."""
    from spaces.trainable.supernet import Supernet

    alone: Any = _Alone(space, point)
    net = Supernet(alone, problem.complete, problem.trained, seed=0)
    rng = np.random.default_rng(1)
    for name, variable in net.parameters.items():
        value, shape = variable.numpy(), variable.shape
        if name.endswith(("gamma", "beta", "bias", "constant")):
            centre = 1.0 if name.endswith("gamma") else value
            variable.assign((rng.normal(0.0, 0.2, shape) + centre).astype(np.float32))
        elif not value.any():  # the last kernel of a block that began as the identity
            variable.assign(rng.normal(0.0, 0.1, shape).astype(np.float32))
    return net


def _called(model: Any, graph: OpGraph, inputs: Any) -> tuple[Any, ...]:
    given = [inputs[name] for name, _ in graph.inputs]
    found = model(given if len(given) > 1 else given[0], training=False)
    return tuple(one.numpy() for one in (found if isinstance(found, list) else [found]))


def _case(space: SearchSpace, point: Architecture, problem: Problem, folder: Path) -> Case:
    from spaces.trainable.keras_model import build_model, set_weights, up_to
    from tasks.learning import quantization
    from tasks.learning.exported import fitted, network_of
    from tasks.learning.interpreter import predict

    deployed = problem.deployed
    whole = problem.complete(space.lower(point))
    inputs = problem.inputs(samples(problem.name, 8, SHAPES[problem.name]), whole)
    net = _trained(space, point, problem)
    statistics = net.recalibrate(point, [inputs])
    model = build_model(whole, outputs=problem.trained)
    set_weights(model, net.extract(point, statistics))
    network = network_of(model, whole, problem)
    floating = quantization.export_float(network)
    native = _quantized(network, inputs, space.name)
    paths = {}
    for kind, content in {
        "native": native,
        "split": quantization.split_grouped_convolutions(native),
    }.items():
        paths[kind] = folder / f"{point.id}-{problem.name}-{kind}.tflite"
        paths[kind].write_bytes(content)
    outputs = {
        "supernet": net.predict(point, [inputs], statistics),
        "keras": _called(model, whole, inputs),
        "supernet_deployed": net.predict(
            point, [inputs], statistics, deployed, fitted(problem, whole)
        ),
        "float": predict(floating, inputs, deployed),
        "int8": predict(paths["split"], inputs, deployed),
    }
    files = {kind: read_tflite(path) for kind, path in paths.items()}
    return Case(
        problem, up_to(whole, deployed), whole, model, **files, space=space.name, outputs=outputs
    )


def _aware(name: str) -> bool:
    """Whether it is exported as finalists are: long networks take long to be wrapped."""
    return name.endswith("small")


def _quantized(network: Any, inputs: Any, space: str) -> bytes:
    from tasks.learning import quantization

    if not _aware(space):
        return quantization.export_post_training(network, inputs)
    return quantization.export_quantize_aware(quantization.quantize_aware(network, inputs))


@lru_cache
def _cases(name: str, problem: str, folder: Path) -> list[Case]:
    space, bound = _sized(name, problem), opened(problem, SHAPES[problem])
    return [_case(space, one, bound, folder) for one in _drawn(space)]


@pytest.fixture(params=CASES)
def cases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    folder = tmp_path_factory.getbasetemp() / "keystone"
    folder.mkdir(exist_ok=True)
    return _cases(*request.param, folder)


def _without_requantization(graph: OpGraph) -> list[Op]:
    """Ops but those that bring parts of a concatenation to one scale: they compute nothing."""
    joined = {name for op in graph.ops if op.kind is OpKind.CONCATENATION for name in op.inputs}
    return [op for op in graph.ops if op.kind is not OpKind.QUANTIZE or op.name not in joined]


def _without_views_of_dense(ops: Sequence[Op]) -> list[Op]:
    """Ops but reshapes that dense layers alone read, which converters leave out."""
    readers: dict[str, set[OpKind]] = {}
    for op in ops:
        for name in op.inputs:
            readers.setdefault(name, set()).add(op.kind)
    dense = {OpKind.FULLY_CONNECTED}
    return [op for op in ops if op.kind is not OpKind.RESHAPE or readers.get(op.name) != dense]


def _seen_by_a_device(op: Op) -> tuple[object, ...]:
    """All of an op that a file tells, too; names differ, and so does the window of a mean.

    A sequence (1, T, C) and its rows (T, C) are the same to a dense layer and what follows it, and
    so is a map of one place; converters leave out the reshape between them.
    """
    windowed = op.kind in {*WEIGHTED_KINDS, OpKind.AVERAGE_POOL_2D, OpKind.MAX_POOL_2D}
    window = (op.kernel_size, op.strides, op.groups) if windowed else ()
    shapes = [
        (math.prod(shape[:-1]), shape[-1])
        if len(shape) < 4 or op.kind is OpKind.FULLY_CONNECTED
        else shape
        for shape in (op.input_shape, op.output_shape)
    ]
    return (op.kind, *shapes, op.activation, *window)


def test_keras_model_has_the_ops_of_the_graph_with_their_shapes(cases: list[Case]) -> None:
    from spaces.trainable.keras_model import layer_name, up_to

    for case in cases:
        trained = up_to(case.whole, case.problem.trained).ops
        given = dict(case.graph.inputs)
        names = {layer.name for layer in case.model.layers if layer.name not in given}
        made = {name for name in names if not name.endswith((".bn", ".act"))}
        assert made == {layer_name(op.name) for op in trained}
        for op in trained:
            layer = case.model.get_layer(layer_name(op.name))
            known = (LAYERS.get(op.kind, ""), "Computed", "Add", "Activation")
            assert type(layer).__name__ in (*known, "GlobalAveragePooling2D"), op
            shape = layer.input_shape
            shape = shape[0] if isinstance(shape, list) else shape
            assert (shape[1:], layer.output_shape[1:]) == (op.input_shape[1:], op.output_shape[1:])


def test_keras_model_has_the_macs_and_weights_of_the_graph(cases: list[Case]) -> None:
    from spaces.trainable.keras_model import up_to

    for case in cases:
        macs = weights = 0
        for layer in case.model.layers:
            if type(layer).__name__ in KERNELS:
                size = math.prod(getattr(layer, KERNELS[type(layer).__name__]).shape)
                weights += size
                macs += size * math.prod(layer.output_shape[1:-1])  # once at each position
        multiplied = [op for op in case.graph.ops if op.kind is OpKind.BATCH_MATMUL]
        assert macs + sum(op.macs for op in multiplied) == case.graph.macs
        tables = [op for op in case.graph.ops if op.kind not in WEIGHTED_KINDS and op.weights]
        assert weights + sum(op.weights for op in tables) == sum(
            op.weights for op in case.graph.ops
        )
        trainable = sum(math.prod(v.shape) for v in case.model.trainable_variables)
        learned = up_to(case.whole, case.problem.trained)
        assert trainable == learned.trainable_parameters
        assert case.model.count_params() == learned.total_parameters


def _weights(op: Op) -> int:
    """Those of an op in a file, where a scale or offset by batch normalisation is a constant."""
    scaled = op.kind in (OpKind.MUL, OpKind.ADD) and len(op.inputs) == 1
    return op.weights or scaled * op.out_channels


def test_exported_file_is_the_graph_op_by_op(cases: list[Case]) -> None:
    for case in cases:
        exported = _without_views_of_dense(_without_requantization(case.native.graph))
        meant = _without_views_of_dense(case.graph.ops)
        kinds = [Counter(op.kind for op in ops) for ops in (exported, meant)]
        assert kinds[0] == kinds[1]
        # Of many orders the converter takes one of its own.
        seen = [sorted(map(_seen_by_a_device, ops), key=str) for ops in (exported, meant)]
        assert seen[0] == seen[1]
        assert case.native.graph.macs == case.graph.macs
        weights = [sorted(map(_weights, ops)) for ops in (exported, meant)]
        assert weights[0] == weights[1]


def test_exported_file_is_of_8_bits_throughout(cases: list[Case]) -> None:
    for case in cases:
        labels = case.graph.output.kind is OpKind.CAST
        for model in (case.native, case.split):
            model.check_quantized()
            assert model.unsupported == ()
            # The greatest of some scores is told by its number.
            integers = {"int32", "uint8"} if labels else set()
            assert {kind for _, kind in model.data_types} <= {"int8", *integers}


def test_split_file_is_one_that_the_compiler_takes(cases: list[Case]) -> None:
    for case in cases:
        check_accepted(case.split, "edgetpu_compiler_16")


def test_split_file_is_the_split_graph(cases: list[Case]) -> None:
    for case in cases:
        groups = [op.groups for op in case.graph.ops if op.groups > 1]
        expected = Counter(op.kind for op in _without_views_of_dense(case.graph.ops))
        # derived: a grouped convolution becomes as many convolutions, and two ops around them
        expected[OpKind.CONV_2D] += sum(groups) - len(groups)
        expected += Counter({OpKind.SPLIT: len(groups), OpKind.CONCATENATION: len(groups)})
        exported = _without_views_of_dense(_without_requantization(case.split.graph))
        assert Counter(op.kind for op in exported) == expected
        assert all(op.groups == 1 for op in case.split.graph.ops)
        assert case.split.graph.macs == case.graph.macs


def test_all_forms_compute_the_same(cases: list[Case]) -> None:
    for case in cases:
        found = case.outputs
        for one, other in zip(found["supernet"], found["keras"], strict=True):
            assert np.ptp(other) > 0.01  # not all the same by chance
            np.testing.assert_allclose(one, other, atol=1e-3 * np.ptp(other))
        for one, other in zip(found["supernet_deployed"], found["float"], strict=True):
            assert one.shape == other.shape
            if np.issubdtype(other.dtype, np.integer):  # labels, which tip where scores are equal
                assert (one == other).mean() > 0.99
            else:
                np.testing.assert_allclose(one, other, atol=1e-3 * np.ptp(other))


def test_integer_files_follow_the_float_ones(cases: list[Case]) -> None:
    if not _aware(cases[0].space):
        pytest.skip("random weights in a long network lose in 8 bits what training would keep")
    for case in cases:
        for one, other in zip(case.outputs["int8"], case.outputs["float"], strict=True):
            assert one.shape == other.shape
            if np.issubdtype(other.dtype, np.integer):
                assert (one == other).mean() > 0.5
            else:
                assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.9


@pytest.mark.parametrize(("device", "form"), [("coral_usb3", "split"), ("tensor_g1", "native")])
def test_costs_of_the_file_are_told_by_the_names_of_the_graph(
    cases: list[Case], device: str, form: str
) -> None:
    cost = CostParams(device=device)
    model = load_cost_model(cost.method, load_device(device))
    for case in cases:
        path = Path(getattr(case, form).path)
        report = estimate_file(path, cost, case.whole, case.problem.deployed)
        told = {one.op for one in report.per_op}
        # Of an op that only moves values the file may keep no more than what it moves.
        heavy = {op.name for op in case.whole.ops if op.macs and op.groups == 1}
        assert heavy <= told
        # A grouped convolution is told by its groups, and what splits it by the first of them.
        meant = model.estimate(case.whole).per_op
        known = {op.name for op in case.whole.ops} | {one.op for one in meant}
        assert {re.sub(r"/group\d+$", "", name) for name in told} <= known
        left_out = len(case.whole.ops) - len(_without_views_of_dense(case.whole.ops))
        assert len(report.per_op) >= len(meant) - left_out


@pytest.mark.parametrize(("device", "form"), [("coral_usb3", "split"), ("tensor_g1", "native")])
def test_cost_of_the_graph_is_the_cost_of_the_file(
    cases: list[Case], device: str, form: str
) -> None:
    cost = CostParams(device=device)
    model = load_cost_model(cost.method, load_device(device))
    for case in cases:
        meant = model.estimate(case.whole)
        path = Path(getattr(case, form).path)
        exported = estimate_file(path, cost, case.whole, case.problem.deployed)
        assert meant.latency_ms > 0
        tolerance = 0.1 if _aware(case.space) else 0.02
        for name in ("latency_ms", "peak_memory_bytes", "weight_bytes", "streamed_bytes", "macs"):
            assert getattr(exported, name) == pytest.approx(getattr(meant, name), rel=tolerance)
        reasons = [Counter(why for _, why in one.host_ops) for one in (exported, meant)]
        assert reasons[0] == reasons[1]


def test_grouped_convolutions_are_among_the_cases(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.getbasetemp() / "keystone"
    folder.mkdir(exist_ok=True)
    found = _cases("mobilenet_edgetpu_v2_small", "classification", folder)
    assert any(op.groups > 1 for case in found for op in case.graph.ops)


@pytest.mark.parametrize("name", names_in("catalog"))
def test_every_space_says_which_problem_it_is_for(name: str) -> None:
    space = load_space(name)
    problem = problem_of_space(space, 7)
    assert problem.name == load_problems(name)[0]
    ops = {op.name for op in problem.complete(space.lower(_drawn(space)[0])).ops}
    assert {*problem.trained, *problem.deployed} <= ops
