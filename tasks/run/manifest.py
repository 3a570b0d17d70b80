"""``data/manifest.json``: what was prepared, as all stages but the first read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.run.workspace import Workspace, WorkspaceError, read_json, write_json

_NEEDED = ("problem", "classes", "input_shape", "splits")
_PER_CLASS = "_per_class"


@dataclass(frozen=True, slots=True)
class Skipped:
    """Samples, or parts of them, that were left out: how many, and the first names."""

    count: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PreparedSplit:
    """What is said of one split; None: not of this kind of data.

    Attributes:
        items: Samples.
        boxes, contexts: How many of them.
        carved: It was taken from train, for the source has none.
        counted: What ``per_class`` counts, e.g. ``"images"`` or ``"pixels"``; empty: nothing.
        per_class: Counts by name of the class.
        pixels_ignored: Of masks.
        longest_tokens: Of a text, before it is cut.
        unknown_tokens_share: Tokens that the vocabulary does not have, 0..1.
        told: All of it, as it stands in the file.
    """

    items: int | None
    boxes: int | None
    contexts: int | None
    carved: bool | None
    counted: str
    per_class: Mapping[str, int]
    pixels_ignored: int | None
    longest_tokens: int | None
    unknown_tokens_share: float | None
    told: Mapping[str, Any]

    @staticmethod
    def of(told: Mapping[str, Any]) -> PreparedSplit:
        """From its part of the file."""
        key = next((key for key in told if key.endswith(_PER_CLASS)), "")
        return PreparedSplit(
            items=told.get("items", told.get("images")),
            boxes=told.get("boxes"),
            contexts=told.get("contexts"),
            carved=told.get("carved"),
            counted=key.removesuffix(_PER_CLASS),
            per_class=told.get(key, {}),
            pixels_ignored=told.get("pixels_ignored"),
            longest_tokens=told.get("longest_tokens"),
            unknown_tokens_share=told.get("unknown_tokens_share"),
            told=told,
        )


@dataclass(frozen=True, slots=True)
class DataManifest:
    """Prepared data.

    Attributes:
        kind: Of data: a file of ``tasks/kinds``. The file calls it ``problem``.
        source: What it was made from, for people; None: not said.
        classes: Names by label; empty where there are none.
        input_shape: (1, H, W, C) of pictures, (1, T) of token sequences.
        splits: By name.
        vocabulary_size, token_types: Of texts; None: of pictures.
        mirrored: Pictures look alike from left and from right.
        turned: Pictures look alike whichever side is up.
        skipped: What was left out or changed, by reason.
        unreadable: Samples that could not be used; None: not said.
        lost: What each split lost, fields of :class:`tasks.data.losses.Loss`.
        told: All of it, as it stands in the file.
    """

    kind: str
    source: str | None
    classes: tuple[str, ...]
    input_shape: tuple[int, ...]
    splits: Mapping[str, PreparedSplit]
    vocabulary_size: int | None
    token_types: int | None
    mirrored: bool
    turned: bool
    skipped: Mapping[str, Skipped]
    unreadable: Skipped | None
    lost: tuple[Mapping[str, Any], ...]
    told: Mapping[str, Any]

    @staticmethod
    def of(told: Mapping[str, Any], where: str = "a manifest of data") -> DataManifest:
        """From what the first stage says, or the file holds.

        Raises:
            WorkspaceError: Something is missing that every kind of data has.
        """
        if missing := [key for key in _NEEDED if key not in told]:
            raise WorkspaceError(
                f"{where} must have {', '.join(_NEEDED)}, but lacks {', '.join(missing)}. Prepare "
                "the data anew: python -m flows run --stage prepare."
            )
        unreadable = told.get("unreadable")
        return DataManifest(
            kind=told["problem"],
            source=told.get("source"),
            classes=tuple(told["classes"]),
            input_shape=tuple(told["input_shape"]),
            splits={name: PreparedSplit.of(split) for name, split in told["splits"].items()},
            vocabulary_size=told.get("vocabulary_size"),
            token_types=told.get("token_types"),
            mirrored=bool(told.get("mirrored", False)),
            turned=bool(told.get("turned", False)),
            skipped={why: _skipped(one) for why, one in told.get("skipped", {}).items()},
            unreadable=None if unreadable is None else _skipped(unreadable),
            lost=tuple(told.get("lost", ())),
            told=told,
        )

    @staticmethod
    def read(workspace: Workspace) -> DataManifest:
        """The one of a workspace.

        Raises:
            WorkspaceError: There is none, or it is not what it should be.
        """
        path = manifest_path(workspace.data)
        return DataManifest.of(read_json(path), str(path))

    def write(self, folder: Path) -> None:
        """Into a folder of data.

        Raises:
            WorkspaceError: The disk is full.
        """
        write_json(manifest_path(folder), self.told)

    @property
    def is_of_texts(self) -> bool:
        """Whether networks read tokens, and not pictures."""
        return len(self.input_shape) == 2

    @property
    def things(self) -> str:
        """What the data consists of, for people."""
        return "texts" if self.is_of_texts else "pictures"

    @property
    def told_of_splits(self) -> Mapping[str, Any]:
        """What the file says of the splits, their digests included: by this, scores are known."""
        found: Mapping[str, Any] = self.told["splits"]
        return found


def manifest_path(folder: Path) -> Path:
    """Where the manifest of a folder of data lies."""
    return folder / "manifest.json"


def _skipped(told: Mapping[str, Any]) -> Skipped:
    return Skipped(told["count"], tuple(told["names"]))
