"""Image classification: one label an image, scored by top-1 accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from spaces import heads
from spaces.graph import OpBatch, OpGraph
from tasks.problem import Metric

TOP1 = Metric("top1", "top-1 accuracy", "max")


@final
@dataclass(frozen=True, slots=True)
class Classification:
    """See :class:`tasks.problem.Problem`."""

    name: str = "classification"
    metric: Metric = TOP1
    trained_output: str = "logits"

    def complete(self, backbone: OpGraph, classes: int) -> OpGraph:
        """Global average pool, dense layer and softmax on top of the backbone."""
        return heads.classification(backbone, classes)

    def complete_many(self, backbones: OpBatch, classes: int) -> OpBatch:
        """The same of each graph of a batch."""
        return heads.classification_many(backbones, classes)

    def score(self, outputs: NDArray[Any], labels: NDArray[np.int32]) -> float:
        """Share of rows of ``outputs`` [n, classes] whose greatest entry is the label."""
        return float(np.mean(outputs.argmax(axis=-1) == labels))


PROBLEM = Classification()
