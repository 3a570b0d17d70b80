from __future__ import annotations

import time

import numpy as np
import pytest

from spaces.search_support.dominance import (
    LossError,
    hypervolume,
    is_on_front,
    pareto_ranks,
)


def test_ranks_count_the_fronts_peeled_off() -> None:
    # derived: a staircase of three, the same one shifted by 1, and by 2
    steps = np.array([[0.0, 2.0], [1.0, 1.0], [2.0, 0.0]])
    losses = np.concatenate([steps + 2, steps, steps + 1])
    assert pareto_ranks(losses).tolist() == [2] * 3 + [0] * 3 + [1] * 3


def test_duplicates_share_their_rank() -> None:
    assert is_on_front([[1, 2], [1, 2], [2, 1], [2, 2]]).tolist() == [True, True, True, False]


def test_no_losses_give_no_ranks() -> None:
    empty = np.empty((0, 2))
    assert pareto_ranks(empty).shape == (0,)
    assert hypervolume(empty, [1, 1]) == 0.0


@pytest.mark.parametrize("function", [pareto_ranks, is_on_front])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_losses_must_be_finite(function: object, bad: float) -> None:
    with pytest.raises(LossError, match=r"must be finite numbers, but got .* in row 1"):
        function([[1.0, 2.0], [bad, 0.0]])  # type: ignore[operator]


def test_losses_must_be_a_matrix() -> None:
    with pytest.raises(LossError, match=r"array \[n, m\].*but got shape \(2,\)"):
        pareto_ranks([1.0, 2.0])


def test_reference_must_fit_the_columns() -> None:
    with pytest.raises(LossError, match="reference must be 2 finite numbers"):
        hypervolume([[1.0, 2.0]], [3.0])


def test_hypervolume_of_a_staircase() -> None:
    # derived: n steps of side 1/n under the line x + y = 1 cover (n + 1) / 2n of the square
    n = 10
    steps = np.array([[i / n, 1 - (i + 1) / n] for i in range(n)])
    assert hypervolume(steps, [1, 1]) == pytest.approx((n + 1) / (2 * n))


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_hypervolume_of_one_point_is_a_box(m: int) -> None:
    # derived: product of the sides
    point, corner = np.arange(m, dtype=float), np.full(m, 5.0)
    assert hypervolume([point], corner) == pytest.approx(np.prod(corner - point))


def test_hypervolume_of_two_boxes_is_their_union() -> None:
    # derived: 2*1*1 + 1*2*1 - 1*1*1, inclusion and exclusion in a cube of side 2
    assert hypervolume([[0, 1, 1], [1, 0, 1]], [2, 2, 2]) == pytest.approx(3.0)


def test_hypervolume_ignores_duplicates_dominated_and_outside_points() -> None:
    front = [[1.0, 2.0], [2.0, 1.0]]
    more = [*front, [1.0, 2.0], [2.5, 2.5], [0.0, 3.0], [3.5, 0.0]]
    assert hypervolume(more, [3, 3]) == hypervolume(front, [3, 3]) == 3.0


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_hypervolume_counts_the_cells_of_a_grid(m: int) -> None:
    # derived: cells of side 1 whose lower corner is no better than some row in every column
    losses = np.random.default_rng(m).integers(0, 6, (25, m))
    cells = np.stack(np.meshgrid(*[np.arange(6)] * m), axis=-1).reshape(-1, m)
    covered = (losses[:, None] <= cells).all(axis=2).any(axis=0).sum()
    assert hypervolume(losses, [6] * m) == pytest.approx(covered)


def test_many_rows_are_ranked_in_no_time() -> None:
    rows = np.random.default_rng(0).random((20_000, 3))
    began = time.process_time()
    ranks = pareto_ranks(rows)
    assert time.process_time() - began < 2  # of the order of 0.1 s; a pairwise table takes 50
    front = rows[ranks == 0]
    assert not (front[:, None] < front[None]).all(axis=2).any()
