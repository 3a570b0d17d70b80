"""How much of each split was lost on the way, and the refusal of a run that lost too much.

A reason says what was lost in its first word, and that it was in its second: ``picture skipped:
there is no XML for it``. What was only changed (``box clipped: ...``), or was none of the data
(``file left alone: ...``), is told and is no loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tasks.data.dataset import SPLITS, AnySample, BoxSample, DataError, RawData, Skipped, Split

NOUNS: Final = {
    "picture": "pictures",
    "mask": "pictures",
    "row": "rows",
    "question": "questions",
    "annotation": "boxes",
    "object": "boxes",
    "box": "boxes",
}
"""What a reason's first word is counted as. An ``answer`` is not: its question tells."""
UNUSABLE: Final = "picture skipped: it cannot be used"
"""The reason of samples that a format listed, as ``box skipped: ...`` is that of listed boxes."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What a split lost of one kind of thing.

    Attributes:
        split: Of the source, before anything is carved.
        noun: Pictures, rows, questions or boxes.
        lost: How many.
        of: Of how many that the source holds.
        reason: The commonest.
        times: How often that was it.
        name: The first thing that was lost so.
    """

    split: Split
    noun: str
    lost: int
    of: int
    reason: str
    times: int
    name: str

    @property
    def share(self) -> float:
        """0..1."""
        return self.lost / self.of

    @property
    def hundredths(self) -> int:
        """The share in hundredths, rounded up."""
        return -(-100 * self.lost // self.of)

    def told(self) -> str:
        """In one line, without a full stop.

        >>> Loss("train", "pictures", 8, 12, "picture skipped: damaged", 7, "a.jpg").told()
        "8 of 12 pictures of train are lost: 7 times 'picture skipped: damaged', first a.jpg"
        """
        return (
            f"{self.lost:,} of {self.of:,} {self.noun} of {self.split} are lost: "
            f"{times(self.times)} '{self.reason}', first {self.name}"
        )


def times(count: int) -> str:
    """A count of occurrences in words.

    >>> times(1), times(2000)
    ('once', '2,000 times')
    """
    return "once" if count == 1 else f"{count:,} times"


def losses_of(
    splits: Mapping[Split, Sequence[AnySample]], skipped: Mapping[Split, Skipped]
) -> tuple[Loss, ...]:
    """What each split lost.

    Args:
        splits: The samples that a format read, usable or not.
        skipped: What was left out of each, by reason, that of samples included.
    """
    found = []
    for split in SPLITS:
        by_noun: dict[str, dict[str, Sequence[str]]] = {}
        for reason, names in skipped.get(split, {}).items():
            thing, what, *_ = reason.split()
            if what == "skipped:" and thing in NOUNS and names:
                by_noun.setdefault(NOUNS[thing], {})[reason] = names
        for noun, reasons in by_noun.items():
            lost = sum(map(len, reasons.values()))
            main = max(reasons, key=lambda reason: len(reasons[reason]))
            kept = _count(noun, splits.get(split, ()), skipped.get(split, {}))
            found.append(
                Loss(split, noun, lost, kept + lost, main, len(reasons[main]), reasons[main][0])
            )
    return tuple(found)


def _count(noun: str, samples: Sequence[AnySample], skipped: Skipped) -> int:
    """How many things of a noun are left."""
    if noun == "boxes":
        listed = sum(len(one.boxes) for one in samples if isinstance(one, BoxSample))
        gone = [names for why, names in skipped.items() if why.startswith("box skipped:")]
        return listed - sum(map(len, gone))
    return len(samples) - len(skipped.get(UNUSABLE, ()))


def check(losses: Sequence[Loss], allowed: float) -> None:
    """Refuse to go on with too little of what was given.

    Args:
        losses: Of all splits.
        allowed: The share of a split that may be lost, 0..1. One thing always may.

    Raises:
        DataError: More is lost; the line says what, why, and how to go on.
    """
    beyond = [loss for loss in losses if loss.lost > 1 and loss.share > allowed]
    if not beyond:
        return
    worst = max(beyond, key=lambda loss: loss.share)
    share = f"{worst.hundredths / 100:g}"
    rest = "" if worst.lost == worst.of else f", or set data.allowed_loss to {share} to go on"
    raise DataError(
        f"at most {100 * allowed:g} % of a split may be lost, but {worst.told()}. Mend that"
        f"{f'{rest} without them' if rest else ''}."
    )


def check_source(raw: RawData, allowed: float) -> None:
    """Refuse what a format alone lost; see :func:`check`."""
    check(losses_of(raw.splits, raw.skipped), allowed)
