"""Nominal against measured time of training steps, on one thread.

    python -m benchmarks.training_speed
    python -m benchmarks.training_speed --profile mine --set data.source=FOLDER

For networks of each problem on the data that comes with it, or of one profile: seconds of a step
as ``tasks/candidates/workload.py`` computes them and as this machine takes them, and the ratio. A
step is that of a finalist: batch, augmentation, forward, backward, optimizer, running average.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import numpy as np

from benchmarks.results import warn_if_busy
from spaces.menu import load_baselines
from spaces.walk import sample
from tasks import prepare_dataset
from tasks.candidates.machine_speed import Clock
from tasks.candidates.workload import step_seconds
from tasks.data.arrays import load_split
from tasks.learning import recipes
from tasks.learning.networks import sized
from tasks.learning.problem import open_problem
from tasks.run.manifest import DataManifest
from tasks.run.params import Params
from tasks.run.params_file import load_params
from tasks.run.progress import SilentProgress
from tasks.run.workspace import Workspace

PROFILES = (None, "segmentation", "detection", "text_classification", "question_answering")
STEPS, FIRST = 16, 4
"""Steps of a training, and how many of them do not count."""
EPOCHS = 40
"""Of the recipe: long enough that all augmentation is in it."""


def measure(params: Params, folder: Path) -> list[float]:
    """Print a row a network: two random ones and two baselines; returns measured over nominal."""
    import tf_keras as keras

    from spaces.trainable.keras_model import build_model
    from tasks.learning.training import Batches, Checkpoint, train_model

    workspace = Workspace(folder / "results", folder / "state", folder)
    prepare_dataset.run(params.data, workspace, SilentProgress())
    manifest = DataManifest.read(workspace)
    problem = open_problem(params.problem, workspace)
    space = sized(params.space.name, manifest)
    plan = recipes.plan(recipes.facts_of(manifest), params.finetune, EPOCHS)
    recipe = dataclasses.replace(plan.recipe, steps=STEPS)
    train = load_split(workspace, "train")
    batches = Batches(problem, train, plan.batch_size, recipe.seed, plan.augment)
    rng = np.random.default_rng(0)
    drawn = {f"random {number}": sample(space, rng) for number in range(2)}
    found = []
    for name, point in (drawn | dict(list(load_baselines(space.name).items())[:2])).items():
        graph = problem.complete(space.lower(point))
        keras.backend.clear_session()
        keras.utils.set_random_seed(0)
        model, clock = (
            build_model(graph, plan.dropout, outputs=problem.trained),
            Clock(time.process_time),
        )
        checkpoint = Checkpoint(folder / "checkpoint.npz", every=10**9)
        train_model(model, graph, problem, batches, recipe, checkpoint, clock)
        real = statistics.median(np.diff(clock.ended)[FIRST:])
        nominal = step_seconds(graph, plan.batch_size)
        found.append(real / nominal)
        print(
            f"{params.problem.name:<20} {name:<18} batch {plan.batch_size:>3}  nominal "
            f"{1e3 * nominal:6.1f} ms  measured {1e3 * real:6.1f} ms  ratio {found[-1]:.2f}",
            flush=True,
        )
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure one profile, or the five that come with the project."""
    from tasks.learning.training import configure_tensorflow

    top = argparse.ArgumentParser(prog="python -m benchmarks.training_speed")
    top.add_argument("--profile")
    top.add_argument("--set", dest="overrides", nargs="+", default=[], metavar="KEY=VALUE")
    given: Any = top.parse_args(arguments)
    warn_if_busy()
    configure_tensorflow(1, deterministic=True)
    ratios = []
    for profile in (given.profile,) if given.profile else PROFILES:
        params = load_params(Path("params.yaml"), profile, given.overrides)
        with TemporaryDirectory() as folder:
            ratios += measure(params, Path(folder))
    low, high = min(ratios), max(ratios)
    print(
        f"measured over nominal: median {statistics.median(ratios):.2f} ({low:.2f} to {high:.2f})"
    )


if __name__ == "__main__":
    main()
