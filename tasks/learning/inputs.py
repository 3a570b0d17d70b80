"""What a network is fed with: inputs of a split in batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from spaces.graph import OpGraph
from tasks.learning.protocols import Criterion

BATCH_BYTES = 2**23
"""Of inputs that are looked at together: 8 MiB, or 64 samples if that is more."""


def inputs_in_batches(
    criterion: Criterion, arrays: Mapping[str, Any], graph: OpGraph, whole: bool = False
) -> Iterator[dict[str, Any]]:
    """Inputs of a network in batches of equal size; with ``whole`` a rest is dropped.

    They are made of a batch at a time: as floating point a split is four times as large as it is.
    """
    count = len(next(iter(arrays.values())))
    first = criterion.inputs({name: array[:1] for name, array in arrays.items()}, graph)
    sample_bytes = sum(array.nbytes for array in first.values())
    size = min(count, max(64, min(256, BATCH_BYTES // max(1, sample_bytes))))
    last = count - size + 1 if whole else count
    for at in range(0, last, size):
        part = {name: array[at : at + size] for name, array in arrays.items()}
        yield criterion.inputs(part, graph)
