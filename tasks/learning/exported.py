"""A trained network as it is exported: with what its head has that is fitted by itself."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from spaces.graph import OpGraph
from tasks.learning.protocols import FittedHead, Problem
from tasks.learning.quantization import Network


def ends(problem: Problem, graph: OpGraph) -> tuple[str, ...]:
    """The ops whose outputs the model of :func:`network_of` gives."""
    return problem.joined(graph) if isinstance(problem, FittedHead) else problem.trained


def fitted(problem: Problem, graph: OpGraph) -> dict[str, NDArray[Any]]:
    """Constants of ops that are not trained with the network, by op."""
    return problem.fitted(graph) if isinstance(problem, FittedHead) else {}


def network_of(model: Any, graph: OpGraph, problem: Problem) -> Network:
    """A Keras model that ends in what is trained, and all that stands behind it in the file."""
    from spaces.trainable.keras_model import build_model, get_weights, layer_name, set_weights

    known = fitted(problem, graph)
    if not known:
        return Network(model, graph, problem.trained, problem.deployed)
    names = ends(problem, graph)
    whole = build_model(graph, outputs=names)
    constants = {f"{layer_name(name)}:constant": array for name, array in known.items()}
    set_weights(whole, get_weights(model) | constants)
    return Network(whole, graph, names, problem.deployed)
