"""One network trained from scratch by a recipe, or as plain Keras does it.

    python -m benchmarks.recipes --data FOLDER --epochs 8
    python -m benchmarks.recipes --data FOLDER --epochs 8 --plain
    python -m benchmarks.recipes --profile nuclei3 --network autoseg_m --data FOLDER --epochs 10

FOLDER is a data set in the form that the profile asks for; by default photographs,
``train/<class>/*`` and ``validation/<class>/*``. By default the recipe is that of
``tasks/learning/recipes.py``; ``--set key=value`` changes a key of ``finetune``. ``--plain`` is
what a person would write: Keras' Adam at 0.001 with a cosine, on the same augmentation.
``--seconds`` stretches the plain cosine to that wall time. Prints the score on validation in
floating point.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import numpy as np

from spaces.menu import load_baselines
from tasks import prepare_dataset
from tasks.data.arrays import load_split
from tasks.learning import recipes
from tasks.learning.first_weights import FirstWeights
from tasks.learning.inputs import inputs_in_batches
from tasks.learning.networks import sized
from tasks.learning.problem import open_problem
from tasks.learning.protocols import Problem
from tasks.run.manifest import DataManifest
from tasks.run.params_file import load_params
from tasks.run.progress import SilentProgress
from tasks.run.workspace import Workspace


def by_recipe(
    model: Any, graph: Any, problem: Problem, batches: Any, plan: recipes.Plan, work: Path
) -> int:
    """Train as the project does; returns the steps."""
    from tasks.learning.training import Checkpoint, train_model

    checkpoint = Checkpoint(work / "checkpoint.npz", every=10**9)
    train_model(model, graph, problem, batches, plan.recipe, checkpoint, SilentProgress())
    return plan.recipe.steps


def plainly(
    model: Any, graph: Any, problem: Problem, batches: Any, steps: int, seconds: float | None
) -> int:
    """Train as plain Keras would, for ``steps`` or for wall ``seconds``; returns the steps."""
    import tensorflow as tf
    import tf_keras as keras

    from tasks.learning.training import as_tensors

    optimizer = keras.optimizers.Adam(1e-3)
    names = [name for name, _ in graph.inputs]

    @tf.function
    def one(inputs: Any, targets: Any) -> None:
        with tf.GradientTape() as tape:
            outputs = model([inputs[name] for name in names], training=True)
            outputs = tuple(outputs) if isinstance(outputs, list | tuple) else (outputs,)
            loss = problem.loss(targets, outputs, 0.0)
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    began, step, done = time.monotonic(), 0, 0.0
    while done < 1:
        optimizer.learning_rate.assign(1e-3 * 0.5 * (1 + np.cos(np.pi * done)))
        one(*as_tensors(problem, batches.at(step), graph))
        step += 1
        done = step / steps if seconds is None else (time.monotonic() - began) / seconds
    return step


def parser() -> argparse.ArgumentParser:
    """The options."""
    top = argparse.ArgumentParser(prog="python -m benchmarks.recipes")
    top.add_argument("--data", required=True)
    top.add_argument("--profile", default="cifar10", help="of params.yaml, for data of its form")
    top.add_argument("--network", default="edgetpu_v2_s", help="a baseline of the space")
    top.add_argument("--epochs", type=int, default=8)
    top.add_argument("--plain", action="store_true")
    top.add_argument("--seconds", type=float)
    top.add_argument("--threads", type=int, default=2)
    top.add_argument("--set", dest="overrides", nargs="+", default=[], metavar="KEY=VALUE")
    return top


def main() -> None:
    """Train once and print the score."""
    import tf_keras as keras

    from spaces.trainable.keras_model import build_model
    from tasks.learning.exported import network_of
    from tasks.learning.quantization import deployed_outputs
    from tasks.learning.training import Batches, configure_tensorflow

    given = parser().parse_args()
    configure_tensorflow(given.threads, deterministic=False)
    overrides = [f"data.source={given.data}", *(f"finetune.{one}" for one in given.overrides)]
    params = load_params(Path("params.yaml"), given.profile, overrides)
    with TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder) / "results", Path(folder) / "state", Path(folder))
        prepare_dataset.run(params.data, workspace, SilentProgress())
        manifest = DataManifest.read(workspace)
        problem = open_problem(params.problem, workspace)
        space = sized(params.space.name, manifest)
        graph = problem.complete(space.lower(load_baselines(space.name)[given.network]))
        plan = recipes.plan(recipes.facts_of(manifest), params.finetune, given.epochs)
        keras.utils.set_random_seed(params.finetune.seed)
        model = build_model(graph, plan.dropout, outputs=problem.trained)
        train, held = load_split(workspace, "train"), load_split(workspace, "validation")
        batches = Batches(problem, train, plan.batch_size, plan.recipe.seed, plan.augment)
        if not given.plain:
            FirstWeights(train).give(model, graph)
        began = time.monotonic()
        if given.plain:
            steps = plainly(model, graph, problem, batches, plan.recipe.steps, given.seconds)
        else:
            steps = by_recipe(model, graph, problem, batches, plan, Path(folder))
        seconds = time.monotonic() - began
        network = network_of(model, graph, problem)
        outputs = deployed_outputs(network, inputs_in_batches(problem, held, graph))
        score = problem.score(outputs, held, graph)[problem.metric.name]
    how = "plain Keras" if given.plain else f"by recipe ({plan.recipe.optimizer})"
    print(
        f"{given.network}, {how}: {100 * score:.1f} % {problem.metric.name} after {steps} steps, "
        f"{seconds:.0f} s"
    )


if __name__ == "__main__":
    main()
