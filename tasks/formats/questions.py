"""Questions about messages to a restaurant: made up, offline (``tasks/grammar``)."""

from __future__ import annotations

from tasks.data.dataset import SPLITS, QuestionSample, RawData, Source
from tasks.data.made_up.grammar import questions

KIND = "question_answering"


def read(source: Source) -> RawData:
    """Make the questions; ``source`` is not looked at."""
    made = questions()
    splits = {
        split: tuple(
            QuestionSample(
                f"{split}/{number:04d}", each.question, each.context, (each.answer,), each.start
            )
            for number, each in enumerate(made[split])
        )
        for split in SPLITS
    }
    return RawData("questions", (), splits, kind=KIND, synthetic=True)
