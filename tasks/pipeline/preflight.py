"""Refuses a run that cannot succeed, in a second, before anything that takes minutes begins."""

from __future__ import annotations

import numpy as np

from hw.cost_model import load_cost_model
from hw.device import load_device
from spaces.menu import load_algorithm, load_baselines, load_trainable
from spaces.narrowed import narrowed
from spaces.sided import SIDE, SidedSpace, offered, parted, sided
from spaces.space import Architecture, SpaceError, TrainableSpace
from tasks.candidates import objectives
from tasks.candidates.coster import Coster
from tasks.candidates.evaluator import AUTO, EvaluatorError, load_evaluator
from tasks.candidates.other_devices import other_devices
from tasks.data import losses
from tasks.data.arrays import load_split
from tasks.data.dataset import DataError, Source, check_source, format_names, kind_of
from tasks.learning import start_from, teacher
from tasks.learning.problem import load_problem, open_problem, spaces_for
from tasks.learning.protocols import Problem
from tasks.run.manifest import DataManifest
from tasks.run.params import Params, SpaceParams
from tasks.run.workspace import Workspace


def check(params: Params) -> None:
    """Refuse names that nothing answers to, and data that is not there.

    Raises:
        ValueError: The class of the room that knows better; the message is one line.
    """
    load_problem(params.problem.name)
    check_format(params.data.format, params.problem.name)
    check_space(params.space, params.problem.name)
    check_sides(params)
    load_algorithm(params.search.algorithm)
    check_evaluator(params)
    start_from.check(params.supernet)
    teacher.check_file(params.finetune.teacher)
    device = load_device(params.cost.device)
    load_cost_model(params.cost.method, device)
    for one in other_devices(params.cost):
        load_cost_model(params.cost.method, load_device(one.device))
    for other in params.report.other_devices:
        load_device(other)
    goals = goal_names(params)
    if "energy_mj" in goals and device.energy is None:
        raise objectives.ObjectiveError(
            "energy_mj must be known to be an objective, but got device "
            f"{params.cost.device} without an energy table. Choose another one in "
            "select.objectives."
        )
    raw = check_source(params.data.format, Source(params.data.source, params.data.boxes))
    if raw is not None:
        losses.check_source(raw, params.data.allowed_loss)


def goal_names(params: Params) -> tuple[str, ...]:
    """Names of the objectives.

    Raises:
        ObjectiveError: Nothing reports one of them.
    """
    there = tuple(one.latency for one in other_devices(params.cost))
    goals = objectives.parse(params.select.objectives, params.problem.name, there)
    return tuple(goal.name for goal in goals)


def check_evaluator(params: Params) -> None:
    """Refuse an evaluator that does not exist, and what needs a supernet where none is trained.

    Raises:
        EvaluatorError: The message says which key, and the cure.
    """
    if params.search.evaluator != AUTO:
        load_evaluator(params.search.evaluator)
    wanted = {
        "search.evaluator: shared": params.search.evaluator == "shared",
        "search.evaluator: sliced": params.search.evaluator == "sliced",
        "finetune.start: slice": params.finetune.start == "slice",
    }
    for setting, needs_supernet in wanted.items():
        if needs_supernet and not params.supernet.steps:
            raise EvaluatorError(
                f"{setting} must have a trained supernet, but got supernet.steps=0. Raise it, or "
                "leave both at auto."
            )


def check_format(name: str, problem: str) -> None:
    """Refuse data of another problem.

    Raises:
        DataError: The message lists the formats that fit.
    """
    kind, kinds = kind_of(name), load_problem(problem).kinds
    if kind not in kinds:
        fit = [known for known in format_names() if kind_of(known) in kinds]
        raise DataError(
            f"data.format must be one for {problem} ({', '.join(fit)}), but got {name!r}, which "
            f"is for {kind}."
        )


def check_space(wanted: SpaceParams, problem: str) -> None:
    """Refuse a space that makes no networks for a problem, or is narrowed to nothing.

    Raises:
        SpaceError: The message lists those that do.
    """
    space, fit = wanted.name, spaces_for(problem)
    narrowed(load_trainable(space), parted(wanted.offers)[1])
    if space not in fit:
        raise SpaceError(
            f"space.name must name a space for {problem} ({', '.join(fit)}), but got {space!r}."
        )


def check_sides(params: Params) -> None:
    """Refuse sides of pictures that cannot be searched, and a supernet beside them.

    Raises:
        SpaceError: A side is too small or too large, inputs are no pictures, or something is
            asked for that shares weights.
    """
    sides, _ = parted(params.space.offers)
    if not sides:
        return
    space = load_trainable(params.space.name)
    if len(space.input_shape) == 4:
        space = space.for_input((1, *params.data.size, space.input_shape[3]))
    sided(space, sides)
    sharing = {
        f"supernet.steps: {params.supernet.steps}": params.supernet.steps > 0,
        f"supernet.start_from: {params.supernet.start_from}": params.supernet.start_from,
        f"search.evaluator: {params.search.evaluator}": params.search.evaluator
        in ("shared", "sliced"),
        "finetune.start: slice": params.finetune.start == "slice",
    }
    for setting, asked in sharing.items():
        if asked:
            raise SpaceError(
                f"space.choices: {SIDE} must be searched without a supernet, whose weights are "
                f"trained at one size, but got {setting}. Set supernet.steps to 0, start_from to "
                f"null, evaluator and start to auto, or leave {SIDE} out."
            )


def check_target(params: Params, workspace: Workspace) -> None:
    """Refuse a space too deep for the prepared data, and limits that nothing keeps to.

    A teacher of another task or of other classes, too.

    Raises:
        ShapeError: The data is too small for the space.
        Infeasible: No architecture was found within the limits of ``cost``.
        TeacherError: It fits no network of the space.
    """
    manifest = DataManifest.read(workspace)
    problem = open_problem(params.problem, workspace)
    coster = Coster(params.space.name, manifest, params.cost, problem, params.space.offers)
    for point in _largest(coster.space):
        coster.costs(point)
    check_teacher(params, coster, problem, workspace)
    if not coster.asked:
        return
    names = goal_names(params)
    baselines = offered(coster.space, load_baselines(params.space.name))
    known = (coster.space.smallest(), *baselines.values())
    load_algorithm(params.search.algorithm)(
        coster.space,
        np.random.default_rng(params.search.seed),
        names,
        coster.within(),
        known,
    ).ask()


def _largest(space: TrainableSpace) -> tuple[Architecture, ...]:
    """The largest architecture at each side that its pictures may have."""
    largest = space.largest()
    return space.at_sides(largest) if isinstance(space, SidedSpace) else (largest,)


def check_teacher(params: Params, coster: Coster, problem: Problem, workspace: Workspace) -> None:
    """Refuse a person's own network that can teach none of the networks known beforehand.

    Raises:
        TeacherError: See :func:`tasks.learning.teacher.check`.
    """
    path = teacher.own(params.finetune.teacher)
    if path is None:
        return
    teacher.get_ready(path, params.runtime)
    space = coster.space
    known = (space.largest(), space.smallest(), *load_baselines(params.space.name).values())
    graphs = [coster.graph(point) for point in known]
    few = load_split(workspace, "train", 2)
    teacher.check(path, problem, few, graphs, every=False)
