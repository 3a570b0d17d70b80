"""What the kinds of language data have in common: their vocabulary and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tasks.data.wordpiece import Tokens, WordPiece, read_vocabulary, trained_vocabulary
from tasks.run.params import DataParams


def vocabulary_of(texts: Sequence[str], params: DataParams) -> WordPiece:
    """The vocabulary that was given, or one trained on texts.

    Raises:
        DataError: The given one cannot be used.
    """
    if params.vocabulary is not None:
        return WordPiece(read_vocabulary(Path(params.vocabulary).expanduser()))
    return WordPiece(trained_vocabulary(texts, params.vocabulary_size))


def language_facts(piece: WordPiece, params: DataParams, token_types: int) -> dict[str, object]:
    """What the manifest says of tokens."""
    given = params.vocabulary is not None
    return {
        "input_shape": [1, params.sequence_length],
        "vocabulary": "given" if given else "trained on the train split",
        "vocabulary_size": len(piece.vocabulary),
        "token_types": token_types,
    }


def unknown_share(encoded: Sequence[Tokens], piece: WordPiece) -> float:
    """Which part of all tokens is [UNK]."""
    total = sum(len(each.ids) for each in encoded)
    unknown = sum(each.ids.count(piece.unknown) for each in encoded)
    return unknown / total if total else 0.0
