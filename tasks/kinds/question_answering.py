"""Questions whose answer stands in a context.

Arrays: ``tokens`` int32 [N, T] ([CLS] question [SEP] context [SEP], then 0), ``types`` int32
[N, T] (1 for the context and its [SEP]), ``spans`` int32 [N, 2] (first and last token of the
answer, (-1, -1) where it was cut off), ``offsets`` int32 [N, T, 2] (characters of the context that
a token covers, (-1, -1) outside of the context), ``contexts``, ``questions`` and ``answers`` (a
JSON list each) [N].
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np

from tasks.data.dataset import DataError, QuestionSample, RawData
from tasks.data.kind import Arrays, Finished, Loaded, Member, Members, digest, notes_of
from tasks.data.wording import language_facts, unknown_share, vocabulary_of
from tasks.data.wordpiece import Tokens, WordPiece
from tasks.run.params import DataParams

QUESTION_CUT = "question cut: longer than half of data.sequence_length"
CONTEXT_CUT = "context cut: longer than data.sequence_length leaves room for"
ANSWER_CUT = "answer cut off with its context: it has no span"


class Row(NamedTuple):
    """One question as arrays hold it, without padding; and what was cut."""

    tokens: tuple[int, ...]
    question_tokens: int
    offsets: tuple[tuple[int, int], ...]
    span: tuple[int, int]
    notes: tuple[str, ...]


@final
@dataclass(frozen=True, slots=True)
class QuestionAnswering:
    """One span of the context a question."""

    noun: str = "questions"
    demand: str = "every question must be usable"
    stratified: bool = False
    least_classes: int = 0

    def load(self, sample: QuestionSample, raw: RawData, params: DataParams) -> Loaded:
        """The question as it is; those of one context are never parted by carving."""
        return Loaded(
            digest(sample.context, sample.question),
            sample,
            group=digest(sample.context),
            target_sha256=digest(sample.start, *sample.answers),
        )

    def check(self, splits: Members, raw: RawData) -> None:
        """Nothing more is asked of questions."""

    def finish(self, splits: Members, raw: RawData, params: DataParams) -> Finished:
        """Tokens by the vocabulary of the train split.

        Raises:
            DataError: No answer of train is within the sequence.
        """
        train = [member.content for member in splits["train"]]
        contexts = {sample.context for sample in train}
        piece = vocabulary_of([*contexts, *(sample.question for sample in train)], params)
        arrays, counts, noted = {}, {}, []
        for split, members in splits.items():
            encoded = _encode(members, piece)
            rows = [
                row_of(member.content, *pair, piece, params.sequence_length)
                for member, pair in zip(members, encoded, strict=True)
            ]
            noted += [(m.name, row.notes) for m, row in zip(members, rows, strict=True)]
            arrays[split] = _arrays(members, rows, params.sequence_length)
            counts[split] = {
                "contexts": len({member.content.context for member in members}),
                "longest_tokens": max(len(q.ids) + len(c.ids) for q, c in encoded) + 3,
                "unknown_tokens_share": unknown_share([t for p in encoded for t in p], piece),
            }
        if (arrays["train"]["spans"] < 0).all():
            raise DataError(
                "answers of train must be within the sequence, but got none there with "
                f"data.sequence_length {params.sequence_length}. Make it longer."
            )
        files = {"vocabulary.txt": "".join(f"{token}\n" for token in piece.vocabulary)}
        facts = language_facts(piece, params, token_types=2)
        return Finished(arrays, facts, counts, files, notes_of(noted))


KIND = QuestionAnswering()


def row_of(
    sample: QuestionSample, question: Tokens, context: Tokens, piece: WordPiece, length: int
) -> Row:
    """One question of at most ``length`` tokens.

    The question gets what it needs, up to half of the sequence; the context gets the rest.
    """
    asked = question.ids[: length // 2 - 2]
    room = length - len(asked) - 3
    shown = Tokens(context.ids[:room], context.offsets[:room])
    notes = [QUESTION_CUT] * (len(asked) < len(question.ids))
    notes += [CONTEXT_CUT] * (len(shown.ids) < len(context.ids))
    head = (piece.start, *asked, piece.end)
    end = sample.start + len(sample.answers[0])
    inside = [n for n, (a, b) in enumerate(context.offsets) if a < end and b > sample.start]
    span = (-1, -1)
    if inside and inside[-1] < len(shown.ids):
        span = (len(head) + inside[0], len(head) + inside[-1])
    else:
        notes.append(ANSWER_CUT)
    return Row((*head, *shown.ids, piece.end), len(head), shown.offsets, span, tuple(notes))


def _encode(members: Sequence[Member], piece: WordPiece) -> list[tuple[Tokens, Tokens]]:
    """Question and context of each as tokens; each text is looked at once."""
    samples = [member.content for member in members]
    texts = sorted({text for each in samples for text in (each.question, each.context)})
    known = dict(zip(texts, piece.encode(texts), strict=True))
    return [(known[each.question], known[each.context]) for each in samples]


def _arrays(members: Sequence[Member], rows: Sequence[Row], length: int) -> Arrays:
    """The arrays of one split."""
    count = len(rows)
    tokens, types = np.zeros((count, length), np.int32), np.zeros((count, length), np.int32)
    offsets = np.full((count, length, 2), -1, np.int32)
    for place, row in enumerate(rows):
        first, last = row.question_tokens, row.question_tokens + len(row.offsets)
        tokens[place, : len(row.tokens)] = row.tokens
        types[place, first : last + 1] = 1
        offsets[place, first:last] = np.array(row.offsets, np.int32).reshape(-1, 2)
    samples = [member.content for member in members]
    answers = [json.dumps(list(each.answers), ensure_ascii=False) for each in samples]
    return {
        "tokens": tokens,
        "types": types,
        "spans": np.array([row.span for row in rows], np.int32).reshape(count, 2),
        "offsets": offsets,
        "contexts": np.array([each.context for each in samples], np.str_),
        "questions": np.array([each.question for each in samples], np.str_),
        "answers": np.array(answers, np.str_),
    }
