from __future__ import annotations

import numpy as np

from spaces.search_support.archive import Archive
from spaces.search_support.dominance import is_on_front
from spaces.space import Architecture, Trial


def _trial(number: int) -> Trial:
    return Trial(number, Architecture.of("toy", {"a": number}))


def test_front_agrees_with_dominance_whatever_the_order() -> None:
    rng = np.random.default_rng(0)
    losses = rng.integers(0, 8, (40, 2)).astype(float)
    fronts = set()
    for order in (range(40), rng.permutation(40)):
        archive = Archive(("x", "y"))
        for number in order:
            x, y = losses[number]
            archive.add(_trial(int(number)), {"x": x, "y": y, "ignored": 0.0})
        fronts.add(tuple(trial.number for trial in archive.front))
    assert fronts == {tuple(np.flatnonzero(is_on_front(losses)).tolist())}


def test_failures_stay_out_of_the_front() -> None:
    archive = Archive(("x",))
    archive.add(_trial(0), None)
    assert archive.front == ()
    archive.add(_trial(1), {"x": 2.0})
    assert [archive.losses(trial) for trial in archive.front] == [(2.0,)]
