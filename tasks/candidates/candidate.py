"""``search/candidates.json``: what a search proposed, what it costs and how it was scored."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasks.candidates.other_devices import elsewhere_of, is_elsewhere
from tasks.run.workspace import Workspace, WorkspaceError, read_json, write_json

BASELINE = "baseline"
"""Origin of what people designed."""
DONE = "done"
"""Status of a candidate that has a score."""
_APART = ("metric", "score", "more", "elsewhere", "lower_rungs", "rank", "on_pareto")
_NEEDED = ("id", "architecture")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One proposal of the search and its results; numbers that do not exist are None.

    Attributes:
        id: Twelve hexadecimal digits of the architecture.
        architecture: Its decisions by name.
        name: Of a baseline, or of an end of the space; None for others.
        origin: Where it came from: ``"random"``, ``"local_search"``, :data:`BASELINE`, ...
        status: :data:`DONE`, ``"failed"`` or ``"infeasible"``.
        reason: Why it is not done.
        trial, generation: Numbers within the search.
        rung: The highest that scored it; -1: the gate alone.
        evaluator: That of its score.
        epochs: Passes over train of its own training; None: it had none.
        metric: What ``score`` is of; the file has the score under this name.
        score: As the search found it on the validation split, 0..1.
        more: Further metrics by name.
        latency_ms, peak_memory_bytes, weight_bytes, streamed_bytes, macs, parameters, energy_mj:
            Costs on the device.
        elsewhere: Costs on other devices by name: see :mod:`tasks.candidates.other_devices`.
        depth: Number of blocks.
        mean_kernel, mean_expansion, mean_width: Over its blocks.
        share_dw, share_fused, share_grouped: Shares of its blocks, 0..1.
        on_pareto: It is on the front of the objectives searched; None: nobody is ranked yet.
        rank: Pareto rank; 0 is the front.
        lower_rungs: Its scores on the rungs below by number; None: it was not there.
    """

    id: str
    architecture: Mapping[str, Any]
    name: str | None = None
    origin: str = "random"
    status: str = DONE
    reason: str | None = None
    trial: int | None = None
    generation: int | None = None
    rung: int | None = None
    evaluator: str | None = None
    epochs: int | None = None
    metric: str = "score"
    score: float | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
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
    on_pareto: bool | None = None
    rank: int | None = None
    lower_rungs: tuple[float | None, ...] = ()
    elsewhere: Mapping[str, float | None] = field(default_factory=dict)

    @staticmethod
    def of(told: Mapping[str, Any], metric: str = "score") -> Candidate:
        """From an object of the file.

        Args:
            told: The object.
            metric: The key that holds its score; where nobody knows it, all are in ``more``.

        Raises:
            WorkspaceError: ``id`` or ``architecture`` is missing.
        """
        if missing := [key for key in _NEEDED if key not in told]:
            raise WorkspaceError(
                f"a candidate record must have id and architecture, but got none of {missing}."
            )
        apart = {"metric", "score", "more", "elsewhere"}
        own = {one.name for one in dataclasses.fields(Candidate)} - apart
        known = {name: value for name, value in told.items() if name in own}
        known["lower_rungs"] = tuple(told.get("lower_rungs", ()))
        there = elsewhere_of(told)
        known |= {"elsewhere": there, "metric": metric, "score": told.get(metric)}
        more = [name for name in told if name not in own and name not in there and name != metric]
        return Candidate(**known, more={name: told[name] for name in more})

    @property
    def is_done(self) -> bool:
        """Whether it has a score."""
        return self.status == DONE

    @property
    def is_baseline(self) -> bool:
        """Whether people designed it."""
        return self.origin == BASELINE

    @property
    def label(self) -> str:
        """What to call it."""
        return self.name or self.id

    def value(self, name: str) -> float | None:
        """A metric or a cost by name; None: unknown."""
        if name == self.metric:
            return self.score
        if is_elsewhere(name):
            return self.elsewhere.get(name)
        found = self.more[name] if name in self.more else getattr(self, name, None)
        return None if found is None else float(found)

    def scored(self, result: Mapping[str, Any]) -> Candidate:
        """With what an evaluator said: metrics by name, or a status and its reason."""
        apart = (self.metric, "status", "reason")
        return dataclasses.replace(
            self,
            score=result.get(self.metric),
            status=result.get("status", DONE),
            reason=result.get("reason"),
            more={name: value for name, value in result.items() if name not in apart},
        )

    def told(self) -> dict[str, Any]:
        """As an object of the file; ``rank`` and ``on_pareto`` only once they are known."""
        names = [one.name for one in dataclasses.fields(self) if one.name not in _APART]
        found = {name: getattr(self, name) for name in names}
        found |= {**self.elsewhere, self.metric: self.score, **self.more}
        if self.lower_rungs:
            found["lower_rungs"] = list(self.lower_rungs)
        if self.on_pareto is not None:
            found |= {"rank": self.rank, "on_pareto": self.on_pareto}
        return found


def read_candidates(workspace: Workspace, metric: str = "score") -> tuple[Candidate, ...]:
    """Those of a search that is done.

    Raises:
        WorkspaceError: There is no such file, or it is not what it should be.
    """
    told = read_json(workspace.search / "candidates.json")
    return tuple(Candidate.of(one, metric) for one in told)


def write_candidates(workspace: Workspace, candidates: Sequence[Candidate]) -> None:
    """Write all of a search, in the order in which they were proposed.

    Raises:
        WorkspaceError: The disk is full.
    """
    write_json(workspace.search / "candidates.json", [one.told() for one in candidates])
