"""A front carried over to another chip, on candidates that are reckoned by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.candidates.carried import carried, on_front

LOSSES = np.array([0.5, 0.3, 0.1, 0.4])
HERE = np.array([1.0, 2.0, 4.0, 4.0])


def test_the_same_order_loses_nothing() -> None:
    one = carried("d", (1.0,), LOSSES, HERE, 10 * HERE)
    # Derived: the fourth is dominated by the third on both.
    assert (one.front, one.kept, one.candidates) == (3, 3, 4)
    assert one.spearman == pytest.approx(1.0)
    assert one.share == pytest.approx(1.0)


def test_another_order_loses_what_the_best_there_dominate_beyond() -> None:
    there = np.array([4.0, 2.0, 4.0, 1.0])
    one = carried("d", (None,), LOSSES, HERE, there)
    # Derived: best here 0, 1, 2; best there 3 (0.4 at 1), 1 (0.3 at 2), 2 (0.1 at 4).
    assert (one.front, one.kept) == (3, 2)
    # In the box to (1, 1): carried 0.7 x 0.5 + nothing of the slowest; with 3 also 0.6 x 0.25.
    assert one.share == pytest.approx(0.35 / (0.35 + 0.6 * 0.25), abs=1e-6)
    assert one.latency_ms == (None,)


def test_nothing_to_compare_is_unknown() -> None:
    none = np.zeros(0)
    one = carried("d", (), none, none, none)
    assert (one.candidates, one.share, one.spearman) == (0, None, None)
    same = carried("d", (), LOSSES, HERE, np.ones(4))
    assert same.spearman is None


def test_who_is_on_the_front_of_a_chip() -> None:
    # Derived: the third is slower and worse than the first; the last does not run there.
    assert on_front([0.3, 0.1, 0.4, 0.0], [1.0, 2.0, 1.5, None]) == (True, True, False, False)
    assert on_front([0.3], [None]) == (False,)
    assert on_front([], []) == ()
