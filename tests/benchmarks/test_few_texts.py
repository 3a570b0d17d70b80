"""Which texts the benchmark of few texts draws; the trainings take minutes."""

from __future__ import annotations

from collections import Counter

from benchmarks.few_texts import PARTS, Part

SPLITS = {
    "train": [(f"text {n} of {n % 40}", f"label{n % 40}") for n in range(400)],
    "validation": [(f"other {n}", f"label{n % 40}") for n in range(80)],
}


def test_a_part_has_no_more_than_is_asked_for() -> None:
    part = Part(of_each=3, only=30).draw(SPLITS)
    counts = Counter(label for _, label in part["train"])
    assert len(counts) == 30 and set(counts.values()) == {3}
    assert {label for _, label in part["validation"]} == set(counts)
    assert set(part["train"]) <= set(SPLITS["train"])
    assert len(Part(texts=50).draw(SPLITS)["train"]) == 50


def test_joined_classes_are_whole_and_the_same_in_both_splits() -> None:
    part, labels = Part(joined=6).draw(SPLITS), dict[str, str]()
    known = {split: dict(texts) for split, texts in SPLITS.items()}
    for split, texts in part.items():
        for text, label in texts:
            assert labels.setdefault(known[split][text], label) == label
    assert len(labels) == 40 and len(set(labels.values())) == 6


def test_each_part_is_drawn_the_same_again() -> None:
    assert all(one.draw(SPLITS) == one.draw(SPLITS) for one in PARTS)
