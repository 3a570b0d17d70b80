"""Which trainings finalists have, and how long they are."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from spaces.graph import OpGraph
from tasks.candidates.workload import epochs_within, step_seconds
from tasks.learning import recipes
from tasks.learning.teacher import LARGEST
from tasks.run.params import FinetuneParams

LONGER = 2
"""Times the epochs of all are those by which the better half goes on, where epochs are given."""


@dataclass(frozen=True, slots=True)
class Course:
    """A training in floating point, and the one with quantization in the loop after it."""

    floating: recipes.Plan
    quantized: recipes.Plan

    @property
    def steps(self) -> int:
        """Of both."""
        return self.floating.recipe.steps + self.quantized.recipe.steps


@dataclass(frozen=True, slots=True)
class Courses:
    """The trainings of finalists.

    Attributes:
        first: What all have.
        longer: What the best have after it; None: all are finished after the first.
    """

    first: Course
    longer: Course | None = None


def courses_of(
    facts: recipes.Facts,
    graphs: Sequence[OpGraph],
    finetune: FinetuneParams,
    speed: float | None,
) -> Courses:
    """The same trainings for all: as many epochs as fit into the minutes, unless set.

    Where the better half trains longer, it has half of the minutes. ``speed``: of this machine, in
    nominal ones; None where epochs are given.
    """
    epochs, further = finetune.epochs, 0
    if epochs is None:
        size = finetune.batch_size or recipes.batch_size(facts)
        share = finetune.minutes / recipes.WITH_QAT
        if finetune.teacher == LARGEST:
            steps = [step_seconds(graph, size) for graph in graphs]
            asked = recipes.TEACHER_STEP * max(steps) * (len(steps) - 1)
            share *= sum(steps) / (sum(steps) + asked)
        within = functools.partial(
            epochs_within,
            graphs=graphs,
            steps_per_epoch=max(1, facts.items // size),
            batch_size=size,
            most=recipes.MOST_EPOCHS,
            speed=speed or 1.0,
        )
        epochs = within(share / finetune.rungs)
        further = within(share / finetune.rungs * len(graphs) / half(len(graphs)))
    else:
        further = LONGER * epochs
    floating = recipes.plan(facts, finetune, epochs)
    first = Course(floating, recipes.quantized_plan(facts, finetune, floating))
    if finetune.rungs == 1:
        return Courses(first)
    more = recipes.further_plan(facts, finetune, floating, further)
    return Courses(first, Course(more, recipes.quantized_plan(facts, finetune, more)))


def half(count: int) -> int:
    """Of so many finalists those that train longer."""
    return -(-count // 2)
