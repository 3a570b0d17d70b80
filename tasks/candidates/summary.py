"""``search/front.json``: what came of a search, in a few numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tasks.run.workspace import Workspace, WorkspaceError, read_json, write_json

_FILE: Final = "front.json"
_LISTS: Final = ("front", "rung_tau", "rung_tau_macs")
_NEEDED: Final = ("front", "largest")


@dataclass(frozen=True, slots=True)
class SearchSummary:
    """Of a search that is done; None: unknown, or there was no such thing.

    Attributes:
        candidates: Looked at.
        failed: Without a score.
        front: Ids of those on the front.
        hypervolume: See :mod:`tasks.candidates.volume`.
        largest: Costs of the space's largest network by name.
        evaluator: What scored the candidates.
        gate_tau, gate_tau_macs, gate_tau_ceiling, gate_passed: See
            :class:`tasks.candidates.judgement.Verdict`.
        rung_tau, rung_tau_macs: Of those rungs that have them, lowest first.
        device: That costs are on.
        method: How they are estimated.
    """

    front: tuple[str, ...]
    largest: Mapping[str, float | None]
    candidates: int | None = None
    failed: int | None = None
    hypervolume: float | None = None
    evaluator: str | None = None
    gate_tau: float | None = None
    gate_tau_macs: float | None = None
    gate_tau_ceiling: float | None = None
    gate_passed: bool | None = None
    rung_tau: tuple[float, ...] = ()
    rung_tau_macs: tuple[float, ...] = ()
    device: str | None = None
    method: str | None = None

    @staticmethod
    def of(told: Mapping[str, Any], where: str = "a summary of a search") -> SearchSummary:
        """From the file.

        Raises:
            WorkspaceError: ``front`` or ``largest`` is missing.
        """
        if missing := [key for key in _NEEDED if key not in told]:
            raise WorkspaceError(
                f"{where} must have {' and '.join(_NEEDED)}, but lacks {', '.join(missing)}. "
                "Search anew: python -m flows run --stage search."
            )
        own = {one.name for one in dataclasses.fields(SearchSummary)}
        known = {name: value for name, value in told.items() if name in own}
        return SearchSummary(**known | {name: tuple(told.get(name, ())) for name in _LISTS})

    @staticmethod
    def read(workspace: Workspace) -> SearchSummary:
        """That of a workspace.

        Raises:
            WorkspaceError: There is no such file, or it is not what it should be.
        """
        path = workspace.search / _FILE
        return SearchSummary.of(read_json(path), str(path))

    def told(self) -> dict[str, Any]:
        """As it stands in the file."""
        found = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        return found | {name: list(found[name]) for name in _LISTS}

    def write(self, workspace: Workspace) -> None:
        """Into a workspace.

        Raises:
            WorkspaceError: The disk is full.
        """
        write_json(workspace.search / _FILE, self.told())
