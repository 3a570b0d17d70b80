"""What the report page is made from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hw.report import CostReport


@dataclass(frozen=True, slots=True)
class Candidate:
    """One proposal of the search and its results; numbers that do not exist are None.

    Attributes:
        id: Twelve hexadecimal digits of the architecture.
        architecture: Its decisions by name.
        name: Of a baseline; None for others.
        origin: Where it came from: ``"random"``, ``"local_search"``, ``"baseline"``, ...
        status: ``"done"``, ``"failed"`` or ``"infeasible"``.
        reason: Why it is not done.
        trial, generation: Numbers within the search.
        top1: The metric of the supernet on the validation split, 0..1.
        latency_ms, peak_memory_bytes, weight_bytes, streamed_bytes, macs, parameters, energy_mj:
            Costs on the device.
        depth: Number of blocks.
        mean_kernel, mean_expansion, mean_width: Over its blocks.
        share_dw, share_fused, share_grouped: Shares of its blocks, 0..1.
        on_pareto: It is on the front of the objectives searched.
        rank: Pareto rank; 0 is the front.
    """

    id: str
    architecture: Mapping[str, object]
    name: str | None = None
    origin: str = "random"
    status: str = "done"
    reason: str | None = None
    trial: int | None = None
    generation: int | None = None
    top1: float | None = None
    latency_ms: float | None = None
    peak_memory_bytes: int | None = None
    weight_bytes: int | None = None
    streamed_bytes: int | None = None
    macs: int | None = None
    parameters: int | None = None
    energy_mj: float | None = None
    depth: int | None = None
    mean_kernel: float | None = None
    mean_expansion: float | None = None
    share_dw: float | None = None
    share_fused: float | None = None
    share_grouped: float | None = None
    mean_width: float | None = None
    on_pareto: bool = False
    rank: int | None = None

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> Candidate:
        """A candidate from a JSON object of ``search/candidates.json``; further keys are ignored.

        Raises:
            ValueError: ``id`` or ``architecture`` is missing.
        """
        missing = [key for key in ("id", "architecture") if key not in record]
        if missing:
            raise ValueError(
                f"a candidate record must have id and architecture, but got none of {missing}."
            )
        names = [field.name for field in dataclasses.fields(Candidate)]
        known = {name: record[name] for name in names if name in record}
        decisions = known["architecture"]
        if isinstance(decisions.get("decisions"), Mapping):
            known["architecture"] = decisions["decisions"]
        return Candidate(**known)


@dataclass(frozen=True, slots=True)
class Block:
    """One box of a drawing.

    Attributes:
        stage: Label of the stage, e.g. ``"stage2"``, ``"stem"``, ``"head"``.
        name: Common prefix of its ops, e.g. ``"stage2/block1"``.
        kind: ``stem``, ``head``, ``conv``, ``skip``, ``ibn_dw``, ``ibn_fused``, ``ibn_grouped`` or
            ``ibn_fused_grouped``.
        kernel: Side of the largest window, pixels.
        expansion: Expanded over input channels; None where nothing is expanded.
        groups: Of the group convolution; 1 where there is none.
        in_channels, out_channels: Of the block.
        in_size, out_size: (height, width), pixels.
        macs: Multiply-accumulates at batch 1.
        parameters: Trainable ones.
        residual: The input is added to the output.
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


@dataclass(frozen=True, slots=True)
class Finalist:
    """A candidate that was trained on its own, quantised and exported.

    Attributes:
        id: The architecture's.
        name: What to call it.
        top1_float, top1_ptq, top1_int8: The metric on ``split`` before quantisation, quantised
            after training, and quantised with training; 0..1.
        split: ``"test"`` or ``"validation"``.
        cost: On the device.
        blocks: For the drawing, see :func:`tasks.report_page.blocks_of`.
        file: Path of the .tflite file as shown to people.
        file_bytes: Its size.
        supernet_top1: What the supernet had promised on the validation split.
    """

    id: str
    name: str
    top1_float: float | None
    top1_ptq: float | None
    top1_int8: float | None
    split: str
    cost: CostReport
    blocks: tuple[Block, ...]
    file: str
    file_bytes: int
    supernet_top1: float | None = None

    @property
    def drop(self) -> float | None:
        """Metric lost between float and int8; negative where int8 is better."""
        if self.top1_float is None or self.top1_int8 is None:
            return None
        return self.top1_float - self.top1_int8

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
        metric_name: As in the records, e.g. ``"top1"``.
        metric_label: For people, e.g. ``"top-1 accuracy"``.
        device: Name of the device profile.
        method: How costs came about, as in :class:`hw.report.CostReport`.
        target_latency_ms: Asked for; None: no target.
        candidates, finalists, stages: The records.
        manifest: Of the data. ``counts`` maps a split to a number of examples or to numbers by
            class; ``synthetic`` true is pointed out; everything else is listed as it is.
        params: Flattened to dotted names.
        versions: Of Python and packages.
        commands: What to type to get this page again.
        notes: On fidelity.
        machine: What it ran on, e.g. ``"2 CPU threads"``.
        code_digest: Of the sources.
        chosen: Id of the finalist that was best on validation.
    """

    title: str
    problem: str
    metric_name: str
    metric_label: str
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

    @property
    def best(self) -> Finalist | None:
        """The chosen finalist; without a choice the most accurate one within the target."""
        for finalist in self.finalists:
            if finalist.id == self.chosen:
                return finalist
        target = self.target_latency_ms
        within = [f for f in self.finalists if target is None or f.cost.known_latency_ms <= target]
        return max(
            within or self.finalists,
            key=lambda f: (
                f.top1_int8 if f.top1_int8 is not None else -1.0,
                -f.cost.known_latency_ms,
            ),
            default=None,
        )
