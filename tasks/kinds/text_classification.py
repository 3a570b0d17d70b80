"""Texts with one class each.

Arrays: ``tokens`` int32 [N, T] ([CLS] text [SEP], then 0), ``labels`` int32 [N], ``texts`` [N].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from tasks.data.dataset import RawData, TextSample
from tasks.data.kind import Finished, Loaded, Members, check_each_class, digest, label_counts
from tasks.data.kind import missing_classes as missing
from tasks.data.wording import language_facts, unknown_share, vocabulary_of
from tasks.data.wordpiece import Tokens, WordPiece
from tasks.run.params import DataParams

CUT = "text cut: longer than data.sequence_length"


@final
@dataclass(frozen=True, slots=True)
class TextClassification:
    """One label a text."""

    noun: str = "texts"
    demand: str = "every text must be usable"
    stratified: bool = True
    least_classes: int = 2

    def load(self, sample: TextSample, raw: RawData, params: DataParams) -> Loaded:
        """The text as it is; two samples are the same one if their texts are."""
        content = (sample.label, sample.text)
        return Loaded(digest(sample.text), content, "", sample.label, "", str(sample.label))

    def check(self, splits: Members, raw: RawData) -> None:
        """Each class must be in train.

        Raises:
            DataError: One is not.
        """
        check_each_class({"train": splits["train"]}, raw.classes, self.noun)

    def finish(self, splits: Members, raw: RawData, params: DataParams) -> Finished:
        """Tokens by the vocabulary of the train split."""
        piece = vocabulary_of([m.content[1] for m in splits["train"]], params)
        counts = label_counts(splits, len(raw.classes))
        arrays, of_split, cut = {}, {}, []
        for split, members in splits.items():
            texts = [member.content[1] for member in members]
            encoded = piece.encode(texts)
            room = params.sequence_length - 2
            cut += [m.name for m, t in zip(members, encoded, strict=True) if len(t.ids) > room]
            arrays[split] = {
                "tokens": _tokens(encoded, piece, params.sequence_length),
                "labels": np.array([member.content[0] for member in members], np.int32),
                "texts": np.array(texts, np.str_),
            }
            of_split[split] = {
                "texts_per_class": dict(zip(raw.classes, counts[split], strict=True)),
                "longest_tokens": max(len(each.ids) for each in encoded) + 2,
                "unknown_tokens_share": unknown_share(encoded, piece),
            }
        facts = language_facts(piece, params, token_types=0)
        facts["classes_missing"] = missing(counts, raw.classes)
        files = {"vocabulary.txt": "".join(f"{token}\n" for token in piece.vocabulary)}
        return Finished(arrays, facts, of_split, files, {CUT: cut})


KIND = TextClassification()


def _tokens(encoded: Sequence[Tokens], piece: WordPiece, length: int) -> NDArray[np.int32]:
    """[CLS] text [SEP] and padding, int32 [N, length]."""
    tokens = np.zeros((len(encoded), length), np.int32)
    for row, each in zip(tokens, encoded, strict=True):
        ids = (piece.start, *each.ids[: length - 2], piece.end)
        row[: len(ids)] = ids
    return tokens
