"""``selection/front.json``: finished models, what their files cost, and who is on the front."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hw.report import CostReport, OpCost
from tasks.candidates.finalist import Finalist
from tasks.candidates.other_devices import elsewhere_of, is_elsewhere
from tasks.run.workspace import Workspace, read_json, write_json

FILE: Final = "int8.tflite"
"""What is deployed, scored and costed."""
_COSTS: Final = (
    "latency_ms",
    "energy_mj",
    "peak_memory_bytes",
    "weight_bytes",
    "streamed_bytes",
    "macs",
)


@dataclass(frozen=True, slots=True)
class FinishedModel:
    """A finalist with the cost of its int8 file: an entry of the front's file.

    Attributes:
        finalist: Its scores.
        architecture: Its decisions by name.
        parameters: Trainable ones.
        graph_latency_ms: Of its graph, as the search saw it; None: unknown.
        cost: Of the exported file.
        rank: Pareto rank; 0 is the front. None: nobody is ranked yet.
        elsewhere: Costs of the file on other devices by name; None: it does not run there.
    """

    finalist: Finalist
    architecture: Mapping[str, Any]
    parameters: int | None
    graph_latency_ms: float | None
    cost: CostReport
    rank: int | None = None
    elsewhere: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Of its architecture."""
        return self.finalist.id

    @property
    def on_pareto(self) -> bool:
        """It is on the front."""
        return self.rank == 0

    @property
    def score(self) -> float:
        """The metric of the int8 file, on validation."""
        return self.finalist.score()

    def value(self, name: str) -> float | None:
        """The metric, or a cost of the file, by name; None: unknown."""
        if name == self.finalist.metric:
            return self.score
        if is_elsewhere(name):
            return self.elsewhere.get(name)
        found = getattr(self.cost, name) if name in _COSTS else getattr(self, name, None)
        return None if found is None else float(found)

    @staticmethod
    def of(told: Mapping[str, Any], metric: str) -> FinishedModel:
        """From an object of the file."""
        return FinishedModel(
            finalist=Finalist.of(told, metric),
            architecture=told["architecture"],
            parameters=told["parameters"],
            graph_latency_ms=told["graph_latency_ms"],
            cost=_cost(told["cost"]),
            rank=told.get("rank"),
            elsewhere=elsewhere_of(told),
        )

    def told(self) -> dict[str, Any]:
        """As an object of the file."""
        return {
            **self.finalist.told(),
            self.finalist.metric: self.score,
            "architecture": self.architecture,
            "file": FILE,
            "parameters": self.parameters,
            "graph_latency_ms": self.graph_latency_ms,
            **{name: getattr(self.cost, name) for name in _COSTS},
            **self.elsewhere,
            "cost": dataclasses.asdict(self.cost),
            "rank": self.rank,
            "on_pareto": self.on_pareto,
        }


def read_front(workspace: Workspace, metric: str) -> tuple[FinishedModel, ...]:
    """All finished models, the fastest first.

    Raises:
        WorkspaceError: There is no such file, or it is not what it should be.
    """
    told = read_json(workspace.selection / "front.json")
    return tuple(FinishedModel.of(one, metric) for one in told)


def write_front(workspace: Workspace, models: Sequence[FinishedModel]) -> None:
    """Write all finished models in their order.

    Raises:
        WorkspaceError: The disk is full.
    """
    write_json(workspace.selection / "front.json", [one.told() for one in models])


def _cost(told: Mapping[str, Any]) -> CostReport:
    """A cost report as it was before JSON."""
    interval = told["latency_interval_ms"]
    return CostReport(
        **{
            **told,
            "latency_interval_ms": None if interval is None else tuple(interval),
            "host_ops": tuple(tuple(pair) for pair in told["host_ops"]),
            "per_op": tuple(OpCost(**op) for op in told["per_op"]),
            **{
                name: tuple(told.get(name, ()))
                for name in ("out_of_range", "left_out", "supposed")
            },
        }
    )
