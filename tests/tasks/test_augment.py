"""What changes a picture at random moves its masks and boxes with it, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tasks.learning import augment
from tasks.learning.augment import IGNORE, UNKNOWN, mixed, pictures, tokens
from tasks.learning.categories import cross_entropy
from tasks.run.params import AugmentParams
from tests.samples import SMALL, opened, samples

EVERYTHING = AugmentParams(
    flip=True, turn=True, crop=3, scale=0.4, colour=0.3, drop_tokens=0.3, mix=0.5
)
NOTHING = AugmentParams(crop=0)


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def _scene(count: int, side: tuple[int, int] = (12, 16)) -> dict[str, Any]:
    """A bright object of 3 x 5 pixels at row 4, column 6, with its mask and its box."""
    height, width = side
    images = np.zeros((count, height, width, 1), np.uint8)
    images[:, 4:7, 6:11] = 200
    box = np.array([4 / height, 6 / width, 7 / height, 11 / width], np.float32)
    return {
        "images": images,
        "masks": (images[..., 0] > 0).astype(np.uint8),
        "boxes": np.tile(box, (count, 1, 1)),
        "labels": np.zeros((count, 1), np.int32),
    }


def _extent(image: Any) -> tuple[int, int, int, int]:
    """Rows and columns of what is bright, as corners in pixels."""
    rows, columns = np.nonzero(image[..., 0] > 0)
    return rows.min(), columns.min(), rows.max() + 1, columns.max() + 1


@pytest.mark.parametrize(
    "params",
    [
        AugmentParams(crop=3),
        AugmentParams(crop=0, flip=True),
        AugmentParams(crop=3, flip=True),
        AugmentParams(crop=2, flip=True, colour=0.1),
        AugmentParams(crop=0, turn=True),
    ],
    ids=["shift", "mirror", "both", "colour", "turn"],
)
def test_masks_and_boxes_move_exactly_as_pictures_do(params: AugmentParams) -> None:
    scene = _scene(64)
    if params.colour:
        scene["images"] = np.where(scene["images"] > 0, 250, 5).astype(np.uint8)
    found = pictures(scene, params, _rng())
    bright = found["images"][..., 0] > (127 if params.colour else 0)
    places = set()
    for image, shown, mask, box in zip(
        found["images"], bright, found["masks"], found["boxes"][:, 0], strict=True
    ):
        np.testing.assert_array_equal(mask == 1, shown)
        assert mask.shape == image.shape[:2]
        corners = _extent(shown[..., None].astype(np.uint8))
        np.testing.assert_allclose(box * [12, 16, 12, 16], corners, atol=1e-4)
        places.add(corners)
    assert len(places) > 1
    assert (found["labels"] == 0).all()


def test_crop_shifts_by_up_to_its_pixels_and_zeros_move_in() -> None:
    hand_made = np.arange(10, 100, 10, np.uint8).reshape(1, 3, 3, 1)
    images = np.tile(hand_made, (200, 1, 1, 1))
    masks = images[..., 0] // 10
    found = pictures({"images": images, "masks": masks}, AugmentParams(crop=1), _rng())
    shown = {tuple(one.ravel().tolist()) for one in found["images"]}
    # derived: nine shifts; written out are the one to the upper left and that straight down
    assert len(shown) == 9
    assert (50, 60, 0, 80, 90, 0, 0, 0, 0) in shown
    assert (0, 0, 0, 10, 20, 30, 40, 50, 60) in shown
    assert tuple(hand_made.ravel().tolist()) in shown
    # what moves in from outside belongs to no class
    expected = np.where(found["images"][..., 0] > 0, found["images"][..., 0] // 10, IGNORE)
    np.testing.assert_array_equal(found["masks"], expected)


def test_flip_mirrors_left_and_right_only() -> None:
    images = np.tile(np.array([[1, 2, 3], [4, 5, 6]], np.uint8)[None, ..., None], (50, 1, 1, 1))
    box = np.array([0.1, 0.2, 0.5, 0.4], np.float32)
    boxes, labels = np.tile(box, (50, 1, 1)), np.zeros((50, 1), np.int32)
    batch = {"images": images, "boxes": boxes, "labels": labels}
    found = pictures(batch, AugmentParams(crop=0, flip=True), _rng())
    for image, moved in zip(found["images"], found["boxes"][:, 0], strict=True):
        # derived
        mirrored = image.ravel().tolist() == [3, 2, 1, 6, 5, 4]
        assert mirrored or image.ravel().tolist() == [1, 2, 3, 4, 5, 6]
        expected = [0.1, 0.6, 0.5, 0.8] if mirrored else box
        np.testing.assert_allclose(moved, expected, atol=1e-6)
    mirrored_share = (found["images"][:, 0, 0, 0] == 3).mean()
    assert 0.2 < mirrored_share < 0.8


def test_square_pictures_are_turned_by_quarters_with_masks_and_boxes() -> None:
    batch = _scene(60, (16, 16))
    turned = pictures(batch, AugmentParams(crop=0, turn=True), _rng())
    places = set()
    for image, mask, box in zip(
        turned["images"], turned["masks"], turned["boxes"][:, 0], strict=True
    ):
        np.testing.assert_array_equal(mask == 1, image[..., 0] > 0)
        np.testing.assert_allclose(box * 16, _extent(image), atol=1e-5)
        places.add(_extent(image))
    # derived: rows 4 to 7, columns 6 to 11 of 16, turned to the left again and again
    assert places == {(4, 6, 7, 11), (5, 4, 10, 7), (9, 5, 12, 10), (6, 9, 11, 12)}


def test_zoom_is_about_the_middle_bilinear_in_pictures_and_nearest_in_masks() -> None:
    line = np.array([0, 10, 20, 30], np.uint8)
    images = np.tile(line[None, None, :, None], (2, 4, 1, 1))
    masks = np.tile(np.array([0, 1, 2, 3], np.uint8), (2, 4, 1))
    found = augment._zoomed({"images": images, "masks": masks}, np.array([2.0, 0.5]))
    # derived: pixels come from 0.75, 1.25, 1.75, 2.25; and from -1.5, 0.5, 2.5, 4.5
    for row in found["images"][0, :, :, 0]:
        np.testing.assert_allclose(row, [7.5, 12.5, 17.5, 22.5], atol=0.51)
    np.testing.assert_array_equal(found["masks"][0], np.tile([1, 1, 2, 2], (4, 1)))
    np.testing.assert_array_equal(found["images"][1, :, :, 0] > 0, np.pad(np.ones((2, 2)), 1))
    np.testing.assert_array_equal(found["images"][1, 1, 1:3, 0], [5, 25])
    assert (found["masks"][1][[0, 3]] == IGNORE).all()
    assert (found["masks"][1][1:3][:, [0, 3]] == IGNORE).all()
    assert IGNORE not in found["masks"][1][1:3, 1:3]


def test_zoom_moves_boxes_with_the_mask() -> None:
    masks = np.zeros((1, 8, 8), np.uint8)
    masks[:, 3:5, 3:5] = 1
    batch = {
        "images": masks[..., None] * 200,
        "masks": masks,
        "boxes": np.array([[[3 / 8, 3 / 8, 5 / 8, 5 / 8]]], np.float32),
        "labels": np.zeros((1, 1), np.int32),
    }
    found = augment._zoomed(batch, np.array([2.0]))
    # derived: two pixels about the middle become four
    np.testing.assert_array_equal(found["masks"][0], np.pad(np.ones((4, 4)), 2))
    np.testing.assert_allclose(found["boxes"], [[[0.25, 0.25, 0.75, 0.75]]])


def test_boxes_of_which_too_little_is_left_are_no_longer_there() -> None:
    boxes = np.array(
        [[[0.0, 0.0, 0.5, 0.5], [0.0, 0.5, 0.25, 1.0], [0.5, 0.0, 1.0, 0.5], [0, 0, 0, 0]]],
        np.float32,
    )
    batch = {
        "images": np.zeros((1, 8, 8, 1), np.uint8),
        "boxes": boxes,
        "labels": np.array([[0, 1, 2, -1]], np.int32),
    }
    up = augment._shifted(batch, 2, np.array([[4], [2]]))  # by two rows
    # derived: of the first box a half is left, of the second nothing, the third moves as it is
    assert up["labels"].tolist() == [[0, -1, 2, -1]]
    np.testing.assert_allclose(up["boxes"][0, 0], [0, 0, 0.25, 0.5])
    np.testing.assert_allclose(up["boxes"][0, 2], [0.25, 0, 0.75, 0.5])


def test_colour_changes_pictures_only() -> None:
    scene = _scene(40)
    scene["images"] += 30
    found = pictures(scene, AugmentParams(crop=0, colour=0.2), _rng())
    for part in ("masks", "boxes", "labels"):
        np.testing.assert_array_equal(found[part], scene[part])
    changed = found["images"].astype(int) - scene["images"]
    # derived: by at most 20 % of the distance to grey, and 20 % of 127.5
    assert 0 < np.abs(changed).max() <= 0.2 * (127.5 + 127.5) + 1


def _same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert set(one) == set(other)
    for part, array in one.items():
        np.testing.assert_array_equal(array, other[part], err_msg=part)


@pytest.mark.parametrize("name", SMALL)
def test_nothing_changes_with_everything_off(name: str) -> None:
    arrays = samples(name, 9)
    _same(opened(name).augment(arrays, NOTHING, _rng()), samples(name, 9))


@pytest.mark.parametrize("name", SMALL)
def test_changes_depend_on_the_generator_alone_and_leave_what_was_given(name: str) -> None:
    problem, arrays = opened(name), samples(name, 9)
    one, same, other = (problem.augment(arrays, EVERYTHING, _rng(seed)) for seed in (1, 1, 2))
    _same(one, same)
    assert any(not np.array_equal(one[part], other[part]) for part in one)
    _same(arrays, samples(name, 9))
    for part, array in arrays.items():
        assert (one[part].shape, one[part].dtype) == (array.shape, array.dtype), part


@pytest.mark.parametrize("name", ["segmentation", "detection"])
def test_changed_targets_are_legal(name: str) -> None:
    found = opened(name).augment(samples(name, 60), EVERYTHING, _rng())
    if name == "segmentation":
        assert set(np.unique(found["masks"])) <= {0, 1, 2, IGNORE}
        return
    boxes, there = found["boxes"], found["labels"] >= 0
    assert (boxes >= 0).all() and (boxes <= 1).all()
    assert (boxes[there][:, 2:] > boxes[there][:, :2]).all()
    assert 0 < there.sum() <= (samples(name, 60)["labels"] >= 0).sum()


def test_words_are_lost_but_no_marks_and_no_targets() -> None:
    arrays = samples("question_answering", 50)
    found = tokens(arrays, AugmentParams(drop_tokens=0.3), _rng())
    lost = found["tokens"] != arrays["tokens"]
    assert set(found["tokens"][lost].tolist()) == {UNKNOWN}
    assert (arrays["tokens"][lost] >= 4).all()  # no [PAD], [UNK], [CLS] or [SEP]
    assert 0.2 < lost[arrays["tokens"] >= 4].mean() < 0.4
    for part in set(arrays) - {"tokens"}:
        np.testing.assert_array_equal(found[part], arrays[part])


# -- parts from other pictures ------------------------------------------------------------------


def _plain(count: int = 40, height: int = 12, width: int = 20) -> dict[str, Any]:
    """Picture n is all n, and so is its label."""
    images = np.arange(count, dtype=np.uint8)[:, None, None, None]
    images = np.broadcast_to(images, (count, height, width, 3)).copy()
    return {"images": images, "labels": np.arange(count, dtype=np.int32)}


def test_a_rectangle_comes_from_the_picture_whose_label_is_told() -> None:
    batch = _plain()
    found = mixed(batch, 0.5, np.random.default_rng(3))
    changed = 0
    for index, image in enumerate(found["images"]):
        other, kept = found["others"][index], found["kept"][index]
        strange = (image != index).all(axis=-1)
        assert set(np.unique(image)) <= {index, other}
        assert kept == pytest.approx(1 - strange.mean() if other != index else kept)
        if strange.any():
            rows, columns = np.flatnonzero(strange.any(1)), np.flatnonzero(strange.any(0))
            assert strange[np.ix_(rows, columns)].all()
            assert len(rows) == np.ptp(rows) + 1 and len(columns) == np.ptp(columns) + 1
            changed += 1
    assert 10 <= changed <= 30  # derived: 20 of 40 on average, standard deviation 3
    assert sorted(found["others"]) == list(range(40))
    np.testing.assert_array_equal(found["labels"], batch["labels"])


def test_parts_of_all_sizes_are_taken() -> None:
    kept = mixed(_plain(250), 1.0, np.random.default_rng(0))["kept"]
    # derived: the area is uniform in 0..1, a little less for whole pixels
    assert 0.45 < kept.mean() < 0.65
    assert (kept < 0.2).any() and (kept > 0.9).any()


def test_no_share_changes_nothing_and_the_batch_is_left_alone() -> None:
    batch, rng = _plain(), np.random.default_rng(0)
    before = batch["images"].copy()
    assert mixed(batch, 0.0, rng).keys() == batch.keys()
    assert rng.random() == np.random.default_rng(0).random()
    mixed(batch, 1.0, rng)
    np.testing.assert_array_equal(batch["images"], before)


@pytest.mark.usefixtures("tensorflow")
def test_the_loss_of_a_mixture_is_that_of_its_parts() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(4, 3)).astype(np.float32)
    labels, others = np.array([0, 1, 2, 0], np.int32), np.array([2, 1, 0, 1], np.int32)

    def loss(kept: float) -> float:
        part = np.full(4, kept, np.float32)
        return float(cross_entropy(labels, logits, 0.1, (others, part)))

    one, two = (float(cross_entropy(of, logits, 0.1)) for of in (labels, others))
    assert loss(1.0) == pytest.approx(one, rel=1e-6)
    assert loss(0.0) == pytest.approx(two, rel=1e-6)
    assert loss(0.25) == pytest.approx(0.25 * one + 0.75 * two, rel=1e-6)
