"""Requests to a home, each with one of twelve intents: made up, offline (``tasks/grammar``)."""

from __future__ import annotations

from tasks.data.dataset import SPLITS, RawData, Source, TextSample
from tasks.data.made_up.grammar import intents, requests

KIND = "text_classification"


def read(source: Source) -> RawData:
    """Make the sentences; ``source`` is not looked at."""
    made, classes = requests(), intents()
    splits = {
        split: tuple(
            TextSample(f"{split}/{number:04d}", classes.index(request.intent), request.text)
            for number, request in enumerate(made[split])
        )
        for split in SPLITS
    }
    return RawData("sentences", classes, splits, kind=KIND, synthetic=True)
