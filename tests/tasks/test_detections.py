"""Suppression against hand-made cases, and COCO's metric where its answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.learning.anchors import AnchorError
from tasks.learning.detections import Detections, Truth, coco_metrics, non_max_suppression

# IoU with the first box: 1, 0.6 (0.75 / 1.25 of the width), 1 / 3, 0.
_ROW = np.array(
    [[0, 0, 0.4, 0.4], [0, 0.1, 0.4, 0.5], [0, 0.2, 0.4, 0.6], [0.6, 0.6, 1, 1]], np.float32
)


def _one_class(*scores: float) -> np.ndarray:
    return np.array(scores, np.float32)[:, None]


def _kept(scores: np.ndarray, **options: float) -> list[tuple[int, int]]:
    """Row and class of what is kept, best first."""
    found = non_max_suppression(_ROW, scores, **options)  # type: ignore[arg-type]
    rows = [int(np.flatnonzero((_ROW == box).all(axis=1))[0]) for box in found.boxes]
    np.testing.assert_array_equal(found.scores, scores[rows, found.labels])
    return list(zip(rows, found.labels.tolist(), strict=True))


def test_a_box_near_a_better_one_is_dropped() -> None:
    assert _kept(_one_class(0.9, 0.8, 0.7, 0.6)) == [(0, 0), (2, 0), (3, 0)]
    # with the second one best, its neighbours on both sides go (IoU 0.6 each)
    assert _kept(_one_class(0.8, 0.9, 0.7, 0.6)) == [(1, 0), (3, 0)]


def test_what_is_dropped_drops_nothing() -> None:
    # 1 falls to 0; so 2, which 1 would drop, stays
    assert (2, 0) in _kept(_one_class(0.9, 0.8, 0.7, 0.1))


def test_overlap_threshold_decides() -> None:
    assert _kept(_one_class(0.9, 0.8, 0.7, 0.6), iou_threshold=0.3) == [(0, 0), (3, 0)]
    assert len(_kept(_one_class(0.9, 0.8, 0.7, 0.6), iou_threshold=0.7)) == 4


def test_classes_do_not_drop_each_other() -> None:
    scores = np.array([[0.9, 0.0], [0.0, 0.95], [0, 0], [0, 0]], np.float32)
    assert _kept(scores) == [(1, 1), (0, 0)]


def test_low_scores_and_surplus_detections_are_left_out() -> None:
    assert _kept(_one_class(0.9, 0.01, 0.02, 0.6)) == [(0, 0), (3, 0)]
    assert _kept(_one_class(0.9, 0.8, 0.7, 0.6), detections=2) == [(0, 0), (2, 0)]
    nothing = non_max_suppression(_ROW, _one_class(0, 0, 0, 0))
    assert nothing.boxes.shape == (0, 4)
    assert nothing.labels.shape == nothing.scores.shape == (0,)


def _truth() -> Truth:
    boxes = np.zeros((2, 2, 4), np.float32)
    boxes[0] = [[0.1, 0.1, 0.5, 0.5], [0.6, 0.2, 0.9, 0.8]]
    boxes[1, 0] = [0.2, 0.3, 0.4, 0.7]
    labels = np.array([[0, 1], [1, -1]], np.int32)
    sizes = np.array([[100, 200], [300, 100]], np.int32)
    return Truth(boxes, labels, np.zeros((2, 2), np.bool_), sizes)


def _perfect(truth: Truth) -> list[Detections]:
    real = truth.labels >= 0
    return [
        Detections(boxes[has], labels[has], np.ones(int(has.sum()), np.float32))
        for boxes, labels, has in zip(truth.boxes, truth.labels, real, strict=True)
    ]


def _none(count: int = 2) -> list[Detections]:
    empty = np.zeros(0, np.float32)
    return [Detections(empty.reshape(0, 4), empty.astype(np.int32), empty)] * count


def test_perfect_predictions_have_metric_1(capsys: pytest.CaptureFixture[str]) -> None:
    found = coco_metrics(_perfect(_truth()), _truth())
    assert (found.map, found.map50, found.map75) == pytest.approx((1, 1, 1))
    assert capsys.readouterr().out == ""


def test_no_predictions_have_metric_0() -> None:
    found = coco_metrics(_none(), _truth())
    assert (found.map, found.map50, found.map75) == (0, 0, 0)


def test_metric_is_the_mean_over_classes() -> None:
    # derived: class 0 is found (1), of class 1 nothing (0)
    found = coco_metrics([_perfect(_truth())[0], _none()[0]], _truth())
    one = Detections(_truth().boxes[0, :1], np.zeros(1, np.int32), np.array([0.3], np.float32))
    assert coco_metrics([one, _none()[0]], _truth()).map == pytest.approx(0.5)
    assert found.map > 0.5  # half of class 1, too


def test_a_shifted_box_counts_up_to_its_iou() -> None:
    # derived: moved by a fifth of its width, IoU = 0.8 / 1.2 = 0.667: thresholds .5 to .65 of ten
    truth = Truth(
        np.array([[[0.2, 0.2, 0.6, 0.6]]], np.float32),
        np.zeros((1, 1), np.int32),
        np.zeros((1, 1), np.bool_),
        np.array([[400, 400]], np.int32),
    )
    moved = Detections(
        np.array([[0.2, 0.28, 0.6, 0.68]], np.float32),
        np.zeros(1, np.int32),
        np.ones(1, np.float32),
    )
    found = coco_metrics([moved], truth)
    assert (found.map, found.map50, found.map75) == pytest.approx((0.4, 1, 0))


def test_detections_in_a_crowd_are_neither_right_nor_wrong() -> None:
    boxes = np.array([[[0.1, 0.1, 0.3, 0.3], [0.5, 0.5, 1, 1]]], np.float32)
    labels, sizes = np.zeros((1, 2), np.int32), np.array([[100, 100]], np.int32)
    inside = np.array([[0.5, 0.5, 0.7, 0.7], [0.6, 0.6, 0.9, 0.9]], np.float32)
    found = Detections(
        np.concatenate([inside, boxes[0, :1]]),
        np.zeros(3, np.int32),
        np.array([0.9, 0.8, 0.7], np.float32),
    )
    herd = Truth(boxes, labels, np.array([[False, True]]), sizes)
    assert coco_metrics([found], herd).map50 == pytest.approx(1)
    alone = Truth(boxes[:, :1], labels[:, :1], np.zeros((1, 1), np.bool_), sizes)
    assert coco_metrics([found], alone).map50 == pytest.approx(1 / 3)  # two wrong ones before it


def test_too_few_pictures_or_nothing_to_find_are_refused() -> None:
    with pytest.raises(AnchorError, match="for each picture, but got 1 for 2"):
        coco_metrics(_none(1), _truth())
    truth = _truth()
    herd = Truth(truth.boxes, truth.labels, np.ones((2, 2), np.bool_), truth.sizes)
    with pytest.raises(AnchorError, match="at least one box to be found, but got none"):
        coco_metrics(_none(), herd)
