"""Where networks trained from scratch begin: by what train says, or at random."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from numpy.typing import NDArray

from spaces.graph import OpGraph
from tasks.learning.first_filters import FirstFilters
from tasks.learning.word_vectors import WordVectors


@final
class FirstWeights:
    """First weights for networks of one data set.

    Args:
        arrays: Of train.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._parts = (FirstFilters(arrays), WordVectors(arrays))

    def give(self, model: Any, graph: OpGraph) -> None:
        """Set what the data says of a Keras model of ``graph``; the rest stays at random."""
        for part in self._parts:
            part.give(model, graph)
