"""The class-dependent end of a detector."""

from __future__ import annotations

import pytest

from spaces.graph import INPUT, Op, OpGraph, OpKind, ShapeError
from spaces.heads.ssd import POINTWISE, SSDLITE, ssd

_FINE, _COARSE = (1, 6, 4, 16), (1, 3, 2, 24)


def _backbone() -> OpGraph:
    shape = (1, 12, 8, 3)
    fine = Op("fine", OpKind.CONV_2D, (INPUT,), shape, _FINE, (3, 3), (2, 2))
    coarse = Op("coarse", OpKind.CONV_2D, ("fine",), _FINE, _COARSE, (3, 3), (2, 2))
    return OpGraph(shape, (fine, coarse), (("P1", "fine"), ("P2", "coarse")))


def test_all_levels_end_in_one_row_of_anchors() -> None:
    graph = ssd(_backbone(), 5, (2, 3), 40)
    number = 6 * 4 * 2 + 3 * 2 * 3
    shapes = {
        name: graph.op(name).output_shape
        for name in ("boxes", "class_logits", "scores", "detections")
    }
    assert shapes == {
        "boxes": (1, number, 4),
        "class_logits": (1, number, 5),
        "scores": (1, number, 5),
        "detections": (1, 40, 6),
    }
    assert graph.output.kind is OpKind.TFLITE_DETECTION_POSTPROCESS
    assert graph.output.inputs == ("boxes", "scores")
    joined = graph.op("boxes")
    assert joined.inputs == ("head/P1/boxes/flat", "head/P2/boxes/flat")
    assert joined.axes == (1,)
    assert graph.op("head/P1/boxes/flat").output_shape == (1, 6 * 4 * 2, 4)
    assert graph.endpoints == _backbone().endpoints


@pytest.mark.parametrize(("predictor", "spatial"), [(SSDLITE, 9 * (16 + 24)), (POINTWISE, 0)])
def test_parameters_of_the_predictors(predictor: str, spatial: int) -> None:
    backbone, classes, anchors = _backbone(), 5, (2, 3)
    graph = ssd(backbone, classes, anchors, predictor=predictor)
    # derived: of boxes and of classes a depthwise 3x3 with scale and offset, and a 1x1 with bias
    outputs = [(4 + classes) * each for each in anchors]
    pointwise = 16 * outputs[0] + 24 * outputs[1] + sum(outputs)
    norms = 2 * 2 * (16 + 24) if spatial else 0
    added = graph.trainable_parameters - backbone.trainable_parameters
    assert added == 2 * spatial + norms + pointwise


def test_predictors_have_a_bias_and_no_normalisation() -> None:
    graph = ssd(_backbone(), 5, (2, 3))
    for op in graph.ops:
        if op.name.endswith("/predict"):
            assert (op.use_bias, op.batch_norm, op.activation) == (True, False, "none")
        if op.name.endswith("/depthwise"):
            assert (op.use_bias, op.batch_norm, op.activation) == (False, True, "relu6")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, (2,)), r"a positive number for each of P1, P2, but got \(2,\)"),
        ((5, (2, 0)), r"a positive number for each of P1, P2, but got \(2, 0\)"),
        ((0, (2, 2)), "classes and detections must be at least 1, but got 0 and 100"),
        ((5, (2, 2), 0), "classes and detections must be at least 1, but got 5 and 0"),
        ((5, (2, 2), 10, "dense"), "predictor must be one of ssdlite, pointwise, but got 'dense'"),
    ],
)
def test_what_does_not_fit_is_refused(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        ssd(_backbone(), *arguments)  # type: ignore[arg-type]


def test_a_graph_without_levels_is_refused() -> None:
    backbone = OpGraph(_backbone().input_shape, _backbone().ops)
    with pytest.raises(ShapeError, match="levels to detect from, but got no endpoints"):
        ssd(backbone, 5, ())
