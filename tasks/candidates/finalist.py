"""``finalists/<id>/metrics.json``: a candidate trained to the end, and what its files score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tasks.candidates.candidate import BASELINE
from tasks.run.workspace import Workspace, read_json, write_json

FILES: Final = ("float", "ptq", "qat", "int8")
"""Kinds of files that are scored; ``int8`` is the better of the two before it."""
_FILE: Final = "metrics.json"


@dataclass(frozen=True, slots=True)
class Finalist:
    """What its files score on validation.

    Attributes:
        id: Twelve hexadecimal digits of the architecture.
        name: Of a baseline, or of an end of the space; None for others.
        origin: Where its candidate came from; None: not said.
        metric: What problems of its kind are scored by.
        search_score: What the search had seen of it; None: nothing.
        scores: Metrics by name, by kind of file (:data:`FILES`).
        quantized_by: ``"ptq"`` or ``"qat"``: what ``int8.tflite`` is.
        file_bytes: Sizes by kind of file.
        equal_score: The metric in floating point after the training that all finalists have had;
            None: all were finished after it, and ``scores`` tell.
        epochs: Passes over train in floating point; None: not said.
    """

    id: str
    name: str | None
    origin: str | None
    metric: str
    search_score: float | None
    scores: Mapping[str, Mapping[str, float]]
    quantized_by: str | None
    file_bytes: Mapping[str, int]
    equal_score: float | None = None
    epochs: int | None = None

    @property
    def is_baseline(self) -> bool:
        """Whether people designed it."""
        return self.origin == BASELINE

    def score(self, kind: str = "int8") -> float:
        """The metric of a kind of file."""
        return self.scores[kind][self.metric]

    @staticmethod
    def of(told: Mapping[str, Any], metric: str) -> Finalist:
        """From the file."""
        scores: dict[str, dict[str, float]] = {}
        for key, value in told.items():
            name, _, kind = key.rpartition("_")
            if name and kind in FILES:
                scores.setdefault(kind, {})[name] = value
        return Finalist(
            id=told["id"],
            name=told["name"],
            origin=told.get("origin"),
            metric=metric,
            search_score=told.get(f"supernet_{metric}"),
            scores=scores,
            quantized_by=told.get("quantized_by"),
            file_bytes=told.get("bytes", {}),
            equal_score=told.get("equal_score"),
            epochs=told.get("epochs"),
        )

    @staticmethod
    def read(folder: Path, metric: str) -> Finalist:
        """The one of a folder.

        Raises:
            WorkspaceError: There is none, or it is not what it should be.
        """
        return Finalist.of(read_json(folder / _FILE), metric)

    def told(self) -> dict[str, Any]:
        """As it stands in the file."""
        return {
            "id": self.id,
            "name": self.name,
            "origin": self.origin,
            f"supernet_{self.metric}": self.search_score,
            **{
                f"{name}_{kind}": value
                for kind, found in self.scores.items()
                for name, value in found.items()
            },
            "quantized_by": self.quantized_by,
            "bytes": self.file_bytes,
            "equal_score": self.equal_score,
            "epochs": self.epochs,
        }

    def write(self, folder: Path) -> None:
        """Into its folder.

        Raises:
            WorkspaceError: The disk is full.
        """
        write_json(folder / _FILE, self.told())


def finished_folders(workspace: Workspace) -> list[Path]:
    """Folders of all finalists, sorted."""
    return sorted(path.parent for path in workspace.finalists.glob(f"*/{_FILE}"))
