"""The prepared splits as arrays, which need not fit into memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.run.manifest import DataManifest
from tasks.run.workspace import Workspace, WorkspaceError, map_npz


def load_split(
    workspace: Workspace, split: str, count: int | None = None
) -> dict[str, NDArray[Any]]:
    """The arrays of a split by name, as its kind of data names them; first dimension n each.

    Pictures and masks are read-only views of the file: see
    :func:`tasks.run.workspace.map_npz`. A part of a split is in memory.

    Args:
        workspace: Where ``data/<split>.npz`` lies.
        split: train, validation or test.
        count: At most so many, drawn at random but always the same ones; None: all, in order.

    Raises:
        WorkspaceError: The file is missing, or is not what was written.
    """
    arrays = map_npz(workspace.data / f"{split}.npz")
    total = len(next(iter(arrays.values())))
    if count is None or count >= total:
        return arrays
    chosen = np.random.default_rng(0).permutation(total)[:count]
    return {name: array[chosen] for name, array in arrays.items()}


def has_split(workspace: Workspace, split: str) -> bool:
    """Whether the prepared data has that split."""
    return (workspace.data / f"{split}.npz").exists()


def check_splits(workspace: Workspace) -> None:
    """Refuse prepared data of which a file is gone, cut or too short, before anybody reads it.

    Raises:
        WorkspaceError: There is such a file.
    """
    if not (workspace.data / "manifest.json").is_file():
        return
    for split, told in DataManifest.read(workspace).splits.items():
        path, cure = workspace.data / f"{split}.npz", _cure(workspace)
        if not path.exists():
            raise WorkspaceError(f"{path} must exist, but there is none. {cure}")
        try:
            arrays = map_npz(path)
        except WorkspaceError as error:
            raise WorkspaceError(f"{str(error).rstrip('.')}. {cure}") from error
        counts = {name: len(array) for name, array in arrays.items()}
        if told.items is not None and set(counts.values()) != {told.items}:
            raise WorkspaceError(
                f"{path} must hold {told.items} samples, as data/manifest.json says, but got "
                f"{', '.join(f'{count} {name}' for name, count in counts.items())}. {cure}"
            )


def _cure(workspace: Workspace) -> str:
    """How to get the data of a workspace again."""
    profile = workspace.root.name if workspace.root.parent.name == "runs" else ""
    named = f" --profile {profile}" if profile else ""
    return f"Prepare the data again: python -m flows run{named} --stage prepare."
