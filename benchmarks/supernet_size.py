"""How large the supernet of a space is, what it trains at most, and what a step of it takes.

    python -m benchmarks.supernet_size --space mobilenet_edgetpu_v2 --batch-size 8
    python -m benchmarks.supernet_size --space autoseg_edgetpu --batch-size 1
    python -m benchmarks.supernet_size --space spaghettinet_edgetpu --batch-size 4
    python -m benchmarks.supernet_size --space mobilebert_edgetpu --batch-size 2

A step is that of the pipeline (``tasks.learning.sandwich.SandwichStep``): the largest network
within reach (:mod:`spaces.trainable.reach`), the smallest and two random ones on one batch of
noise, by the recipe of ``params.yaml``. Sizes count the head, MACs are of one sample. Memory is
the most that this process ever held, TensorFlow and the initialisation included; so each space is
a command of its own. The first step also traces the largest and the smallest network.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import ROOT, Result, machine, save, warn_if_busy
from spaces.graph import Shape
from spaces.menu import load_baselines, load_trainable
from spaces.space import TrainableSpace
from tasks.candidates.limits import reach
from tasks.learning.problem import default_classes, load_problem, problem_of_space
from tasks.learning.protocols import Arrays, Problem, Setting
from tasks.run.params_file import load_params

PACKAGES = ("tensorflow", "tf-keras", "numpy")
SEED = 0
BOXES = 4
"""Objects in a picture of noise."""


def noise(problem: str, shape: Shape, size: int, classes: int, vocabulary: int) -> Arrays:
    """A batch as prepared data is; what a step costs does not depend on what it sees."""
    rng = np.random.default_rng(SEED)
    if problem == "text_classification":
        tokens = rng.integers(4, vocabulary, (size, shape[1])).astype(np.int32)
        tokens[:, 0], tokens[:, -1] = 2, 3
        types = np.zeros_like(tokens)
        return {"tokens": tokens, "types": types, "labels": _labels(rng, classes, size)}
    images = rng.integers(0, 256, (size, *shape[1:]), np.uint8)
    if problem == "segmentation":
        masks = rng.integers(0, classes, (size, *shape[1:3]), np.uint8)
        return {"images": images, "masks": masks}
    if problem == "detection":
        corners = rng.uniform(0.0, 0.6, (size, BOXES, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(0.1, 0.4, corners.shape)], -1)
        return {
            "images": images,
            "boxes": boxes.astype(np.float32),
            "labels": _labels(rng, classes, size, BOXES),
            "crowd": np.zeros((size, BOXES), np.bool_),
        }
    return {"images": images, "labels": _labels(rng, classes, size)}


def _labels(rng: np.random.Generator, classes: int, *shape: int) -> Any:
    return rng.integers(0, classes, shape).astype(np.int32)


def opened(space: TrainableSpace, classes: int, batch: Arrays) -> Problem:
    """The problem of a space with a batch as its train split."""
    kind = load_problem(problem_of_space(space, classes).name)
    names = tuple(map(str, range(classes)))
    return kind(Setting(names, space.input_shape, kind.options(), lambda: batch))


def memory_gb() -> float:
    """The most that this process ever held, in 10^9 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def of_input(space: TrainableSpace, size: int | None) -> TrainableSpace:
    """The space for inputs of ``size``: pixels of a side, or tokens; None: as it is."""
    if size is None:
        return space
    shape = space.input_shape
    return space.for_input((1, size) if len(shape) == 2 else (1, size, size, shape[-1]))


def measure(space: TrainableSpace, options: argparse.Namespace) -> Result:
    """Sizes, then the steps."""
    from spaces.trainable.supernet import Supernet
    from tasks.learning.recipes import Facts, supernet_plan
    from tasks.learning.sandwich import SandwichStep
    from tasks.learning.training import configure_tensorflow

    params = load_params(ROOT / "params.yaml")
    configure_tensorflow(params.runtime.threads, params.runtime.deterministic)
    classes = options.classes or default_classes(space)
    name = problem_of_space(space, classes).name
    vocabulary = getattr(space, "vocabulary_size", 0)
    batch = noise(name, space.input_shape, options.batch_size, classes, vocabulary)
    problem = opened(space, classes, batch)
    baselines = load_baselines(space.name)
    trained = reach(space, params.cost, problem)
    published = {key: problem.complete(space.lower(one)).macs for key, one in baselines.items()}
    most = max(published, key=lambda key: published[key])
    largest = problem.complete(space.lower(trained.largest()))
    net = Supernet(space, problem.complete, problem.trained, SEED, problem.first_bias)
    parameters = sum(int(np.prod(one.shape)) for one in net.parameters.values())
    ratio = largest.macs / published[most]
    print(f"supernet: {parameters / 1e6:.1f} M parameters")
    print(f"largest published network, {most}: {published[most] / 1e9:.3f} GMACs")
    print(f"largest trained network: {largest.macs / 1e9:.3f} GMACs, {ratio:.2f} times that")
    print(f"memory before the first step: {memory_gb():.2f} GB at most", flush=True)
    texts = len(space.input_shape) == 2
    labelled = name.endswith("classification")
    facts = Facts(texts, labelled, 8000, 0 if texts else min(space.input_shape[1:3]), False)
    decided = supernet_plan(facts, params.supernet)
    count = params.supernet.random_subnets
    step = SandwichStep(net, problem, decided.recipe, decided.dropout, count, trained)
    rows: list[Result] = []
    for number in range(options.steps):
        start = time.perf_counter()
        losses = step(number, batch)
        seconds = time.perf_counter() - start
        if not np.all(np.isfinite(losses)):
            raise RuntimeError(f"losses of step {number + 1} must be finite, but got {losses}")
        rows.append({"seconds": seconds, "memory_gb": memory_gb(), "losses": list(losses)})
        print(
            f"step {number + 1}: {seconds:.1f} s, {memory_gb():.2f} GB at most, losses "
            f"{losses[0]:.3f} / {losses[1]:.3f}",
            flush=True,
        )
    return {
        "input_shape": list(space.input_shape),
        "classes": classes,
        "batch_size": options.batch_size,
        "parameters": parameters,
        "published": published,
        "limits": trained.limits,
        "largest_macs": largest.macs,
        "ratio": ratio,
        "steps": rows,
    }


def parser() -> argparse.ArgumentParser:
    """The options."""
    top = argparse.ArgumentParser(
        prog="python -m benchmarks.supernet_size",
        description="Size of a supernet, and time and memory of its steps on noise.",
    )
    top.add_argument("--space", required=True, help="a file of spaces/catalog")
    top.add_argument("--size", type=int, help="pixels of a side, or tokens; default: the space's")
    top.add_argument("--classes", type=int, help="default: those of the published networks")
    top.add_argument("--batch-size", type=int, default=8)
    top.add_argument("--steps", type=int, default=3)
    top.add_argument("--json", type=Path, metavar="OUT")
    return top


def main() -> None:
    """Measure, print, write."""
    options = parser().parse_args()
    warn_if_busy()
    about = machine(PACKAGES)
    space = of_input(load_trainable(options.space), options.size)
    shape = "x".join(map(str, space.input_shape[1:]))
    print(f"{space.name}, {shape}, batch {options.batch_size}", flush=True)
    result = measure(space, options)
    save(options.json, {"machine": about, "space": space.name, **result})


if __name__ == "__main__":
    main()
