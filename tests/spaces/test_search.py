"""Algorithms find more than random search where neighbours resemble each other."""

from __future__ import annotations

import numpy as np
import pytest

from spaces.menu import load_algorithm, load_space, names_in
from spaces.search.local_search import RANDOM_TRIALS
from spaces.search.regularized_evolution import POPULATION
from spaces.search_support.dominance import hypervolume
from spaces.search_support.proposals import CostLimits
from spaces.search_support.selection import best_first
from spaces.space import Architecture, Decisions, SpaceError
from spaces.walk import neighbours, sample

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


@pytest.fixture(scope="module")
def random_volume() -> float:
    return float(np.mean([_hypervolume("random_search", seed, budget=60) for seed in range(3)]))


@pytest.mark.parametrize("name", [name for name in names_in("search") if name != "random_search"])
def test_every_other_algorithm_beats_random_search(name: str, random_volume: float) -> None:
    assert np.mean([_hypervolume(name, seed, budget=60) for seed in range(3)]) > random_volume


def test_the_best_come_first_by_rank_and_by_room() -> None:
    losses = np.array([[2.0, 2.0], [0.0, 4.0], [1.0, 3.0], [0.5, 3.6], [4.0, 0.0], [5.0, 5.0]])
    # derived: the last is dominated; the ends are 1 and 4; 2.0 has most room, then 1.0, then 0.5
    assert best_first(losses).tolist() == [1, 4, 0, 2, 3, 5]


def test_regularized_evolution_forgets_the_old() -> None:
    algorithm = load_algorithm("regularized_evolution")(_SPACE, np.random.default_rng(0), ("a",))
    told: list[Architecture] = []
    for number in range(RANDOM_TRIALS + POPULATION + 40):
        trial = algorithm.ask()
        if number >= RANDOM_TRIALS + POPULATION:
            parents = [one.values for one in told[-POPULATION:]]
            values = trial.architecture.values
            changed = [_differences(one, values) for one in parents]
            assert min(changed) <= 1, number
        told.append(trial.architecture)
        # The first is the best for ever; among the young the youngest is.
        algorithm.tell(trial, {"a": -1e9 if number == 0 else -float(number)})


def _differences(one: Decisions, other: Decisions) -> int:
    """How many choices that both have were decided in different ways."""
    return sum(one[name] != other[name] for name in one if name in other)


def test_children_of_nsga2_have_the_decisions_of_two_parents() -> None:
    algorithm = load_algorithm("nsga2")(_SPACE, np.random.default_rng(0), ("a", "b"))
    begun = [algorithm.ask() for _ in range(20)]
    for trial in begun:
        algorithm.tell(trial, {"a": float(trial.number), "b": -float(trial.number)})
    parents = [trial.architecture.values for trial in begun]
    for _ in range(20):
        child = algorithm.ask().architecture.values
        there = [any(one.get(name) == value for one in parents) for name, value in child.items()]
        assert np.mean(there) > 0.9


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
