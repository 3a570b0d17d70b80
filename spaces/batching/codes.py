"""Decisions of many architectures as integers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import final

import numpy as np

from spaces.graph import IntArray
from spaces.space import Architecture, Choice, Value


@final
class Encoder:
    """Codes of decisions: the position of a value among those of its choice, from 1; 0: none.

    Attributes:
        names: Of the choices, in order.
        values: What each code of each choice means; the first one is None.
    """

    def __init__(self, choices: Sequence[Choice]) -> None:
        self.names = tuple(choice.name for choice in choices)
        self.values: tuple[tuple[Value | None, ...], ...] = tuple(
            (None, *choice.values) for choice in choices
        )
        self._radix = max(map(len, self.values))
        self._codes = {
            (name, value): column * self._radix + code
            for column, (name, offered) in enumerate(zip(self.names, self.values, strict=True))
            for code, value in enumerate(offered)
            if code
        }

    def encode(self, architectures: Sequence[Architecture]) -> IntArray | None:
        """``[n_architectures, n_choices]``; None if a name or a value is not among the choices."""
        lengths = [len(one.decisions) for one in architectures]
        pairs = chain.from_iterable(one.decisions for one in architectures)
        try:
            flat = np.fromiter(map(self._codes.__getitem__, pairs), np.int64, sum(lengths))
        except (KeyError, TypeError):  # of an unknown, or an unhashable one
            return None
        codes = np.zeros((len(architectures), len(self.names)), np.int64)
        rows = np.repeat(np.arange(len(architectures)), lengths)
        codes[rows, flat // self._radix] = flat % self._radix
        return codes
