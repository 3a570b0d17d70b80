"""What may be mirrored and turned in training, asked of made-up pictures, objects and places."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tasks.data.symmetry import NONE, Symmetry, symmetry_of

SIDE = 24


def _marked(name: str, which: int, rng: np.random.Generator) -> np.ndarray:
    """A picture of class 0 or 1, that differ in what ``name`` says."""
    picture = rng.integers(0, 60, (SIDE, SIDE, 1), np.uint8)
    if name == "ring":  # a spot, or a ring: the same from all sides
        y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
        away = np.hypot(y, x)
        picture[(away < 4) if which else (away > 6) & (away < 9)] += 150
    elif name == "left":  # bright at the left or at the right
        picture[:, slice(0, 6) if which else slice(SIDE - 6, SIDE)] += 150
    elif name == "up":  # bright above or below: the mirror changes nothing
        picture[slice(0, 6) if which else slice(SIDE - 6, SIDE)] += 150
    elif name == "lying":  # a bar that lies or stands: only quarters change it
        bar = picture[9:15] if which else picture[:, 9:15]
        bar += 150
    elif name == "pinwheel":  # the same when turned, another in the mirror
        arm = np.zeros((SIDE, SIDE), bool)
        arm[2:12, 10:13] = arm[2:5, 10:20] = True
        for turn in range(4):
            picture[np.rot90(arm if which else arm[:, ::-1], turn)] = 200
    return picture


def _pictures(name: str, count: int = 300) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    labels = (np.arange(count) % 2).astype(np.int32)
    return {"images": np.stack([_marked(name, one, rng) for one in labels]), "labels": labels}


@pytest.mark.parametrize(
    ("name", "mirrored", "turned"),
    [
        ("ring", True, True),
        ("left", False, False),
        ("up", True, False),
        ("lying", True, False),
        ("pinwheel", False, True),
        ("nothing", True, False),  # nobody knows these apart: the mirror is not seen to matter
    ],
)
def test_a_change_is_allowed_that_changes_no_label(
    name: str, mirrored: bool, turned: bool
) -> None:
    assert symmetry_of(_pictures(name)) == Symmetry(mirrored, turned)


def test_pictures_that_are_not_square_are_not_turned_by_a_quarter() -> None:
    arrays = _pictures("lying")
    wide = np.pad(arrays["images"], ((0, 0), (0, 0), (6, 6), (0, 0)), mode="edge")
    assert symmetry_of({**arrays, "images": wide}) == Symmetry(mirrored=True, turned=True)


def test_one_class_that_has_a_side_is_enough() -> None:
    """Of ten classes eight are spots of eight sizes; two are each other in the mirror."""
    rng = np.random.default_rng(0)
    labels = (np.arange(600) % 10).astype(np.int32)
    images = np.zeros((600, SIDE, SIDE, 1), np.uint8)
    for index, label in enumerate(labels):
        if label < 2:
            images[index] = _marked("left", label, rng)
        else:
            images[index, ..., 0] = 20 * label + rng.integers(0, 8, (SIDE, SIDE))
    assert symmetry_of({"images": images, "labels": labels}) == NONE


def test_objects_and_places_are_looked_at_where_labels_are_of_these() -> None:
    def scene(name: str) -> dict[str, Any]:
        one = _pictures(name, 400)
        images = np.zeros((400, 40, 40, 1), np.uint8)
        images[:, 8 : 8 + SIDE, 10 : 10 + SIDE] = one["images"]
        box = np.array([8, 10, 8 + SIDE, 10 + SIDE], np.float32) / 40
        boxes = np.tile(box, (400, 2, 1))
        labels = np.stack([one["labels"], np.full(400, -1, np.int32)], 1)
        return {"images": images, "boxes": boxes, "labels": labels}

    assert symmetry_of(scene("left")) == NONE
    assert symmetry_of(scene("ring")) == Symmetry(mirrored=True, turned=True)


def test_what_lies_above_is_seen_in_masks() -> None:
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 60, (60, 32, 32, 1), np.uint8)
    masks = np.zeros((60, 32, 32), np.uint8)
    for index in range(60):
        top, left = rng.integers(2, 20, 2)
        masks[index, top : top + 9, left : left + 9] = 1
    cells[masks == 1] += 120
    assert symmetry_of({"images": cells, "masks": masks}) == Symmetry(True, True)
    ground = rng.integers(0, 255, (60, 32, 32, 1), np.uint8)  # all alike: places tell
    upper = np.zeros((60, 32, 32), np.uint8)
    upper[:, :16] = 1
    assert not symmetry_of({"images": ground, "masks": upper}).turned


def test_few_samples_and_texts_are_left_as_they_are() -> None:
    assert symmetry_of(_pictures("ring", 40)) == NONE
    assert symmetry_of({"tokens": np.zeros((400, 4), np.int32)}) == NONE
