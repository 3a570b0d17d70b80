"""Trains the weight-sharing network of a space on the prepared data."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from spaces.ibn import IbnSpace
from spaces.space import SpaceError, load_space
from tasks.params import RuntimeParams, SpaceParams, SupernetParams
from tasks.progress import Progress
from tasks.workspace import Workspace, read_json, read_npz, write_json, write_npz

Manifest = dict[str, object]
LOSSES = ("loss_largest", "loss_smallest")


def run(
    space: SpaceParams,
    supernet: SupernetParams,
    runtime: RuntimeParams,
    workspace: Workspace,
    progress: Progress,
) -> Manifest:
    """Write ``supernet/{weights.npz,supernet.json,history.json}``.

    An interrupted run goes on from its last checkpoint and ends with the same bytes.

    Returns:
        Final losses and sizes, and the curves of the losses.

    Raises:
        SpaceError: The space has no supernet.
        TrainingDivergedError: The loss is not finite, or above that of guessing.
    """
    from spaces.supernet import Supernet
    from tasks.training import Batches, Checkpoint, configure_tensorflow, train_supernet

    configure_tensorflow(runtime.threads, runtime.deterministic)
    manifest = read_json(workspace.data / "manifest.json")
    train = read_npz(workspace.data / "train.npz")
    network = Supernet(sized(space.name, manifest), len(manifest["classes"]), supernet.seed)
    batches = Batches(
        train["images"],
        train["labels"],
        supernet.batch_size,
        supernet.seed,
        supernet.augment.flip,
        supernet.augment.crop,
    )
    checkpoint = Checkpoint(workspace.state / "supernet.npz", supernet.checkpoint_steps)
    losses = train_supernet(
        network,
        batches,
        recipe_of(supernet),
        supernet.dropout,
        supernet.random_subnets,
        checkpoint,
        progress,
    )
    write_npz(workspace.supernet / "weights.npz", network.state())
    summary = _summary(network, losses)
    history = _history(losses)
    write_json(workspace.supernet / "history.json", history)
    write_json(workspace.supernet / "supernet.json", summary)
    checkpoint.remove()
    curves = {f"{name}_curve": [part[name] for part in history] for name in LOSSES}
    return summary | curves


def sized(name: str, manifest: Any) -> IbnSpace:
    """A space for the images of a data manifest.

    Raises:
        SpaceError: There is no such space, or it is not of the family that has a supernet.
    """
    side, channels = int(manifest["image_size"]), int(manifest["channels"])
    space = load_space(name).for_input((1, side, side, channels))
    if not isinstance(space, IbnSpace):
        raise SpaceError(f"space.name must name a space with a supernet, but got {name!r}.")
    return space


def load_supernet(space: str, workspace: Workspace) -> Any:
    """The trained :class:`spaces.supernet.Supernet` of a workspace."""
    from spaces.supernet import Supernet

    manifest = read_json(workspace.data / "manifest.json")
    network = Supernet(sized(space, manifest), len(manifest["classes"]), seed=0)
    network.restore(read_npz(workspace.supernet / "weights.npz"))
    return network


def recipe_of(params: SupernetParams) -> Any:
    """The training recipe that the parameters describe."""
    from tasks.training import Recipe

    names = [field.name for field in dataclasses.fields(Recipe)]
    return Recipe(**{name: getattr(params, name) for name in names})


def _summary(network: Any, losses: Any) -> Manifest:
    window = losses[-min(50, len(losses)) :]
    return {
        "space": network.space.name,
        "input_shape": list(network.space.input_shape),
        "classes": network.classes,
        "parameters": sum(int(np.prod(v.shape)) for v in network.parameters.values()),
        "steps": len(losses),
        "loss_largest": float(window[:, 0].mean()),
        "loss_smallest": float(window[:, 1].mean()),
    }


def _history(losses: Any) -> list[Manifest]:
    """Mean losses of every fiftieth part of the training."""
    parts = np.array_split(np.arange(len(losses)), min(50, len(losses)))
    return [
        {
            "step": int(part[-1]) + 1,
            "loss_largest": float(losses[part, 0].mean()),
            "loss_smallest": float(losses[part, 1].mean()),
        }
        for part in parts
    ]
