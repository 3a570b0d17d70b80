"""The weight-sharing network is, for each architecture, the network that it would be alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from spaces.families.blocks import BLOCK_OPS, IBN_DW, IBN_FUSED, IBN_FUSED_GROUPED, SKIP
from spaces.families.ibn.space import IbnSpace
from spaces.graph import OpGraph
from spaces.menu import load_space
from spaces.space import Architecture, TrainableSpace
from spaces.walk import prune, sample
from tasks.learning.protocols import Problem
from tests.samples import SMALL, opened, samples, small_space

SIDE = 16

pytestmark = pytest.mark.usefixtures("tensorflow")


def _first_stages(name: str, stages: int, **changes: Any) -> IbnSpace:
    """The beginning of a space: the rest of a big one is more of the same, and slow."""
    space = load_space(name).for_input((1, SIDE, SIDE, 3))
    assert isinstance(space, IbnSpace)
    changes = {"top_widths": (64, 96), **changes}
    return dataclasses.replace(space, stages=space.stages[:stages], **changes)


def _with_block(**changes: Any) -> IbnSpace:
    space = _first_stages("mobilenet_edgetpu_v2_small", 2)
    stage = space.stages[0]
    block = dataclasses.replace(stage.blocks[0], **changes)
    changed = dataclasses.replace(stage, blocks=(block, *stage.blocks[1:]))
    return dataclasses.replace(space, stages=(changed, *space.stages[1:]))


SPACES: dict[str, Callable[[], TrainableSpace]] = {
    "mobilenet_edgetpu_v2": lambda: _first_stages("mobilenet_edgetpu_v2", 2),
    "mobilenet_v2_small": lambda: _first_stages("mobilenet_v2_small", 3),
    "mobilenet_v4": lambda: _first_stages("mobilenet_v4", 2, pooled_widths=(32, 64)),
    "mobilenet_v4_small": lambda: _first_stages("mobilenet_v4_small", 2),
    "expands_output": lambda: _first_stages("efficientnet_edgetpu", 2),
    "strided_projection": lambda: _with_block(ops=(IBN_FUSED,), expansions=(1, 2)),
    "no_top": lambda: dataclasses.replace(_with_block(), top_widths=(0, 64)),
    "no_activation": lambda: dataclasses.replace(_with_block(), activation="none"),
}
"""Of pictures with a class: what an inverted bottleneck may be, and its corner cases."""
CASES = (*SMALL, *SPACES)


@dataclasses.dataclass(frozen=True)
class Case:
    """A supernet, and the problem that it is for."""

    net: Any
    problem: Problem

    @property
    def space(self) -> Any:
        return self.net.space

    def read(self, point: Architecture, count: int = 24, seed: int = 0) -> dict[str, Any]:
        arrays = samples(self.problem.name, count, self.space.input_shape, seed)
        return self.problem.inputs(arrays, self.net.graph(point))

    def statistics(self, point: Architecture, count: int = 24, seed: int = 0) -> Any:
        return self.net.recalibrate(point, [self.read(point, count, seed)])


def _case(name: str, seed: int = 0) -> Case:
    from spaces.trainable.supernet import Supernet

    problem_name = name if name in SMALL else "classification"
    space = small_space(name) if name in SMALL else SPACES[name]()
    problem = opened(problem_name, space.input_shape)
    net = Supernet(space, problem.complete, problem.trained, seed, problem.first_bias)
    return Case(net, problem)


@cache
def _trained(name: str) -> Case:
    """A supernet whose every weight matters, as after training: new ones begin as identities."""
    case = _case(name)
    rng = np.random.default_rng(1)
    for parameter, variable in case.net.parameters.items():
        value, shape = variable.numpy(), variable.shape
        if parameter.endswith(("gamma", "beta", "bias", "constant")):
            centre = 1.0 if parameter.endswith("gamma") else value
            variable.assign((rng.normal(0.0, 0.3, shape) + centre).astype(np.float32))
        elif not value.any():  # the last kernel of a block that began as the identity
            variable.assign(rng.normal(0.0, 0.1, shape).astype(np.float32))
    return case


@pytest.fixture
def small() -> Case:
    return _trained("classification")


def _samples(space: Any, count: int, seed: int = 0) -> list[Architecture]:
    rng = np.random.default_rng(seed)
    return [sample(space, rng) for _ in range(count)]


def _alone(case: Case, point: Architecture, statistics: Any) -> Any:
    """The Keras model of an architecture with the weights that the supernet holds for it."""
    from spaces.trainable.keras_model import build_model, get_weights, set_weights

    graph = case.problem.complete(case.space.lower(point))
    model = build_model(graph, outputs=case.problem.trained)
    extracted = case.net.extract(point, statistics)
    assert set(extracted) == set(get_weights(model))
    set_weights(model, extracted)
    return model


def _called(model: Any, inputs: dict[str, Any]) -> list[Any]:
    given = list(inputs.values())
    found = model(given if len(given) > 1 else given[0], training=False)
    return [one.numpy() for one in (found if isinstance(found, list) else [found])]


@pytest.mark.parametrize("name", CASES)
def test_supernet_computes_what_each_architecture_computes_alone(name: str) -> None:
    case = _trained(name)
    for point in (case.space.largest(), case.space.smallest(), *_samples(case.space, 2)):
        statistics, inputs = case.statistics(point), case.read(point, 8, seed=1)
        together = case.net.predict(point, [inputs], statistics)
        alone = _called(_alone(case, point, statistics), inputs)
        assert len(together) == len(case.problem.trained)
        for one, other in zip(together, alone, strict=True):
            assert np.ptp(other) > 0.1  # not all the same by chance
            np.testing.assert_allclose(one, other, atol=5e-4, rtol=1e-3)


def test_blocks_of_expansion_1_and_of_more_are_among_the_cases() -> None:
    space: Any = SPACES["mobilenet_edgetpu_v2"]()
    points = [space.largest(), space.smallest(), *_samples(space, 4)]
    assert {one.values["stage1/block0/expansion"] for one in points} >= {1, 4}


def test_answers_do_not_depend_on_how_samples_are_batched(small: Case) -> None:
    point = _samples(small.space, 1, seed=3)[0]
    statistics, inputs = small.statistics(point), small.read(point, 7)
    parts = [{name: array[at : at + 3] for name, array in inputs.items()} for at in (0, 3, 6)]
    (whole,), (parted,) = (
        small.net.predict(point, batches, statistics) for batches in ([inputs], parts)
    )
    np.testing.assert_allclose(parted, whole, rtol=1e-4, atol=1e-4)


def test_graphs_are_remembered_and_end_where_asked(small: Case) -> None:
    point = _samples(small.space, 1, seed=4)[0]
    graph = small.net.graph(point)
    assert small.net.graph(point) is graph
    assert graph.output.name == "logits"
    assert small.net.graph(point, ("probabilities",)).ops[:-1] == graph.ops


@pytest.mark.parametrize("name", ["classification", "segmentation", "detection"])
def test_gradients_reach_what_an_architecture_uses_and_nothing_else(
    name: str, tensorflow: Any
) -> None:
    case = _trained(name)
    points = _samples(case.space, 2)
    if name == "classification":
        stem = {"stem/channels": 16, "stage1/channels": 16}
        points = [
            prune(
                case.space, {**stem, "*/op": op, "stage1/block1/op": more, "stage2/*/op": IBN_DW}
            )
            for op, more in zip((*BLOCK_OPS[1:], IBN_DW), (*BLOCK_OPS[1:], SKIP), strict=True)
        ]
    rng = np.random.default_rng(0)
    for point in points:
        graph = case.net.graph(point)
        with tensorflow.GradientTape() as tape:
            outputs, _ = case.net.run(graph, case.read(point, 6))
            loss = sum(
                tensorflow.reduce_sum(one * rng.normal(size=one.shape).astype(np.float32))
                for one in outputs
            )
        found = tape.gradient(loss, case.net.parameters)
        found = {
            n: tensorflow.convert_to_tensor(g).numpy() for n, g in found.items() if g is not None
        }
        assert {n for n, gradient in found.items() if gradient.any()} == case.net.used_by(point)


@pytest.mark.parametrize("name", SMALL)
def test_gradients_of_slices_are_put_back_where_they_were_cut(name: str, tensorflow: Any) -> None:
    case = _trained(name)
    (point,) = _samples(case.space, 1)
    graph = case.net.graph(point)
    with tensorflow.GradientTape(persistent=True) as tape:
        weights = case.net.weights(graph)
        outputs, _ = case.net.run(graph, case.read(point, 4), weights=weights)
        loss = sum(tensorflow.reduce_sum(one * one) for one in outputs)
    put_back = case.net.whole(tape.gradient(loss, weights))
    through = tape.gradient(loss, {name: case.net.parameters[name] for name in weights})
    assert any(case.net.parameters[n].shape != one.shape for n, one in weights.items())
    for each, expected in through.items():
        expected = tensorflow.convert_to_tensor(expected).numpy()
        np.testing.assert_array_equal(put_back[each].numpy(), expected)


def test_gradients_stay_inside_the_slice_of_an_architecture(small: Case, tensorflow: Any) -> None:
    point = prune(
        small.space,
        {"*/op": IBN_DW, "*/kernel": 3, "*/expansion": 2, "stem/channels": 16},
    )
    kernel = small.net.parameters["stage1/block0/depthwise:ibn_dw/kernel"]
    with tensorflow.GradientTape() as tape:
        (logits,), _ = small.net.run(small.net.graph(point), small.read(point, 4))
        loss = tensorflow.reduce_sum(logits[:, 0])
    gradient = tape.gradient(loss, kernel)
    gradient = tensorflow.convert_to_tensor(gradient).numpy()[..., 0]
    # derived: the middle 3 x 3 of 5 x 5, and 16 * 2 of 16 * 4 channels
    inside = np.zeros_like(gradient, bool)
    inside[1:4, 1:4, :32] = True
    assert gradient.shape == (5, 5, 64)
    assert np.all(gradient[~inside] == 0)
    assert np.all(gradient[inside] != 0)


def test_weights_are_the_middle_of_windows_and_the_first_channels(small: Case) -> None:
    decisions: dict[str, int | str] = {
        "*/op": IBN_FUSED_GROUPED,
        "*/channels_per_group": 16,
        "*/expansion": 2,
        "stem/channels": 16,
        "stage1/channels": 16,
        "stage1/block1/op": IBN_DW,
        "stage1/block1/kernel": 3,
    }
    point = prune(small.space, decisions)
    found = small.net.extract(point, small.statistics(point))
    whole = small.net.state()["stage1/block1/depthwise:ibn_dw/kernel"]
    part = found["stage1.block1.depthwise:depthwise_kernel"]
    # derived: 3 x 3 in the middle of 5 x 5; 16 * 2 channels
    assert (whole.shape[:2], part.shape) == ((5, 5), (3, 3, 32, 1))
    np.testing.assert_array_equal(part, whole[1:4, 1:4, :32])
    name = "stage1/block1/project:ibn_dw"
    for mine, shared in (("bn:gamma", "gamma"), ("bn:beta", "beta")):
        values = small.net.state()[f"{name}/{shared}"]
        np.testing.assert_array_equal(found[f"stage1.block1.project.{mine}"], values[:16])


def test_statistics_of_another_architecture_give_other_answers(small: Case) -> None:
    one, other = _samples(small.space, 2, seed=7)
    inputs = [small.read(one, 32, seed=2)]
    right, again = (small.statistics(one, count=128, seed=seed) for seed in (0, 9))
    foreign = small.statistics(other, count=128)
    fitting = {name for name in right if name in foreign and _sizes(right, foreign, name)}
    assert fitting
    mixed = {name: (foreign if name in fitting else right)[name] for name in right}
    never = {name: (np.zeros_like(mean), np.ones_like(mean)) for name, (mean, _) in right.items()}
    answers = [small.net.predict(one, inputs, found)[0] for found in (right, again, mixed, never)]
    noise = np.abs(answers[1] - answers[0]).mean()  # what other calibration images change
    assert np.abs(answers[2] - answers[0]).mean() > 3 * noise
    assert np.abs(answers[3] - answers[0]).mean() > 3 * noise


def _sizes(one: Any, other: Any, name: str) -> bool:
    return len(one[name][0]) == len(other[name][0])


def test_statistics_are_averaged_over_batches(small: Case) -> None:
    point = small.space.smallest()
    inputs = small.read(point, 8)
    batches = [{name: array[at : at + 4] for name, array in inputs.items()} for at in (0, 4)]
    parts = [small.net.recalibrate(point, [batch]) for batch in batches]
    found = small.net.recalibrate(point, batches)
    assert set(found) == set(parts[0])
    for name, values in found.items():
        # derived: the mean of two
        for which, value in enumerate(values):
            expected = (parts[0][name][which] + parts[1][name][which]) / 2
            np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


def test_networks_without_batch_statistics_need_none() -> None:
    case = _trained("text_classification")
    assert case.net.recalibrate(case.space.smallest(), []) == {}


def _deeper(name: str, space: Any) -> tuple[Architecture, Architecture]:
    """The smallest architecture, and one that differs from it in that nothing is skipped."""
    shallow = space.smallest()
    if name == "text_classification":
        return shallow, prune(space, {**shallow.values, "blocks": 4})
    kept = {n: value for n, value in shallow.decisions if value != SKIP}
    firsts = {n: value for n, value in kept.items() if n.endswith("/op")}
    rest = {n: value for n, value in kept.items() if not n.endswith("/op")}
    return shallow, prune(space, {"*/op": IBN_DW, **firsts, **rest})


@pytest.mark.parametrize("name", ["mobilenet_v2_small", "segmentation", "text_classification"])
def test_new_blocks_that_may_be_skipped_are_the_identity(name: str) -> None:
    case = _case(name)
    shallow, deep = _deeper(name, case.space)
    assert len(case.net.graph(deep).ops) > len(case.net.graph(shallow).ops)
    answers = [
        case.net.predict(one, [case.read(one, 4)], case.statistics(one))[0]
        for one in (shallow, deep)
    ]
    assert np.ptp(answers[0]) > 1e-3
    np.testing.assert_allclose(answers[0], answers[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["mobilenet_v2_small", "question_answering"])
def test_weights_depend_on_the_seed_alone_and_can_be_restored(name: str) -> None:
    one, same, other = (_case(name, seed).net for seed in (1, 1, 2))
    for parameter, value in one.state().items():
        np.testing.assert_array_equal(value, same.state()[parameter])
    kernels = [p for p, v in one.state().items() if p.endswith("kernel") and v.any()]
    assert kernels
    assert not any(np.array_equal(one.state()[n], other.state()[n]) for n in kernels)
    other.restore(one.state())
    assert all(np.array_equal(value, other.state()[n]) for n, value in one.state().items())


def test_first_bias_is_given_by_the_problem() -> None:
    net = _case("detection").net
    scores = [v.numpy() for n, v in net.parameters.items() if "/class_logits/predict/bias" in n]
    boxes = [v.numpy() for n, v in net.parameters.items() if "/boxes/predict/bias" in n]
    # derived: a sigmoid of -ln 99 is 0.01
    assert scores and all(np.allclose(one, -np.log(99)) for one in scores)
    assert boxes and not any(one.any() for one in boxes)


def test_shared_shapes_are_the_largest_in_each_dimension() -> None:
    from spaces.trainable.supernet import shared_shapes

    case = _case("mobilenet_v2_small")
    graphs: list[OpGraph] = [case.net.graph(one) for one in case.space.extremes()]
    found = shared_shapes(graphs)
    assert {n: tuple(v.shape) for n, v in case.net.parameters.items()} == found
    assert found["stem/kernel"][-1] == max(case.space.stem_widths)
