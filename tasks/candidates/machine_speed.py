"""How many nominal machines this one is, measured where ``runtime.speed`` is ``auto``.

Minutes become epochs by the graphs of networks (:mod:`tasks.candidates.workload`), for a nominal
machine. With a number as speed the same parameters give the same trainings everywhere. With
``auto`` the minutes are kept instead: before the trainings of a stage, some of the space's
hand-made networks take a few steps side by side, as trainings will, and what they take is set
against what is reckoned. The answer is told, is written to the outcome of the stage, and is kept
for a stage that was cut off; given as ``runtime.speed`` it makes the same trainings again.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import final

from spaces.menu import load_baselines
from spaces.space import Architecture
from tasks.candidates.workload import CORES, step_seconds
from tasks.data.arrays import load_split
from tasks.learning import recipes
from tasks.learning.networks import sized
from tasks.learning.problem import open_problem
from tasks.run import teams, workers
from tasks.run.manifest import DataManifest
from tasks.run.params import FinetuneParams, ProblemParams, RuntimeParams
from tasks.run.workspace import Workspace, read_json, write_json

AUTO = "auto"
LEAST_STEPS, MOST_STEPS, SECONDS, FIRST = 8, 24, 20.0, 3
"""Steps that each network takes: as many as fit into nominal seconds. The first do not count."""
EPOCHS = 40
"""Of the recipe that is tried: long enough that all augmentation is in it."""
PLACES = 4
"""Networks tried, from small to large."""
USED = 0.85
"""Share of the measured speed that is reckoned with: scoring and conversion take time, too."""
GRID = (0.25, 0.33, 0.5, 0.67, 0.8, *(quarter / 4 for quarter in range(4, 17)), *range(5, 65))
"""Answers, so that machines of one kind seldom differ: the next one below what was measured."""
FILE = "speed.json"


def speed_of(
    problem: ProblemParams, space: str, runtime: RuntimeParams, workspace: Workspace
) -> float:
    """``runtime.speed``, or, where it is ``auto``, what this machine has, in nominal ones.

    Takes about half a minute if it is measured, which needs prepared data.
    """
    if runtime.speed != AUTO:
        return float(runtime.speed)
    path = workspace.state / FILE
    if not path.exists():
        measured = _measured(problem, space, runtime, workspace)
        speed = max((one for one in GRID if one <= USED * measured), default=GRID[0])
        workspace.state.mkdir(parents=True, exist_ok=True)
        write_json(path, {"measured": round(measured, 3), "speed": speed})
        print(
            f"runtime.speed: {speed:g}, measured ({AUTO}); set to that number it makes the same "
            "trainings on any machine",
            flush=True,
        )
    return float(read_json(path)["speed"])


def _measured(
    problem: ProblemParams, space: str, runtime: RuntimeParams, workspace: Workspace
) -> float:
    """Nominal over real time of training steps, by all worker processes together.

    Networks differ in it by a factor of two, since wide vector instructions help some ops more
    than others. So their times are summed, as those of candidates are in a stage.
    """
    opened, manifest = open_problem(problem, workspace), DataManifest.read(workspace)
    whole = sized(space, manifest)
    points = list(load_baselines(space).values()) or [whole.smallest()]
    points.sort(key=lambda point: opened.complete(whole.lower(point)).macs)
    count = teams.count(workers.MOST)
    pieces = [
        (problem, space, runtime, workspace, points[(2 * place + 1) * len(points) // (2 * PLACES)])
        for place in range(PLACES)
    ]
    times = teams.run_all(try_one, pieces, lambda done, note: None)
    nominal = sum(one for one, _ in times)
    real = sum(one for _, one in times)
    return float(count * nominal / real / CORES)


Piece = tuple[ProblemParams, str, RuntimeParams, Workspace, Architecture]


def try_one(piece: Piece, report: workers.Report) -> tuple[float, float]:
    """Nominal and wall seconds of a network's step; runs in a process of its own."""
    import tf_keras as keras

    from spaces.trainable.keras_model import build_model
    from tasks.learning.training import Batches, Checkpoint, configure_tensorflow, train_model

    problem, space, runtime, workspace, point = piece
    configure_tensorflow(workers.threads(runtime.threads), runtime.deterministic)
    opened, manifest = open_problem(problem, workspace), DataManifest.read(workspace)
    plan = recipes.plan(recipes.facts_of(manifest), FinetuneParams(), EPOCHS)
    graph = opened.complete(sized(space, manifest).lower(point))
    nominal = step_seconds(graph, plan.batch_size)
    count = min(MOST_STEPS, max(LEAST_STEPS, int(SECONDS / nominal)))
    recipe = dataclasses.replace(plan.recipe, steps=count)
    train = load_split(workspace, "train")
    batches = Batches(opened, train, plan.batch_size, recipe.seed, plan.augment)
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    model, clock = build_model(graph, plan.dropout, outputs=opened.trained), Clock()
    checkpoint = Checkpoint(workspace.state / f"{point.id}-speed.npz", every=10**9)
    train_model(model, graph, opened, batches, recipe, checkpoint, clock)
    steps = [after - before for before, after in zip(clock.ended, clock.ended[1:], strict=False)]
    return nominal, statistics.median(steps[FIRST:])


@final
class Clock:
    """Progress that keeps when each step ended."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """``now``: wall time, or that of the processor."""
        self._now = now
        self.ended: list[float] = []

    def start(self, name: str, total: int) -> None:
        """Nothing to keep."""

    def advance(self, done: int, note: str = "") -> None:
        """A step ended."""
        self.ended.append(self._now())

    def finish(self) -> None:
        """Nothing to keep."""
