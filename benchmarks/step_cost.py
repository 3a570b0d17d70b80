"""What one training step of the supernet costs over ordinary training of the same networks.

    python -m benchmarks.step_cost --json step_cost.json          # about 5 minutes on two cores
    python -m benchmarks.step_cost --image-size 32 64

A sandwich step trains the largest, the smallest and two random networks on one batch and takes one
optimizer step. Its peer are the same four networks as ordinary Keras models, each compiled with
the same optimizer and run by the traced function that ``Model.fit`` runs, on a ``tf.data``
iterator that hands out tensors: no work per call in Python or NumPy. The supernet's side is timed
as the pipeline calls it, from NumPy arrays, with weight decay; largest and smallest are traced,
the random ones run op by op.

A round takes other random networks. Within a round the two sides alternate; warm-up calls, which
trace, are not counted. The ratio of a round is that of its medians.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.results import ROOT, Result, machine, said, save, spread, warn_if_busy
from spaces.graph import OpGraph, Shape
from spaces.space import Architecture, TrainableSpace
from spaces.walk import sample
from tasks.learning.problem import problem_of_space
from tasks.learning.protocols import Arrays, Problem
from tasks.run.params import Params
from tasks.run.params_file import load_params

PACKAGES = ("tensorflow", "tf-keras", "numpy")
SEED = 0


def noise(shape: Shape, size: int, classes: int) -> dict[str, NDArray[Any]]:
    """A batch as prepared data is; what a step costs does not depend on what it sees."""
    rng = np.random.default_rng(SEED)
    images = rng.integers(0, 256, (size, *shape[1:]), np.uint8)
    return {"images": images, "labels": rng.integers(0, classes, size).astype(np.int32)}


def networks(
    space: TrainableSpace, seed: int, step: int, random_subnets: int
) -> list[Architecture]:
    """The networks of a step by the sandwich rule (``tasks.learning.sandwich.SandwichStep``)."""
    rng = np.random.default_rng([seed, 2, step])
    ends = [space.largest(), space.smallest()]
    return [*ends, *(sample(space, rng) for _ in range(random_subnets))]


def ordinary_step(
    problem: Problem, graph: OpGraph, batch: Arrays, recipe: Any, dropout: float, step: int
) -> Callable[[], object]:
    """One training step of one network as a compiled Keras model."""
    import tensorflow as tf
    import tf_keras as keras

    from spaces.trainable.keras_model import build_model

    keras.utils.set_random_seed(SEED)
    model = build_model(graph, dropout=dropout, outputs=problem.trained)
    optimizer = keras.optimizers.SGD(
        recipe.rate(step), recipe.momentum, nesterov=True, global_clipnorm=recipe.clip_norm
    )
    smoothing = recipe.label_smoothing
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    model.compile(optimizer, loss)
    images = problem.inputs(batch, graph)["input"]
    targets = tf.one_hot(batch["labels"], len(problem.setting.classes))
    iterator = iter(tf.data.Dataset.from_tensors((images, targets)).repeat())
    train = model.make_train_function()
    return lambda: float(train(iterator)["loss"])


def check_networks(net: Any, expected: Sequence[Architecture], call: Callable[[], object]) -> None:
    """Make sure that both sides train the same networks.

    Raises:
        RuntimeError: The sandwich rule draws others than :func:`networks` says.
    """
    seen: list[Architecture] = []
    graph = net.graph

    def spy(architecture: Architecture, *rest: Any) -> Any:
        seen.append(architecture)
        return graph(architecture, *rest)

    net.graph = spy
    try:
        call()
    finally:
        net.graph = graph
    if list(dict.fromkeys(seen)) != list(dict.fromkeys(expected)):
        raise RuntimeError("both sides must train the same networks, but the sandwich has others")


def alternate(first: Callable[[], Any], second: Callable[[], Any], repeats: int) -> list[float]:
    """Median seconds of each, called in turn."""
    took: list[list[float]] = [[], []]
    for _ in range(repeats):
        for call, seconds in zip((first, second), took, strict=True):
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
    return [statistics.median(seconds) for seconds in took]


def measure(params: Params, space: TrainableSpace, options: argparse.Namespace) -> Result:
    """All rounds at one input size."""
    from spaces.trainable.supernet import Supernet
    from tasks.learning.recipes import Facts, supernet_plan
    from tasks.learning.sandwich import SandwichStep

    settings = params.supernet
    facts = Facts(False, True, 8000, space.input_shape[1], False)
    decided = supernet_plan(facts, settings)
    recipe = decided.recipe
    problem = problem_of_space(space, options.classes)
    batch = noise(space.input_shape, options.batch_size, options.classes)
    net = Supernet(space, problem.complete, problem.trained, SEED, problem.first_bias)
    sandwich = SandwichStep(net, problem, recipe, decided.dropout, settings.random_subnets)
    rounds: list[dict[str, float]] = []
    for step in range(options.rounds):
        chosen = networks(space, recipe.seed, step, settings.random_subnets)
        steps = [
            ordinary_step(
                problem,
                problem.complete(space.lower(network)),
                batch,
                recipe,
                0.0 if index else decided.dropout,
                step,
            )
            for index, network in enumerate(chosen)
        ]
        supernet = functools.partial(sandwich, step, batch)
        ordinary = functools.partial(call_all, steps)
        check_networks(net, chosen, supernet)
        alternate(supernet, ordinary, options.warmup)
        ours, theirs = alternate(supernet, ordinary, options.repeats)
        rounds.append(
            {"supernet_ms": 1e3 * ours, "ordinary_ms": 1e3 * theirs, "ratio": ours / theirs}
        )
        print(
            f"  round {step + 1}: supernet {1e3 * ours:.1f} ms, ordinary {1e3 * theirs:.1f} ms, "
            f"ratio {ours / theirs:.2f}",
            flush=True,
        )
    spreads = {key: spread([one[key] for one in rounds]) for key in rounds[0]}
    for name, digits in (("supernet_ms", 1), ("ordinary_ms", 1), ("ratio", 2)):
        print(f"{name:<12} {said(spreads[name], digits)}")
    return {"input_shape": list(space.input_shape), "rounds": rounds, **spreads}


def call_all(steps: Sequence[Callable[[], object]]) -> None:
    """One step of each network."""
    for step in steps:
        step()


def parser() -> argparse.ArgumentParser:
    """The options."""
    top = argparse.ArgumentParser(
        prog="python -m benchmarks.step_cost",
        description="Cost of a supernet step over ordinary training of the same networks.",
    )
    top.add_argument("--space", help="a file of spaces/catalog; default: that of params.yaml")
    top.add_argument("--image-size", type=int, nargs="+", default=[32], metavar="PIXELS")
    top.add_argument("--channels", type=int, default=3)
    top.add_argument("--classes", type=int, default=10)
    top.add_argument("--batch-size", type=int, default=64)
    top.add_argument("--threads", type=int, help="of TensorFlow; default: that of params.yaml")
    top.add_argument("--rounds", type=int, default=5, help="each with other random networks")
    top.add_argument("--repeats", type=int, default=15, help="timed calls of each side a round")
    top.add_argument("--warmup", type=int, default=3, help="calls before, not counted")
    top.add_argument("--json", type=Path, metavar="OUT")
    return top


def main() -> None:
    """Measure, print, write."""
    options = parser().parse_args()
    warn_if_busy()
    about = machine(PACKAGES)
    from spaces.menu import load_trainable
    from tasks.learning.training import configure_tensorflow

    params = load_params(ROOT / "params.yaml")
    threads = options.threads or params.runtime.threads
    configure_tensorflow(threads, params.runtime.deterministic)
    name = options.space or params.space.name
    results = []
    for side in options.image_size:
        space = load_trainable(name).for_input((1, side, side, options.channels))
        shape = f"{side}x{side}x{options.channels}"
        print(f"{name}, {shape}, batch {options.batch_size}, {threads} threads", flush=True)
        results.append(measure(params, space, options))
    settings: Result = {
        "space": name,
        "batch_size": options.batch_size,
        "threads": threads,
        "deterministic": params.runtime.deterministic,
        "random_subnets": params.supernet.random_subnets,
    }
    save(options.json, {"machine": about, **settings, "sizes": results})


if __name__ == "__main__":
    main()
