"""The prepared splits as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.workspace import Workspace, read_npz


def load_split(
    workspace: Workspace, split: str, count: int | None = None
) -> dict[str, NDArray[Any]]:
    """``images`` uint8 [n, H, W, C] and ``labels`` int32 [n] of a split.

    Args:
        workspace: Where ``data/<split>.npz`` lies.
        split: train, validation or test.
        count: At most so many, drawn at random but always the same ones; None: all, in order.
    """
    arrays = read_npz(workspace.data / f"{split}.npz")
    if count is None or count >= len(arrays["labels"]):
        return arrays
    chosen = np.random.default_rng(0).permutation(len(arrays["labels"]))[:count]
    return {name: array[chosen] for name, array in arrays.items()}


def has_split(workspace: Workspace, split: str) -> bool:
    """Whether the prepared data has that split."""
    return (workspace.data / f"{split}.npz").exists()
