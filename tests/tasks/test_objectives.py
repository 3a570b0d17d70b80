"""Objectives become losses in one place."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.objectives import Objective, ObjectiveError, loss_table, losses, parse
from tasks.params import SelectParams

RECORDS = [
    {"id": "a", "top1": 0.9, "latency_ms": 2.0, "energy_mj": None},
    {"id": "b", "top1": 0.8, "latency_ms": 1.0, "energy_mj": None},
]


def test_names_and_goals_are_read() -> None:
    assert parse(["top1:max", "latency_ms:min"]) == (
        Objective("top1", "max"),
        Objective("latency_ms", "min"),
    )


def test_default_objectives_are_known() -> None:
    assert [one.name for one in parse(SelectParams().objectives)] == ["top1", "latency_ms"]


def test_lower_losses_are_better_for_either_goal() -> None:
    goals = parse(["top1:max", "latency_ms:min"])
    # derived: what is to be large changes its sign
    assert losses(RECORDS[0], goals) == {"top1": -0.9, "latency_ms": 2.0}
    np.testing.assert_array_equal(loss_table(RECORDS, goals), [[-0.9, 2.0], [-0.8, 1.0]])


def test_table_of_no_records_has_the_columns_all_the_same() -> None:
    assert loss_table([], parse(["top1:max", "macs:min"])).shape == (0, 2)


def test_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(ObjectiveError, match=r"one of top1, latency_ms, .* but got 'speed' in"):
        parse(["speed:max"])


@pytest.mark.parametrize("name", ["energy_mj", "macs"])
def test_missing_value_names_the_candidate(name: str) -> None:
    with pytest.raises(ObjectiveError, match=f"{name} must have a value .* candidate b has none"):
        losses(RECORDS[1], parse([f"{name}:min"]))
