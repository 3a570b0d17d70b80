"""Trains the weight-sharing network of a space on the prepared data."""

from __future__ import annotations

from typing import Any

import numpy as np

from spaces.narrowed import narrowed
from spaces.space import TrainableSpace
from spaces.trainable.reach import Reach
from tasks.candidates.limits import reach
from tasks.data.arrays import load_split
from tasks.learning import recipes, start_from
from tasks.learning.networks import sized
from tasks.learning.problem import open_problem
from tasks.learning.shared_weights import new_supernet
from tasks.run.manifest import DataManifest
from tasks.run.params import CostParams, ProblemParams, RuntimeParams, SpaceParams, SupernetParams
from tasks.run.progress import Progress
from tasks.run.workspace import Workspace, write_json, write_npz

Manifest = dict[str, object]
LOSSES = ("loss_largest", "loss_smallest")


def run(
    problem: ProblemParams,
    space: SpaceParams,
    supernet: SupernetParams,
    cost: CostParams,
    runtime: RuntimeParams,
    workspace: Workspace,
    progress: Progress,
) -> Manifest:
    """Write ``supernet/{weights.npz,supernet.json,history.json}``.

    Networks above the limits of ``cost``, or far above the published ones, are not trained.

    An interrupted run goes on from its last checkpoint and ends with the same bytes.

    Returns:
        Final losses and sizes, and the curves of the losses.

    Raises:
        SpaceError: The space has no supernet.
        StartError: The weights to begin with are of another space.
        TrainingDivergedError: The loss is not finite, or above that of guessing.
    """
    from tasks.learning.sandwich import train_supernet
    from tasks.learning.training import Batches, Checkpoint, configure_tensorflow

    opened = open_problem(problem, workspace)
    manifest = DataManifest.read(workspace)
    if not supernet.steps:
        return _untrained(sized(space.name, manifest), workspace)
    facts = recipes.facts_of(manifest)
    decided = recipes.supernet_plan(facts, supernet)
    configure_tensorflow(runtime.threads, runtime.deterministic)
    network = new_supernet(space.name, opened, workspace, supernet.seed)
    begun = {} if supernet.start_from is None else _begin(network, supernet, workspace)
    train = load_split(workspace, "train")
    batches = Batches(opened, train, decided.batch_size, supernet.seed, decided.augment)
    checkpoint = Checkpoint(workspace.state / "supernet.npz", supernet.checkpoint_steps)
    trained = reach(narrowed(network.space, space.offers), cost, opened)
    losses = train_supernet(
        network,
        opened,
        batches,
        decided.recipe,
        decided.dropout,
        supernet.random_subnets,
        checkpoint,
        progress,
        trained,
    )
    write_npz(workspace.supernet / "weights.npz", network.state())
    told = {"training": decided.told(), **begun}
    summary = {**_summary(network, losses, trained), **told}
    history = _history(losses)
    write_json(workspace.supernet / "history.json", history)
    write_json(workspace.supernet / "supernet.json", summary)
    checkpoint.remove()
    curves = {f"{name}_curve": [part[name] for part in history] for name in LOSSES}
    return summary | curves


def _begin(network: Any, supernet: SupernetParams, workspace: Workspace) -> Manifest:
    """Load what another run's weights agree in; how many of the parameters that are."""
    from spaces.trainable.supernet import shared_shapes

    space = network.space
    shapes = {name: tuple(value.shape) for name, value in network.parameters.items()}
    backbone = shared_shapes(space.lower(point) for point in space.extremes())
    taken = start_from.weights(supernet, space.name, shapes, backbone.keys(), workspace)
    network.restore(network.state() | taken)
    count = sum(value.size for value in taken.values())
    total = sum(int(np.prod(shape)) for shape in shapes.values())
    print(f"supernet: {count:,} of {total:,} parameters from {supernet.start_from}", flush=True)
    return {"start_from": supernet.start_from, "parameters_taken": count}


def _untrained(space: TrainableSpace, workspace: Workspace) -> Manifest:
    """No supernet: candidates will be trained on their own."""
    for name in ("weights.npz", "history.json"):
        (workspace.supernet / name).unlink(missing_ok=True)
    summary: Manifest = {
        "space": space.name,
        "input_shape": list(space.input_shape),
        "parameters": 0,
        "steps": 0,
    }
    write_json(workspace.supernet / "supernet.json", summary)
    return summary


def _summary(network: Any, losses: Any, trained: Reach) -> Manifest:
    window = losses[-min(50, len(losses)) :]
    return {
        "space": network.space.name,
        "input_shape": list(network.space.input_shape),
        "parameters": sum(int(np.prod(v.shape)) for v in network.parameters.values()),
        "steps": len(losses),
        "limits": trained.limits,
        "largest_macs": network.graph(trained.largest()).macs,
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
