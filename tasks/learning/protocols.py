"""What a problem must say of itself: its head, what is learned, and what people see of it.

Parted by who reads it: costs ask the head only, trainings mostly the criterion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from spaces.graph import Op, OpBatch, OpGraph, Shape
from spaces.space import Architecture, SearchSpace
from tasks.learning.samples import Sample
from tasks.run.params import AugmentParams, Block

Arrays = Mapping[str, NDArray[Any]]
"""A split, or a batch of it: equal first dimensions, names as in docs/problems.md."""
Outputs = tuple[NDArray[Any], ...]
"""Of the deployed network, in the order of :attr:`Head.deployed`: [n, ...] each."""
Tensor = Any  # tensorflow ships no types for it
Options = TypeVar("Options", bound=Block)


class ProblemError(ValueError):
    """A problem that does not exist, or that the prepared data is not for."""


@dataclass(frozen=True, slots=True)
class Metric:
    """What is optimised: name as tracked, words for people, and which way is better."""

    name: str
    label: str
    goal: Literal["max", "min"]


@dataclass(frozen=True, slots=True)
class Setting(Generic[Options]):
    """What a problem needs to know of the data and of what was asked for.

    Attributes:
        classes: Names by label; empty where there are none.
        input_shape: (1, H, W, C) of pictures, (1, T) of token sequences.
        options: The problem's own, of its :attr:`ProblemKind.options`.
        train: Reads the arrays of the train split.
    """

    classes: tuple[str, ...]
    input_shape: Shape
    options: Options
    train: Callable[[], Arrays]


class Head(Protocol):
    """What is between a backbone and the file: read where networks are built and costed."""

    @property
    def trained(self) -> tuple[str, ...]:
        """The ops whose outputs the loss reads; ops after them are appended at export."""

    @property
    def deployed(self) -> tuple[str, ...]:
        """The ops whose outputs the exported network gives; ops after them are the host's."""

    def complete(self, backbone: OpGraph) -> OpGraph:
        """Backbone and head as one graph: what is deployed and costed, host's ops included."""

    def first_bias(self, op: Op) -> float:
        """Where the bias of an op that is trained here begins."""


@runtime_checkable
class HeadOnBatches(Protocol):
    """A head that can be added to many graphs at once, which is much faster."""

    def complete_many(self, backbones: OpBatch) -> OpBatch:
        """As :meth:`Head.complete` of each."""


@runtime_checkable
class FittedHead(Protocol):
    """A head with a part that is fitted to the data by itself, and joins the network at export."""

    def fitted(self, graph: OpGraph) -> dict[str, NDArray[Any]]:
        """The constants of that part, by op, for ``graph``; none where it has no such part."""

    def joined(self, graph: OpGraph) -> tuple[str, ...]:
        """The ops that are exported in place of :attr:`Head.trained`: those behind that part."""


class Criterion(Protocol):
    """What a network reads and learns: read where networks are trained."""

    @property
    def chance_loss(self) -> float | None:
        """The loss of knowing nothing, above which a training has diverged; None: not known."""

    def augment(
        self, arrays: Arrays, params: AugmentParams, rng: np.random.Generator
    ) -> dict[str, NDArray[Any]]:
        """A batch changed at random, targets with it.

        This and the next two are called by a thread that makes batches, one at a time, while the
        loss of the batch before is worked out.
        """

    def inputs(self, arrays: Arrays, graph: OpGraph) -> dict[str, NDArray[Any]]:
        """What the network reads, by the names of the graph's inputs, [n, ...]."""

    def targets(self, arrays: Arrays, graph: OpGraph) -> dict[str, NDArray[Any]]:
        """What the loss reads beside the outputs."""

    def loss(
        self, targets: Mapping[str, Tensor], outputs: tuple[Tensor, ...], smoothing: float
    ) -> Tensor:
        """A scalar from the outputs of :attr:`Head.trained`; ``smoothing`` of labels, 0..1."""

    def distill(
        self,
        targets: Mapping[str, Tensor],
        teacher: tuple[Tensor, ...],
        outputs: tuple[Tensor, ...],
    ) -> Tensor:
        """A scalar: how far the outputs are from a larger network's on the same batch."""

    def taught(self, given: Sequence[NDArray[Any]], graph: OpGraph) -> Outputs:
        """What a person's own network puts out, as outputs of :attr:`Head.trained`; for ``graph``.

        Raises:
            ProblemError: It is of another task, or of other classes; the message begins with what
                it must do.
        """


class Presentation(Protocol):
    """What outputs mean to people: read where networks are scored, exported and shown."""

    @property
    def metric(self) -> Metric:
        """The accuracy-like objective."""

    def decoding(self, graph: OpGraph) -> dict[str, NDArray[Any]]:
        """Arrays that reading the outputs needs and the file does not hold; they go beside it."""

    def score(self, outputs: Outputs, arrays: Arrays, graph: OpGraph) -> dict[str, float]:
        """Metrics by name, that of :attr:`metric` first, of outputs of :attr:`Head.deployed`."""

    def samples(
        self, arrays: Arrays, outputs: Mapping[str, Outputs], graph: OpGraph
    ) -> tuple[Sample, ...]:
        """Samples as a person looks at them, with what each kind of file made of them."""


@runtime_checkable
class AdviceOnData(Protocol):
    """A problem that has something to say of data, in view of its options, before a run."""

    def advice(self, train: Arrays) -> Iterator[str]:
        """Lines for people, of the arrays of the train split."""


class Problem(Head, Criterion, Presentation, Protocol):
    """A problem with its data: all that is between a searched graph and a number people want."""

    @property
    def name(self) -> str:
        """The module name in ``tasks/problems``."""

    @property
    def setting(self) -> Setting[Any]:
        """What it was opened with."""


class ProblemKind(Protocol):
    """What ``PROBLEM`` of a file of ``tasks/problems`` is: a class of problems.

    Attributes:
        name: The module name.
        metric: As :attr:`Presentation.metric`.
        options: What may stand beside ``name`` in the block ``problem``; :class:`Block`: nothing.
        kinds: Kinds of data that it learns from: files of ``tasks/kinds``. Several problems may
            share one.
        backbones: It takes the networks of spaces whose ``PROBLEMS`` have one of these names.
    """

    name: str
    metric: Metric
    options: type[Block]
    kinds: tuple[str, ...]
    backbones: tuple[str, ...]

    def __call__(self, setting: Setting[Any]) -> Problem:
        """The problem with its data."""

    def default_classes(self, input_shape: Shape) -> int:
        """How many classes costs are reckoned with where nobody says it, by a space's input."""


def completed(head: Head, space: SearchSpace, architectures: Sequence[Architecture]) -> OpBatch:
    """Whole networks of many architectures as columns."""
    if isinstance(head, HeadOnBatches):
        return head.complete_many(space.lower_many(architectures))
    return OpBatch.of([head.complete(space.lower(one)) for one in architectures])
