"""Trainings that depend on seed and step alone, end as if never interrupted, and stop early."""

from __future__ import annotations

import dataclasses
import functools
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spaces.families.blocks import IBN_DW, IBN_FUSED_GROUPED, SKIP
from spaces.families.ibn.choices import BlockChoices, Stage
from spaces.families.ibn.space import IbnSpace
from spaces.graph import INPUT, Op, OpKind
from spaces.space import Architecture
from spaces.trainable.reach import Reach
from tasks.learning.optimizer import Accumulator, Optimizer, Recipe
from tasks.learning.sandwich import SandwichStep, train_supernet
from tasks.learning.training import (
    Batches,
    Checkpoint,
    DivergenceGuard,
    TrainingDivergedError,
    train_model,
)
from tasks.run.params import AugmentParams
from tasks.run.progress import SilentProgress
from tests.samples import SMALL, opened, samples

CLASSES, SIDE = 3, 8
OPS = (IBN_DW, IBN_FUSED_GROUPED)
SPACE = IbnSpace(
    name="tiny",
    input_shape=(1, SIDE, SIDE, 3),
    stem_widths=(8,),
    stem_kernels=(3,),
    stem_strides=1,
    stages=(
        Stage(
            (8, 16),
            (
                BlockChoices(OPS, expansions=(2,), channels_per_group=(8,), strides=2),
                BlockChoices((SKIP, *OPS), expansions=(2,), channels_per_group=(8,)),
            ),
        ),
    ),
    top_widths=(16,),
)


def _recipe(**changes: Any) -> Recipe:
    values: dict[str, Any] = {
        "steps": 6,
        "learning_rate": 0.1,
        "warmup_steps": 2,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "clip_norm": 5.0,
        "label_smoothing": 0.1,
        "seed": 3,
    }
    return Recipe(**(values | changes))


def _data(count: int = 20) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)
    return {"images": images, "labels": np.arange(count, dtype=np.int32) % CLASSES}


PROBLEM = opened("classification", (1, SIDE, SIDE, 3), _data())


def _batches(size: int = 8, seed: int = 1, flip: bool = True, crop: int = 1) -> Batches:
    return Batches(PROBLEM, _data(), size, seed, AugmentParams(flip=flip, crop=crop))


def _plain(arrays: dict[str, Any], size: int, seed: int = 0) -> Batches:
    return Batches(PROBLEM, arrays, size, seed, AugmentParams(crop=0))


# -- batches ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
def test_batch_depends_on_its_step_and_not_on_those_before(name: str) -> None:
    changes = AugmentParams(flip=True, crop=1, scale=0.2, colour=0.1, drop_tokens=0.2)
    used, fresh = (Batches(opened(name), samples(name, 20), 8, 1, changes) for _ in range(2))
    for step in (0, 1, 2, 3, 11, 4):
        used.at(step)
    for step in (7, 0, 3):
        one, other = used.at(step), fresh.at(step)
        assert set(one) == set(other) == set(samples(name, 1))
        for part, array in one.items():
            assert len(array) == 8
            np.testing.assert_array_equal(array, other[part])


def test_batches_depend_on_the_seed() -> None:
    one, other = (_batches(seed=seed, flip=False, crop=0).at(0)["images"] for seed in (1, 2))
    assert not np.array_equal(one, other)


def _numbered(count: int) -> dict[str, Any]:
    """Images whose pixels all hold their number, which is their label, too."""
    labels = np.arange(count, dtype=np.int32)
    images = np.broadcast_to(labels[:, None, None, None].astype(np.uint8), (count, 2, 2, 1))
    return {"images": images.copy(), "labels": labels}


def test_epoch_shows_each_image_once_with_its_label_in_an_order_of_its_own() -> None:
    batches = _plain(_numbered(12), 4)
    assert batches.per_epoch == 3
    epochs = []
    for epoch in range(2):
        seen = []
        for step in range(3 * epoch, 3 * epoch + 3):
            batch = batches.at(step)
            np.testing.assert_array_equal(batch["images"][:, 0, 0, 0], batch["labels"])
            seen += batch["labels"].tolist()
        assert sorted(seen) == list(range(12))
        epochs.append(seen)
    assert epochs[0] != epochs[1]


def test_batch_is_no_larger_than_the_data() -> None:
    batch = _plain(_numbered(5), 64).at(3)
    assert (batch["images"].shape, batch["images"].dtype) == ((5, 2, 2, 1), np.uint8)
    assert sorted(batch["labels"].tolist()) == list(range(5))


def test_each_step_augments_anew() -> None:
    one, other = (_batches(size=20).at(step) for step in (0, 1))
    order, again = (np.argsort(batch["labels"], kind="stable") for batch in (one, other))
    assert not np.array_equal(one["images"][order], other["images"][again])


# -- recipe and optimizer -----------------------------------------------------------------------


def test_rate_rises_linearly_then_falls_as_half_a_cosine() -> None:
    recipe = _recipe(steps=10, learning_rate=2.0, warmup_steps=2)
    # derived: 2 * (step + 1) / 2, then 2 * (1 + cos(pi * (step - 2) / 8)) / 2
    expected = {0: 1.0, 1: 2.0, 2: 2.0, 4: 1 + math.sqrt(0.5), 6: 1.0, 8: 1 - math.sqrt(0.5)}
    assert {step: recipe.rate(step) for step in expected} == pytest.approx(expected)
    assert recipe.rate(10) == pytest.approx(0.0)
    assert _recipe(learning_rate=2.0, warmup_steps=0).rate(0) == 2.0


def test_optimizer_steps_by_nesterov_on_the_clipped_sum_of_gradients(tensorflow: Any) -> None:
    variable = tensorflow.Variable([1.0, 1.0])
    recipe = _recipe(steps=4, learning_rate=0.5, warmup_steps=0, clip_norm=1.0)
    named = {"v": variable}
    gradients = Accumulator(named, Optimizer(named, recipe, frozenset()))
    gradients.add({"v": tensorflow.constant([3.0, 0.0])})
    gradients.add({"v": tensorflow.constant([0.0, 4.0])})
    gradients.apply(0)
    # derived: the sum (3, 4) is clipped to (0.6, 0.8); the first step is rate * (1 + momentum)
    np.testing.assert_allclose(variable.numpy(), 1 - 0.5 * 1.9 * np.array([0.6, 0.8]), rtol=1e-5)
    before = variable.numpy()
    gradients.apply(3)
    # derived: nothing new to add; the momentum 0.9 * 0.9 * (0.5 * clipped) goes on
    expected = before - 0.81 * 0.5 * np.array([0.6, 0.8])
    np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_updates_are_those_of_keras(optimizer: str, tensorflow: Any) -> None:
    import tf_keras as keras

    ours, theirs = tensorflow.Variable([1.0, 2.0, 3.0]), tensorflow.Variable([1.0, 2.0, 3.0])
    recipe = _recipe(steps=20, learning_rate=0.01, clip_norm=5.0, optimizer=optimizer)
    one = Optimizer({"v": ours}, recipe, frozenset())
    other = (
        keras.optimizers.Adam(0.01, global_clipnorm=5.0)
        if optimizer == "adam"
        else keras.optimizers.SGD(0.01, recipe.momentum, nesterov=True, global_clipnorm=5.0)
    )
    for step, gradient in enumerate(np.random.default_rng(0).normal(0, 3, (20, 3))):
        given = tensorflow.constant(gradient, tensorflow.float32)
        one.begin(step)
        one.update({"v": given})
        other.learning_rate.assign(recipe.rate(step))
        other.apply_gradients([(given, theirs)])
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5)
    assert not np.allclose(ours.numpy(), [1.0, 2.0, 3.0], atol=1e-3)


def test_weight_decay_shrinks_the_named_variables_only(tensorflow: Any) -> None:
    variables = {"a": tensorflow.Variable([2.0]), "b": tensorflow.Variable([2.0])}
    recipe = _recipe(learning_rate=0.5, warmup_steps=0, weight_decay=0.1, momentum=0.0)
    optimizer = Optimizer(variables, recipe, frozenset({"a"}))
    optimizer.begin(0)
    optimizer.update({"a": None, "b": None})
    # derived: 2 - 0.5 * 0.1 * 2
    assert variables["a"].numpy()[0] == pytest.approx(1.9)
    assert variables["b"].numpy()[0] == 2.0


# -- sandwich -----------------------------------------------------------------------------------


def _supernet(seed: int = 0) -> Any:
    from spaces.trainable.supernet import Supernet

    return Supernet(SPACE, PROBLEM.complete, PROBLEM.trained, seed, PROBLEM.first_bias)


@pytest.fixture
def sandwich(tensorflow: Any) -> tuple[Any, SandwichStep]:
    net = _supernet()
    recipe = _recipe(weight_decay=0.5)
    return net, SandwichStep(net, PROBLEM, recipe, dropout=0.4, random_subnets=2)


def test_only_the_largest_sees_labels_and_dropout(tensorflow: Any) -> None:
    net, calls = _supernet(), list[tuple[str, Any]]()

    @dataclasses.dataclass(frozen=True)
    class Spied:
        """Writes down which loss is asked for, and what the teacher said."""

        trained = PROBLEM.trained
        inputs, targets = PROBLEM.inputs, PROBLEM.targets

        def loss(self, targets: Any, outputs: Any, smoothing: float) -> Any:
            calls.append(("loss", smoothing))
            return PROBLEM.loss(targets, outputs, smoothing)

        def distill(self, targets: Any, teacher: Any, outputs: Any) -> Any:
            calls.append(("distill", teacher))
            return PROBLEM.distill(targets, teacher, outputs)

    problem: Any = Spied()
    dropped: list[int] = []
    run = net.run

    def spy(graph: Any, inputs: Any, drop: Any = None, **named: Any) -> Any:
        dropped.append(len(graph.ops) if drop is not None else 0)
        return run(graph, inputs, drop=drop, **named)

    net.run = spy
    tensorflow.config.run_functions_eagerly(True)
    try:
        SandwichStep(net, problem, _recipe(), 0.4, 2)(0, _batches().at(0))
    finally:
        tensorflow.config.run_functions_eagerly(False)
    assert [name for name, _ in calls] == ["loss", "distill", "distill", "distill"]
    assert calls[0][1] == 0.1
    for _, teacher in calls[2:]:
        np.testing.assert_array_equal(teacher[0], calls[1][1][0])  # what the largest said
    assert dropped == [len(net.graph(SPACE.largest()).ops), 0, 0, 0]


def test_largest_and_smallest_are_traced_once(sandwich: tuple[Any, SandwichStep]) -> None:
    _, step = sandwich
    for number in range(3):
        losses = step(number, _batches().at(number))
        assert all(np.isfinite(losses))
    for traced in (step._teach, step._least):
        assert traced.experimental_get_tracing_count() == 1


def test_dropout_depends_on_seed_step_and_place(tensorflow: Any) -> None:
    from tasks.learning.sandwich import _drop

    shape = (1, 64)
    ops = [Op(name, OpKind.FULLY_CONNECTED, (INPUT,), shape, shape) for name in "ab"]
    x = tensorflow.ones((4, 64))
    seeds = [tensorflow.constant([3, step], tensorflow.int32) for step in (0, 1)]
    drawn = [_drop(0.4, seed, op, x).numpy() for seed in seeds for op in ops]
    # derived: what is left is scaled by 1 / 0.6
    assert {round(float(value), 4) for one in drawn for value in one.ravel()} == {0.0, 1.6667}
    assert len({one.tobytes() for one in drawn}) == 4
    np.testing.assert_array_equal(drawn[0], _drop(0.4, seeds[0], ops[0], x).numpy())
    assert _drop(0.0, seeds[0], ops[0], x) is x


def _drawn(step: SandwichStep, numbers: Sequence[int]) -> list[Any]:
    """The random architectures of some steps, which are then not run."""
    seen: list[Any] = []

    def spy(architecture: Any, inputs: Any, targets: Any, teacher: Any, seed: Any) -> Any:
        seen.append((architecture, seed))
        return 0.0, teacher or (0,)

    step.accumulate = spy  # type: ignore[method-assign]
    step._teach = functools.partial(spy, "largest")
    step._least = functools.partial(spy, "smallest")
    for number in numbers:
        step(number, _batches().at(0))
    return seen


def test_random_architectures_of_a_step_depend_on_seed_and_step(
    sandwich: tuple[Any, SandwichStep],
) -> None:
    seen = [one for one, _ in _drawn(sandwich[1], (0, 1, 2, 3, 0))]
    steps = [seen[at : at + 4] for at in range(0, len(seen), 4)]
    assert all(one[:2] == ["largest", "smallest"] for one in steps)
    drawn = [one[2:] for one in steps]
    assert drawn[0] == drawn[4]
    assert len({str(one) for one in drawn[:4]}) == 4


def test_networks_beyond_reach_are_neither_teachers_nor_drawn(
    sandwich: tuple[Any, SandwichStep],
) -> None:
    net = sandwich[0]

    def costs(point: Architecture) -> Mapping[str, float]:
        return {"macs": net.graph(point).macs}

    limit = 0.5 * costs(SPACE.largest())["macs"]
    reach = Reach(SPACE, costs, {"macs": limit})
    step = SandwichStep(net, PROBLEM, _recipe(), 0.4, random_subnets=2, reach=reach)
    assert step._ends == (reach.largest(), SPACE.smallest())
    assert reach.allows(step._ends[0])
    drawn = [one for one, _ in _drawn(step, range(10)) if isinstance(one, Architecture)]
    assert len(drawn) == 20
    assert all(costs(one)["macs"] <= limit for one in drawn)
    freely = [one for one, _ in _drawn(sandwich[1], range(10)) if isinstance(one, Architecture)]
    assert not all(costs(one)["macs"] <= limit for one in freely)


def test_largest_seed_that_can_be_given_works(sandwich: tuple[Any, SandwichStep]) -> None:
    step = SandwichStep(sandwich[0], PROBLEM, _recipe(seed=2**32 - 1), 0.4, random_subnets=0)
    seeds = [(seed.dtype.name, seed.numpy().tolist()) for _, seed in _drawn(step, (5,))]
    # derived: 2**32 - 1 has the bits of -1
    assert seeds == [("int32", [-1, 5])] * 2


def test_only_kernels_of_the_largest_decay(sandwich: tuple[Any, SandwichStep]) -> None:
    net, step = sandwich
    rng = np.random.default_rng(0)
    for variable in net.parameters.values():  # nothing that is zero by chance
        variable.assign(rng.normal(0.0, 0.3, variable.shape).astype(np.float32))
    before = net.state()
    step.gradients.apply(0)  # no gradient was added: what moves is decay
    moved = {
        name for name, value in net.state().items() if not np.array_equal(value, before[name])
    }
    assert moved == {name for name in net.used_by(SPACE.largest()) if name.endswith("kernel")}
    assert 0 < len(moved) < sum(name.endswith("kernel") for name in net.parameters)
    for name in moved:
        assert np.linalg.norm(net.state()[name]) < np.linalg.norm(before[name])


# -- interruption -------------------------------------------------------------------------------


class _Snapshot:
    """A progress that keeps what a process killed at a step would leave behind."""

    def __init__(self, step: int, state: Path, copy: Path) -> None:
        self.step, self.state, self.copy = step, state, copy

    def start(self, name: str, total: int) -> None:
        pass

    def advance(self, done: int, note: str = "") -> None:
        if done == self.step:
            shutil.copy(self.state, self.copy)

    def finish(self) -> None:
        pass


def _assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert set(one) == set(other)
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


def _supernet_run(
    path: Path, progress: Any, optimizer: Any, seed: int = 0
) -> tuple[dict[str, Any], Any]:
    net, recipe = _supernet(seed), _recipe(optimizer=optimizer)
    checkpoint = Checkpoint(path, every=3)
    losses = train_supernet(net, PROBLEM, _batches(), recipe, 0.2, 1, checkpoint, progress)
    return net.state(), losses


@pytest.mark.usefixtures("tensorflow")
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_interrupted_supernet_ends_as_an_undisturbed_one(optimizer: str, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.npz", tmp_path / "cut.npz"
    straight, losses = _supernet_run(whole, _Snapshot(5, whole, cut), optimizer)
    assert Checkpoint(cut, every=3).load()[0] == 3
    # Other initial weights: all that counts comes from the checkpoint.
    resumed, losses_again = _supernet_run(cut, SilentProgress(), optimizer, seed=9)
    _assert_same(straight, resumed)
    np.testing.assert_array_equal(losses, losses_again)


GRAPH = PROBLEM.complete(SPACE.lower(SPACE.smallest()))


def _float_model(seed: int) -> Any:
    from spaces.trainable.keras_model import build_model, get_weights, set_weights

    model = build_model(GRAPH, outputs=PROBLEM.trained)
    rng = np.random.default_rng(seed)
    weights = get_weights(model)
    for name, value in weights.items():
        if name.endswith("kernel"):
            weights[name] = rng.normal(0, 0.2, value.shape).astype(np.float32)
    set_weights(model, weights)
    return model


def _quantized_model(seed: int) -> Any:
    from tasks.learning.quantization import Network, quantize_aware

    network = Network(_float_model(seed), GRAPH, PROBLEM.trained, PROBLEM.deployed)
    return quantize_aware(network, PROBLEM.inputs(_data(), GRAPH)).model


def _model_run(
    model: Any, path: Path, progress: Any, recipe: Recipe | None = None
) -> tuple[dict[str, Any], Any]:
    checkpoint = Checkpoint(path, every=3)
    recipe = recipe or _recipe()
    losses = train_model(model, GRAPH, PROBLEM, _batches(), recipe, checkpoint, progress)
    values = {v.name: v.numpy() for v in model.variables}
    assert len(values) == len(model.variables)
    return values, losses


@pytest.mark.usefixtures("tensorflow")
@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 0.1), ("muon", 1e-3)])
@pytest.mark.parametrize("build", [_float_model, _quantized_model], ids=["float", "qat"])
def test_interrupted_model_ends_as_an_undisturbed_one(
    build: Callable[[int], Any], optimizer: str, rate: float, tmp_path: Path
) -> None:
    recipe = _recipe(optimizer=optimizer, learning_rate=rate)
    initial = {v.name: v.numpy() for v in build(0).trainable_variables}
    whole, cut = tmp_path / "whole.npz", tmp_path / "cut.npz"
    straight, losses = _model_run(build(0), whole, _Snapshot(5, whole, cut), recipe)
    assert Checkpoint(cut, every=3).load()[0] == 3
    resumed, losses_again = _model_run(build(9), cut, SilentProgress(), recipe)
    np.testing.assert_array_equal(losses, losses_again)
    assert len(straight) == len(resumed)
    for (name, one), other in zip(straight.items(), resumed.values(), strict=True):
        np.testing.assert_array_equal(one, other, err_msg=name)
    moved = [n for n, v in straight.items() if n in initial and not np.array_equal(v, initial[n])]
    assert len(moved) == len(initial)


def test_checkpoint_keeps_whole_states_and_can_be_removed(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "state.npz", every=2)
    assert checkpoint.load() == (0, {})
    checkpoint.save(1, lambda: {"x": np.ones(1)})
    assert checkpoint.load() == (0, {})  # not yet time
    checkpoint.save(2, lambda: {"x": np.full(1, 7.0)})
    done, state = checkpoint.load()
    assert (done, state["x"].tolist(), list(state)) == (2, [7.0], ["x"])
    checkpoint.remove()
    checkpoint.remove()
    assert checkpoint.load() == (0, {})


# -- divergence ---------------------------------------------------------------------------------

MESSAGE = (
    r"the training loss must fall below that of guessing \(1\.10\), but got .* "
    r"Lower learning_rate \(now 1e\+06\) or lengthen warmup_steps"
)


@pytest.mark.usefixtures("tensorflow")
def test_too_high_a_learning_rate_ends_the_training_of_a_model(tmp_path: Path) -> None:
    recipe = _recipe(steps=300, learning_rate=1e6, warmup_steps=0)
    with pytest.raises(TrainingDivergedError, match=MESSAGE) as caught:
        _model_run(_float_model(0), tmp_path / "state.npz", SilentProgress(), recipe)
    assert int(str(caught.value).split("up to step ")[1].split(".")[0]) <= 200


@pytest.mark.usefixtures("tensorflow")
def test_too_high_a_learning_rate_ends_the_training_of_a_supernet(tmp_path: Path) -> None:
    recipe = _recipe(steps=300, learning_rate=1e6, warmup_steps=0)
    checkpoint = Checkpoint(tmp_path / "state.npz", every=1000)
    with pytest.raises(TrainingDivergedError, match=MESSAGE) as caught:
        train_supernet(
            _supernet(), PROBLEM, _batches(), recipe, 0.0, 0, checkpoint, SilentProgress()
        )
    assert int(str(caught.value).split("up to step ")[1].split(".")[0]) <= 200


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_loss_that_is_no_number_ends_the_training_at_once(loss: float) -> None:
    guard = DivergenceGuard(math.log(CLASSES), 1e6)
    guard.check(0, 0.5)
    with pytest.raises(TrainingDivergedError, match=MESSAGE):
        guard.check(1, loss)


def _guard_after(steps: int) -> DivergenceGuard:
    guard = DivergenceGuard(math.log(CLASSES), 1e6)
    for step in range(steps):
        guard.check(step, 2.0)
    return guard


def test_start_of_a_training_may_be_worse_than_guessing() -> None:
    with pytest.raises(TrainingDivergedError, match=r"2\.00 over 100 steps up to step 200"):
        _guard_after(199).check(199, 2.0)


def test_guard_judges_the_mean_of_a_hundred_steps() -> None:
    # derived: of 100 losses, 99 at 2 and one at -90 have the mean 1.08, and at -88 the mean 1.10;
    # guessing among three has the loss ln 3 = 1.0986
    _guard_after(199).check(199, -90.0)
    with pytest.raises(TrainingDivergedError, match=r"got 1\.10 over"):
        _guard_after(199).check(199, -88.0)


def test_guard_goes_on_after_an_interruption() -> None:
    resumed = DivergenceGuard(math.log(CLASSES), 1e6)
    resumed.restore(_guard_after(199).recent)
    resumed.check(199, -90.0)
    with pytest.raises(TrainingDivergedError, match=r"2\.00 over 100 steps up to step 300"):
        for step in range(200, 300):
            resumed.check(step, 2.0)


def test_any_finite_loss_will_do_where_guessing_is_not_known() -> None:
    guard = DivergenceGuard(None, 1e6)
    for step in range(300):
        guard.check(step, 1e6)
    with pytest.raises(TrainingDivergedError, match=r"that of guessing \(inf\), but got"):
        guard.check(300, float("nan"))
