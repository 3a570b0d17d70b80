"""Semantic segmentation: a class for each pixel, scored by mean IoU."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from spaces.graph import Op, OpBatch, OpGraph, Shape
from spaces.heads import segmentation as segmentation_head
from tasks.learning import augment, categories
from tasks.learning.pixels import fed
from tasks.learning.protocols import Arrays, Metric, Outputs, ProblemError, Setting, Tensor
from tasks.learning.samples import Panel, Sample, label_picture, legend, paint_mask
from tasks.run.params import AugmentParams, Block, Count

IGNORE = augment.IGNORE
_TOGETHER = 64
"""Masks that are counted at a time: pairs of truth and label take 16 bytes a pixel."""


class Options(Block):
    """How scores become labels of the picture's size."""

    finalize: Literal["resize_argmax", "argmax_resize"] = "resize_argmax"
    argmax_side: Count | None = None


@dataclass(frozen=True, slots=True)
class Segmentation:
    """See :class:`tasks.learning.protocols.Problem`."""

    name: ClassVar[str] = "segmentation"
    metric: ClassVar[Metric] = Metric("mean_iou", "mean IoU", "max")
    options: ClassVar[type[Block]] = Options
    kinds: ClassVar[tuple[str, ...]] = ("segmentation",)
    backbones: ClassVar[tuple[str, ...]] = ("segmentation",)
    trained: ClassVar[tuple[str, ...]] = (segmentation_head.LOGITS,)
    deployed: ClassVar[tuple[str, ...]] = (segmentation_head.LABELS,)
    setting: Setting[Options]

    @staticmethod
    def default_classes(input_shape: Shape) -> int:
        """Those of the part of ADE20K that the release used."""
        return 32

    @property
    def chance_loss(self) -> float:
        """Cross entropy of an even guess, and one less its Jaccard index."""
        return math.log(len(self.setting.classes)) + 1.0

    def complete(self, backbone: OpGraph) -> OpGraph:
        """Scores of classes and the map of labels, by ``problem.finalize``.

        Labels are of the size of the masks, whatever size of pictures the network reads.
        """
        options, shape = self.setting.options, self.setting.input_shape
        return segmentation_head.segmentation(
            backbone,
            len(self.setting.classes),
            (shape[1], shape[2]),
            options.finalize,
            options.argmax_side,
        )

    def complete_many(self, backbones: OpBatch) -> OpBatch:
        """The same of each graph of a batch."""
        options, shape = self.setting.options, self.setting.input_shape
        return segmentation_head.segmentation_many(
            backbones,
            len(self.setting.classes),
            (shape[1], shape[2]),
            options.finalize,
            options.argmax_side,
        )

    def first_bias(self, op: Op) -> float:
        """All begin at zero."""
        return 0.0

    def augment(
        self, arrays: Arrays, params: AugmentParams, rng: np.random.Generator
    ) -> dict[str, NDArray[Any]]:
        """See :func:`tasks.learning.augment.pictures`."""
        return augment.pictures(dict(arrays), params, rng)

    def inputs(self, arrays: Arrays, graph: OpGraph) -> dict[str, NDArray[Any]]:
        """Pixels in [-1, 1], of the network's size."""
        return {"input": fed(arrays["images"], graph)}

    def targets(self, arrays: Arrays, graph: OpGraph) -> dict[str, NDArray[Any]]:
        """``masks`` int32 [n, H, W]."""
        return {"masks": arrays["masks"].astype(np.int32)}

    def loss(
        self, targets: Mapping[str, Tensor], outputs: tuple[Tensor, ...], smoothing: float
    ) -> Tensor:
        """Cross entropy of the pixels that count, and 1 - the soft Jaccard index of the batch.

        The index is the metric itself with probabilities for labels, so that a class of few
        pixels counts as much as one of many. Source: Rahman, Wang 2016, section 2.1
        (doi 10.1007/978-3-319-50835-1_22).
        """
        import tensorflow as tf

        masks = targets["masks"]
        logits = tf.image.resize(outputs[0], masks.shape[1:3])
        classes = logits.shape[-1]
        counted = tf.cast(masks != IGNORE, tf.float32)
        truth = tf.one_hot(masks, classes)  # of pixels to ignore: zeros
        smoothed = truth * (1.0 - smoothing) + smoothing / classes
        losses = tf.nn.softmax_cross_entropy_with_logits(smoothed, logits)
        entropy = tf.reduce_sum(losses * counted) / tf.maximum(tf.reduce_sum(counted), 1.0)
        return entropy + _jaccard_loss(tf.nn.softmax(logits) * counted[..., None], truth)

    def distill(
        self,
        targets: Mapping[str, Tensor],
        teacher: tuple[Tensor, ...],
        outputs: tuple[Tensor, ...],
    ) -> Tensor:
        """Half the labels, half the teacher's probabilities, at the coarser one's places."""
        import tensorflow as tf

        size = outputs[0].shape[1:3]
        known = tf.image.resize(teacher[0], size)
        soft = tf.stop_gradient(tf.nn.softmax(known))
        imitated = tf.nn.softmax_cross_entropy_with_logits(soft, outputs[0])
        return 0.5 * self.loss(targets, outputs, 0.0) + 0.5 * tf.reduce_mean(imitated)

    def taught(self, given: Sequence[NDArray[Any]], graph: OpGraph) -> Outputs:
        """Logits or probabilities [n, h, w, classes], or labels [n, h, w], of any size."""
        classes = len(self.setting.classes)
        shapes = [one.shape for one in given]
        if shapes and len(shapes) == 1 and len(shapes[0]) == 4 and shapes[0][3] == classes:
            return (categories.as_logits(given[0]),)
        flat = len(shapes) == 1 and (len(shapes[0]) == 3 or shapes[0][3:] == (1,))
        if not flat or not 0 <= given[0].min() <= given[0].max() < classes:
            raise ProblemError(
                f"must put out scores of {classes} classes for each pixel, [n, height, width, "
                f"{classes}], or labels below {classes}, [n, height, width], but got "
                f"{', '.join(str(list(shape[1:])) for shape in shapes)} a picture"
            )
        labels = given[0].reshape(shapes[0][:3]).round().astype(np.int64)
        return (categories.as_logits(np.eye(classes, dtype=np.float32)[labels]),)

    def decoding(self, graph: OpGraph) -> dict[str, NDArray[Any]]:
        """Nothing: outputs speak for themselves."""
        return {}

    def score(self, outputs: Outputs, arrays: Arrays, graph: OpGraph) -> dict[str, float]:
        """Mean IoU over the classes that occur, in truth or in labels; and the share of pixels."""
        classes = len(self.setting.classes)
        table = confusion(outputs[0], arrays["masks"], classes)
        hits, union = np.diag(table), table.sum(axis=0) + table.sum(axis=1) - np.diag(table)
        return {
            "mean_iou": float(np.mean(hits[union > 0] / union[union > 0])),
            "pixel_accuracy": float(hits.sum() / max(1, table.sum())),
        }

    def samples(
        self, arrays: Arrays, outputs: Mapping[str, Outputs], graph: OpGraph
    ) -> tuple[Sample, ...]:
        """Pictures, and the masks laid over them."""
        return tuple(
            self._sample(index, arrays, outputs) for index in range(len(arrays["images"]))
        )

    def _sample(self, index: int, arrays: Arrays, outputs: Mapping[str, Outputs]) -> Sample:
        image, mask, names = arrays["images"][index], arrays["masks"][index], self.setting.classes
        panels = [
            Panel("picture", label_picture(image)),
            Panel("truth", paint_mask(image, mask, names)),
        ]
        present = [*np.unique(mask)]
        for kind, (labels,) in outputs.items():
            found = labels[index]
            table = confusion(found, mask, len(names))
            share = np.diag(table).sum() / max(1, table.sum())
            note = f"{share:.1%} of pixels right"
            panels.append(Panel(kind, paint_mask(image, found, names), note=note))
            present += [*np.unique(found)]
        return Sample(str(index), tuple(panels), legend(names, present))


def confusion(labels: NDArray[Any], masks: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Pixels [classes, classes] by truth and label, those to ignore left out."""
    table = np.zeros(classes**2, np.int64)
    for at in range(0, len(masks), _TOGETHER):
        truth, found = masks[at : at + _TOGETHER], labels[at : at + _TOGETHER]
        counted = truth != IGNORE
        pairs = truth[counted].astype(np.int64) * classes + found[counted].astype(np.int64)
        table += np.bincount(pairs, minlength=classes**2)
    return table.reshape(classes, classes)


def _jaccard_loss(probabilities: Tensor, truth: Tensor) -> Tensor:
    """1 - soft intersection over union, mean over the classes that occur in ``truth``."""
    import tensorflow as tf

    axes = [0, 1, 2]
    both = tf.reduce_sum(probabilities * truth, axes)
    size = tf.reduce_sum(truth, axes)
    union = size + tf.reduce_sum(probabilities, axes) - both
    occurs = tf.cast(size > 0, tf.float32)
    index = both / tf.maximum(union, 1.0)
    return 1.0 - tf.reduce_sum(index * occurs) / tf.maximum(tf.reduce_sum(occurs), 1.0)


PROBLEM = Segmentation
