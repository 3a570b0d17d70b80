"""Other people's search algorithms behind our ask and tell, to be compared with.

They know a space as a vector of whole numbers, one a choice: the place of the value among those
that are legal there, modulo their number, so that every vector is an architecture. Several vectors
may be the same one. They repeat themselves, take no limits and no architectures to begin with, and
a failure is told to them as losses worse than any.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from spaces.space import Architecture, SearchSpace, Trial
from spaces.walk import walk

POPULATION = 40
FAILED = 1e6
"""Loss of a network that failed."""


def architecture_of(space: SearchSpace, places: Sequence[int]) -> Architecture:
    """The architecture of a vector, one number for each choice of the space."""
    at = {choice.name: place for choice, place in zip(space.choices, places, strict=True)}
    return walk(space, lambda choice, domain: domain[int(at[choice.name]) % len(domain)])


class Pymoo:
    """NSGA-II of pymoo: simulated binary crossover and polynomial mutation, rounded."""

    package = "pymoo"

    def __init__(
        self, space: SearchSpace, rng: np.random.Generator, objectives: tuple[str, ...]
    ) -> None:
        from pymoo.algorithms.moo.nsga2 import NSGA2
        from pymoo.core.problem import Problem
        from pymoo.operators.crossover.sbx import SBX
        from pymoo.operators.mutation.pm import PM
        from pymoo.operators.repair.rounding import RoundingRepair
        from pymoo.operators.sampling.rnd import IntegerRandomSampling

        self._space, self._objectives = space, objectives
        repair = RoundingRepair()
        self._algorithm = NSGA2(
            pop_size=POPULATION,
            sampling=IntegerRandomSampling(),
            crossover=SBX(prob=1.0, eta=3.0, vtype=float, repair=repair),
            mutation=PM(prob=1.0, eta=3.0, vtype=float, repair=repair),
            eliminate_duplicates=True,
        )
        last = np.array([len(choice.values) - 1 for choice in space.choices])
        problem = Problem(
            n_var=len(last), n_obj=len(objectives), xl=np.zeros_like(last), xu=last, vtype=int
        )
        self._algorithm.setup(
            problem, termination=("n_gen", 10**9), seed=int(rng.integers(2**31)), verbose=False
        )
        self._asked: Any = ()
        self._told: dict[int, list[float]] = {}
        self._begin = self._next = 0

    def ask(self) -> Trial:
        """The next of a generation."""
        if self._next - self._begin == len(self._asked):
            if len(self._asked):
                told = [self._told[self._begin + at] for at in range(len(self._asked))]
                self._asked.set("F", np.array(told))
                self._algorithm.tell(infills=self._asked)
            self._begin, self._asked = self._next, self._algorithm.ask()
        genome = self._asked[self._next - self._begin].X
        self._next += 1
        return Trial(self._next - 1, architecture_of(self._space, genome))

    def tell(self, trial: Trial, losses: Mapping[str, float] | None) -> None:
        """Keep the losses until the generation is whole."""
        row = [losses[name] if losses else FAILED for name in self._objectives]
        self._told[trial.number] = row


class Optuna:
    """NSGA-II of Optuna: uniform crossover of categories."""

    package = "optuna"

    def __init__(
        self, space: SearchSpace, rng: np.random.Generator, objectives: tuple[str, ...]
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        sampler = optuna.samplers.NSGAIISampler(
            population_size=POPULATION, seed=int(rng.integers(2**31))
        )
        self._study = optuna.create_study(
            sampler=sampler, directions=["minimize"] * len(objectives)
        )
        self._space, self._objectives = space, objectives
        self._open: dict[int, Any] = {}

    def ask(self) -> Trial:
        """The next suggestion."""
        own = self._study.ask()
        places = [
            own.suggest_categorical(choice.name, list(range(len(choice.values))))
            for choice in self._space.choices
        ]
        self._open[own.number] = own
        return Trial(own.number, architecture_of(self._space, places))

    def tell(self, trial: Trial, losses: Mapping[str, float] | None) -> None:
        """Pass the losses on."""
        row = [losses[name] if losses else FAILED for name in self._objectives]
        self._study.tell(self._open.pop(trial.number), row)


PEERS: dict[str, Any] = {"pymoo_nsga2": Pymoo, "optuna_nsga2": Optuna}


def installed(name: str) -> bool:
    """Whether the package of a peer is here."""
    return importlib.util.find_spec(PEERS[name].package) is not None
