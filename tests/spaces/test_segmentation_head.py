from __future__ import annotations

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest

from spaces.graph import INPUT, Op, OpBatch, OpColumns, OpGraph, OpKind, ShapeError
from spaces.heads.segmentation import Finalize, nearest, segmentation, segmentation_many
from spaces.menu import load_space
from spaces.walk import sample

_MAP = (1, 32, 24, 16)


def _backbone(variant: str = "") -> OpGraph:
    conv = Op("features", OpKind.CONV_2D, (INPUT,), (1, 64, 48, 3), _MAP, (3, 3), (2, 2))
    op = Op("end", OpKind.CONV_2D, ("features",), _MAP, _MAP, variant=variant)
    return OpGraph((1, 64, 48, 3), (conv, op), (("C1", "features"),))


def _tail(finalize: str, side: int | None = None, classes: int = 5) -> list[tuple[str, tuple]]:  # type: ignore[type-arg]
    graph = segmentation(_backbone(), classes, (64, 48), finalize, side)  # type: ignore[arg-type]
    for op in graph.ops[2:]:
        assert op.input_shape == graph.op(op.inputs[0]).output_shape
    return [(op.kind.value, op.output_shape) for op in graph.ops[2:]]


def test_scores_are_a_convolution_with_bias() -> None:
    graph = segmentation(_backbone("bifpn"), 5, (64, 48), "none")
    # derived: 16 weights and a bias for each of 5 classes, at 32 * 24 places
    assert graph.output.name == "logits"
    assert graph.output.trainable_parameters == 5 * 16 + 5
    assert graph.output.macs == 32 * 24 * 5 * 16
    assert graph.output.variant == "bifpn"
    assert graph.endpoints == _backbone().endpoints


def test_scores_are_resized_and_compared() -> None:
    assert _tail("resize_argmax") == [
        ("CONV_2D", (1, 32, 24, 5)),
        ("RESIZE_BILINEAR", (1, 64, 48, 5)),
        ("ARG_MAX", (1, 64, 48)),
        ("CAST", (1, 64, 48)),
    ]


def test_labels_are_resized_when_scores_are_compared_first() -> None:
    assert _tail("argmax_resize") == [
        ("CONV_2D", (1, 32, 24, 5)),
        ("ARG_MAX", (1, 32, 24)),
        ("GATHER", (1, 32, 48)),
        ("GATHER", (1, 64, 48)),
        ("CAST", (1, 64, 48)),
    ]


def test_only_what_differs_is_repeated() -> None:
    graph = segmentation(_backbone(), 5, (32, 48), "argmax_resize")
    gathers = [op for op in graph.ops if op.kind is OpKind.GATHER]
    assert [(op.name, op.axes) for op in gathers] == [("labels/columns", (2,))]


@pytest.mark.parametrize(("have", "want"), [(3, 7), (7, 3), (17, 33), (24, 47), (8, 8), (1, 5)])
def test_nearest_rows_are_those_of_half_pixel_centres(have: int, want: int) -> None:
    # derived: the centre of row i lies at (i + 0.5) / want of the height; no centre is at an edge
    # of two rows but where it belongs to the later one
    places = [(row + Fraction(1, 2)) * have / want for row in range(want)]
    assert nearest(have, want) == tuple(math.floor(place) for place in places)


@pytest.mark.parametrize(
    ("side", "compared"),
    [(None, (32, 24)), (16, (32, 24)), (32, (32, 24)), (48, (48, 36)), (64, (64, 48))],
)
def test_scores_are_compared_at_a_stated_size(side: int | None, compared: tuple[int, int]) -> None:
    tail = _tail("argmax_resize", side)
    assert ("ARG_MAX", (1, *compared)) in tail
    assert tail[-1][1] == (1, 64, 48)


def test_scores_of_the_pictures_size_are_not_resized() -> None:
    graph = segmentation(_backbone(), 5, (32, 24), "resize_argmax")
    assert [op.kind for op in graph.ops[3:]] == [OpKind.ARG_MAX, OpKind.CAST]
    assert _tail("argmax_resize", 99)[1:] == _tail("resize_argmax")[1:]


@pytest.mark.parametrize("finalize", ["resize_argmax", "argmax_resize"])
def test_last_op_is_called_labels(finalize: str) -> None:
    graph = segmentation(_backbone(), 255, (64, 48), finalize)  # type: ignore[arg-type]
    assert (graph.output.name, graph.output.output_shape) == ("labels", (1, 64, 48))


@pytest.mark.parametrize("classes", [1, 256])
def test_classes_must_fit_eight_bits(classes: int) -> None:
    with pytest.raises(ShapeError, match=f"classes must be from 2 to 255, but got {classes}"):
        segmentation(_backbone(), classes, (64, 48))


def test_unknown_finalize_lists_the_menu() -> None:
    with pytest.raises(ShapeError, match=r"one of resize_argmax, argmax_resize, none, but got 'x"):
        segmentation(_backbone(), 5, (64, 48), "x")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["segmentation_small", "deeplab_edgetpu_v2"])
@pytest.mark.parametrize(
    ("finalize", "side"), [("resize_argmax", None), ("argmax_resize", 60), ("none", None)]
)
def test_heads_of_many_equal_the_loop(name: str, finalize: Finalize, side: int | None) -> None:
    space, rng = load_space(name).for_input((1, 130, 97, 3)), np.random.default_rng(0)
    chosen = [sample(space, rng) for _ in range(30)]
    graphs = [segmentation(space.lower(one), 7, (130, 97), finalize, side) for one in chosen]
    expected = OpBatch.of(graphs)
    batch = segmentation_many(space.lower_many(chosen), 7, (130, 97), finalize, side)
    for part in ("live", "last_reader", "first_input"):
        np.testing.assert_array_equal(getattr(batch, part), getattr(expected, part))
    for field in dataclasses.fields(OpColumns):
        got, wanted = getattr(batch, field.name), getattr(expected, field.name)
        np.testing.assert_array_equal(got[batch.live], wanted[expected.live])


def test_no_network_has_no_head() -> None:
    space = load_space("segmentation_small")
    assert segmentation_many(space.lower_many([]), 7, (128, 128)).live.shape == (0, 0)


def test_backbone_must_end_in_a_map() -> None:
    flat = Op("flat", OpKind.MEAN, (INPUT,), (1, 8, 8, 3), (1, 3))
    with pytest.raises(ShapeError, match="flat: a backbone must end in a feature map"):
        segmentation(OpGraph((1, 8, 8, 3), (flat,)), 5, (8, 8))
