"""``search/fidelity.json``: how the scores that decided a search compare with longer trainings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.run.workspace import Workspace, read_json, write_json


@dataclass(frozen=True, slots=True)
class Bias:
    """How much a score favours a kind of op (negative: slights), and the standard error of it."""

    kind: str
    bias: float
    error: float
    networks: int


@dataclass(frozen=True, slots=True)
class Figures:
    """How well a score orders networks.

    Attributes:
        tau: Kendall's, of the score against trained networks.
        tau_interval: 90 %, by bootstrap over networks.
        tau_macs: That of MACs on the same networks.
        noise: Standard deviation between trainings that differ by the seed; None: unknown.
        tau_ceiling: What a perfect score would get on so noisy a truth; None: noise unknown.
        score_spread, truth_spread: Standard deviations over the networks.
        biases: By kind of op.
    """

    tau: float
    tau_interval: tuple[float, float]
    tau_macs: float
    noise: float | None
    tau_ceiling: float | None
    score_spread: float | None
    truth_spread: float | None
    biases: tuple[Bias, ...]

    @staticmethod
    def of(told: Mapping[str, Any]) -> Figures:
        """From an object of the file."""
        low, high = told["tau_interval"]
        return Figures(
            tau=told["tau"],
            tau_interval=(low, high),
            tau_macs=told["tau_macs"],
            noise=told.get("noise"),
            tau_ceiling=told.get("tau_ceiling"),
            score_spread=told.get("score_spread"),
            truth_spread=told.get("truth_spread"),
            biases=tuple(Bias(kind, **one) for kind, one in told.get("bias", {}).items()),
        )

    def told(self) -> dict[str, Any]:
        """As it stands in the file."""
        found = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        del found["biases"]
        bias = {one.kind: _without_kind(one) for one in self.biases}
        return {**found, "tau_interval": list(self.tau_interval), "bias": bias}


@dataclass(frozen=True, slots=True)
class Point:
    """A network of the gate: its score by shared weights, and after its own training; or None."""

    id: str
    kind: str
    score: float | None
    trained: float | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate found.

    Attributes:
        networks: Compared.
        passed: Shared weights are believed.
        reasons: Why they are not.
        points: The networks.
        figures: None: too few networks could be trained.
        epochs: Passes over train of the trainings; None: not said.
        evaluator: What scores the candidates from then on; None: not said.
    """

    networks: int
    passed: bool
    reasons: tuple[str, ...]
    points: tuple[Point, ...] = ()
    figures: Figures | None = None
    epochs: int | None = None
    evaluator: str | None = None

    @staticmethod
    def of(told: Mapping[str, Any]) -> Verdict:
        """From an object of the file."""
        return Verdict(
            networks=told["networks"],
            passed=told["passed"],
            reasons=tuple(told["reasons"]),
            points=tuple(Point(**one) for one in told["points"]),
            figures=Figures.of(told) if told.get("tau") is not None else None,
            epochs=told.get("epochs"),
            evaluator=told.get("evaluator"),
        )

    def told(self) -> dict[str, Any]:
        """As it stands in the file; without figures where there are none."""
        return {
            "networks": self.networks,
            "passed": self.passed,
            "reasons": list(self.reasons),
            "points": [dataclasses.asdict(one) for one in self.points],
            "epochs": self.epochs,
            "evaluator": self.evaluator,
            **(self.figures.told() if self.figures else {}),
        }


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a rung's scores agree with those of the rung before, on who was promoted to it.

    Attributes:
        rung: Of the longer trainings.
        candidates: Promoted.
        epochs: Passes over train there.
        tau: Kendall's; None: too few candidates.
        tau_macs: That of MACs.
    """

    rung: int
    candidates: int
    epochs: int
    tau: float | None
    tau_macs: float | None


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How far scores of a search are to be trusted.

    Attributes:
        evaluator: What scored the candidates; None: not said.
        training: How those that were trained alone were; None: none was.
        speed: Of the machine, in nominal ones; None: no minutes were shared out.
        gate: None: no supernet was judged.
        rungs: Lowest first; empty where nobody was promoted.
    """

    evaluator: str | None = None
    training: Mapping[str, Any] | None = None
    speed: float | None = None
    gate: Verdict | None = None
    rungs: tuple[Agreement, ...] = ()

    @staticmethod
    def of(told: Mapping[str, Any]) -> Fidelity:
        """From the file."""
        gate = told.get("gate")
        return Fidelity(
            evaluator=told.get("evaluator"),
            training=told.get("training"),
            speed=told.get("speed"),
            gate=None if gate is None else Verdict.of(gate),
            rungs=tuple(Agreement(**one) for one in told.get("rungs", ())),
        )

    @staticmethod
    def read(workspace: Workspace) -> Fidelity:
        """That of a search that is done.

        Raises:
            WorkspaceError: There is no such file, or it is not what it should be.
        """
        return Fidelity.of(read_json(fidelity_file(workspace)))

    def told(self) -> dict[str, Any]:
        """As it stands in the file."""
        return {
            "evaluator": self.evaluator,
            "training": self.training,
            "speed": self.speed,
            "gate": self.gate.told() if self.gate else None,
            "rungs": [dataclasses.asdict(one) for one in self.rungs],
        }

    def write(self, workspace: Workspace) -> None:
        """Into a workspace.

        Raises:
            WorkspaceError: The disk is full.
        """
        write_json(fidelity_file(workspace), self.told())


def fidelity_file(workspace: Workspace) -> Path:
    """Where it lies."""
    return workspace.search / "fidelity.json"


def _without_kind(one: Bias) -> dict[str, Any]:
    return {"bias": one.bias, "error": one.error, "networks": one.networks}
