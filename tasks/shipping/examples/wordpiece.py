"""A text as numbers of tokens: WordPiece, as in the uncased BERT."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

MASKED = -16.0
"""What the mask of attention holds for padding."""
LONGEST_WORD = 100
IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
"""Each of them is a word of its own."""

Piece = tuple[int, int, int]
"""A token: its number, and where it begins and ends in the text."""


class WordPiece:
    """A vocabulary at work."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        """``vocabulary`` are the tokens by number."""
        self._numbers = {token: number for number, token in enumerate(vocabulary)}
        self.start, self.end = self._numbers["[CLS]"], self._numbers["[SEP]"]

    def encode(self, text: str) -> list[Piece]:
        """The tokens of a text, none of them special."""
        return [piece for word in _words(text) for piece in self._pieces(word)]

    def _pieces(self, word: Sequence[tuple[str, int]]) -> list[Piece]:
        """The longest pieces known, from the left; one unknown token where there are none."""
        letters = "".join(letter for letter, _ in word)
        unknown = (self._numbers["[UNK]"], word[0][1], word[-1][1] + 1)
        if len(letters) > LONGEST_WORD:
            return [unknown]
        found, first = [], 0
        while first < len(letters):
            head = "##" if first else ""
            ends = range(len(letters), first, -1)
            known = (end for end in ends if head + letters[first:end] in self._numbers)
            last = next(known, None)
            if last is None:
                return [unknown]
            number = self._numbers[head + letters[first:last]]
            found.append((number, word[first][1], word[last - 1][1] + 1))
            first = last
        return found


def _words(text: str) -> Iterator[list[tuple[str, int]]]:
    """Words of letters, lower-case and without accents, each with its place in the text."""
    word: list[tuple[str, int]] = []
    for place, letter in enumerate(text):
        for one in _plain(letter):
            alone = _is_punctuation(one) or _is_ideograph(one)
            if (one.isspace() or alone) and word:
                yield word
                word = []
            if alone:
                yield [(one, place)]
            elif not one.isspace():
                word.append((one, place))
    if word:
        yield word


def _plain(letter: str) -> str:
    """A letter without accents, in lower case; nothing of one that does not print."""
    if letter in "\t\n\r":
        return " "
    if letter in "\0\ufffd" or unicodedata.category(letter) in ("Cc", "Cf", "Co", "Cs"):
        return ""
    apart = unicodedata.normalize("NFD", letter)
    return "".join(c.lower() for c in apart if unicodedata.category(c) != "Mn")


def _is_punctuation(letter: str) -> bool:
    signs = letter.isascii() and letter.isprintable() and not letter.isalnum() and letter != " "
    return signs or unicodedata.category(letter).startswith("P")


def _is_ideograph(letter: str) -> bool:
    return any(low <= ord(letter) <= high for low, high in IDEOGRAPHS)


def fed(tokens: Sequence[int], types: Sequence[int], length: int) -> Mapping[str, Any]:
    """What a network reads of tokens, cut or padded to its length."""
    padding = [0] * max(0, length - len(tokens))
    numbers = np.array([[*tokens[:length], *padding]], np.int32)
    mask = np.where(numbers == 0, MASKED, 0.0).astype(np.float32)[:, None, None, :]
    kinds = np.array([[*types[:length], *padding]], np.int32)
    return {"input": numbers, "mask": mask, "types": kinds}
