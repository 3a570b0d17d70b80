"""What a kind of data must do to be prepared; one file of ``tasks/kinds`` each."""

from __future__ import annotations

import hashlib
import importlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tasks.data.dataset import DataError, RawData, Skipped, Split
from tasks.run.params import DataParams
from tasks.run.rows import AnyRows
from tasks.run.things import names_in

Arrays = Mapping[str, NDArray[Any]]
_NAMED = 20  # names that the manifest gives for each reason; the rest is only counted


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of one sample.

    Attributes:
        sha256: Of what makes two samples the same one.
        content: What the kind makes arrays of; None if the sample cannot be used. Arrays in it,
            and in tuples of it, are kept on the disk until all samples are loaded.
        reason: Why it cannot be used, else empty.
        label: Its class where splits are carved class by class, else 0.
        group: Samples of one group are never parted by carving; empty: it stands alone.
        target_sha256: Of what belongs to the sample beside its name and content.
        notes: What was skipped or changed in it, a reason each.
    """

    sha256: str
    content: Any
    reason: str = ""
    label: int = 0
    group: str = ""
    target_sha256: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Member:
    """A usable sample in its split."""

    name: str
    content: Any


Members = Mapping[Split, Sequence[Member]]


@dataclass(frozen=True, slots=True)
class Finished:
    """What a kind makes of all splits.

    Attributes:
        arrays: By split and name; the first dimension is that of the samples. Large ones are
            :class:`tasks.run.rows.Rows`, which are nowhere as a whole.
        facts: Keys of the manifest.
        counts: Keys of each split's part of the manifest.
        files: Text files beside the arrays, by name.
        skipped: What was cut or left out on the way, by reason.
    """

    arrays: Mapping[Split, Mapping[str, AnyRows]]
    facts: Mapping[str, object]
    counts: Mapping[Split, Mapping[str, object]]
    files: Mapping[str, str] = field(default_factory=dict)
    skipped: Skipped = field(default_factory=dict)


class Kind(Protocol):
    """A kind of data: how it is loaded, and the arrays it becomes."""

    @property
    def noun(self) -> str:
        """What its samples are called, in the plural."""

    @property
    def demand(self) -> str:
        """What must hold of each sample, for the message about one of which it does not."""

    @property
    def stratified(self) -> bool:
        """Whether each sample has one class, and splits are carved class by class."""

    @property
    def least_classes(self) -> int:
        """How many classes there must be."""

    def load(self, sample: Any, raw: RawData, params: DataParams) -> Loaded:
        """One sample; called by several threads."""

    def check(self, splits: Members, raw: RawData) -> None:
        """Refuse what cannot be learned from.

        Raises:
            DataError: Something is missing.
        """

    def finish(self, splits: Members, raw: RawData, params: DataParams) -> Finished:
        """The arrays of all splits, their members in the order given."""


def kind_names() -> tuple[str, ...]:
    """The kinds that exist: the files of ``tasks/kinds``."""
    return names_in("kinds")


def load_kind(name: str) -> Kind:
    """The ``KIND`` of ``tasks/kinds/<name>.py``.

    Raises:
        DataError: There is no such file.
    """
    if name not in kind_names():
        raise DataError(f"a kind must be one of {', '.join(kind_names())}, but got {name!r}.")
    kind: Kind = importlib.import_module(f"tasks.kinds.{name}").KIND
    return kind


def digest(*parts: object) -> str:
    """SHA-256 of text and arrays, their lengths or shapes included."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            total.update(repr((part.shape, part.dtype.str)).encode() + part.tobytes())
        else:
            content = str(part).encode("utf-8", "surrogatepass")
            total.update(str(len(content)).encode() + b":" + content)
    return total.hexdigest()


def merge_skipped(*several: Skipped) -> dict[str, list[str]]:
    """Names by reason, of several sources."""
    merged: dict[str, list[str]] = {}
    for skipped in several:
        for reason, names in skipped.items():
            merged.setdefault(reason, []).extend(names)
    return merged


def notes_of(pairs: Iterable[tuple[str, Sequence[str]]]) -> dict[str, list[str]]:
    """Names by reason, from each name and its reasons."""
    found: dict[str, list[str]] = {}
    for name, notes in pairs:
        for note in notes:
            found.setdefault(note, []).append(name)
    return found


def summary_of(skipped: Skipped) -> dict[str, object]:
    """How often each reason occurred, and the first names it occurred in."""
    return {
        reason: {"count": len(names), "names": list(dict.fromkeys(names))[:_NAMED]}
        for reason, names in sorted(skipped.items())
        if names
    }


def main_reason(skipped: Skipped) -> str:
    """In brackets, why most was left out; empty if nothing was."""
    counts = {reason: len(names) for reason, names in skipped.items()}
    if not counts:
        return ""
    reason = max(counts, key=counts.__getitem__)
    return f" ({counts[reason]} times {reason})"


def check_each_class(splits: Members, classes: Sequence[str], noun: str) -> None:
    """Each class must be in each split, where the content of a member is (label, ...).

    Raises:
        DataError: A class is missing somewhere.
    """
    for split, missing in missing_classes(label_counts(splits, len(classes)), classes).items():
        raise DataError(
            f"each class must have {noun} in each split, but got none of "
            f"{', '.join(missing)} in {split}."
        )


def label_counts(splits: Members, classes: int) -> dict[Split, list[int]]:
    """Members by class, where the content of a member is (label, ...)."""
    counts: dict[Split, list[int]] = {}
    for split, members in splits.items():
        present = Counter(member.content[0] for member in members)
        counts[split] = [present[label] for label in range(classes)]
    return counts


def missing_classes(
    counts: Mapping[Split, Sequence[int]], classes: Sequence[str]
) -> dict[Split, list[str]]:
    """The classes that a split has nothing of, where there are any."""
    missing = {
        split: [name for name, count in zip(classes, of_split, strict=True) if not count]
        for split, of_split in counts.items()
    }
    return {split: names for split, names in missing.items() if names}
