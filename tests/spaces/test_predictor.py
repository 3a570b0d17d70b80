"""What the predictor-guided search learns from, and what it makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from spaces.menu import load_algorithm, load_space
from spaces.search_support.dominance import hypervolume, is_on_front
from spaces.search_support.features import Features
from spaces.search_support.improvement import added
from spaces.search_support.surrogate import Surrogate
from spaces.space import Architecture, FloatArray
from spaces.walk import architecture, sample

SPACE = load_space("mobilenet_edgetpu_v2_small")
CELLS = load_space("nas_bench_201")


def test_architectures_that_differ_have_other_features() -> None:
    rng = np.random.default_rng(0)
    points = list(dict.fromkeys(sample(SPACE, rng) for _ in range(200)))
    table = Features(SPACE)(points)
    assert len(np.unique(table, axis=0)) == len(points)
    assert table.min() == 0.0 and table.max() == 1.0


def test_features_are_kinds_and_places_of_sizes() -> None:
    features = Features(SPACE)
    smallest, largest = features([SPACE.smallest(), SPACE.largest()])  # type: ignore[attr-defined]
    # derived: stem widths 8 and 16 come first; the one stem kernel has no column
    assert (smallest[0], largest[0]) == (0.25, 1.0)
    cells = Features(CELLS)
    one = cells([sample(CELLS, np.random.default_rng(0))])[0]
    assert cells.width == 30 and one.sum() == 6


def test_a_surrogate_predicts_what_it_has_not_seen_and_knows_how_well() -> None:
    rng = np.random.default_rng(0)
    rows = rng.random((80, 6))
    losses = 3 * rows[:, 0] - rows[:, 1] ** 2 + 50
    surrogate = Surrogate()
    surrogate.fit(rows[:60], losses[:60])
    mean, deviation = surrogate.predict(rows[60:])
    assert np.corrcoef(mean, losses[60:])[0, 1] > 0.95
    far = surrogate.predict(rows[60:] + 10)[1]
    assert (far > deviation).all()


def test_what_is_added_orders_as_hypervolume_does() -> None:
    rng = np.random.default_rng(1)
    front = np.array([[0.0, 0.8, 0.5], [0.4, 0.3, 0.4], [0.9, 0.0, 0.3], [0.7, 0.7, 0.0]])
    reference, candidates = np.ones(3), rng.random((40, 3))
    whole = hypervolume(front, reference)
    exact = np.array([hypervolume([*front, one], reference) - whole for one in candidates])
    directions = [added(front, candidates[None], reference, rng) for _ in range(60)]
    estimate = np.mean(directions, axis=0)
    assert (estimate[exact < 1e-12] < 1e-12).all()
    assert np.corrcoef(estimate, exact)[0, 1] > 0.98


def test_more_uncertain_candidates_promise_more() -> None:
    rng = np.random.default_rng(0)
    certain = np.full((2, 1, 2), 0.5)
    uncertain = certain + np.array([[[0.3, 0.0]], [[-0.3, 0.0]]])
    draws = np.concatenate([certain, uncertain], axis=1)
    none, some = added(np.array([[0.5, 0.5]]), draws, np.ones(2), rng)
    assert none == 0 < some


def _truth(points: Sequence[Architecture]) -> FloatArray:
    """Error falls with convolutions, cost rises with them, of the larger ones more."""
    size = {"nor_conv_3x3": 3.0, "nor_conv_1x1": 1.0}
    gain = {"nor_conv_3x3": 2.5, "nor_conv_1x1": 1.2, "skip_connect": 0.5, "none": -1.0}
    values = [[str(op) for op in one.values.values()] for one in points]
    error = [10 - sum(gain.get(op, 0.0) for op in ops) for ops in values]
    return np.array([error, [sum(size.get(op, 0.0) for op in ops) for ops in values]]).T


def _found(known: Any, objectives: tuple[str, ...] = ("error", "cost")) -> float:
    algorithm = load_algorithm("predictor_guided")(
        CELLS, np.random.default_rng(0), objectives, known=known
    )
    rows = []
    for _ in range(50):
        trial = algorithm.ask()
        row = _truth([trial.architecture])[0]
        rows.append(row)
        algorithm.tell(trial, dict(zip(objectives, map(float, row), strict=True)))
    return hypervolume(rows, [12.0, 19.0])


KNOWN: dict[str, Any] = {
    "none": None,
    "cost": lambda points: {"cost": _truth(points)[:, 1]},
    "both": lambda points: dict(zip(("error", "cost"), _truth(points).T, strict=True)),
}


@pytest.mark.parametrize("known", KNOWN)
def test_it_finds_nearly_all_of_a_simple_truth(known: str) -> None:
    rng = np.random.default_rng(0)
    many = _truth([sample(CELLS, rng) for _ in range(1000)])
    attainable = hypervolume(many[is_on_front(many)], [12.0, 19.0])
    assert _found(KNOWN[known]) > 0.9 * attainable


def test_known_losses_are_never_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    learned: list[FloatArray] = []
    fit = Surrogate.fit
    monkeypatch.setattr(
        Surrogate,
        "fit",
        lambda self, rows, losses: (learned.append(losses), fit(self, rows, losses)),
    )
    _found(KNOWN["cost"])
    assert len(learned) == 50 - 12
    assert all(losses.max() > 4 and len(np.unique(losses)) > 5 for losses in learned)
    learned.clear()
    _found(KNOWN["both"])
    assert not learned


def test_useless_networks_of_next_to_no_cost_do_not_draw_it_to_them() -> None:
    rng = np.random.default_rng(0)
    algorithm = load_algorithm("predictor_guided")(CELLS, rng, ("error", "cost"))
    useless = architecture(CELLS, dict.fromkeys((c.name for c in CELLS.choices), "none"))
    count = 0
    for number in range(60):
        trial = algorithm.ask()
        ops = list(trial.architecture.values.values())
        broken = ops.count("none") >= 3 or trial.architecture == useless
        error, cost = _truth([trial.architecture])[0]
        losses = (90.0, 0.01) if broken else (error, cost + 1)
        count += broken and number >= 12
        algorithm.tell(trial, dict(zip(("error", "cost"), map(float, losses), strict=True)))
    # derived: one random cell in ten has three edges or more without an op: 5 of 48
    assert count <= 8
