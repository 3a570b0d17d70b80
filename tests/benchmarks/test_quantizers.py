"""The peer of the quantization after training, where it is installed."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.quantizers import PEERS, peer
from spaces.menu import load_baselines, load_trainable
from tasks.learning.interpreter import predict
from tasks.learning.problem import problem_of_space


@pytest.mark.filterwarnings("ignore")  # the peer's own
@pytest.mark.parametrize("algorithm", PEERS)
def test_peer_makes_a_file_that_computes_like_the_float_one(algorithm: str) -> None:
    pytest.importorskip("litert_quantizer")
    from spaces.trainable.keras_model import build_model
    from tasks.learning.quantization import Network, export_float

    space = load_trainable("mobilenet_edgetpu_v2_small").for_input((1, 16, 16, 1))
    problem = problem_of_space(space, 4)
    point = load_baselines(space.name)["fused_s"]
    graph = problem.complete(space.lower(point))
    network = Network(
        build_model(graph, outputs=problem.trained), graph, problem.trained, problem.deployed
    )
    samples = {"input": np.random.default_rng(0).uniform(-1, 1, (8, 16, 16, 1)).astype("f4")}
    floating = export_float(network)
    made = peer(floating, samples, algorithm)
    assert len(made) < 0.6 * len(floating)
    (ours,), (theirs,) = (predict(one, samples, problem.deployed) for one in (floating, made))
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.8  # weights are random: saturated
