"""What a look found, in one line, with the cure where something must be mended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["good", "note", "bad"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line.

    Attributes:
        subject: What was looked at, in a word.
        level: ``"bad"``: to be mended before a run; ``"note"``: worth knowing.
        said: What is so.
        cure: What to do; empty where nothing is to be done.
    """

    subject: str
    level: Level
    said: str
    cure: str = ""

    @property
    def line(self) -> str:
        """For people."""
        text = f"{self.level:<5}{self.subject:<11}{self.said}"
        return f"{text} Cure: {self.cure}" if self.cure else text


def good(subject: str, said: str) -> Finding:
    """Nothing to do."""
    return Finding(subject, "good", said)


def note(subject: str, said: str, cure: str = "") -> Finding:
    """Worth knowing; a run works."""
    return Finding(subject, "note", said, cure)


def bad(subject: str, said: str, cure: str) -> Finding:
    """To be mended."""
    return Finding(subject, "bad", said, cure)
