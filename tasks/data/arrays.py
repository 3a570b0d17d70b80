"""The prepared splits as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.run.workspace import Workspace, read_npz


def load_split(
    workspace: Workspace, split: str, count: int | None = None
) -> dict[str, NDArray[Any]]:
    """The arrays of a split by name, as its kind of data names them; first dimension n each.

    Args:
        workspace: Where ``data/<split>.npz`` lies.
        split: train, validation or test.
        count: At most so many, drawn at random but always the same ones; None: all, in order.
    """
    arrays = read_npz(workspace.data / f"{split}.npz")
    total = len(next(iter(arrays.values())))
    if count is None or count >= total:
        return arrays
    chosen = np.random.default_rng(0).permutation(total)[:count]
    return {name: array[chosen] for name, array in arrays.items()}


def has_split(workspace: Workspace, split: str) -> bool:
    """Whether the prepared data has that split."""
    return (workspace.data / f"{split}.npz").exists()
