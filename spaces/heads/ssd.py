"""The class-dependent end of a detector: predictors of the levels, and post-processing, as ops."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from spaces.families.blocks import convolution
from spaces.graph import Op, OpGraph, OpKind, Shape, ShapeError

SSDLITE, POINTWISE = "ssdlite", "pointwise"
PREDICTORS = (SSDLITE, POINTWISE)
"""Before the 1x1 convolution with bias stands a depthwise 3x3 one, with ReLU6; or nothing."""
BOX = 4
"""Numbers of a box: its centre y, x and its height, width, relative to the anchor's."""
DETECTION = 6
"""Numbers of a detection: four of its box, class, score."""


def ssd(
    backbone: OpGraph,
    classes: int,
    anchors_per_level: Sequence[int],
    detections: int = 100,
    predictor: str = SSDLITE,
) -> OpGraph:
    """``backbone`` with a box and a class predictor at each of its levels P1, P2, ...

    Adds ``head/<level>/...``, and of all levels, in the order of the endpoints and there row by
    row: ``"boxes"`` (1, A, 4), ``"class_logits"`` (1, A, classes), ``"scores"`` (LOGISTIC), and
    ``"detections"`` (TFLITE_DETECTION_POSTPROCESS, (1, detections, 6)). A is the sum over levels
    of height * width * anchors; anchors of a position follow each other.

    Args:
        backbone: Of a detection space: its endpoints are the levels.
        classes: Foreground classes; scores are sigmoids, so that there is none for background.
            Counts of released detectors include one, e.g. 91 for COCO.
        anchors_per_level: Anchors at each position, of each level.
        detections: Most detections of a picture.
        predictor: One of :data:`PREDICTORS`.

    Raises:
        ShapeError: An argument that fits neither the graph nor what is said here.

    Source: ``ConvolutionalBoxPredictor`` with ``use_depthwise`` of the TensorFlow Object
    Detection API; SSDLite is of Sandler et al. 2018, arXiv:1801.04381, section 6.2.
    """
    _check(backbone, classes, anchors_per_level, detections, predictor)
    parts: dict[str, list[Op]] = {"boxes": [], "class_logits": []}
    for (level, name), anchors in zip(backbone.endpoints, anchors_per_level, strict=True):
        end = backbone.op(name)
        source = (end.name, end.output_shape)
        for part, size in (("boxes", BOX), ("class_logits", classes)):
            parts[part] += _predict(f"head/{level}/{part}", source, anchors, size, predictor)
    ops = [*parts["boxes"], *parts["class_logits"]]
    ends = [_joined(part, ops_of_part) for part, ops_of_part in parts.items()]
    return dataclasses.replace(
        backbone, ops=(*backbone.ops, *ops, *ends, *_processed(ends, detections))
    )


def _predict(
    name: str, source: tuple[str, Shape], anchors: int, size: int, predictor: str
) -> Iterator[Op]:
    """(1, h, w, C) -> (1, h * w * anchors, size)."""
    if predictor == SSDLITE:
        depthwise = convolution(
            f"{name}/depthwise",
            source,
            source[1][-1],
            kernel_size=3,
            activation="relu6",
            kind=OpKind.DEPTHWISE_CONV_2D,
        )
        yield depthwise
        source = (depthwise.name, depthwise.output_shape)
    made = convolution(f"{name}/predict", source, anchors * size)
    made = dataclasses.replace(made, batch_norm=False, use_bias=True)
    yield made
    _, height, width, _ = made.output_shape
    flat = (1, height * width * anchors, size)
    yield Op(f"{name}/flat", OpKind.RESHAPE, (made.name,), made.output_shape, flat)


def _joined(name: str, ops: Sequence[Op]) -> Op:
    flat = [op for op in ops if op.kind is OpKind.RESHAPE]
    shape = (1, sum(op.output_shape[1] for op in flat), flat[0].output_shape[2])
    names = tuple(op.name for op in flat)
    return Op(name, OpKind.CONCATENATION, names, flat[0].output_shape, shape, axes=(1,))


def _processed(ends: Sequence[Op], detections: int) -> tuple[Op, Op]:
    boxes, logits = ends
    shape = logits.output_shape
    scores = Op("scores", OpKind.LOGISTIC, (logits.name,), shape, shape)
    last = Op(
        "detections",
        OpKind.TFLITE_DETECTION_POSTPROCESS,
        (boxes.name, scores.name),
        boxes.output_shape,
        (1, detections, DETECTION),
    )
    return scores, last


def _check(
    backbone: OpGraph, classes: int, anchors: Sequence[int], detections: int, predictor: str
) -> None:
    levels = [level for level, _ in backbone.endpoints]
    if not levels:
        raise ShapeError("a detector must have levels to detect from, but got no endpoints.")
    if len(anchors) != len(levels) or min(anchors) < 1:
        raise ShapeError(
            f"anchors_per_level must be a positive number for each of {', '.join(levels)}, "
            f"but got {tuple(anchors)}."
        )
    if classes < 1 or detections < 1:
        raise ShapeError(
            f"classes and detections must be at least 1, but got {classes} and {detections}."
        )
    if predictor not in PREDICTORS:
        raise ShapeError(
            f"predictor must be one of {', '.join(PREDICTORS)}, but got {predictor!r}."
        )
