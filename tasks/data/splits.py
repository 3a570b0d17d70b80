"""Who is in which split: carving, exact duplicates, and the order of the samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.data.dataset import DataError, Split

Splits = Mapping[Split, "tuple[Item, ...]"]


@dataclass(frozen=True, slots=True)
class Item:
    """A sample as far as splitting is concerned.

    Attributes:
        index: Where it is among all samples.
        label: Its class, 0 where samples have none of their own.
        sha256: Of its content.
        group: Items of one group stay together; empty: the item stands alone.
    """

    index: int
    label: int
    sha256: str
    group: str = ""


@dataclass(frozen=True, slots=True)
class Fractions:
    """Which part of train an absent split takes."""

    validation: float
    test: float


def carve(
    splits: Splits,
    classes: Sequence[str],
    fractions: Fractions,
    seed: int,
    noun: str = "images",
) -> Splits:
    """Keep the splits that exist; take absent ones from train, class by class.

    Of each class with n items a carved split takes ``round(fraction * n)``, at least one. The test
    split is taken first, so that it stays the same when the validation fraction changes.

    Args:
        splits: What there is.
        classes: Names by label.
        fractions: Which part of train an absent split takes.
        seed: Of the choice.
        noun: What the items are, for messages.

    Raises:
        DataError: A class has too few items to leave one in train.
    """
    wanted = _wanted(splits, fractions)
    rng = np.random.default_rng(seed)
    parts: dict[Split, list[Item]] = {split: [] for split in ("train", *wanted)}
    for label, name in enumerate(classes):
        members = [item for item in splits["train"] if item.label == label]
        counts = {split: max(1, round(part * len(members))) for split, part in wanted.items()}
        if sum(counts.values()) >= len(members):
            raise DataError(
                f"class {name} must have at least {sum(counts.values()) + 1} {noun} in train to "
                f"carve {' and '.join(counts) or 'nothing'} from it, but got {len(members)}."
            )
        shuffled = [members[place] for place in rng.permutation(len(members))]
        for split, count in counts.items():
            parts[split] += shuffled[:count]
            shuffled = shuffled[count:]
        parts["train"] += shuffled
    return {**splits, **{split: tuple(items) for split, items in parts.items()}}


def carve_groups(splits: Splits, fractions: Fractions, seed: int, noun: str) -> Splits:
    """The same without classes: whole groups of items, at random.

    A carved split takes groups until it holds ``round(fraction * n)`` of the n items of train, at
    least one.

    Raises:
        DataError: Nothing would be left in train.
    """
    wanted = _wanted(splits, fractions)
    groups: dict[str, list[Item]] = {}
    for item in splits["train"]:
        groups.setdefault(item.group or f"item {item.index}", []).append(item)
    members = list(groups.values())
    shuffled = [members[place] for place in np.random.default_rng(seed).permutation(len(members))]
    parts: dict[Split, list[Item]] = {}
    for split, part in wanted.items():
        parts[split] = []
        while shuffled and len(parts[split]) < max(1, round(part * len(splits["train"]))):
            parts[split] += shuffled.pop()
    if not shuffled:
        raise DataError(
            f"train must have {noun} left when {' and '.join(wanted) or 'nothing'} is carved from "
            f"it, but got {len(splits['train'])} {noun} in {len(members)} groups."
        )
    parts["train"] = [item for group in shuffled for item in group]
    return {**splits, **{split: tuple(items) for split, items in parts.items()}}


def _wanted(splits: Splits, fractions: Fractions) -> dict[Split, float]:
    """The splits to carve, in this order, and their shares."""
    wanted: dict[Split, float] = {}
    if "test" not in splits and fractions.test > 0:
        wanted["test"] = fractions.test
    if "validation" not in splits:
        wanted["validation"] = fractions.validation
    return wanted


def drop_duplicates(splits: Splits) -> tuple[Splits, dict[str, int]]:
    """Drop from train what is, byte for byte, in validation or test, too; and count.

    Returns:
        The splits, and counts of items: ``train_validation`` and ``train_test`` (items of train
        that are in the other as well), ``validation_test`` (items of test that are in validation;
        they stay), ``within_<split>`` (repeats inside one split; they stay) and
        ``dropped_from_train``.
    """
    contents = {split: {item.sha256 for item in items} for split, items in splits.items()}
    held_out = contents.get("validation", set()) | contents.get("test", set())
    counts = {f"within_{split}": len(splits[split]) - len(contents[split]) for split in splits}
    pairs: tuple[tuple[Split, Split], ...] = (
        ("train", "validation"),
        ("train", "test"),
        ("validation", "test"),
    )
    for first, second in pairs:
        items, other = splits.get(first, ()), contents.get(second, set())
        if first == "validation":
            items, other = splits.get("test", ()), contents.get("validation", set())
        counts[f"{first}_{second}"] = sum(item.sha256 in other for item in items)
    kept = tuple(item for item in splits["train"] if item.sha256 not in held_out)
    counts["dropped_from_train"] = len(splits["train"]) - len(kept)
    return {**splits, "train": kept}, counts


def interleave(items: Sequence[Item], seed: int) -> tuple[Item, ...]:
    """Shuffle within the classes, then deal them out evenly.

    The first n items hold every class in its share, whatever n is, so that a part of a split can
    be used as it is. The order depends on the items and the seed alone.
    """
    rng = np.random.default_rng(seed)
    keyed: list[tuple[float, int, Item]] = []
    for label in sorted({item.label for item in items}):
        members = sorted((i for i in items if i.label == label), key=lambda item: item.index)
        order = rng.permutation(len(members))
        keyed += [
            ((place + 0.5) / len(members), label, members[i]) for place, i in enumerate(order)
        ]
    return tuple(item for _, _, item in sorted(keyed, key=lambda key: key[:2]))
