"""Extractive question answering: the span of a text that answers, scored by F1 over words."""

from __future__ import annotations

import json
import math
import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from spaces.graph import Op, OpBatch, OpGraph, Shape
from spaces.heads import language as language_heads
from tasks.learning import augment, categories, sentences
from tasks.learning.protocols import Arrays, Metric, Outputs, ProblemError, Setting, Tensor
from tasks.learning.samples import Panel, Sample, mark_span
from tasks.run.params import AugmentParams, Block, Count

_OUTSIDE = -1e4
"""Added to the scores of tokens that cannot be an answer: on the host, in floating point."""
_SHOWN = 200  # characters of a text that people see on both sides of an answer


class Options(Block):
    """How long an answer may be, in tokens."""

    answer_tokens: Count = 16


@dataclass(frozen=True, slots=True)
class QuestionAnswering:
    """See :class:`tasks.learning.protocols.Problem`."""

    name: ClassVar[str] = "question_answering"
    metric: ClassVar[Metric] = Metric("f1", "F1 over words", "max")
    options: ClassVar[type[Block]] = Options
    kinds: ClassVar[tuple[str, ...]] = ("question_answering",)
    backbones: ClassVar[tuple[str, ...]] = ("question_answering",)
    trained: ClassVar[tuple[str, ...]] = ("span_logits",)
    deployed: ClassVar[tuple[str, ...]] = ("span_logits",)
    setting: Setting[Options]

    @staticmethod
    def default_classes(input_shape: Shape) -> int:
        """A head for spans has none."""
        return 10

    @property
    def chance_loss(self) -> float:
        """Cross entropy of an even guess among all tokens."""
        return math.log(self.setting.input_shape[1])

    def complete(self, backbone: OpGraph) -> OpGraph:
        """A score as first and as last token of the answer, for each token."""
        return language_heads.question_answering(backbone)

    def complete_many(self, backbones: OpBatch) -> OpBatch:
        """The same of each graph of a batch."""
        return language_heads.question_answering_many(backbones)

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
        """``spans`` int32 [n, 2], ``known`` float32 [n]: 0 where a cut took the answer away.

        ``allowed`` float32 [n, T] is 0 for tokens of the context and very low elsewhere.
        """
        length = graph.input_shape[1]
        spans = arrays["spans"]
        known = (spans[:, 0] >= 0) & (spans[:, 1] < length)
        return {
            "spans": np.where(known[:, None], spans, 0).astype(np.int32),
            "known": known.astype(np.float32),
            "allowed": _allowed(arrays, length),
        }

    def loss(
        self, targets: Mapping[str, Tensor], outputs: tuple[Tensor, ...], smoothing: float
    ) -> Tensor:
        """Mean cross entropy of first and last token; no smoothing: neighbours are no guesses."""
        import tensorflow as tf

        logits = outputs[0] + targets["allowed"][..., None]
        losses = [
            tf.nn.sparse_softmax_cross_entropy_with_logits(
                targets["spans"][:, end], logits[..., end]
            )
            for end in range(2)
        ]
        known = targets["known"]
        return tf.reduce_sum((losses[0] + losses[1]) * known) / (
            2.0 * tf.maximum(tf.reduce_sum(known), 1.0)
        )

    def distill(
        self,
        targets: Mapping[str, Tensor],
        teacher: tuple[Tensor, ...],
        outputs: tuple[Tensor, ...],
    ) -> Tensor:
        """Half the labels, half the teacher's probabilities over the tokens both read.

        A teacher that reads less says nothing of the rest: then the labels alone.
        """
        import tensorflow as tf

        length = outputs[0].shape[1]
        if teacher[0].shape[1] < length:
            return self.loss(targets, outputs, 0.0)
        allowed = targets["allowed"][..., None]
        hard = self.loss(targets, outputs, 0.0)
        soft = tf.stop_gradient(tf.nn.softmax(teacher[0][:, :length] + allowed, axis=1))
        scores = tf.nn.log_softmax(outputs[0] + allowed, axis=1)
        imitated = -tf.reduce_mean(tf.reduce_sum(soft * scores, axis=1))
        return 0.5 * hard + 0.5 * imitated

    def taught(self, given: Sequence[NDArray[Any]], graph: OpGraph) -> Outputs:
        """Logits or probabilities [n, T, 2] of first and last token, of no fewer tokens."""
        length = graph.input_shape[1]
        shapes = [one.shape[1:] for one in given]
        if len(shapes) != 1 or shapes[0][1:] != (2,) or shapes[0][0] < length:
            raise ProblemError(
                f"must put out [{length}, 2] a question, or of more tokens, but got "
                f"{', '.join(str(list(shape)) for shape in shapes)}"
            )
        return (categories.as_logits(given[0], axis=1),)

    def decoding(self, graph: OpGraph) -> dict[str, NDArray[Any]]:
        """Nothing: outputs speak for themselves."""
        return {}

    def score(self, outputs: Outputs, arrays: Arrays, graph: OpGraph) -> dict[str, float]:
        """F1 and exact match of the answers, the best over the accepted ones, as SQuAD has them.

        Source: Rajpurkar et al. 2016, arXiv:1606.05250, section 6.1.
        """
        answers = self.answers(outputs, arrays)
        accepted = [json.loads(str(text)) for text in arrays["answers"]]
        pairs = list(zip(answers, accepted, strict=True))
        return {
            "f1": float(np.mean([max(f1(one, other) for other in right) for one, right in pairs])),
            "exact_match": float(
                np.mean(
                    [any(_plain(one) == _plain(other) for other in right) for one, right in pairs]
                )
            ),
        }

    def answers(self, outputs: Outputs, arrays: Arrays) -> list[str]:
        """The best span of each context as text; empty where there is none."""
        texts = []
        for (start, end), context in zip(
            self._ranges(outputs, arrays), arrays["contexts"], strict=True
        ):
            texts.append(str(context)[start:end])
        return texts

    def _ranges(self, outputs: Outputs, arrays: Arrays) -> list[tuple[int, int]]:
        """Character ranges of the best spans."""
        logits = outputs[0].astype(np.float64)
        length = logits.shape[1]
        logits = logits + _allowed(arrays, length)[..., None]
        offsets = arrays["offsets"][:, :length]
        ranges = []
        for scores, places in zip(logits, offsets, strict=True):
            first, last = best_span(scores, self.setting.options.answer_tokens)
            ranges.append((max(0, int(places[first, 0])), max(0, int(places[last, 1]))))
        return ranges

    def samples(
        self, arrays: Arrays, outputs: Mapping[str, Outputs], graph: OpGraph
    ) -> tuple[Sample, ...]:
        """Questions with the answer marked in its text."""
        found = {kind: self._ranges(one, arrays) for kind, one in outputs.items()}
        return tuple(self._sample(index, arrays, found) for index in range(len(arrays["spans"])))

    def _sample(
        self, index: int, arrays: Arrays, found: Mapping[str, list[tuple[int, int]]]
    ) -> Sample:
        context = str(arrays["contexts"][index])
        accepted = [str(one) for one in json.loads(str(arrays["answers"][index]))]
        at = context.find(accepted[0])
        question = str(arrays["questions"][index])
        truth = mark_span(context, at, at + len(accepted[0]), "truth", _SHOWN)
        panels = [Panel("truth", text=((f"{question} ", "question"), *truth), note=accepted[0])]
        for kind, ranges in found.items():
            start, end = ranges[index]
            score = max(f1(context[start:end], one) for one in accepted)
            mark = "right" if score == 1 else "wrong"
            note = f"{context[start:end] or 'no answer'} (F1 {score:.2f})"
            text = mark_span(context, start, end, mark, _SHOWN)
            panels.append(Panel(kind, text=text, note=note))
        return Sample(str(index), tuple(panels))


def best_span(scores: NDArray[np.float64], longest: int) -> tuple[int, int]:
    """First and last token of the best span of at most ``longest`` tokens, by scores [T, 2]."""
    sums = scores[:, 0][:, None] + scores[:, 1][None, :]
    distance = np.arange(len(scores))[None, :] - np.arange(len(scores))[:, None]
    sums = np.where((distance >= 0) & (distance < longest), sums, -np.inf)
    first, last = divmod(int(sums.argmax()), len(scores))
    return first, last


def f1(answer: str, accepted: str) -> float:
    """Harmonic mean of precision and recall over words.

    >>> f1("the Eiffel Tower", "Eiffel tower of Paris")
    0.6666666666666666
    """
    one, other = _plain(answer).split(), _plain(accepted).split()
    shared = sum((Counter(one) & Counter(other)).values())
    if not one or not other:
        return float(one == other)
    return 2 * shared / (len(one) + len(other))


def _plain(text: str) -> str:
    """Lower case, without punctuation and articles."""
    kept = "".join(letter for letter in text.lower() if letter not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())


def _allowed(arrays: Arrays, length: int) -> NDArray[np.float32]:
    inside = arrays["offsets"][:, :length, 0] >= 0
    return np.where(inside, 0.0, _OUTSIDE).astype(np.float32)


PROBLEM = QuestionAnswering
