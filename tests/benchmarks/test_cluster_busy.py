"""The arithmetic of the benchmark of many workers, derived by hand."""

from __future__ import annotations

import pytest

from benchmarks.cluster_busy import busy_share, tail_begins, waits
from benchmarks.clusters import BenchmarkError
from benchmarks.naps import Nap

# Two workers, one of which waits for half a second between its two pieces.
NAPS = [Nap(1, 0.0, 1.0), Nap(2, 0.0, 2.0), Nap(1, 1.5, 3.0)]


def test_busy_is_what_was_slept_within_a_span() -> None:
    assert busy_share(NAPS, 2, began=0.0, ended=3.0) == pytest.approx(4.5 / 6)
    assert busy_share(NAPS, 2, began=0.5, ended=2.0) == pytest.approx(2.5 / 3)


def test_the_tail_begins_when_fewer_pieces_than_workers_are_left() -> None:
    assert tail_begins(NAPS, 2) == 2.0
    assert tail_begins(NAPS, 3) == 1.0
    with pytest.raises(BenchmarkError, match="pieces must be 4 or more"):
        tail_begins(NAPS, 4)


def test_waits_are_between_pieces_of_one_process() -> None:
    assert waits(NAPS) == [0.5]
    assert waits(NAPS[:2]) == []
