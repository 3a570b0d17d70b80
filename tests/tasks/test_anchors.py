"""Anchors from boxes, and boxes dealt to anchors; all values derived by hand."""

from __future__ import annotations

import time

import numpy as np
import pytest

from spaces.heads.ssd import ssd
from spaces.menu import load_baselines, load_space
from tasks.learning.anchors import (
    BACKGROUND,
    IGNORED,
    AnchorError,
    anchor_shapes,
    anchors,
    assign,
    corners,
    decode,
    encode,
    iou,
)


def _boxes(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 4)


def _of_sizes(*sizes: tuple[float, float]) -> np.ndarray:
    return _boxes(*((0.1, 0.2, 0.1 + height, 0.2 + width) for height, width in sizes))


def _labels(*labels: int) -> np.ndarray:
    return np.array(labels, np.int32)


def test_shapes_are_the_clusters_of_the_boxes_smallest_first() -> None:
    small, tall, big = (0.05, 0.05), (0.4, 0.1), (0.5, 0.6)
    boxes = _of_sizes(*[big] * 5, *[small] * 9, *[tall] * 2)
    levels = anchor_shapes(boxes, (192, 256), (1, 2))
    np.testing.assert_allclose(np.concatenate(levels), [small, tall, big], rtol=1e-5)
    assert [len(level) for level in levels] == [1, 2]


def test_a_cluster_is_the_geometric_mean_of_its_sizes() -> None:
    boxes = _of_sizes((0.01, 0.01), (0.04, 0.04), (0.4, 0.9), (0.9, 0.4))
    small, big = anchor_shapes(boxes, (100, 100), (1, 1))
    np.testing.assert_allclose(small, [[0.02, 0.02]], rtol=1e-5)  # sqrt(0.01 * 0.04)
    np.testing.assert_allclose(big, [[0.6, 0.6]], rtol=1e-5)  # sqrt(0.4 * 0.9)


def test_same_boxes_and_seed_give_the_same_shapes() -> None:
    sizes = np.random.default_rng(0).uniform(0.02, 0.7, (300, 2))
    boxes = _of_sizes(*map(tuple, sizes))
    once, again = (np.concatenate(anchor_shapes(boxes, (64, 96), (3, 3), 5)) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    areas = once.prod(axis=1)
    assert (np.diff(areas) > 0).all()


def test_few_sizes_come_again_larger_and_smaller() -> None:
    shapes = np.concatenate(anchor_shapes(_of_sizes((0.2, 0.1), (0.2, 0.1)), (64, 64), (1, 2)))
    np.testing.assert_allclose(shapes[1], [0.2, 0.1], rtol=1e-5)
    np.testing.assert_allclose(shapes[[0, 2]], [shapes[1] / 1.26, shapes[1] * 1.26], rtol=1e-5)


def test_no_boxes_or_no_anchors_are_refused() -> None:
    with pytest.raises(AnchorError, match="at least one box with an area, but got none"):
        anchor_shapes(_boxes((0.1, 0.1, 0.1, 0.5)), (64, 64), (3,))
    with pytest.raises(AnchorError, match=r"at least 1 anchor, but got \(3, 0\)"):
        anchor_shapes(_of_sizes((0.1, 0.1)), (64, 64), (3, 0))


def test_anchors_stand_in_the_order_of_the_predictions() -> None:
    shapes = (np.array([[0.1, 0.2], [0.3, 0.4]], np.float32), np.array([[1, 1]], np.float32))
    made = anchors(shapes, [(1, 2), (1, 1)])
    expected = [
        [0.5, 0.25, 0.1, 0.2],
        [0.5, 0.25, 0.3, 0.4],
        [0.5, 0.75, 0.1, 0.2],
        [0.5, 0.75, 0.3, 0.4],
        [0.5, 0.5, 1, 1],
    ]
    np.testing.assert_allclose(made, expected)


def test_there_are_as_many_anchors_as_the_head_predicts() -> None:
    space = load_space("detection_small_fine").for_input((1, 70, 98, 3))
    backbone = space.lower(next(iter(load_baselines("detection_small_fine").values())))
    sizes = [backbone.op(name).output_shape[1:3] for _, name in backbone.endpoints]
    counts = (1, 2, 3, 4)
    shapes = [np.full((count, 2), 0.1, np.float32) for count in counts]
    graph = ssd(backbone, 3, counts)
    assert graph.op("boxes").output_shape == (1, len(anchors(shapes, sizes)), 4)


def test_encoded_boxes_are_scaled_as_tflite_expects() -> None:
    anchor = _boxes((0.5, 0.5, 0.2, 0.4))
    box = _boxes((0.5, 0.3, 0.9, 0.7))  # centre (0.7, 0.5), size (0.4, 0.4)
    expected = [[10 * 0.2 / 0.2, 0, 5 * np.log(2), 0]]
    np.testing.assert_allclose(encode(box, anchor), expected, atol=1e-5)


def test_decoding_is_the_inverse_of_encoding() -> None:
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 0.5, (7, 20, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.05, 0.5, low.shape)], -1).astype(np.float32)
    placed = rng.uniform(0.1, 0.9, (20, 4)).astype(np.float32)
    np.testing.assert_allclose(decode(encode(boxes, placed), placed), boxes, atol=1e-5)
    assert np.isfinite(decode(np.full((20, 4), 1e6, np.float32), placed)).all()


def test_iou_of_hand_computed_pairs() -> None:
    unit = _boxes((0, 0, 1, 1))
    others = _boxes((0, 0, 1, 1), (0, 0.5, 1, 1.5), (0.5, 0.5, 1, 1), (2, 2, 3, 3), (1, 1, 1, 1))
    np.testing.assert_allclose(iou(unit, others), [[1, 1 / 3, 1 / 4, 0, 0]], rtol=1e-6)
    empty = _boxes((0, 0, 0, 0))
    assert iou(empty, empty) == [[0]]


# Four anchors of half the picture: corners (0, 0, .5, .5), (0, .5, .5, 1) and so on.
_QUARTERS = anchors((np.full((1, 2), 0.5, np.float32),), [(2, 2)])


def _assigned(boxes: np.ndarray, labels: np.ndarray, *crowd: bool) -> list[int]:
    herd = np.array(crowd or [False] * len(labels), np.bool_)
    return assign(boxes, labels, herd, _QUARTERS).labels.tolist()


def test_anchors_find_ignore_or_leave_by_their_iou() -> None:
    first = _boxes((0, 0, 0.5, 0.5))
    assert _assigned(first, _labels(2)) == [2, BACKGROUND, BACKGROUND, BACKGROUND]
    # over both left quarters (IoU 0.5 each): both find it
    assert _assigned(_boxes((0, 0, 1, 0.5)), _labels(1)) == [1, BACKGROUND, 1, BACKGROUND]
    # over both upper quarters and more (IoU .25 / .61 = 0.41): one is its best, the other ignored
    wide = _assigned(_boxes((0, 0, 0.61, 1)), _labels(0))
    assert wide == [0, IGNORED, BACKGROUND, BACKGROUND]


def test_each_box_gets_an_anchor_however_bad() -> None:
    speck = _boxes((0.7, 0.7, 0.71, 0.71))
    assert _assigned(speck, _labels(4)) == [BACKGROUND] * 3 + [4]


def test_two_boxes_at_one_anchor_get_one_each() -> None:
    better, worse = (0, 0, 0.5, 0.5), (0, 0.1, 0.5, 0.55)  # the worse one reaches into the next
    for order in ((0, 1), (1, 0)):
        boxes = _boxes(*[(better, worse)[at] for at in order])
        labels = _labels(*[(7, 8)[at] for at in order])
        assert _assigned(boxes, labels) == [7, 8, BACKGROUND, BACKGROUND]


def test_targets_of_a_found_box_lead_back_to_it() -> None:
    box = _boxes((0.05, 0, 0.5, 0.45))
    targets = assign(box, _labels(0), np.array([False]), _QUARTERS)
    np.testing.assert_allclose(decode(targets.boxes, _QUARTERS)[:1], box, atol=1e-6)
    assert not targets.boxes[1:].any()


def test_padding_is_no_box() -> None:
    boxes = _boxes((0, 0, 0.5, 0.5), (0, 0, 0, 0))
    assert _assigned(boxes, _labels(-1, -1)) == [BACKGROUND] * 4


def test_anchors_under_a_crowd_are_ignored_unless_they_have_a_box() -> None:
    boxes = _boxes(
        (0, 0, 1, 0.8), (0, 0, 0.5, 0.5)
    )  # covers .5 * .3 of .5 * .5 on the right: 60 %
    assert _assigned(boxes, _labels(1, 3), True, False) == [3, IGNORED, IGNORED, IGNORED]
    assert _assigned(boxes[:1], _labels(1), True) == [IGNORED] * 4
    narrow = _boxes((0, 0, 1, 0.7))
    assert _assigned(narrow, _labels(1), True) == [IGNORED, BACKGROUND, IGNORED, BACKGROUND]


def test_many_anchors_take_milliseconds() -> None:
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 0.8, (30, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.02, 0.2, low.shape)], 1).astype(np.float32)
    placed = anchors((np.full((5, 2), 0.1, np.float32),), [(32, 32)])
    begin = time.process_time()
    for _ in range(10):
        assign(boxes, np.zeros(30, np.int32), np.zeros(30, np.bool_), placed)
    assert time.process_time() - begin < 1.0  # a generous bound: 0.1 s when it was written


def test_corners_of_a_centred_box() -> None:
    np.testing.assert_allclose(corners(_boxes((0.5, 0.4, 0.2, 0.6))), [[0.4, 0.1, 0.6, 0.7]])
