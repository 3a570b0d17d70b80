"""Memory of data that does not fit into it, and how long a training step waits for its batch.

    python -m benchmarks.large_data --pictures 20000                   # 7 GB of disk for a while
    python -m benchmarks.large_data --pictures 100000 --folder /disk   # 33 GB
    python -m benchmarks.large_data --pictures 5000 --size 32 --batch 64

Makes pictures of noise and bars in ten classes as JPEG files and takes them through the stage
``prepare``, the linear floor, and ``--steps`` steps of training a network of ``--space``, each in
a process of its own as in a run. The network is ``--network`` (smallest, largest or a name of the
catalogue) with all augmentation that the recipe knows.

Memory is anonymous (``RssAnon`` of ``/proc/self/status``, looked at every 20 ms): what a process
needs. Pages of the prepared file that it looked at lately count as its resident memory, too
(``RssFile``, printed beside); all processes share them, and the kernel takes them back when
somebody needs memory, so they are no demand. ``started`` is what the process held before it began.
What training needs is the network's: it does not depend on how many pictures there are.

A step waits from the end of the step before it until its batch is there. The peer is the same
training with batches made in the loop; both are told as shares of the wall time of the steps, the
first ones, which trace, left out.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import multiprocessing
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.results import Result, machine, save, warn_if_busy
from spaces.menu import load_baselines
from tasks import prepare_dataset
from tasks.data import linear_floor
from tasks.data.arrays import load_split
from tasks.learning import recipes
from tasks.learning.ahead import ahead
from tasks.learning.networks import sized
from tasks.learning.problem import open_problem
from tasks.run.manifest import DataManifest
from tasks.run.params import DataParams, FinetuneParams, ProblemParams
from tasks.run.progress import SilentProgress
from tasks.run.workspace import Workspace

CLASSES, BASES, FIRST = 10, 60, 5
"""Classes; pictures that are drawn, each file being one of its class with another tail; steps that
do not count."""
PACKAGES = ("tensorflow", "numpy", "pillow")
MB = 10**6
EPOCHS = 40
"""Of the recipe: long enough that all augmentation is in it."""


def make_pictures(folder: Path, count: int, size: int) -> None:
    """JPEG files ``folder/<class>/*.jpg``, no two of one content."""
    rng = np.random.default_rng(0)
    drawn = []
    for number in range(BASES):
        rough = rng.integers(0, 256, (8, 8, 3), np.uint8)
        rough[:, : 2 + number % CLASSES // 2, number % 2] = 255  # what tells its class
        stream = io.BytesIO()
        smooth = Image.fromarray(rough).resize((size + size // 8, size), Image.Resampling.BICUBIC)
        smooth.save(stream, "JPEG")
        drawn.append(stream.getvalue())
    for label in range(CLASSES):
        (folder / str(label)).mkdir(parents=True)
    for number in range(count):
        label = number % CLASSES
        base = label + CLASSES * int(rng.integers(BASES // CLASSES))
        content = drawn[base] + number.to_bytes(4, "little")  # behind its end
        (folder / str(label) / f"{number:07d}.jpg").write_bytes(content)


def held() -> dict[str, int]:
    """Bytes of resident memory by kind: RssAnon, RssFile, RssShmem."""
    lines = Path("/proc/self/status").read_text().splitlines()
    rows = (line.split() for line in lines if line.startswith("Rss"))
    return {row[0].rstrip(":"): 1024 * int(row[1]) for row in rows}


@contextmanager
def watched() -> Generator[dict[str, float]]:
    """Seconds of the block, memory at its start and the most of it: a dict, full after it."""
    found: dict[str, float] = {"started": held()["RssAnon"] / MB}
    most, done, began = held(), threading.Event(), time.monotonic()

    def look() -> None:
        while not done.wait(0.02):
            for kind, size in held().items():
                most[kind] = max(most[kind], size)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()
        found["anonymous"], found["mapped"] = most["RssAnon"] / MB, most["RssFile"] / MB
        found["seconds"] = time.monotonic() - began


def prepare(workspace: Workspace, given: argparse.Namespace) -> dict[str, float]:
    """The stage, on the pictures beside the workspace."""
    source = str(workspace.root.parent / "pictures")
    params = DataParams(
        format="image_folder", source=source, image_size=given.size, test_fraction=0.0
    )
    with watched() as found:
        prepare_dataset.run(params, workspace, SilentProgress())
    return found


def floor(workspace: Workspace, given: argparse.Namespace) -> dict[str, float]:
    """The linear model that the report compares with."""
    with watched() as found:
        train, validation = load_split(workspace, "train"), load_split(workspace, "validation")
        linear_floor.predictions(train, validation)
    return found


def train(workspace: Workspace, given: argparse.Namespace) -> dict[str, float]:
    """Steps with batches made ahead, as a run takes them."""
    return _train(workspace, given, ahead)


def train_in_turn(workspace: Workspace, given: argparse.Namespace) -> dict[str, float]:
    """The peer: each batch is made when its step asks for it."""

    def in_turn(make: Callable[[int], Any], steps: Iterable[int]) -> Generator[Any]:
        yield from map(make, steps)

    return _train(workspace, given, in_turn)


def _train(
    workspace: Workspace, given: argparse.Namespace, order: Callable[..., Generator[Any]]
) -> dict[str, float]:
    from tasks.learning import training

    training.configure_tensorflow(given.threads, deterministic=True)
    waited: list[float] = []
    ended: list[float] = []

    def timed(make: Callable[[int], Any], steps: Iterable[int]) -> Generator[Any]:
        made = order(make, steps)
        while True:
            began = time.monotonic()
            try:
                one = next(made)
            except StopIteration:
                return
            waited.append(time.monotonic() - began)
            yield one
            ended.append(time.monotonic())

    training.ahead = timed
    model, graph, problem, plan = _network(workspace, given)
    recipe = dataclasses.replace(plan.recipe, steps=given.steps)
    checkpoint = training.Checkpoint(workspace.state / "benchmark.npz", every=10**9)
    with watched() as found:
        arrays = load_split(workspace, "train")
        batches = training.Batches(problem, arrays, plan.batch_size, recipe.seed, plan.augment)
        parts = (model, graph, problem, batches, recipe, checkpoint, SilentProgress())
        training.train_model(*parts)
    wall = ended[-1] - ended[FIRST - 1]
    return {
        **found,
        "step_ms": 1e3 * wall / len(ended[FIRST:]),
        "wait_ms": 1e3 * float(np.mean(waited[FIRST:])),
        "wait_share": sum(waited[FIRST:]) / wall,
    }


def _network(workspace: Workspace, given: argparse.Namespace) -> tuple[Any, ...]:
    """Model, graph, problem and plan of the network that is asked for."""
    import tf_keras as keras

    from spaces.trainable.keras_model import build_model

    manifest = DataManifest.read(workspace)
    problem = open_problem(ProblemParams(name="classification"), workspace)
    space = sized(given.space, manifest)
    named = {"smallest": space.smallest, "largest": space.largest}
    point = named.get(given.network, lambda: load_baselines(given.space)[given.network])()
    graph = problem.complete(space.lower(point))
    facts = dataclasses.replace(recipes.facts_of(manifest), mirrored=True)
    plan = recipes.plan(facts, FinetuneParams(batch_size=given.batch), EPOCHS)
    keras.utils.set_random_seed(0)
    return build_model(graph, plan.dropout, outputs=problem.trained), graph, problem, plan


PARTS: Sequence[Callable[..., dict[str, float]]] = (prepare, floor, train, train_in_turn)


def measure(given: argparse.Namespace) -> Result:
    """Print a row a part."""
    found: dict[str, object] = {}
    with TemporaryDirectory(prefix="edgenas-large-", dir=given.folder) as name:
        folder = Path(name)
        make_pictures(folder / "pictures", given.pictures, given.size)
        workspace = Workspace(folder / "results", folder / "state", folder / "store")
        size = given.pictures * given.size**2 * 3 / MB
        print(
            f"{given.pictures:,} pictures of {given.size}x{given.size}x3 are {size:,.0f} MB; "
            f"batch {given.batch}, {given.steps} steps, {given.network} of {given.space}, "
            f"{given.threads} TensorFlow threads",
            flush=True,
        )
        for part in PARTS:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                row = pool.apply(part, (workspace, given))
            found[part.__name__] = row
            waits = (
                f", a step {row['step_ms']:.1f} ms, of which it waits {row['wait_ms']:.1f} ms: "
                f"{row['wait_share']:.1%}"
                if "step_ms" in row
                else ""
            )
            print(
                f"{part.__name__:<14} {row['seconds']:6.0f} s, anonymous memory at most "
                f"{row['anonymous']:6,.0f} MB (started {row['started']:,.0f}), pages of files "
                f"{row['mapped']:6,.0f} MB{waits}",
                flush=True,
            )
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write it down if asked to."""
    top = argparse.ArgumentParser(prog="python -m benchmarks.large_data")
    top.add_argument("--pictures", type=int, default=20_000)
    top.add_argument("--size", type=int, default=224, help="of a side, in pixels")
    top.add_argument("--batch", type=int, default=32)
    top.add_argument("--steps", type=int, default=200)
    top.add_argument("--space", default="mobilenet_v2")
    top.add_argument("--network", default="smallest")
    top.add_argument("--threads", type=int, default=1)
    top.add_argument("--folder", type=Path, help="on a disk with room; default: that of TMPDIR")
    top.add_argument("--json", type=Path)
    given = top.parse_args(arguments)
    warn_if_busy()
    found = measure(given)
    told = {name: str(value) for name, value in vars(given).items() if name != "json"}
    save(given.json, {"settings": told, "machine": machine(PACKAGES), "parts": found})


if __name__ == "__main__":
    main()
