"""What a machine learning task must say of itself; one file of ``tasks/problems`` each.

Everything that the stages do for a problem goes through here: nothing else knows which one runs.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from spaces.graph import Op, OpBatch, OpGraph, Shape
from spaces.space import Architecture, SearchSpace, load_problems
from tasks.learning.samples import Sample
from tasks.run.params import AugmentParams, ProblemParams
from tasks.run.things import names_in
from tasks.run.workspace import Workspace, read_json, read_npz

Arrays = Mapping[str, NDArray[Any]]
"""A split, or a batch of it: equal first dimensions, names as in docs/problems.md."""
Outputs = tuple[NDArray[Any], ...]
"""Of the deployed network, in the order of :attr:`Problem.deployed`: [n, ...] each."""
Tensor = Any  # tensorflow ships no types for it


class ProblemError(ValueError):
    """A problem that does not exist, or that the prepared data is not for."""


@dataclass(frozen=True, slots=True)
class Metric:
    """What is optimised: name as tracked, words for people, and which way is better."""

    name: str
    label: str
    goal: Literal["max", "min"]


@dataclass(frozen=True, slots=True)
class Setting:
    """What a problem needs to know of the data and of what was asked for.

    Attributes:
        classes: Names by label; empty where there are none.
        input_shape: (1, H, W, C) of pictures, (1, T) of token sequences.
        options: The block ``problem`` of the parameters.
        train: Reads the arrays of the train split.
    """

    classes: tuple[str, ...]
    input_shape: Shape
    options: ProblemParams
    train: Callable[[], Arrays]


class Problem(Protocol):
    """A problem with its data: what is between a searched graph and a number that people want."""

    @property
    def name(self) -> str:
        """The module name in ``tasks/problems``."""

    @property
    def metric(self) -> Metric:
        """The accuracy-like objective."""

    @property
    def setting(self) -> Setting:
        """What it was opened with."""

    @property
    def trained(self) -> tuple[str, ...]:
        """The ops whose outputs the loss reads; ops after them are appended at export."""

    @property
    def deployed(self) -> tuple[str, ...]:
        """The ops whose outputs the exported network gives; ops after them are the host's."""

    @property
    def chance_loss(self) -> float | None:
        """The loss of knowing nothing, above which a training has diverged; None: not known."""

    def complete(self, backbone: OpGraph) -> OpGraph:
        """Backbone and head as one graph: what is deployed and costed, host's ops included."""

    def first_bias(self, op: Op) -> float:
        """Where the bias of an op that is trained here begins."""

    def augment(
        self, arrays: Arrays, params: AugmentParams, rng: np.random.Generator
    ) -> dict[str, NDArray[Any]]:
        """A batch changed at random, targets with it."""

    def inputs(self, arrays: Arrays, graph: OpGraph) -> dict[str, NDArray[Any]]:
        """What the network reads, by the names of the graph's inputs, [n, ...]."""

    def targets(self, arrays: Arrays, graph: OpGraph) -> dict[str, NDArray[Any]]:
        """What the loss reads beside the outputs."""

    def loss(
        self, targets: Mapping[str, Tensor], outputs: tuple[Tensor, ...], smoothing: float
    ) -> Tensor:
        """A scalar from the outputs of :attr:`trained`; ``smoothing`` of labels, 0..1."""

    def distill(
        self,
        targets: Mapping[str, Tensor],
        teacher: tuple[Tensor, ...],
        outputs: tuple[Tensor, ...],
    ) -> Tensor:
        """A scalar: how far the outputs are from a larger network's on the same batch."""

    def taught(self, given: Sequence[NDArray[Any]], graph: OpGraph) -> Outputs:
        """What a person's own network puts out, as outputs of :attr:`trained`; for ``graph``.

        Raises:
            ProblemError: It is of another task, or of other classes; the message begins with what
                it must do.
        """

    def decoding(self, graph: OpGraph) -> dict[str, NDArray[Any]]:
        """Arrays that reading the outputs needs and the file does not hold; they go beside it."""

    def score(self, outputs: Outputs, arrays: Arrays, graph: OpGraph) -> dict[str, float]:
        """Metrics by name, that of :attr:`metric` first, of the outputs of :attr:`deployed`."""

    def samples(
        self, arrays: Arrays, outputs: Mapping[str, Outputs], graph: OpGraph
    ) -> tuple[Sample, ...]:
        """Samples as a person looks at them, with what each kind of file made of them."""


class ProblemKind(Protocol):
    """What ``PROBLEM`` of a file of ``tasks/problems`` is: a class of problems."""

    name: str
    metric: Metric

    def __call__(self, setting: Setting) -> Problem:
        """The problem with its data."""


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


def open_problem(options: ProblemParams, workspace: Workspace) -> Problem:
    """The problem with the prepared data of a workspace.

    Raises:
        ProblemError: There is no such problem, or the data was prepared for another.
    """
    kind, manifest = load_problem(options.name), read_json(workspace.data / "manifest.json")
    if manifest["problem"] != options.name:
        raise ProblemError(
            f"problem.name must fit the data, which is for {manifest['problem']}, "
            f"but got {options.name!r}."
        )
    return kind(
        Setting(
            classes=tuple(manifest["classes"]),
            input_shape=tuple(manifest["input_shape"]),
            options=options,
            train=lambda: read_npz(workspace.data / "train.npz"),
        )
    )


def problem_of_space(space: SearchSpace, classes: int) -> Problem:
    """The problem that a space is for, without data: what costs of its networks are reckoned with.

    Where a space serves several problems it is the first of them.
    """
    names = tuple(map(str, range(classes)))
    options = ProblemParams(name=load_problems(space.name)[0])
    return load_problem(options.name)(Setting(names, space.input_shape, options, dict))


def completed(
    problem: Problem, space: SearchSpace, architectures: Sequence[Architecture]
) -> OpBatch:
    """Whole networks of many architectures as columns."""
    if isinstance(problem, HeadOnBatches):
        return problem.complete_many(space.lower_many(architectures))
    return OpBatch.of([problem.complete(space.lower(one)) for one in architectures])


@runtime_checkable
class HeadOnBatches(Protocol):
    """A problem whose head can be added to many graphs at once, which is much faster."""

    def complete_many(self, backbones: OpBatch) -> OpBatch:
        """As :meth:`Problem.complete` of each."""
