"""How many architectures a space has."""

from __future__ import annotations

import math

import numpy as np

from spaces.space import Choice, SearchSpace, Value
from spaces.walk import walk

WALKS = 2000


def count_upper_bound(space: SearchSpace) -> int:
    """Product of the sizes of all choices: at least the number of architectures."""
    return math.prod(max(1, len(choice.values)) for choice in space.choices)


def estimated_count(space: SearchSpace, walks: int = WALKS, seed: int = 0) -> tuple[float, float]:
    """The number of architectures, and the standard error of this estimate.

    A random walk down the decisions meets domains of some sizes; their product is an unbiased
    estimate of the number of leaves (Knuth 1975, Estimating the efficiency of backtrack programs,
    Mathematics of Computation 29, 122-136).
    """
    rng, products = np.random.default_rng(seed), np.empty(walks)
    for number in range(walks):
        sizes: list[int] = []

        def pick(_: Choice, domain: tuple[Value, ...], sizes: list[int] = sizes) -> Value:
            sizes.append(len(domain))
            return domain[int(rng.integers(len(domain)))]

        walk(space, pick)
        products[number] = math.prod(sizes)
    return float(products.mean()), float(products.std(ddof=1) / math.sqrt(walks))
