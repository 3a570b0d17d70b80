"""How token sequences enter a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spaces.families.language.transformer import MASKED
from spaces.graph import OpGraph

PADDING = 0
"""The token behind the end of a text: [PAD] is the first of every vocabulary."""


def inputs(arrays: Mapping[str, NDArray[Any]], graph: OpGraph) -> dict[str, NDArray[Any]]:
    """What a language network reads, cut to its sequence length T.

    Returns:
        ``input`` int32 [n, T]; ``mask`` float32 [n, 1, 1, T], which is added to the scores of
        attention: 0 for tokens, :data:`spaces.families.language.transformer.MASKED` for padding;
        and ``types`` int32 [n, T] where the network has such an input.
    """
    types = "types" in dict(graph.more_inputs)
    read = fed(arrays, graph.input_shape[1])
    return {name: array for name, array in read.items() if name != "types" or types}


def fed(arrays: Mapping[str, NDArray[Any]], length: int) -> dict[str, NDArray[Any]]:
    """The same for a sequence length, with ``types`` where the data has them."""
    tokens = np.ascontiguousarray(arrays["tokens"][:, :length], np.int32)
    mask = np.where(tokens == PADDING, MASKED, 0.0).astype(np.float32)
    read = {"input": tokens, "mask": mask[:, None, None, :]}
    if "types" in arrays:
        read["types"] = np.ascontiguousarray(arrays["types"][:, :length], np.int32)
    return read
