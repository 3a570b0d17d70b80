"""Drawings of samples: where the colours are, what is legible, what text is marked."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tasks.learning import samples
from tasks.learning.samples import (
    colour,
    draw_boxes,
    label_picture,
    legend,
    mark_span,
    paint_mask,
)

GREY = np.full((64, 64, 3), 100, np.uint8)
CLASSES = ("background", "one", "two")


def opened(content: bytes) -> np.ndarray:
    assert content.startswith(b"\x89PNG")
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def rgb(index: int) -> np.ndarray:
    return np.array([int(colour(index)[at : at + 2], 16) for at in (1, 3, 5)])


@pytest.mark.parametrize("shape", [(8, 8, 1), (32, 32, 3), (64, 128, 3), (30, 200, 3)])
def test_small_pictures_are_enlarged_and_keep_their_shape(shape: tuple[int, int, int]) -> None:
    drawn = opened(label_picture(np.zeros(shape, np.uint8)))
    assert samples.LEAST_WIDTH <= drawn.shape[1] < 2 * samples.LEAST_WIDTH
    assert drawn.shape[0] / drawn.shape[1] == pytest.approx(shape[0] / shape[1], abs=0.01)


def test_large_pictures_are_reduced_and_kept_in_few_bytes() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (900, 1200, 3), dtype=np.uint8)
    content = label_picture(noise)
    assert opened(content).shape == (288, 384, 3)  # derived: the longest side to 384
    assert len(content) < 140_000


def test_enlarging_a_tiny_picture_shows_its_pixels_as_they_are() -> None:
    image = np.arange(16, dtype=np.uint8).reshape(4, 4, 1) * 16
    drawn = opened(label_picture(image))
    assert (drawn[::64, ::64, 0] == image[..., 0]).all()  # derived: 256 / 4


def test_a_box_is_drawn_in_the_colour_of_its_class_where_it_is() -> None:
    boxes = np.array([[0.25, 0.5, 0.75, 1.0], [0, 0, 0.5, 0.5]], np.float32)
    drawn = opened(draw_boxes(GREY, boxes, np.array([2, -1], np.int32), None, CLASSES))
    inked = (drawn == rgb(2)).all(axis=-1)
    rows, columns = np.nonzero(inked[80:])  # below the name
    # derived: fractions of 256 pixels, an edge of two pixels round them
    assert abs(rows.max() + 80 - 191) <= 2
    assert abs(columns.min() - 128) <= 2
    # The padding left its corner alone.
    assert (drawn[:60, :100] == 100).all()


def test_names_and_scores_are_written_on_few_boxes_and_not_on_many() -> None:
    def ink(amount: int, name: str) -> int:
        boxes = np.tile(np.array([[0.4, 0.1, 0.8, 0.9]], np.float32), (amount, 1))
        labels, scores = np.ones(amount, np.int32), np.full(amount, 0.5, np.float32)
        drawn = opened(draw_boxes(GREY, boxes, labels, scores, ("a", name)))
        return int((drawn[:98] == rgb(1)).all(axis=-1).sum())

    assert ink(1, "a long name") > ink(1, "short") > ink(9, "short")


def test_boxes_over_the_edge_and_of_unknown_classes_are_drawn_all_the_same() -> None:
    boxes = np.array([[-1, -1, 2, 2], [0.5, 0.5, 0.5, 0.5]], np.float32)
    drawn = opened(draw_boxes(GREY, boxes, np.array([7, 99]), np.array([1.0, 0.1]), ("only",)))
    assert (drawn == rgb(7)).all(axis=-1).any() and (drawn == rgb(99)).all(axis=-1).any()


def test_no_boxes_leave_the_picture_as_it_is() -> None:
    none = np.zeros((0, 4), np.float32)
    assert draw_boxes(GREY, none, np.zeros(0, np.int32), None, ()) == label_picture(GREY)


def test_a_mask_tints_its_class_and_leaves_the_background() -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[:32] = 1
    drawn = opened(paint_mask(GREY, mask, CLASSES))
    np.testing.assert_allclose(drawn[40, 40], 40 + 0.6 * rgb(1), atol=1)  # derived
    assert (drawn[200, 40] == 100).all()
    assert (drawn[127, 40] == rgb(1)).all()  # the edge, in full colour
    named = opened(paint_mask(GREY, mask, ("sky", "one")))
    np.testing.assert_allclose(named[200, 40], 40 + 0.6 * rgb(0), atol=1)


def test_a_coarse_mask_is_stretched_and_ignored_pixels_are_hatched() -> None:
    mask = np.array([[1, 255]], np.uint8)
    drawn = opened(paint_mask(GREY[:32], mask, CLASSES))
    np.testing.assert_allclose(drawn[60, 60], 40 + 0.6 * rgb(1), atol=1)
    hatched = np.unique(drawn[:, 140:].reshape(-1, 3), axis=0)
    # derived: 0.35 * 100 + 0.65 * 128, beside what was there
    assert hatched.tolist() == [[100] * 3, [118] * 3]


def test_first_colours_differ_for_everybody() -> None:
    """Machado et al. 2009, severity 1: the palette as people without red or green see it."""
    deuteranopia = [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ]
    protanopia = [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ]
    colours = np.array([rgb(n) for n in range(7)]) / 255
    for matrix in (np.eye(3), deuteranopia, protanopia):
        seen = colours @ np.asarray(matrix).T
        apart = np.linalg.norm(seen[:, None] - seen[None], axis=-1)
        assert apart[~np.eye(7, dtype=bool)].min() > 0.13


def test_many_classes_have_many_colours() -> None:
    assert len({colour(index) for index in range(150)}) == 150


def test_legend_names_what_is_painted_and_nothing_else() -> None:
    present = np.array([[2, 0], [255, -1]])
    assert legend(CLASSES, present.ravel()) == (("two", colour(2)),)
    assert legend(("sky", "one"), present.ravel()) == (("sky", colour(0)),)


def test_names_of_boxes_do_not_cover_each_other() -> None:
    side_by_side = np.array([[0.3, 0.3, 0.6, 0.5], [0.3, 0.35, 0.6, 0.55]], np.float32)
    labels = np.array([1, 2], np.int32)
    drawn = opened(draw_boxes(GREY, side_by_side, labels, None, ("", "first one", "other one")))
    filled = [int((drawn == rgb(n)).all(axis=-1).sum(axis=1).max()) for n in (1, 2)]
    # derived: a name is some 60 pixels wide, and stays so where the other one would cover it
    assert min(filled) > 45


def test_a_span_is_marked_and_the_text_is_whole() -> None:
    text = "The <b>cat</b> sat on the mat."
    pieces = mark_span(text, 7, 10, "right")
    assert "".join(piece for piece, _ in pieces) == text
    assert [piece for piece, mark in pieces if mark == "right"] == ["cat"]


@pytest.mark.parametrize(("start", "end"), [(-1, -1), (3, 3), (5, 2), (0, 99)])
def test_a_span_that_is_none_marks_nothing(start: int, end: int) -> None:
    assert mark_span("some text", start, end, "wrong") == (("some text", ""),)
    assert mark_span("", start, end, "wrong") == ()


def test_long_texts_are_cut_between_words_around_the_mark() -> None:
    text = "alpha beta gamma delta epsilon zeta eta theta"
    at = text.index("delta")
    assert mark_span(text, at, at + 5, "truth", around=9) == (
        ("… gamma ", ""),
        ("delta", "truth"),
        (" epsilon …", ""),
    )
