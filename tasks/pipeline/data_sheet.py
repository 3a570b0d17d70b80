"""What prepared data are like: counts, balance, and how they sit in the network's input.

Each function gives lines for people; nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from hw.text import table
from tasks.learning.protocols import AdviceOnData, Arrays, Problem
from tasks.run.manifest import DataManifest, PreparedSplit
from tasks.run.params import Params

_SHOWN: Final = 8  # classes; of more the first and the last
_FEW: Final = 0.01
_SMALL_PIXELS: Final = 8  # a side that a network at stride 8 sees as one place


def lines(
    manifest: DataManifest, train: Arrays, params: Params, problem: Problem
) -> Iterator[str]:
    """Counts by split, balance of classes, and what is special about this data and problem."""
    of = f", {len(manifest.classes)} classes" if manifest.classes else ""
    yield f"data: {manifest.source}, for {params.problem.name}{of}"
    yield from _counts(manifest)
    yield from _balance(manifest)
    if "boxes" in train:
        yield from _boxes(manifest, train)
    if "masks" in train:
        yield from _masks(manifest)
    if isinstance(problem, AdviceOnData):
        yield from (f"  {line}" for line in problem.advice(train))
    if manifest.splits["train"].longest_tokens is not None:
        yield from _texts(manifest, params)


def _counts(manifest: DataManifest) -> Iterator[str]:
    """A row for each split; of boxes and contexts as well, where there are any."""
    train = manifest.splits["train"]
    names = [key for key, count in _numbers(train).items() if count is not None]
    rows = [("  split", *names, "from")]
    for name, split in manifest.splits.items():
        numbers = (f"{_numbers(split)[key]:,}" for key in names)
        rows.append((f"  {name}", *numbers, "train" if split.carved else "the source"))
    yield table(rows)


def _numbers(split: PreparedSplit) -> dict[str, int | None]:
    """What is counted, where there is such a thing."""
    return {"items": split.items, "boxes": split.boxes, "contexts": split.contexts}


def _balance(manifest: DataManifest) -> Iterator[str]:
    """How many of train each class has, and what always saying the commonest is worth."""
    train = manifest.splits["train"]
    if not train.counted:
        return
    counts = sorted(train.per_class.items(), key=lambda pair: -pair[1])
    shown = [f"{name} {count:,}" for name, count in counts]
    if len(shown) > _SHOWN:
        shown = [*shown[: _SHOWN // 2], "...", *shown[-_SHOWN // 2 :]]
    most, least = counts[0][1], counts[-1][1]
    ratio = f"; the commonest is {most / least:,.1f} times the rarest" if least else ""
    yield f"  {train.counted} per class of train: {', '.join(shown)}{ratio}"
    if train.counted in ("images", "texts"):
        held = manifest.splits["validation"].per_class
        share = max(held.values()) / sum(held.values())
        yield f"  always saying the commonest class is right on {share:.1%} of validation"


def _boxes(manifest: DataManifest, train: Arrays) -> Iterator[str]:
    """Sizes of boxes in pixels of the network's input."""
    real = train["labels"] >= 0
    _, height, width, _ = manifest.input_shape
    sides = (train["boxes"][..., 2:] - train["boxes"][..., :2])[real] * (height, width)
    short = sides.min(axis=1)
    low, middle, high = np.percentile(np.sqrt(sides.prod(axis=1)), (5, 50, 95))
    yield (
        f"  boxes in the input of {height}x{width}: sides of {low:.0f} to {high:.0f} pixels (5 to "
        f"95 %), half below {middle:.0f}"
    )
    tiny = float((short < _SMALL_PIXELS).mean())
    if tiny > _FEW:
        yield (
            f"  {tiny:.1%} of them are narrower than {_SMALL_PIXELS} pixels: hard to find. A "
            "larger data.image_size, or space.name detection_small_fine, sees more of them"
        )


def _masks(manifest: DataManifest) -> Iterator[str]:
    """Shares of the pixels that count."""
    train = manifest.splits["train"]
    counts, ignored = train.per_class, train.pixels_ignored or 0
    total = sum(counts.values())
    shares = ", ".join(f"{name} {count / total:.1%}" for name, count in counts.items())
    yield f"  pixels of train: {shares}; {ignored / (total + ignored):.1%} ignored"


def _texts(manifest: DataManifest, params: Params) -> Iterator[str]:
    """Lengths against the sequence, and words that the vocabulary does not have."""
    splits, length = manifest.splits, params.data.sequence_length
    longest = max(split.longest_tokens or 0 for split in splits.values())
    cut = [(why, one.count) for why, one in manifest.skipped.items() if " cut" in why]
    said = "; ".join(f"{count:,} {why.split(':')[0]}" for why, count in cut) or "nothing is cut"
    yield f"  longest: {longest} tokens, data.sequence_length {length}: {said}"
    held = splits.get("validation", splits["train"]).unknown_tokens_share or 0.0
    yield f"  tokens of validation that the vocabulary does not have: {held:.1%}"
