"""Object detection: boxes with classes, scored by COCO's average precision at IoU 0.5."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from spaces.graph import Op, OpGraph, Shape
from spaces.heads.ssd import ssd
from tasks.learning import anchors, augment
from tasks.learning.detections import Detections, Truth, coco_metrics, non_max_suppression
from tasks.learning.pixels import fed
from tasks.learning.protocols import Arrays, Metric, Outputs, ProblemError, Setting, Tensor
from tasks.learning.samples import Panel, Sample, draw_boxes, legend
from tasks.run.params import AugmentParams, Block, Count

FOCUS, POSITIVE_SHARE = 2.0, 0.75
"""Of the focal loss, as SpaghettiNet was trained (its released configuration)."""
PRIOR = 0.01
"""Score of every anchor before training: nearly all are background (arXiv:1708.02002, 4.1)."""
SHOWN = 0.5
"""Least score of a box that is drawn for people."""
_LEAST = 1e-4
"""A score that counts as none."""


class Options(Block):
    """What predicts, how many anchors each place of a level has, and how many finds are kept."""

    predictor: Literal["ssdlite", "pointwise"] = "ssdlite"
    anchors: Count = 3
    detections: Count = 20


@dataclass(frozen=True, slots=True)
class Detection:
    """See :class:`tasks.learning.protocols.Problem`."""

    name: ClassVar[str] = "detection"
    metric: ClassVar[Metric] = Metric("map50", "mAP at IoU 0.5", "max")
    options: ClassVar[type[Block]] = Options
    kinds: ClassVar[tuple[str, ...]] = ("detection",)
    backbones: ClassVar[tuple[str, ...]] = ("detection",)
    trained: ClassVar[tuple[str, ...]] = ("boxes", "class_logits")
    deployed: ClassVar[tuple[str, ...]] = ("boxes", "scores")
    chance_loss: ClassVar[None] = None
    setting: Setting[Options]
    _memo: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    @staticmethod
    def default_classes(input_shape: Shape) -> int:
        """Those of COCO."""
        return 90

    def complete(self, backbone: OpGraph) -> OpGraph:
        """Predictors at each level, and the suppression of double finds on the host."""
        options = self.setting.options
        counts = [options.anchors] * len(backbone.endpoints)
        classes = len(self.setting.classes)
        return ssd(backbone, classes, counts, options.detections, options.predictor)

    def first_bias(self, op: Op) -> float:
        """That of a score is such that nearly nothing is found."""
        return -math.log((1 - PRIOR) / PRIOR) if "/class_logits/" in op.name else 0.0

    def anchors(self, graph: OpGraph) -> NDArray[np.float32]:
        """[A, 4] of a network, in the order of its outputs; by the boxes of train."""
        predictors = [op for op in graph.ops if op.name.endswith("/boxes/predict")]
        sizes = tuple((op.output_shape[1], op.output_shape[2]) for op in predictors)
        key = (graph.input_shape, sizes)
        if key not in self._memo:
            self._memo[key] = anchors.anchors(self._shapes(graph, len(sizes)), sizes)
        made: NDArray[np.float32] = self._memo[key]
        return made

    def _shapes(self, graph: OpGraph, levels: int) -> Any:
        key = (graph.input_shape, levels)
        if key not in self._memo:
            train = self.setting.train()
            real = (train["labels"] >= 0) & ~train["crowd"]
            size = (graph.input_shape[1], graph.input_shape[2])
            counts = [self.setting.options.anchors] * levels
            self._memo[key] = anchors.anchor_shapes(train["boxes"][real], size, counts)
        return self._memo[key]

    def augment(
        self, arrays: Arrays, params: AugmentParams, rng: np.random.Generator
    ) -> dict[str, NDArray[Any]]:
        """See :func:`tasks.learning.augment.pictures`."""
        return augment.pictures(dict(arrays), params, rng)

    def inputs(self, arrays: Arrays, graph: OpGraph) -> dict[str, NDArray[Any]]:
        """Pixels in [-1, 1], of the network's size."""
        return {"input": fed(arrays["images"], graph)}

    def targets(self, arrays: Arrays, graph: OpGraph) -> dict[str, NDArray[Any]]:
        """``labels`` int32 [n, A], ``boxes`` float32 [n, A, 4]: :mod:`tasks.learning.anchors`."""
        of_anchors = self.anchors(graph)
        key = (id(arrays), id(of_anchors))
        if self._memo.get("key") != key:  # networks of one step mostly share their anchors
            dealt = [
                anchors.assign(boxes, labels, crowd, of_anchors)
                for boxes, labels, crowd in zip(
                    arrays["boxes"], arrays["labels"], arrays["crowd"], strict=True
                )
            ]
            self._memo["targets"] = {
                "labels": np.stack([one.labels for one in dealt]),
                "boxes": np.stack([one.boxes for one in dealt]),
            }
            self._memo["key"], self._memo["arrays"] = key, arrays
        targets: dict[str, NDArray[Any]] = self._memo["targets"]
        return targets

    def loss(
        self, targets: Mapping[str, Tensor], outputs: tuple[Tensor, ...], smoothing: float
    ) -> Tensor:
        """Focal loss of the scores and Huber loss of the boxes, each a matched anchor.

        Source: Lin et al. 2017, arXiv:1708.02002. ``smoothing`` is not used.
        """
        import tensorflow as tf

        boxes, logits = outputs
        labels = targets["labels"]
        matched = tf.cast(labels >= 0, tf.float32)
        count = tf.maximum(tf.reduce_sum(matched), 1.0)
        counted = tf.cast(labels != anchors.IGNORED, tf.float32)[..., None]
        truth = tf.one_hot(labels, logits.shape[-1])  # of background: zeros
        focal = tf.reduce_sum(_focal(truth, logits) * counted) / count
        huber = _huber(boxes - targets["boxes"])
        located = tf.reduce_sum(tf.reduce_sum(huber, -1) * matched) / count
        return focal + located

    def distill(
        self,
        targets: Mapping[str, Tensor],
        teacher: tuple[Tensor, ...],
        outputs: tuple[Tensor, ...],
    ) -> Tensor:
        """Half the labels, half the teacher's scores and boxes; else the labels alone.

        Networks need not have levels, so anchors, in common. Where they have, scores are nearer
        the better, the far ones first (quality focal loss, arXiv:2006.04388), and so are boxes of
        matched anchors.
        """
        import tensorflow as tf

        hard = self.loss(targets, outputs, 0.0)
        if [one.shape[1:] for one in teacher] != [one.shape[1:] for one in outputs]:
            return hard
        (boxes, logits), labels = outputs, targets["labels"]
        matched = tf.cast(labels >= 0, tf.float32)
        counted = tf.cast(labels != anchors.IGNORED, tf.float32)[..., None]
        count = tf.maximum(tf.reduce_sum(matched), 1.0)
        soft = tf.stop_gradient(tf.sigmoid(teacher[1]))
        entropy = tf.nn.sigmoid_cross_entropy_with_logits(soft, logits)
        off = tf.abs(soft - tf.sigmoid(logits)) ** FOCUS
        imitated = tf.reduce_sum(off * entropy * counted) / count
        placed = _huber(boxes - tf.stop_gradient(teacher[0]))
        imitated += tf.reduce_sum(tf.reduce_sum(placed, -1) * matched) / count
        return 0.5 * hard + 0.5 * imitated

    def detections(
        self, outputs: Outputs, graph: OpGraph, least: float = 0.02
    ) -> list[Detections]:
        """What is found in each picture: boxes decoded, double finds suppressed."""
        boxes = anchors.decode(outputs[0], self.anchors(graph))
        most = self.setting.options.detections
        return [
            non_max_suppression(one, scores, most, score_threshold=least)
            for one, scores in zip(boxes, outputs[1], strict=True)
        ]

    def taught(self, given: Sequence[NDArray[Any]], graph: OpGraph) -> Outputs:
        """Boxes [n, A, 4] relative to the network's own anchors, and scores [n, A, classes]."""
        ends = {op.name: op.output_shape[1:] for op in graph.ops}
        wanted = [ends[name] for name in self.trained]
        shapes = [one.shape[1:] for one in given]
        if shapes != wanted:
            raise ProblemError(
                "must put out "
                f"{' and '.join(str(list(shape)) for shape in wanted)} a picture, boxes by the "
                "anchors of the network that learns and scores of classes, but got "
                f"{', '.join(str(list(shape)) for shape in shapes)}"
            )
        boxes, scores = (one.astype(np.float32) for one in given)
        if scores.min() >= 0 and scores.max() <= 1:
            sure = np.clip(scores, _LEAST, 1 - _LEAST)
            scores = np.log(sure / (1 - sure))
        return boxes, scores

    def decoding(self, graph: OpGraph) -> dict[str, NDArray[Any]]:
        """``anchors`` [A, 4]: centre y, x, height, width that boxes are relative to."""
        return {"anchors": self.anchors(graph)}

    def score(self, outputs: Outputs, arrays: Arrays, graph: OpGraph) -> dict[str, float]:
        """Average precision as COCO has it."""
        parts = ("boxes", "labels", "crowd", "sizes")
        truth = Truth(*(arrays[part] for part in parts))
        metrics = coco_metrics(self.detections(outputs, graph), truth)
        return {"map50": metrics.map50, "map": metrics.map, "map75": metrics.map75}

    def advice(self, train: Arrays) -> Iterator[str]:
        """Whether ``problem.detections`` is enough."""
        counts, kept = (train["labels"] >= 0).sum(axis=1), self.setting.options.detections
        yield f"at most {counts.max()} boxes in a picture; problem.detections keeps {kept}"
        full = float((counts > kept).mean())
        if full:
            yield f"{full:.1%} of the pictures have more than that: raise problem.detections"

    def samples(
        self, arrays: Arrays, outputs: Mapping[str, Outputs], graph: OpGraph
    ) -> tuple[Sample, ...]:
        """Pictures with their boxes."""
        names = self.setting.classes
        found = {kind: self.detections(one, graph, SHOWN) for kind, one in outputs.items()}
        samples = []
        for index, image in enumerate(arrays["images"]):
            labels = arrays["labels"][index]
            drawn = draw_boxes(image, arrays["boxes"][index], labels, None, names)
            panels = [Panel("truth", drawn, note=f"{(labels >= 0).sum()} boxes")]
            for kind, each in found.items():
                one = each[index]
                drawn = draw_boxes(image, one.boxes, one.labels, one.scores, names)
                panels.append(Panel(kind, drawn, note=f"{len(one.labels)} above {SHOWN}"))
            seen = [labels[labels >= 0], *(each[index].labels for each in found.values())]
            samples.append(Sample(str(index), tuple(panels), legend(names, np.concatenate(seen))))
        return tuple(samples)


def _huber(difference: Tensor) -> Tensor:
    """Huber loss of each number, with its corner at 1."""
    import tensorflow as tf

    off = tf.abs(difference)
    return tf.where(off < 1.0, 0.5 * off * off, off - 0.5)


def _focal(truth: Tensor, logits: Tensor) -> Tensor:
    """Focal loss of each score."""
    import tensorflow as tf

    entropy = tf.nn.sigmoid_cross_entropy_with_logits(truth, logits)
    probability = tf.sigmoid(logits)
    wrong = truth * (1 - probability) + (1 - truth) * probability
    weight = truth * POSITIVE_SHARE + (1 - truth) * (1 - POSITIVE_SHARE)
    return weight * wrong**FOCUS * entropy


PROBLEM = Detection
