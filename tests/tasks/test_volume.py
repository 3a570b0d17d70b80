"""One number by which fronts of different runs can be compared."""

from __future__ import annotations

import pytest

from tasks.candidates.candidate import Candidate
from tasks.candidates.objectives import parse
from tasks.candidates.volume import corner_of, volume

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
    several = [
        Candidate("", {}, metric="top1", score=top1, latency_ms=latency) for top1, latency in rows
    ]
    assert volume(several, GOALS, CORNER) == pytest.approx(share)


def test_cost_that_nobody_has_is_left_out() -> None:
    goals = parse(["top1:max", "weight_bytes:min"])
    corner = corner_of(goals, {"weight_bytes": None})
    assert volume([Candidate("", {}, metric="top1", score=0.5)], goals, corner) == 0.5
