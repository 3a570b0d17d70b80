"""Which candidates are trained to the end."""

from __future__ import annotations

import dataclasses

from tasks.candidates.candidate import Candidate
from tasks.candidates.finalists import choose_finalists
from tasks.run.params import SelectParams


def _candidate(name: str, top1: float, latency_ms: float, rank: int) -> Candidate:
    return Candidate(
        name, {}, metric="top1", score=top1, latency_ms=latency_ms, rank=rank, on_pareto=rank == 0
    )


HAND_MADE = [
    _candidate("a", 0.1, 1.0, 0),
    _candidate("b", 0.6, 2.0, 0),
    _candidate("c", 0.62, 3.0, 0),
    _candidate("d", 0.9, 5.0, 0),
    _candidate("e", 0.5, 2.5, 1),
    _candidate("f", 0.1, 4.0, 2),
    dataclasses.replace(_candidate("x", 1.0, 0.5, 0), status="failed", rank=None, score=None),
]


def _ids(count: int) -> list[str]:
    return [one.id for one in choose_finalists(HAND_MADE, count, SelectParams())]


def test_finalists_are_the_best_and_those_that_cover_most_in_order_of_latency() -> None:
    # derived, as shares of 0.8 of accuracy and of 4 ms, up to the corner (1.1, 1.1): b covers
    # 0.725 * 0.85, c 0.75 * 0.6, a and d 0.11 each. d is the best; to it b adds 0.725 * 0.75, and
    # to both a 0.1 * 0.25, c 0.025 * 0.5
    assert _ids(1) == ["d"]
    assert _ids(2) == ["b", "d"]
    assert _ids(3) == ["a", "b", "d"]


def test_next_rank_follows_when_the_front_is_used_up() -> None:
    assert set(_ids(4)) == {"a", "b", "c", "d"}
    assert set(_ids(5)) == {"a", "b", "c", "d", "e"}
    assert set(_ids(99)) == {"a", "b", "c", "d", "e", "f"}


def test_failed_candidates_are_no_finalists() -> None:
    assert "x" not in _ids(99)
