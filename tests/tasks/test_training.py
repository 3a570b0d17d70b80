"""Trainings that depend on seed and step alone, end as if never interrupted, and stop early."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spaces.blocks import IBN_DW, IBN_FUSED_GROUPED, SKIP
from spaces.heads import classification
from spaces.ibn import BlockChoices, IbnSpace, Stage, largest, smallest
from tasks.progress import SilentProgress
from tasks.training import (
    Batches,
    Checkpoint,
    DivergenceGuard,
    Optimizer,
    Recipe,
    SandwichStep,
    TrainingDivergedError,
    smooth,
    train_model,
    train_supernet,
)

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


def _data(count: int = 20) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)
    return images, np.arange(count, dtype=np.int32) % CLASSES


def _batches(size: int = 8, flip: bool = True, crop: int = 1) -> Batches:
    return Batches(*_data(), size, seed=1, flip=flip, crop=crop)


# -- batches ------------------------------------------------------------------------------------


def test_batch_depends_on_its_step_and_not_on_those_before() -> None:
    used, fresh = _batches(), _batches()
    for step in (0, 1, 2, 3, 11, 4):
        used.at(step)
    for step in (7, 0, 3):
        for one, other in zip(used.at(step), fresh.at(step), strict=True):
            np.testing.assert_array_equal(one, other)


def test_batches_depend_on_the_seed() -> None:
    one = Batches(*_data(), 8, seed=1, flip=False, crop=0).at(0)[0]
    other = Batches(*_data(), 8, seed=2, flip=False, crop=0).at(0)[0]
    assert not np.array_equal(one, other)


def _numbered(count: int) -> tuple[Any, Any]:
    """Images whose pixels all hold their number, which is their label, too."""
    labels = np.arange(count, dtype=np.int32)
    images = np.broadcast_to(labels[:, None, None, None].astype(np.uint8), (count, 2, 2, 1))
    return images.copy(), labels


def test_epoch_shows_each_image_once_with_its_label_in_an_order_of_its_own() -> None:
    batches = Batches(*_numbered(12), 4, seed=0, flip=False, crop=0)
    assert batches.per_epoch == 3
    epochs = []
    for epoch in range(2):
        seen = []
        for step in range(3 * epoch, 3 * epoch + 3):
            images, labels = batches.at(step)
            # derived: pixel / 127.5 - 1
            np.testing.assert_allclose((images[:, 0, 0, 0] + 1) * 127.5, labels, atol=1e-4)
            seen += labels.tolist()
        assert sorted(seen) == list(range(12))
        epochs.append(seen)
    assert epochs[0] != epochs[1]


def test_batch_is_no_larger_than_the_data() -> None:
    images, labels = Batches(*_numbered(5), 64, seed=0, flip=False, crop=0).at(3)
    assert (images.shape, images.dtype) == ((5, 2, 2, 1), np.float32)
    assert sorted(labels.tolist()) == list(range(5))


HAND_MADE = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90]], np.uint8)


def _shown(flip: bool, crop: int) -> set[tuple[int, ...]]:
    """Every form in which 200 copies of the hand-made image come out, as pixels."""
    images = np.broadcast_to(HAND_MADE[None, :, :, None], (200, 3, 3, 1)).copy()
    batches = Batches(images, np.zeros(200, np.int32), 200, seed=0, flip=flip, crop=crop)
    shown = np.round((batches.at(0)[0] + 1) * 127.5).astype(int)
    return {tuple(image.ravel().tolist()) for image in shown}


def test_crop_shifts_by_up_to_its_pixels_and_zeros_move_in() -> None:
    # derived: nine shifts; written out are the one to the upper left and that straight down
    shown = _shown(flip=False, crop=1)
    assert len(shown) == 9
    assert (50, 60, 0, 80, 90, 0, 0, 0, 0) in shown
    assert (0, 0, 0, 10, 20, 30, 40, 50, 60) in shown
    assert tuple(HAND_MADE.ravel().tolist()) in shown


def test_flip_mirrors_left_and_right_only() -> None:
    # derived
    mirrored = (30, 20, 10, 60, 50, 40, 90, 80, 70)
    assert _shown(flip=True, crop=0) == {tuple(HAND_MADE.ravel().tolist()), mirrored}
    assert _shown(flip=False, crop=0) == {tuple(HAND_MADE.ravel().tolist())}


def test_each_step_augments_anew() -> None:
    images = np.broadcast_to(HAND_MADE[None, :, :, None], (50, 3, 3, 1)).copy()
    batches = Batches(images, np.zeros(50, np.int32), 50, seed=0, flip=True, crop=1)
    assert not np.array_equal(batches.at(0)[0], batches.at(1)[0])


def test_smoothing_spreads_its_mass_over_all_classes() -> None:
    # derived: 0.3 / 3 everywhere, and 0.7 more at the label
    targets = smooth(np.array([2, 0], np.int32), 3, 0.3)
    np.testing.assert_allclose(targets, [[0.1, 0.1, 0.8], [0.8, 0.1, 0.1]], rtol=1e-6)
    np.testing.assert_array_equal(smooth(np.array([1], np.int32), 2, 0.0), [[0, 1]])


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
    optimizer = Optimizer({"v": variable}, recipe, frozenset())
    optimizer.add([tensorflow.constant([3.0, 0.0])])
    optimizer.add([tensorflow.constant([0.0, 4.0])])
    optimizer.apply(0)
    # derived: the sum (3, 4) is clipped to (0.6, 0.8); the first step is rate * (1 + momentum)
    np.testing.assert_allclose(variable.numpy(), 1 - 0.5 * 1.9 * np.array([0.6, 0.8]), rtol=1e-5)
    before = variable.numpy()
    optimizer.apply(3)
    # derived: nothing new to add; the momentum 0.9 * 0.9 * (0.5 * clipped) goes on
    expected = before - 0.81 * 0.5 * np.array([0.6, 0.8])
    np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-5)


def test_weight_decay_shrinks_the_named_variables_only(tensorflow: Any) -> None:
    variables = {"a": tensorflow.Variable([2.0]), "b": tensorflow.Variable([2.0])}
    recipe = _recipe(learning_rate=0.5, warmup_steps=0, weight_decay=0.1, momentum=0.0)
    optimizer = Optimizer(variables, recipe, frozenset({"a"}))
    optimizer.apply(0)
    # derived: 2 - 0.5 * 0.1 * 2
    assert variables["a"].numpy()[0] == pytest.approx(1.9)
    assert variables["b"].numpy()[0] == 2.0


# -- sandwich -----------------------------------------------------------------------------------


@pytest.fixture
def sandwich(tensorflow: Any) -> tuple[Any, SandwichStep]:
    from spaces.supernet import Supernet

    net = Supernet(SPACE, CLASSES, seed=0)
    return net, SandwichStep(net, _recipe(weight_decay=0.5), dropout=0.4, random_subnets=2)


def test_only_the_largest_sees_labels_and_dropout(
    sandwich: tuple[Any, SandwichStep], monkeypatch: pytest.MonkeyPatch
) -> None:
    from spaces.supernet import encode

    _, step = sandwich
    traced, calls = step.accumulate, []

    def spy(*arguments: Any) -> Any:
        result = traced(*arguments)
        encoded, _, targets, rate, _ = [argument.numpy() for argument in arguments]
        calls.append((encoded, targets, float(rate), result[1].numpy()))
        return result

    monkeypatch.setattr(step, "accumulate", spy)
    images, labels = _batches().at(0)
    for number in range(2):
        calls.clear()
        step(number, images, labels)
        assert len(calls) == 4
        np.testing.assert_array_equal(calls[0][0], encode(SPACE, largest(SPACE)))
        np.testing.assert_array_equal(calls[1][0], encode(SPACE, smallest(SPACE)))
        assert [rate for _, _, rate, _ in calls] == pytest.approx([0.4, 0, 0, 0])
        np.testing.assert_allclose(calls[0][1], smooth(labels, CLASSES, 0.1))
        for _, targets, _, _ in calls[1:]:
            np.testing.assert_array_equal(targets, calls[0][3])  # what the largest said
    assert traced.experimental_get_tracing_count() == 1


def test_random_architectures_of_a_step_depend_on_seed_and_step(
    sandwich: tuple[Any, SandwichStep], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, step = sandwich
    seen: list[Any] = []

    def spy(encoded: Any, images: Any, targets: Any, rate: Any, seed: Any) -> Any:
        seen.append(encoded.numpy().tolist())
        return 0.0, targets

    monkeypatch.setattr(step, "accumulate", spy)
    for number in (0, 1, 2, 3, 0):
        step(number, *_batches().at(0))
    drawn = [seen[at + 2 : at + 4] for at in range(0, len(seen), 4)]
    assert drawn[0] == drawn[4]
    assert len({str(one) for one in drawn[:4]}) == 4


def test_largest_seed_that_can_be_given_works(
    sandwich: tuple[Any, SandwichStep], monkeypatch: pytest.MonkeyPatch
) -> None:
    net, _ = sandwich
    step = SandwichStep(net, _recipe(seed=2**32 - 1), dropout=0.4, random_subnets=0)
    seeds: list[Any] = []

    def spy(encoded: Any, images: Any, targets: Any, rate: Any, seed: Any) -> Any:
        seeds.append((seed.dtype.name, seed.numpy().tolist()))
        return 0.0, targets

    monkeypatch.setattr(step, "accumulate", spy)
    step(5, *_batches().at(0))
    # derived: 2**32 - 1 has the bits of -1
    assert seeds == [("int32", [-1, 5])] * 2


def test_only_kernels_of_the_largest_decay(sandwich: tuple[Any, SandwichStep]) -> None:
    net, step = sandwich
    before = net.state()
    step.optimizer.apply(0)  # no gradient was added: what moves is decay
    moved = {
        name for name, value in net.state().items() if not np.array_equal(value, before[name])
    }
    assert moved == {name for name in net.used_by(largest(SPACE)) if name.endswith("kernel")}
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


def _supernet_run(path: Path, progress: Any, seed: int = 0) -> tuple[dict[str, Any], Any]:
    from spaces.supernet import Supernet

    net = Supernet(SPACE, CLASSES, seed)
    checkpoint = Checkpoint(path, every=3)
    losses = train_supernet(net, _batches(), _recipe(), 0.2, 1, checkpoint, progress)
    return net.state(), losses


@pytest.mark.usefixtures("tensorflow")
def test_interrupted_supernet_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.npz", tmp_path / "cut.npz"
    straight, losses = _supernet_run(whole, _Snapshot(5, whole, cut))
    assert Checkpoint(cut, every=3).load()[0] == 3
    # Other initial weights: all that counts comes from the checkpoint.
    resumed, losses_again = _supernet_run(cut, SilentProgress(), seed=9)
    _assert_same(straight, resumed)
    np.testing.assert_array_equal(losses, losses_again)


def _float_model(seed: int) -> Any:
    from spaces.keras_model import build_model, get_weights, set_weights

    model = build_model(classification(SPACE.lower(smallest(SPACE)), CLASSES), output="logits")
    rng = np.random.default_rng(seed)
    weights = get_weights(model)
    for name, value in weights.items():
        if name.endswith("kernel"):
            weights[name] = rng.normal(0, 0.2, value.shape).astype(np.float32)
    set_weights(model, weights)
    return model


def _quantized_model(seed: int) -> Any:
    from tasks.quantization import quantize_aware

    return quantize_aware(_float_model(seed))


def _model_run(
    model: Any, path: Path, progress: Any, recipe: Recipe | None = None
) -> tuple[dict[str, Any], Any]:
    checkpoint = Checkpoint(path, every=3)
    losses = train_model(model, _batches(), recipe or _recipe(), CLASSES, checkpoint, progress)
    values = {v.name: v.numpy() for v in model.variables}
    assert len(values) == len(model.variables)
    return values, losses


@pytest.mark.usefixtures("tensorflow")
@pytest.mark.parametrize("build", [_float_model, _quantized_model], ids=["float", "qat"])
def test_interrupted_model_ends_as_an_undisturbed_one(
    build: Callable[[int], Any], tmp_path: Path
) -> None:
    initial = {v.name: v.numpy() for v in build(0).trainable_variables}
    whole, cut = tmp_path / "whole.npz", tmp_path / "cut.npz"
    straight, losses = _model_run(build(0), whole, _Snapshot(5, whole, cut))
    assert Checkpoint(cut, every=3).load()[0] == 3
    resumed, losses_again = _model_run(build(9), cut, SilentProgress())
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
    from spaces.supernet import Supernet

    recipe = _recipe(steps=300, learning_rate=1e6, warmup_steps=0)
    checkpoint = Checkpoint(tmp_path / "state.npz", every=1000)
    net = Supernet(SPACE, CLASSES, seed=0)
    with pytest.raises(TrainingDivergedError, match=MESSAGE) as caught:
        train_supernet(net, _batches(), recipe, 0.0, 0, checkpoint, SilentProgress())
    assert int(str(caught.value).split("up to step ")[1].split(".")[0]) <= 200


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_loss_that_is_no_number_ends_the_training_at_once(loss: float) -> None:
    guard = DivergenceGuard(CLASSES, 1e6)
    guard.check(0, 0.5)
    with pytest.raises(TrainingDivergedError, match=MESSAGE):
        guard.check(1, loss)


def _guard_after(steps: int) -> DivergenceGuard:
    guard = DivergenceGuard(CLASSES, 1e6)
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
    resumed = DivergenceGuard(CLASSES, 1e6)
    resumed.restore(_guard_after(199).recent)
    resumed.check(199, -90.0)
    with pytest.raises(TrainingDivergedError, match=r"2\.00 over 100 steps up to step 300"):
        for step in range(200, 300):
            resumed.check(step, 2.0)
