"""Candidates keep their places, and trainings of different lengths are never compared."""

from __future__ import annotations

import pytest

from tasks.candidates.board import Board
from tasks.candidates.candidate import Candidate
from tasks.candidates.objectives import parse

GOALS = parse(["top1:max", "latency_ms:min"])


def _candidate(name: str, rung: int, top1: float | None, latency: float = 1.0) -> Candidate:
    return Candidate(
        id=name,
        architecture={},
        rung=rung,
        status="failed" if top1 is None else "done",
        reason="it broke" if top1 is None else None,
        metric="top1",
        score=top1,
        latency_ms=latency,
        macs=int(10 * latency),
    )


def _board(*candidates: Candidate) -> Board:
    board = Board(GOALS)
    for one in candidates:
        board.add(one)
    return board


def test_higher_rung_takes_the_place_of_the_lower_and_remembers_it() -> None:
    board = _board(_candidate("a", 0, 0.5), _candidate("b", 0, 0.4), _candidate("a", 1, 0.7))
    assert [(one.id, one.rung, one.score) for one in board.candidates] == [
        ("a", 1, 0.7),
        ("b", 0, 0.4),
    ]
    assert board.candidates[0].lower_rungs == (0.5,)


def test_who_fails_on_a_higher_rung_keeps_the_lower_score() -> None:
    board = _board(_candidate("a", 0, 0.5), _candidate("a", 1, None))
    assert [(one.rung, one.score) for one in board.candidates] == [(0, 0.5)]
    assert board.failed == 0


def test_who_begins_on_a_higher_rung_has_no_lower_scores() -> None:
    board = _board(_candidate("a", 0, 0.5), _candidate("new", 2, 0.7))
    assert board.candidates[1].lower_rungs == (None, None)


def test_higher_rung_ranks_above_whatever_its_scores() -> None:
    board = _board(
        _candidate("short", 0, 0.9),
        _candidate("worse", 1, 0.6, 2.0),
        _candidate("better", 1, 0.7, 1.0),
        _candidate("broken", 1, None),
    )
    board.rank()
    assert {one.id: one.rank for one in board.candidates} == {
        "better": 0,
        "worse": 1,
        "short": 2,
        "broken": None,
    }
    assert [one.id for one in board.front] == ["better"]
    assert [one.id for one in board.best(2)] == ["better", "worse"]
    assert board.note() == "best 0.700 at 1.00 ms, 1 on the front, 1 failed"


def test_agreement_is_over_those_who_were_on_both_rungs() -> None:
    short = [_candidate(name, 0, score) for name, score in (("a", 0.1), ("b", 0.2), ("c", 0.3))]
    long = [
        _candidate(name, 1, score, latency)
        for name, score, latency in (("a", 0.4, 3.0), ("b", 0.6, 2.0), ("c", 0.5, 1.0))
    ]
    board = _board(*short, *long, _candidate("new", 1, 0.9))
    found = board.agreement(1, epochs=6)
    # derived: one of three pairs is turned round by the scores, and two by MACs
    assert found.tau == pytest.approx(1 / 3) and found.tau_macs == pytest.approx(-1 / 3)
    assert (found.candidates, found.epochs) == (3, 6)


def test_empty_board_has_no_front() -> None:
    board = _board(_candidate("broken", 0, None))
    assert board.front == board.best(3) == []
    assert board.note() == "none scored yet"
