"""Batches made by a thread of their own: the same ones, one step ahead and no further."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.learning import training
from tasks.learning.ahead import ahead
from tasks.learning.optimizer import Recipe
from tasks.learning.training import Batches, Checkpoint, train_model
from tasks.run.params import AugmentParams
from tasks.run.progress import SilentProgress
from tests.samples import opened, samples, small_space


def test_all_come_in_order_by_another_thread() -> None:
    made = list(ahead(lambda step: (step, threading.get_ident()), range(3, 20)))
    assert [step for step, _ in made] == list(range(3, 20))
    assert {thread for _, thread in made}.isdisjoint({threading.get_ident()})
    assert len({thread for _, thread in made}) == 1
    assert list(ahead(lambda step: step, range(0))) == []


def test_the_next_is_made_while_one_is_used_and_no_more() -> None:
    begun = [threading.Event() for _ in range(6)]
    allowed = threading.Semaphore(0)

    def make(step: int) -> int:
        begun[step].set()
        assert allowed.acquire(timeout=20)
        return step

    allowed.release()
    with closing(ahead(make, range(6))) as coming:
        for step in range(4):
            assert next(coming) == step
            assert begun[step + 1].wait(20)  # though nobody asked for it
            assert not begun[step + 2].wait(0.02)
            allowed.release()
    assert not begun[5].is_set()


def test_an_error_is_raised_at_its_step() -> None:
    def make(step: int) -> int:
        if step == 2:
            raise KeyError("third")
        return step

    coming = ahead(make, range(5))
    assert [next(coming), next(coming)] == [0, 1]
    with pytest.raises(KeyError, match="third"):
        next(coming)


def test_leaving_ends_the_thread() -> None:
    before = threading.active_count()
    with pytest.raises(RuntimeError), closing(ahead(lambda step: step, range(5))) as coming:
        next(coming)
        raise RuntimeError("diverged")
    assert threading.active_count() == before


@pytest.mark.usefixtures("tensorflow")
@pytest.mark.parametrize("problem", ["classification", "detection"])
def test_trainings_are_those_of_batches_made_in_turn(
    problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where targets are worked out by the thread, as those of anchors are."""
    arrays = samples(problem, 20)
    one = opened(problem, train=arrays)
    space = small_space(problem)
    graph = one.complete(space.lower(space.smallest()))

    def trained(name: str) -> Any:
        import tf_keras as keras

        from spaces.trainable.keras_model import build_model, get_weights

        keras.backend.clear_session()
        keras.utils.set_random_seed(0)
        model = build_model(graph, outputs=one.trained)
        augment = AugmentParams(flip=True, crop=2, scale=0.1, colour=0.1)
        batches = Batches(one, arrays, 8, 0, augment)
        recipe = Recipe(
            steps=5,
            learning_rate=0.01,
            warmup_steps=1,
            momentum=0.9,
            weight_decay=1e-4,
            clip_norm=5.0,
            label_smoothing=0.1,
            seed=3,
        )
        checkpoint = Checkpoint(tmp_path / f"{name}.npz", every=10**9)
        losses = train_model(model, graph, one, batches, recipe, checkpoint, SilentProgress())
        return {**get_weights(model), "losses": losses}

    def in_turn(make: Callable[[int], Any], steps: Iterable[int]) -> Generator[Any]:
        yield from map(make, steps)

    found = trained("ahead")
    monkeypatch.setattr(training, "ahead", in_turn)
    expected = trained("in turn")
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
