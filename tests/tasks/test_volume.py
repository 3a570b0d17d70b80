"""One number by which fronts of different runs can be compared."""

from __future__ import annotations

import pytest

from tasks.candidates.candidate import Candidate
from tasks.candidates.objectives import parse
from tasks.candidates.volume import corner_of, gain, volume

GOALS = parse(["top1:max", "latency_ms:min"])
CORNER = {"top1": 0.0, "latency_ms": 4.0}


def test_corner_is_no_score_and_what_the_largest_costs() -> None:
    largest = {"top1": None, "latency_ms": 4.0, "macs": 10}
    assert corner_of(GOALS, largest) == CORNER


@pytest.mark.parametrize(
    ("rows", "share"),
    [
        ([], 0.0),
        ([(1.0, 0.0)], 1.0),
        ([(0.0, 0.0), (1.0, 4.0), (0.9, 5.0)], 0.0),  # no better than the corner in one of both
        ([(0.8, 1.0)], 0.8 * 0.75),
        ([(0.8, 1.0), (0.9, 2.0), (0.7, 3.0)], 0.8 * 0.75 + 0.1 * 0.5),  # derived: two steps
    ],
)
def test_volume_is_the_share_of_the_box(rows: list[tuple[float, float]], share: float) -> None:
    assert volume(_those(rows), GOALS, CORNER) == pytest.approx(share)


def _those(rows: list[tuple[float, float]]) -> list[Candidate]:
    return [
        Candidate("", {}, metric="top1", score=top1, latency_ms=latency) for top1, latency in rows
    ]


def test_many_are_compared_with_few_as_many_with_as_many() -> None:
    many, few = _those([(0.8, 1.0), (0.9, 2.0), (0.4, 2.0)]), _those([(0.8, 2.0)])
    # derived: the mean of 0.6, 0.45 and 0.2, where all three together have 0.65
    assert gain(many, few, GOALS, CORNER) == pytest.approx(1.25 / 3 - 0.4)
    assert gain(few, many, GOALS, CORNER) == pytest.approx(0.4 - 1.25 / 3)
    assert gain(many, many, GOALS, CORNER) == 0.0
    pairs = [volume(_those(pair), GOALS, CORNER) for pair in PAIRS]
    assert gain(many, few * 2, GOALS, CORNER) == pytest.approx(sum(pairs) / 3 - 0.4)


PAIRS = [[(0.8, 1.0), (0.9, 2.0)], [(0.8, 1.0), (0.4, 2.0)], [(0.9, 2.0), (0.4, 2.0)]]


def test_nobody_is_compared_with_nothing() -> None:
    assert gain(_those([(0.8, 1.0)]), [], GOALS, CORNER) is None


def test_cost_that_nobody_has_is_left_out() -> None:
    goals = parse(["top1:max", "weight_bytes:min"])
    corner = corner_of(goals, {"weight_bytes": None})
    assert volume([Candidate("", {}, metric="top1", score=0.5)], goals, corner) == 0.5
