"""Local search finds more than random search where neighbours resemble each other."""

from __future__ import annotations

import numpy as np
import pytest

from spaces.search.local_search import RANDOM_TRIALS
from spaces.search_support.dominance import hypervolume
from spaces.search_support.proposals import CostLimits
from spaces.space import (
    Architecture,
    SpaceError,
    load_algorithm,
    load_space,
    neighbours,
    sample,
)

_SPACE = load_space("mobilenet_v2_small")


def _losses(one: Architecture) -> dict[str, float]:
    graph = _SPACE.lower(one)
    return {
        "error": -np.log(graph.total_parameters) - len(graph.ops) / 40,
        "macs": graph.macs / 1e8,
    }


def _hypervolume(name: str, seed: int, budget: int) -> float:
    algorithm = load_algorithm(name)(_SPACE, np.random.default_rng(seed), ("error", "macs"))
    rows = []
    for _ in range(budget):
        trial = algorithm.ask()
        losses = _losses(trial.architecture)
        rows.append(list(losses.values()))
        algorithm.tell(trial, losses)
    return hypervolume(rows, [-14.0, 2.0])


def test_local_search_beats_random_search() -> None:
    found = {
        name: np.mean([_hypervolume(name, seed, budget=60) for seed in range(3)])
        for name in ("local_search", "random_search")
    }
    assert found["local_search"] > found["random_search"]


def test_after_the_random_phase_come_neighbours_of_the_front() -> None:
    algorithm = load_algorithm("local_search")(_SPACE, np.random.default_rng(0), ("macs",))
    best: Architecture | None = None
    for number in range(20):
        trial = algorithm.ask()
        if number >= RANDOM_TRIALS and best is not None:
            assert trial.architecture in set(neighbours(_SPACE, best))
        losses = {"macs": float(number)}  # the first one stays the best
        best = best or trial.architecture
        algorithm.tell(trial, losses)


def test_limits_must_be_positive_numbers() -> None:
    with pytest.raises(SpaceError, match="latency_ms: a limit must be a positive number, but got"):
        CostLimits({"latency_ms": 0.0}, _losses)


def test_excess_adds_relative_parts_above_the_limits() -> None:
    limits = CostLimits({"a": 2.0, "b": 10.0}, lambda one: {"a": 3.0, "b": 9.0})
    one = sample(_SPACE, np.random.default_rng(0))
    # derived: (3 - 2) / 2 + 0
    assert limits.excess(one) == 0.5
    assert not limits(one)
    assert str(limits) == "a <= 2 and b <= 10"
    assert (limits.unmet(), limits.told(limits.unmet())) == (["a"], "a <= 2")
    assert limits.smallest == {"a": 3.0, "b": 9.0}


def test_cost_that_is_not_a_number_is_not_feasible() -> None:
    limits = CostLimits({"a": 2.0}, lambda one: {"a": float("nan")})
    assert not limits(sample(_SPACE, np.random.default_rng(0)))
