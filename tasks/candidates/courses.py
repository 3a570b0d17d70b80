"""Which trainings finalists have, and how long they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from spaces.graph import OpGraph
from tasks.candidates.workload import CORES, epochs_within, step_seconds
from tasks.learning import recipes
from tasks.learning.teacher import LARGEST
from tasks.run.params import FinetuneParams

LONGER = 2
"""Times the epochs of all are those by which the better half goes on, where epochs are given."""
ENOUGH_EPOCHS = 40
"""Of a finalist: one more finalist is then worth more than longer trainings. On three small sets
those that went on after 41 to 47 epochs won nothing (docs/learning.md)."""


@dataclass(frozen=True, slots=True)
class Course:
    """A training in floating point, and the one with quantization in the loop after it."""

    floating: recipes.Plan
    quantized: recipes.Plan

    @property
    def steps(self) -> int:
        """Of both."""
        return self.floating.recipe.steps + self.quantized.recipe.steps


@final
class Courses:
    """The trainings of finalists: one that all have, and one for those that go on after it.

    The first is the same for all, so that they can be compared. Those that go on have half of the
    minutes, each as much of them as the others: side by side none waits for another, and small
    networks, of which an epoch is short, have more epochs. Nobody goes on where the first is as
    long as any is of use.

    Args:
        facts: Of the data.
        graphs: Of all finalists.
        finetune: Minutes or epochs, and what else is set.
        speed: Of this machine, in nominal ones; None where epochs are given.

    Attributes:
        most: Epochs of use: :func:`tasks.learning.recipes.most_epochs`.
        go_on: How many have the longer training.
        first: What all have.
    """

    def __init__(
        self,
        facts: recipes.Facts,
        graphs: Sequence[OpGraph],
        finetune: FinetuneParams,
        speed: float | None,
    ) -> None:
        self._facts, self._finetune, self._speed = facts, finetune, speed or 1.0
        self._size = finetune.batch_size or recipes.batch_size(facts)
        self.most = recipes.most_epochs(facts, self._size)
        self._minutes = self._share(graphs) * finetune.minutes / recipes.WITH_QAT / finetune.rungs
        epochs = finetune.epochs  # 0 is a number, too
        if epochs is None:
            epochs = self._within(self._minutes, graphs)
        self.first = self._course(recipes.plan(facts, finetune, epochs))
        enough = finetune.epochs is None and epochs >= self.most
        self.go_on = half(len(graphs)) if finetune.rungs > 1 and not enough else 0

    def longer(self, graph: OpGraph) -> Course:
        """What one of those that go on has after the first."""
        if self._finetune.epochs is None:
            epochs = self._within(self._minutes / max(CORES, self.go_on), [graph])
        else:
            epochs = LONGER * self._finetune.epochs
        before = self.first.floating
        return self._course(recipes.further_plan(self._facts, self._finetune, before, epochs))

    def _course(self, floating: recipes.Plan) -> Course:
        return Course(floating, recipes.quantized_plan(self._facts, self._finetune, floating))

    def _share(self, graphs: Sequence[OpGraph]) -> float:
        """Of the minutes, that is left beside what a teacher takes."""
        if self._finetune.teacher != LARGEST:
            return 1.0
        steps = [step_seconds(graph, self._size) for graph in graphs]
        asked = recipes.TEACHER_STEP * max(steps) * (len(steps) - 1)
        return sum(steps) / (sum(steps) + asked)

    def _within(self, minutes: float, graphs: Sequence[OpGraph]) -> int:
        per_epoch = max(1, self._facts.items // self._size)
        return epochs_within(minutes, graphs, per_epoch, self._size, self.most, self._speed)


def as_many_as_learn(
    facts: recipes.Facts,
    graphs_of: Callable[[int], Sequence[OpGraph]],
    finetune: FinetuneParams,
    speed: float | None,
) -> tuple[int, Courses]:
    """How many finalists are trained, and by which courses.

    Where ``finetune.finalists`` is a range, as many of it as have :data:`ENOUGH_EPOCHS` each in
    the minutes given, or as many as are of use: then nobody goes on. Its lower end where more of
    them would not have, its upper one where epochs are given.

    Args:
        facts: Of the data.
        graphs_of: Those of so many finalists, and of the hand-made ones beside them.
        finetune: See :class:`Courses`.
        speed: See :class:`Courses`.
    """
    given = finetune.finalists
    least, most = (given, given) if isinstance(given, int) else given
    if finetune.epochs is not None:
        least = most
    for count in range(most, least, -1):
        alone = finetune.model_copy(update={"rungs": 1})
        courses = Courses(facts, graphs_of(count), alone, speed)
        if courses.first.floating.epochs >= min(ENOUGH_EPOCHS, courses.most):
            return count, courses
    return least, Courses(facts, graphs_of(least), finetune, speed)


def half(count: int) -> int:
    """Of so many finalists those that train longer."""
    return -(-count // 2)
