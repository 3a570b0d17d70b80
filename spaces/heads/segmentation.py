"""The end of a segmentation network: classes, and from their scores a map of labels.

``finalize`` says how labels of the picture's size come about:

``resize_argmax``
    Scores are resized, then compared: the usual way, and the dearest, because all classes are
    written for every pixel. Edge TPU compilers leave such resizes on the host once they have more
    than 2**20 elements (32 classes: 181 x 181 pixels), and ARG_MAX and CAST are not theirs at all.
``argmax_resize``
    Scores are compared where they are, or after a bilinear resize to a moderate size, and *labels*
    are resized, to the nearest. The release calls it argmax fusion; it saved 1.7 of 5.7 ms for
    0.02 points of mean IoU. On Coral the TPU then makes no large map and the host compares few
    scores; the delegate of Google Tensor takes all of it either way.
``none``
    The network ends in scores.

Labels are from 0 to 254, as uint8 (255 says *ignore* in people's masks). In the release an argmax
that is not the last op is rebuilt from int8 arithmetic, in which labels above 127 saturate. Here
it is ARG_MAX itself, which gives int32: exact for any number of classes. To resize int32 or uint8
labels TensorFlow's converter has no op: RESIZE_NEAREST_NEIGHBOR takes float and quantized tensors
only, and a float map of labels gets a scale by calibration, which blurs them. So columns and rows
are repeated by GATHER, which moves int32 as it is, and CAST to uint8 comes last.

Source: tensorflow/models ``official/projects/edgetpu/vision/serving/export_tflite.py``.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

import numpy as np

from spaces.attached import Attachment, attach_many
from spaces.graph import INPUT, Op, OpBatch, OpGraph, OpKind, Shape, ShapeError

Finalize = Literal["resize_argmax", "argmax_resize", "none"]
FINALIZE: tuple[str, ...] = get_args(Finalize)
LOGITS, LABELS = "logits", "labels"
MOST_CLASSES = 255
"""Labels are of 8 bits, and the last one means ignore."""


def segmentation(
    backbone: OpGraph,
    classes: int,
    input_hw: tuple[int, int],
    finalize: Finalize = "resize_argmax",
    argmax_side: int | None = None,
) -> OpGraph:
    """``backbone`` with a score of each class at each place, and labels of the picture's size.

    Adds ``"logits"`` (CONV_2D 1x1 with bias, (1, h, w, classes)) and, unless ``finalize`` is
    ``"none"``, ops up to ``"labels"`` (uint8, (1, H, W)); the endpoints stay.

    Args:
        backbone: Of a segmentation space; ends in a feature map.
        classes: From 2 to 255.
        input_hw: Height and width of the picture.
        finalize: See above.
        argmax_side: With ``argmax_resize``: the longer side, in pixels, to which scores are
            resized before they are compared; None, or one that is not above theirs: not at all.

    Raises:
        ShapeError: Too few or too many classes, no feature map, or an unknown ``finalize``.
    """
    _check(classes, finalize)
    end = backbone.output
    head = _head(end, classes, input_hw, finalize, argmax_side)
    return dataclasses.replace(backbone, ops=(*backbone.ops, *head))


def segmentation_many(
    batch: OpBatch,
    classes: int,
    input_hw: tuple[int, int],
    finalize: Finalize = "resize_argmax",
    argmax_side: int | None = None,
) -> OpBatch:
    """:func:`segmentation` of each graph of a batch; each must end in a feature map.

    Raises:
        ShapeError: As there, or a graph without ops.
    """
    _check(classes, finalize)
    length = batch.live.sum(axis=1)
    if not length.all():
        raise ShapeError("a graph must have at least one op, but got none.")
    last = batch.index[np.arange(len(length)), length - 1]
    distinct, which = np.unique(last, return_inverse=True)
    heads = []
    for hwc in batch.distinct.output_hwc[distinct].tolist():
        end = Op("end", OpKind.CONV_2D, (INPUT,), (1, *hwc), (1, *hwc))
        ops = _head(end, classes, input_hw, finalize, argmax_side)
        heads.append(Attachment.of(ops, [end.name]))
    return attach_many(batch, length[:, None] - 1, heads, which)


def _check(classes: int, finalize: str) -> None:
    if not 2 <= classes <= MOST_CLASSES:
        raise ShapeError(f"classes must be from 2 to {MOST_CLASSES}, but got {classes}.")
    if finalize not in FINALIZE:
        raise ShapeError(f"finalize must be one of {', '.join(FINALIZE)}, but got {finalize!r}.")


def _head(
    end: Op, classes: int, size: tuple[int, int], finalize: Finalize, side: int | None
) -> list[Op]:
    """The ops behind an op whose output is a feature map."""
    if len(end.output_shape) != 4:
        raise ShapeError(
            f"{end.name}: a backbone must end in a feature map (1, H, W, C), "
            f"but got shape {end.output_shape}."
        )
    logits = _logits(end, classes)
    if finalize == "resize_argmax":
        return [logits, *_resize_argmax(logits, size)]
    if finalize == "argmax_resize":
        return [logits, *_argmax_resize(logits, size, side)]
    return [logits]


def _logits(end: Op, classes: int) -> Op:
    after = (*end.output_shape[:-1], classes)
    inputs, before = (end.name,), end.output_shape
    # Heads of two kinds make features of two kinds: each kind has classes of its own.
    return Op(LOGITS, OpKind.CONV_2D, inputs, before, after, use_bias=True, variant=end.variant)


def _resize_argmax(logits: Op, size: tuple[int, int]) -> list[Op]:
    ops = _resized(logits, size)
    ops.append(_arg_max((ops or [logits])[-1]))
    return [*ops, _behind(ops[-1], LABELS, OpKind.CAST, ops[-1].output_shape)]


def _argmax_resize(logits: Op, size: tuple[int, int], side: int | None) -> list[Op]:
    ops = _resized(logits, _compared(logits.output_shape, size, side))
    ops.append(_arg_max((ops or [logits])[-1]))
    # Columns first: these are single numbers, and then whole rows are copied at once.
    for name, axis in (("columns", 2), ("rows", 1)):
        ops += _repeated(ops[-1], f"{LABELS}/{name}", axis, size[axis - 1])
    return [*ops, _behind(ops[-1], LABELS, OpKind.CAST, ops[-1].output_shape)]


def _repeated(labels: Op, name: str, axis: int, length: int) -> list[Op]:
    """The nearest of the rows or columns for each of ``length``, where that changes anything."""
    shape = labels.output_shape
    if shape[axis] == length:
        return []
    gathered = _behind(labels, name, OpKind.GATHER, (*shape[:axis], length, *shape[axis + 1 :]))
    return [dataclasses.replace(gathered, axes=(axis,))]


def nearest(have: int, want: int) -> tuple[int, ...]:
    """Which of ``have`` rows is nearest to each of ``want``, by half-pixel centres.

    What a ``GATHER`` along an axis (``axes``) of its input takes: nearest-neighbour resizing.

    >>> nearest(3, 7)
    (0, 0, 1, 1, 1, 2, 2)
    """
    return tuple((2 * row + 1) * have // (2 * want) for row in range(want))


def _compared(scores: Shape, size: tuple[int, int], side: int | None) -> tuple[int, int]:
    """Where scores are compared: of the picture's proportions, but not smaller than they are.

    >>> _compared((1, 32, 24, 9), (256, 192), 128)
    (128, 96)
    >>> _compared((1, 32, 24, 9), (256, 192), None)
    (32, 24)
    """
    own = (scores[1], scores[2])
    if side is None or side <= max(own):
        return own
    scale = min(1.0, side / max(size))
    height, width = (max(least, round(one * scale)) for least, one in zip(own, size, strict=True))
    return height, width


def _resized(logits: Op, size: tuple[int, int]) -> list[Op]:
    """The resize of scores, where it changes anything."""
    shape = (1, *size, logits.out_channels)
    if shape == logits.output_shape:
        return []
    return [_behind(logits, f"{LOGITS}/resize", OpKind.RESIZE_BILINEAR, shape)]


def _arg_max(scores: Op) -> Op:
    return _behind(scores, f"{LABELS}/argmax", OpKind.ARG_MAX, scores.output_shape[:-1])


def _behind(before: Op, name: str, kind: OpKind, shape: Shape) -> Op:
    return Op(name, kind, (before.name,), before.output_shape, shape)
