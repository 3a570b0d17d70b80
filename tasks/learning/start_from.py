"""A supernet that begins with the weights of another run: trained on much data, then on little.

Weights are taken where name and shape agree. Those of heads are not: they belong to the other
run's classes. What is left begins at random, as always.
"""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.run.params import SupernetParams
from tasks.run.workspace import Workspace, read_json, read_npz

WEIGHTS = "weights.npz"


class StartError(ValueError):
    """Weights that a supernet cannot begin with."""


def find(given: str | None) -> Path | None:
    """The file of weights: the one given, or that of a run's folder; None where there is none."""
    if given is None:
        return None
    place = Path(given).expanduser()
    places = (place, place / "supernet" / WEIGHTS, place / WEIGHTS)
    return next((one for one in places if one.is_file()), None)


def check(params: SupernetParams) -> None:
    """Refuse weights that are not there, and a supernet that is not trained at all.

    Raises:
        StartError: The message says what was expected, and the cure.
    """
    given = params.start_from
    if given is None:
        return
    if not params.steps:
        raise StartError(
            "supernet.start_from must be followed by a training, but got supernet.steps=0. Raise "
            "it, or set start_from to null."
        )
    file = find(given)
    if file is None:
        if given.startswith(("runs:", "models:")):
            cure = "MLflow keeps no weights of supernets: give the folder of that run."
        else:
            cure = "If DVC keeps it, fetch it first (dvc pull)."
        raise StartError(
            "supernet.start_from must be a folder with supernet/weights.npz, or that file, but "
            f"there is none at {given}. {cure}"
        )
    if not zipfile.is_zipfile(file):
        raise StartError(f"supernet.start_from must be an .npz of weights, but {file} is not.")


def weights(
    params: SupernetParams,
    space: str,
    own: Mapping[str, tuple[int, ...]],
    backbone: Collection[str],
    workspace: Workspace,
) -> dict[str, NDArray[Any]]:
    """What is taken of the other run, by the names of a supernet's parameters.

    Args:
        params: Names where the weights lie; they pass :func:`check`.
        space: Name of the space that is to be trained.
        own: Shapes of all parameters of the supernet.
        backbone: Names of those that the space itself has: all but heads.
        workspace: Of this run.

    Raises:
        StartError: The weights are this run's own, or none fits.
        WorkspaceError: The file is damaged.
    """
    check(params)
    file = find(params.start_from)
    assert file is not None
    if file.resolve() == (workspace.supernet / WEIGHTS).resolve():
        raise StartError(
            f"supernet.start_from must name another run, but got this one's own {file}. Copy the "
            "file to another folder first."
        )
    there = read_npz(file)
    taken = {
        name: there[name]
        for name in sorted(backbone)
        if name in there and there[name].shape == own[name] and there[name].dtype == np.float32
    }
    if not taken:
        raise StartError(
            f"supernet.start_from must hold weights of the space {space}, but got weights of "
            f"another space ({_space_of(file)}) in {file}: none agrees in name and shape."
        )
    return taken


def _space_of(file: Path) -> str:
    """The space that weights are of, if that is known."""
    beside = file.with_name("supernet.json")
    known = read_json(beside) if beside.is_file() else {}
    return str(known.get("space", "not known")) if isinstance(known, dict) else "not known"
