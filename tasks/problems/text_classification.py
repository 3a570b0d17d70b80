"""Text classification: one label a sentence, scored by accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spaces.graph import Op, OpBatch, OpGraph, Shape
from spaces.heads import language as language_heads
from tasks.learning import augment, categories, sentences
from tasks.learning.protocols import Arrays, Metric, Outputs, Setting, Tensor
from tasks.learning.samples import Panel, Sample
from tasks.learning.word_scores import word_scores
from tasks.run.params import AugmentParams, Block

_TABLE = "words/table"


class Options(Block):
    """Whether what each word says by itself is added to the network; null: where it costs little.

    See :func:`spaces.heads.language.text_classification`.
    """

    words: bool | None = None


@dataclass(frozen=True, slots=True)
class TextClassification:
    """See :class:`tasks.learning.protocols.Problem`."""

    name: ClassVar[str] = "text_classification"
    metric: ClassVar[Metric] = Metric("accuracy", "accuracy", "max")
    options: ClassVar[type[Block]] = Options
    kinds: ClassVar[tuple[str, ...]] = ("text_classification",)
    backbones: ClassVar[tuple[str, ...]] = ("text_classification",)
    trained: ClassVar[tuple[str, ...]] = ("logits",)
    deployed: ClassVar[tuple[str, ...]] = ("probabilities",)
    setting: Setting[Options]
    _memo: dict[tuple[int, int], NDArray[np.float32]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @staticmethod
    def default_classes(input_shape: Shape) -> int:
        """As many as there may be of texts; nothing is published with a head."""
        return 10

    @property
    def chance_loss(self) -> float:
        """Cross entropy of an even guess."""
        return math.log(len(self.setting.classes))

    def complete(self, backbone: OpGraph) -> OpGraph:
        """Maximum over the tokens, a score of each class, what words say, and softmax."""
        count, words = len(self.setting.classes), self.setting.options.words
        return language_heads.text_classification(backbone, count, words)

    def complete_many(self, backbones: OpBatch) -> OpBatch:
        """The same of each graph of a batch."""
        count, words = len(self.setting.classes), self.setting.options.words
        return language_heads.text_classification_many(backbones, count, words)

    def fitted(self, graph: OpGraph) -> dict[str, NDArray[Any]]:
        """The table of what each word says by itself, where the network has one."""
        found = [op for op in graph.ops if op.name == _TABLE]
        return {op.name: self._words(graph.input_shape[1], op.constant[0]) for op in found}

    def joined(self, graph: OpGraph) -> tuple[str, ...]:
        """What softmax reads."""
        return graph.op(self.deployed[0]).inputs

    def _words(self, length: int, rows: int) -> NDArray[np.float32]:
        if (length, rows) not in self._memo:
            train = self.setting.train()
            tokens, count = train["tokens"][:, :length], len(self.setting.classes)
            self._memo[length, rows] = word_scores(tokens, train["labels"], rows, count)
        return self._memo[length, rows]

    def first_bias(self, op: Op) -> float:
        """All begin at zero."""
        return 0.0

    def augment(
        self, arrays: Arrays, params: AugmentParams, rng: np.random.Generator
    ) -> dict[str, NDArray[Any]]:
        """See :func:`tasks.learning.augment.tokens`."""
        return augment.tokens(dict(arrays), params, rng)

    def inputs(self, arrays: Arrays, graph: OpGraph) -> dict[str, NDArray[Any]]:
        """See :func:`tasks.learning.sentences.inputs`."""
        return sentences.inputs(arrays, graph)

    def targets(self, arrays: Arrays, graph: OpGraph) -> dict[str, NDArray[Any]]:
        """``labels`` int32 [n]."""
        return {"labels": arrays["labels"]}

    def loss(
        self, targets: Mapping[str, Tensor], outputs: tuple[Tensor, ...], smoothing: float
    ) -> Tensor:
        """Cross entropy."""
        return categories.cross_entropy(targets["labels"], outputs[0], smoothing)

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
        """Share of sentences whose greatest output is the label."""
        return {self.metric.name: categories.accuracy(outputs[0], arrays["labels"])}

    def samples(
        self, arrays: Arrays, outputs: Mapping[str, Outputs], graph: OpGraph
    ) -> tuple[Sample, ...]:
        """Sentences with their label and what each file takes them for."""
        names = self.setting.classes
        return tuple(
            Sample(
                str(index),
                (
                    Panel("truth", text=((str(text), ""),), note=names[label]),
                    *(
                        Panel(kind, text=categories.verdict(found[0][index], names, label))
                        for kind, found in outputs.items()
                    ),
                ),
            )
            for index, (text, label) in enumerate(
                zip(arrays["texts"], arrays["labels"], strict=True)
            )
        )


PROBLEM = TextClassification
