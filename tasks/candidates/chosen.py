"""``selection/metrics.json``: the best of the finished models, and how good their front is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tasks.run.workspace import Workspace, WorkspaceError, read_json, write_json

_FILE: Final = "metrics.json"
_BEST: Final = "best_"
_LATENCY: Final = "best_latency_ms"


@dataclass(frozen=True, slots=True)
class Selection:
    """What was selected; scores are of int8 files on validation.

    Attributes:
        best: Id of the model of the best score.
        metric: What ``best_score`` is of; the file has the score as ``best_<metric>``.
        best_score: 0..1; None: not said.
        best_latency_ms: Of its file; None: unknown.
        models: Finished ones.
        front: How many of them are on the front.
        hypervolume: See :mod:`tasks.candidates.volume`; None: not said.
        hypervolume_searched, hypervolume_hand_made: Of those found by the search, of baselines.
        hypervolume_gain: Of the first over the second, as many against as many:
            :func:`tasks.candidates.volume.gain`.
    """

    best: str
    metric: str
    best_score: float | None
    best_latency_ms: float | None
    models: int
    front: int
    hypervolume: float | None = None
    hypervolume_searched: float | None = None
    hypervolume_hand_made: float | None = None
    hypervolume_gain: float | None = None

    @staticmethod
    def of(told: Mapping[str, Any], where: str = "a selection") -> Selection:
        """From the file.

        Raises:
            WorkspaceError: Nobody is the best in it.
        """
        if "best" not in told:
            raise WorkspaceError(
                f"{where} must name the best model, but does not. Select anew: "
                "python -m flows run --stage select."
            )
        scores = [key for key in told if key.startswith(_BEST) and key != _LATENCY]
        return Selection(
            best=told["best"],
            metric=scores[0].removeprefix(_BEST) if scores else "score",
            best_score=told[scores[0]] if scores else None,
            best_latency_ms=told.get(_LATENCY),
            models=told["models"],
            front=told["front"],
            hypervolume=told.get("hypervolume"),
            hypervolume_searched=told.get("hypervolume_searched"),
            hypervolume_hand_made=told.get("hypervolume_hand_made"),
            hypervolume_gain=told.get("hypervolume_gain"),
        )

    @staticmethod
    def read(workspace: Workspace) -> Selection:
        """That of a workspace.

        Raises:
            WorkspaceError: There is no such file, or it is not what it should be.
        """
        path = workspace.selection / _FILE
        return Selection.of(read_json(path), str(path))

    @staticmethod
    def exists(workspace: Workspace) -> bool:
        """Whether something was selected there."""
        return (workspace.selection / _FILE).is_file()

    def told(self) -> dict[str, Any]:
        """As it stands in the file."""
        return {
            "best": self.best,
            f"{_BEST}{self.metric}": self.best_score,
            _LATENCY: self.best_latency_ms,
            "models": self.models,
            "front": self.front,
            "hypervolume": self.hypervolume,
            "hypervolume_searched": self.hypervolume_searched,
            "hypervolume_hand_made": self.hypervolume_hand_made,
            "hypervolume_gain": self.hypervolume_gain,
        }

    def write(self, workspace: Workspace) -> None:
        """Into a workspace.

        Raises:
            WorkspaceError: The disk is full.
        """
        write_json(workspace.selection / _FILE, self.told())
