from collections import Counter

import pytest

from tasks.data.dataset import DataError
from tasks.data.splits import Fractions, Item, carve, carve_groups, drop_duplicates, interleave


def items(*counts: int) -> tuple[Item, ...]:
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    return tuple(Item(index, label, str(index)) for index, label in enumerate(labels))


def test_carving_is_by_class_and_loses_nothing() -> None:
    splits = carve({"train": items(20, 10)}, "ab", Fractions(0.2, 0.1), seed=0)
    counts = {split: Counter(item.label for item in part) for split, part in splits.items()}
    assert counts == {
        "train": {0: 14, 1: 7},
        "validation": {0: 4, 1: 2},
        "test": {0: 2, 1: 1},
    }
    assert sorted(i.index for part in splits.values() for i in part) == list(range(30))


def test_splits_that_exist_are_kept() -> None:
    given = {"train": items(9, 9), "test": (Item(99, 0, "x"), Item(98, 1, "y"))}
    splits = carve(given, "ab", Fractions(0.3, 0.5), seed=0)
    assert splits["test"] == given["test"]
    assert len(splits["validation"]) == 6


def test_no_test_split_when_its_fraction_is_zero() -> None:
    assert set(carve({"train": items(4, 4)}, "ab", Fractions(0.2, 0), 0)) == {
        "train",
        "validation",
    }


def test_test_split_does_not_depend_on_the_validation_fraction() -> None:
    some, more = (
        carve({"train": items(50, 50)}, "ab", Fractions(part, 0.2), 3) for part in (0.1, 0.4)
    )
    assert some["test"] == more["test"]


def test_seed_changes_the_split() -> None:
    first, again, other = (
        carve({"train": items(50, 50)}, "ab", Fractions(0.2, 0.2), seed) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_too_small_class_is_named() -> None:
    with pytest.raises(DataError, match=r"class b must have at least 3 images .*got 2"):
        carve({"train": items(9, 2)}, "ab", Fractions(0.2, 0.2), 0)


def test_duplicates_leave_train_and_nothing_else() -> None:
    splits, counts = drop_duplicates(
        {
            "train": tuple(Item(i, 0, key) for i, key in enumerate("aabcd")),
            "validation": (Item(5, 0, "b"), Item(6, 0, "e"), Item(7, 0, "e")),
            "test": (Item(8, 0, "c"), Item(9, 0, "b")),
        }
    )
    assert [item.sha256 for item in splits["train"]] == ["a", "a", "d"]
    assert len(splits["validation"]) == 3 and len(splits["test"]) == 2
    assert counts == {
        "train_validation": 1,
        "train_test": 2,
        "validation_test": 1,
        "within_train": 1,
        "within_validation": 1,
        "within_test": 0,
        "dropped_from_train": 2,
    }


def test_every_prefix_has_each_class_in_its_share() -> None:
    order = interleave(items(80, 20), seed=0)
    for count in (5, 10, 50, 100):
        share = sum(item.label for item in order[:count]) / count
        assert share == pytest.approx(0.2, abs=1 / count)


def test_order_does_not_depend_on_the_order_given() -> None:
    given = items(5, 7)
    assert interleave(given, 0) == interleave(given[::-1], 0) != interleave(given, 1)


def test_groups_are_carved_whole() -> None:
    given = tuple(Item(i, 0, str(i), f"group {i // 3}" if i < 12 else "") for i in range(20))
    splits = carve_groups({"train": given}, Fractions(0.2, 0.3), 0, "questions")
    assert sorted(i.index for part in splits.values() for i in part) == list(range(20))
    assert 4 <= len(splits["validation"]) <= 6 and 6 <= len(splits["test"]) <= 8
    of_group = [{item.group for item in part} - {""} for part in splits.values()]
    assert sum(map(len, of_group)) == len(set.union(*of_group))


def test_one_group_cannot_be_carved() -> None:
    given = tuple(Item(i, 0, str(i), "same") for i in range(5))
    with pytest.raises(DataError, match=r"must have questions left .*got 5 questions in 1 groups"):
        carve_groups({"train": given}, Fractions(0.2, 0.2), 0, "questions")
