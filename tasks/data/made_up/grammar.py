"""Made-up sentences from a seeded grammar: requests to a home with their intent, and questions.

Requests fall into twelve intents, some of which share most of their words ("set the alarm",
"cancel the alarm"). Questions ask for one fact of a message to a restaurant; a message may hold
another value of the same kind that is not the answer ("nine people, not eight people"). Some words
of requests are misspelt. No text is in two splits, and some patterns are in validation and test
only: a part of what is asked there was never said like that.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from tasks.data.dataset import SPLITS, Split
from tasks.data.made_up.phrases import (
    AFTER,
    ASKED,
    BEFORE,
    CLOSINGS,
    GREETINGS,
    INTENTS,
    MESSAGES,
    SLOTS,
    pick,
)

SENTENCES: dict[Split, int] = {"train": 2000, "validation": 400, "test": 400}
QUESTIONS: dict[Split, int] = {"train": 2000, "validation": 400, "test": 400}
_SEEDS: dict[Split, int] = {"train": 11, "validation": 12, "test": 13}
_TYPOS = 0.08  # share of sentences with a misspelt word


class Request(NamedTuple):
    """A sentence and its intent."""

    intent: str
    text: str


class Question(NamedTuple):
    """A question, its context, and the answer with its place in the context."""

    question: str
    context: str
    answer: str
    start: int


def intents() -> tuple[str, ...]:
    """The twelve intents, sorted."""
    return tuple(sorted(INTENTS))


def requests() -> dict[Split, list[Request]]:
    """The sentences of each split, their intents in equal parts; the same each time."""
    seen: set[str] = set()
    return {split: _requests(split, _rng(split), seen) for split in reversed(SPLITS)}


def questions() -> dict[Split, list[Question]]:
    """The questions of each split, two of each message; the same each time."""
    seen: set[str] = set()
    return {split: _questions(split, _rng(split), seen) for split in reversed(SPLITS)}


def _rng(split: Split) -> np.random.Generator:
    return np.random.default_rng(_SEEDS[split])


def _requests(split: Split, rng: np.random.Generator, seen: set[str]) -> list[Request]:
    """Sentences that are not among those seen, which they join."""
    names = intents()
    found: list[Request] = []
    while len(found) < SENTENCES[split]:
        intent = names[len(found) % len(names)]
        patterns = INTENTS[intent]
        pattern = pick(patterns[:-1] if split == "train" else patterns, rng)
        text = pick(BEFORE, rng) + _filled(pattern, rng) + pick(AFTER, rng)
        text = _misspelt(text.lower(), rng)
        if text not in seen:
            seen.add(text)
            found.append(Request(intent, text))
    return found


def _questions(split: Split, rng: np.random.Generator, seen: set[str]) -> list[Question]:
    """Questions to messages that are not among those seen, which they join."""
    messages = MESSAGES[:-2] if split == "train" else MESSAGES
    found: list[Question] = []
    while len(found) < QUESTIONS[split]:
        pattern = pick(GREETINGS, rng) + pick(messages, rng) + pick(CLOSINGS, rng)
        context, facts = _told(pattern, rng)
        if context in seen:
            continue
        seen.add(context)
        for place in rng.permutation(len(facts))[:2]:
            slot, answer, start = facts[place]
            found.append(Question(pick(ASKED[slot], rng), context, answer, start))
    return found


def _filled(pattern: str, rng: np.random.Generator) -> str:
    """A pattern with a value in each of its slots."""
    return re.sub(r"{(\w+)}", lambda match: SLOTS[match[1]](rng), pattern)


def _told(pattern: str, rng: np.random.Generator) -> tuple[str, list[tuple[str, str, int]]]:
    """A message, and its facts: slot, value and place of each slot in square brackets.

    Slots in braces are filled, too, with a value that is not the fact.
    """
    text, facts, used = "", list[tuple[str, str, int]](), set[str]()
    for plain, fact, decoy in re.findall(r"([^\[{]*)(?:\[(\w+)\]|{(\w+)})?", pattern):
        text += plain
        if not (fact or decoy):
            continue
        value = SLOTS[fact or decoy](rng)
        while any(value in other or other in value for other in used):
            value = SLOTS[fact or decoy](rng)
        used.add(value)
        if fact:
            facts.append((fact, value, len(text)))
        text += value
    return text, facts


def _misspelt(text: str, rng: np.random.Generator) -> str:
    """Sometimes with a letter of a long word missing, or two in the wrong order."""
    words = text.split(" ")
    long = [place for place, word in enumerate(words) if len(word) > 4]
    if not long or rng.random() >= _TYPOS:
        return text
    place = long[int(rng.integers(len(long)))]
    word, at = words[place], int(rng.integers(1, len(words[place]) - 2))
    swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    words[place] = swapped if rng.random() < 0.5 else word[:at] + word[at + 1 :]
    return " ".join(words)
