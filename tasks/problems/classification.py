"""Image classification: one label an image, scored by top-1 accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spaces.graph import Op, OpBatch, OpGraph, Shape
from spaces.heads import classification as heads
from tasks.learning import augment, categories
from tasks.learning.pixels import fed
from tasks.learning.protocols import Arrays, Metric, Outputs, Setting, Tensor
from tasks.learning.samples import Panel, Sample, label_picture
from tasks.run.params import AugmentParams, Block

_SMALL_SIDE = 96  # pixels


@dataclass(frozen=True, slots=True)
class Classification:
    """See :class:`tasks.learning.protocols.Problem`."""

    name: ClassVar[str] = "classification"
    metric: ClassVar[Metric] = Metric("top1", "top-1 accuracy", "max")
    options: ClassVar[type[Block]] = Block
    kinds: ClassVar[tuple[str, ...]] = ("classification",)
    backbones: ClassVar[tuple[str, ...]] = ("classification",)
    trained: ClassVar[tuple[str, ...]] = ("logits",)
    deployed: ClassVar[tuple[str, ...]] = ("probabilities",)
    setting: Setting[Block]

    @staticmethod
    def default_classes(input_shape: Shape) -> int:
        """Those of ImageNet with background; of small pictures 10, as small data sets have."""
        return 10 if max(input_shape[1:3]) <= _SMALL_SIDE else 1001

    @property
    def chance_loss(self) -> float:
        """Cross entropy of an even guess."""
        return math.log(len(self.setting.classes))

    def complete(self, backbone: OpGraph) -> OpGraph:
        """Global average pool, dense layer and softmax on top of the backbone."""
        return heads.classification(backbone, len(self.setting.classes))

    def complete_many(self, backbones: OpBatch) -> OpBatch:
        """The same of each graph of a batch."""
        return heads.classification_many(backbones, len(self.setting.classes))

    def first_bias(self, op: Op) -> float:
        """All begin at zero."""
        return 0.0

    def augment(
        self, arrays: Arrays, params: AugmentParams, rng: np.random.Generator
    ) -> dict[str, NDArray[Any]]:
        """See :func:`tasks.learning.augment.pictures` and :func:`tasks.learning.augment.mixed`."""
        return augment.mixed(augment.pictures(dict(arrays), params, rng), params.mix, rng)

    def inputs(self, arrays: Arrays, graph: OpGraph) -> dict[str, NDArray[Any]]:
        """Pixels in [-1, 1], of the network's size."""
        return {"input": fed(arrays["images"], graph)}

    def targets(self, arrays: Arrays, graph: OpGraph) -> dict[str, NDArray[Any]]:
        """``labels`` int32 [n]; of mixed pictures ``others`` [n] and ``kept`` float32 [n]."""
        names = ("labels", "others", "kept")
        return {name: arrays[name] for name in names if name in arrays}

    def loss(
        self, targets: Mapping[str, Tensor], outputs: tuple[Tensor, ...], smoothing: float
    ) -> Tensor:
        """Cross entropy."""
        mixed = (targets["others"], targets["kept"]) if "others" in targets else None
        return categories.cross_entropy(targets["labels"], outputs[0], smoothing, mixed)

    def distill(
        self,
        targets: Mapping[str, Tensor],
        teacher: tuple[Tensor, ...],
        outputs: tuple[Tensor, ...],
    ) -> Tensor:
        """Cross entropy against the teacher's probabilities."""
        return categories.imitation(teacher[0], outputs[0])

    def taught(self, given: Sequence[NDArray[Any]], graph: OpGraph) -> Outputs:
        """Logits or probabilities [n, classes]."""
        return categories.taught(given, len(self.setting.classes))

    def decoding(self, graph: OpGraph) -> dict[str, NDArray[Any]]:
        """Nothing: outputs speak for themselves."""
        return {}

    def score(self, outputs: Outputs, arrays: Arrays, graph: OpGraph) -> dict[str, float]:
        """Share of images whose greatest output is the label."""
        return {self.metric.name: categories.accuracy(outputs[0], arrays["labels"])}

    def samples(
        self, arrays: Arrays, outputs: Mapping[str, Outputs], graph: OpGraph
    ) -> tuple[Sample, ...]:
        """Pictures with their label and what each file takes them for."""
        names = self.setting.classes
        return tuple(
            Sample(
                str(index),
                (
                    Panel("truth", label_picture(image), note=names[label]),
                    *(
                        Panel(kind, text=categories.verdict(found[0][index], names, label))
                        for kind, found in outputs.items()
                    ),
                ),
            )
            for index, (image, label) in enumerate(
                zip(arrays["images"], arrays["labels"], strict=True)
            )
        )


PROBLEM = Classification
