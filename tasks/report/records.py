"""What the report page is made from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from hw.report import CostReport
from tasks.candidates.candidate import BASELINE, Candidate
from tasks.candidates.carried import Carried
from tasks.learning.parity import Parity
from tasks.learning.protocols import Metric
from tasks.learning.samples import Sample
from tasks.report.agreement import Gate, Rung


@dataclass(frozen=True, slots=True)
class Block:
    """One box of a drawing.

    Attributes:
        stage: Label of the stage, e.g. ``"stage2"``, ``"stem"``, ``"head"``.
        name: Common prefix of its ops, e.g. ``"stage2/block1"``.
        kind: One of ``drawing.KIND_LABELS``, or any other word.
        kernel: Side of the largest window, pixels; 0 where nothing is convolved or pooled.
        expansion: Expanded over input channels; None where nothing is expanded.
        groups: Of the group convolution; 1 where there is none.
        in_channels, out_channels: Of the block.
        in_size, out_size: (height, width), pixels; (length, 1) of token sequences.
        macs: Multiply-accumulates at batch 1.
        parameters: Trainable ones.
        residual: The input is added to the output.
        levels: Sizes (height, width) of all it puts out, finest first; only where they differ, as
            in a feature pyramid.
        ops: Names of its ops; empty: those that begin with its name.
    """

    stage: str
    name: str
    kind: str
    kernel: int
    expansion: float | None
    groups: int
    in_channels: int
    out_channels: int
    in_size: tuple[int, int]
    out_size: tuple[int, int]
    macs: int
    parameters: int
    residual: bool
    levels: tuple[tuple[int, int], ...] = ()
    ops: tuple[str, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Finalist:
    """A candidate that was trained on its own, quantised and exported.

    Attributes:
        id: The architecture's.
        name: What to call it.
        score_float, score_ptq, score_int8: The metric on ``split`` before quantisation, quantised
            after training, and quantised with training; 0..1.
        split: ``"test"`` or ``"validation"``.
        cost: On the device.
        blocks: For the drawing, see :func:`tasks.report.blocks_of`.
        file: Path of the .tflite file as shown to people.
        file_bytes: Its size.
        supernet_score: What the search had seen of it on the validation split.
        origin: Where its candidate came from; :data:`BASELINE`: people designed it.
        more: Further metrics: kind of file (``float``, ``ptq``, ``int8``) to name to value.
        equal_score: The metric on validation in floating point after the training that all have
            had, where the better half went on; None: all are trained alike.
        epochs: Passes over train in floating point; None: not said.
        input_size: Height and width of its pictures, where that was a decision; else None.
    """

    id: str
    name: str
    score_float: float | None
    score_ptq: float | None
    score_int8: float | None
    split: str
    cost: CostReport
    blocks: tuple[Block, ...]
    file: str
    file_bytes: int
    supernet_score: float | None = None
    origin: str = "search"
    more: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    equal_score: float | None = None
    epochs: int | None = None
    input_size: tuple[int, int] | None = None

    @property
    def compared(self) -> float | None:
        """What others are compared with: a score after the same training."""
        return self.score_int8 if self.equal_score is None else self.equal_score

    @property
    def is_baseline(self) -> bool:
        """Whether people designed it, and not the search."""
        return self.origin == BASELINE

    @property
    def parameters(self) -> int:
        """Trainable parameters of all blocks."""
        return sum(block.parameters for block in self.blocks)


@dataclass(frozen=True, slots=True)
class StageCost:
    """What one stage of the run took; ``seconds`` is wall time, None where it was not timed."""

    name: str
    seconds: float | None
    work: str


@dataclass(frozen=True, slots=True)
class ReportData:
    """All of the page.

    Attributes:
        title: Of the page.
        problem: The machine learning problem, e.g. ``"classification of cifar10"``.
        metric: What networks are scored by; a share 0..1, shown in percent.
        device: Name of the device profile.
        method: How costs came about, as in :class:`hw.report.CostReport`.
        target_latency_ms: Asked for; None: no target.
        candidates, finalists, stages: The records.
        manifest: Of the data. ``counts`` maps a split to a number of examples or to numbers by
            class; ``synthetic`` true is pointed out, ``skipped`` counted by reason; everything
            else is listed as it is.
        params: Flattened to dotted names.
        versions: Of Python and packages.
        commands: What to type to get this page again.
        notes: On fidelity.
        machine: What it ran on, e.g. ``"2 CPU threads"``.
        code_digest: Of the sources.
        chosen: Id of the finalist that was best on validation.
        samples: Samples as a person would look at them.
        most_samples: So many of them are shown at most.
        answered_by: Id of the finalist whose answers they show; None: the best one.
        things: What the data consists of, in the plural, e.g. ``"pictures"``.
        linear_floor: What a linear model reaches on the finalists' split; None: there is none.
        gate: What shared weights were judged by; None: they were not.
        rungs: How scores moved where candidates were promoted, lowest first.
        parity: What benches make of the best finalist's file.
        elsewhere: Finalists, in their order, and candidates on other chips.
        front_here: Which finalists no other beats by score, on validation, and latency on
            ``device``.
    """

    title: str
    problem: str
    metric: Metric
    device: str
    method: str
    target_latency_ms: float | None
    candidates: tuple[Candidate, ...]
    finalists: tuple[Finalist, ...]
    stages: tuple[StageCost, ...]
    manifest: Mapping[str, object]
    params: Mapping[str, object]
    versions: Mapping[str, object]
    commands: tuple[str, ...]
    notes: tuple[str, ...]
    machine: str = ""
    code_digest: str = ""
    chosen: str | None = None
    samples: tuple[Sample, ...] = ()
    most_samples: int = 12
    answered_by: str | None = None
    things: str = "examples"
    linear_floor: float | None = None
    gate: Gate | None = None
    rungs: tuple[Rung, ...] = ()
    parity: tuple[Parity, ...] = ()
    elsewhere: tuple[Carried, ...] = ()
    front_here: tuple[bool, ...] = ()

    @property
    def deciding(self) -> tuple[Carried, ...]:
        """The chips beside ``device`` that the search was for."""
        return tuple(one for one in self.elsewhere if one.decides)

    @property
    def synthetic(self) -> bool:
        """Whether the data was made up."""
        return bool(self.manifest.get("synthetic"))

    def gain(self, score: float, over: float) -> float:
        """How much better a score is than another one; negative: it is worse."""
        return score - over if self.metric.goal == "max" else over - score

    @property
    def is_below_floor(self) -> bool:
        """Whether the best network does not beat the linear model."""
        best, floor = self.best, self.linear_floor
        if best is None or best.score_int8 is None or floor is None:
            return False
        return self.gain(best.score_int8, floor) <= 0

    def drop(self, finalist: Finalist) -> float | None:
        """What int8 loses against float; negative where int8 is better."""
        before, after = finalist.score_float, finalist.score_int8
        return None if before is None or after is None else self.gain(before, after)

    @property
    def best(self) -> Finalist | None:
        """The chosen finalist; without a choice the best one within the target."""
        for finalist in self.finalists:
            if finalist.id == self.chosen:
                return finalist
        target = self.target_latency_ms
        within = [f for f in self.finalists if target is None or f.cost.known_latency_ms <= target]
        return max(
            within or self.finalists,
            key=lambda f: (
                -math.inf if f.score_int8 is None else self.gain(f.score_int8, 0.0),
                -f.cost.known_latency_ms,
            ),
            default=None,
        )
