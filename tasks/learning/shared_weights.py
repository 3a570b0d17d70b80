"""The weight-sharing network of a workspace, and slices of it."""

from __future__ import annotations

from typing import Any

from spaces.graph import OpGraph
from spaces.space import Architecture
from tasks.learning.inputs import inputs_in_batches
from tasks.learning.networks import sized
from tasks.learning.protocols import Criterion, Head
from tasks.run.manifest import DataManifest
from tasks.run.workspace import Workspace, read_npz


def new_supernet(name: str, head: Head, workspace: Workspace, seed: int) -> Any:
    """An untrained :class:`spaces.trainable.supernet.Supernet` for the data of a workspace."""
    from spaces.trainable.supernet import Supernet

    space = sized(name, DataManifest.read(workspace))

    def complete(backbone: OpGraph) -> OpGraph:
        return head.complete(backbone)

    return Supernet(space, complete, head.trained, seed, head.first_bias)


def is_trained(workspace: Workspace) -> bool:
    """Whether the workspace has a supernet with trained weights."""
    return (workspace.supernet / "weights.npz").exists()


def load_supernet(name: str, head: Head, workspace: Workspace) -> Any:
    """The trained :class:`spaces.trainable.supernet.Supernet` of a workspace."""
    network = new_supernet(name, head, workspace, seed=0)
    network.restore(read_npz(workspace.supernet / "weights.npz"))
    return network


def slice_of(network: Any, criterion: Criterion, point: Architecture, samples: Any) -> Any:
    """Weights of one architecture, by the names of :mod:`spaces.trainable.keras_model`.

    Its batch statistics are recalibrated on ``samples``, arrays of train.
    """
    batches = inputs_in_batches(criterion, samples, network.graph(point), whole=True)
    return network.extract(point, network.recalibrate(point, batches))
