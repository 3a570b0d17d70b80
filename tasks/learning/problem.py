"""Problems, files of ``tasks/problems``, by name and opened with the data they learn from.

Everything that the stages do for a problem goes through here: nothing else knows which one runs.
What it must say of itself is in :mod:`tasks.learning.protocols`.
"""

from __future__ import annotations

import importlib

from spaces.menu import load_problems
from spaces.menu import names_in as names_in_spaces
from spaces.space import SearchSpace
from tasks.learning.protocols import Problem, ProblemError, ProblemKind, Setting
from tasks.run.manifest import DataManifest
from tasks.run.params import ProblemParams
from tasks.run.things import names_in
from tasks.run.workspace import Workspace, map_npz


def problem_names() -> tuple[str, ...]:
    """The problems that exist: the files of ``tasks/problems``."""
    return names_in("problems")


def load_problem(name: str) -> ProblemKind:
    """The ``PROBLEM`` of ``tasks/problems/<name>.py``.

    Raises:
        ProblemError: There is no such file; the message lists those that exist.
    """
    if name not in problem_names():
        raise ProblemError(
            f"problem.name must be one of {', '.join(problem_names())}, but got {name!r}."
        )
    kind: ProblemKind = importlib.import_module(f"tasks.problems.{name}").PROBLEM
    return kind


def problems_of(kind: str) -> tuple[str, ...]:
    """Names of the problems that learn from a kind of data."""
    return tuple(name for name in problem_names() if kind in load_problem(name).kinds)


def spaces_for(problem: str) -> tuple[str, ...]:
    """Names of the spaces whose networks a problem takes.

    Raises:
        ProblemError: There is no such problem.
    """
    taken = set(load_problem(problem).backbones)
    return tuple(name for name in names_in_spaces("catalog") if taken & set(load_problems(name)))


def open_problem(params: ProblemParams, workspace: Workspace) -> Problem:
    """The problem with the prepared data of a workspace.

    Raises:
        ProblemError: There is no such problem, or the data was prepared for another.
    """
    kind, manifest = load_problem(params.name), DataManifest.read(workspace)
    if manifest.kind not in kind.kinds:
        raise ProblemError(
            f"problem.name must fit the data, which is for {manifest.kind}, "
            f"but got {params.name!r}."
        )
    return kind(
        Setting(
            classes=manifest.classes,
            input_shape=manifest.input_shape,
            options=kind.options.model_validate(params.options),
            train=lambda: map_npz(workspace.data / "train.npz"),
        )
    )


def problem_of_space(space: SearchSpace, classes: int) -> Problem:
    """The problem that a space is for, without data: what costs of its networks are reckoned with.

    Where a space serves several problems it is the first of them.
    """
    kind, names = load_problem(load_problems(space.name)[0]), tuple(map(str, range(classes)))
    return kind(Setting(names, space.input_shape, kind.options(), dict))


def default_classes(space: SearchSpace) -> int:
    """How many classes the released networks of a space had, as its problem says."""
    return load_problem(load_problems(space.name)[0]).default_classes(space.input_shape)
