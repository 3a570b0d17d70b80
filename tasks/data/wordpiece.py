"""WordPiece: a vocabulary trained on texts, or given; and texts as its tokens.

Everything is lower-cased and rid of accents, as in the uncased BERT. Splitting and training are
those of the package ``tokenizers``.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, final

from tasks.data.dataset import DataError
from tasks.data.files import read_text

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD, UNKNOWN, START, END = SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_PIECE = "##"  # before a token that goes on with a word
_ALPHABET = 1000  # characters that get a token of their own, the most frequent first
_LEAST_FREQUENT = (
    2  # what is seen once stays in pieces, so that rare words train their pieces, too
)
_LONGEST_WORD = 100  # characters; a longer word is unknown (the limit of BERT's tokenizer)


class Tokens(NamedTuple):
    """A text as tokens, none of them special.

    Attributes:
        ids: Rows of the vocabulary.
        offsets: Where each begins and ends in the text, characters, the end exclusive.
    """

    ids: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]


@final
class WordPiece:
    """A vocabulary at work.

    Args:
        vocabulary: The tokens by number; [PAD] first, [UNK], [CLS] and [SEP] somewhere.
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        numbers = {token: number for number, token in enumerate(vocabulary)}
        self.vocabulary = tuple(vocabulary)
        self.unknown, self.start, self.end = (numbers[name] for name in SPECIAL[1:])
        self._tokenizer = _tokenizer(numbers)

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """Each text as tokens."""
        encoded = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [Tokens(tuple(each.ids), tuple(each.offsets)) for each in encoded]


def trained_vocabulary(texts: Iterable[str], size: int) -> tuple[str, ...]:
    """A vocabulary of at most ``size`` tokens: the same for the same texts in any order.

    The trainer of ``tokenizers`` numbers the pieces of one character in the order of a hash table,
    another one in each process, and breaks ties by number. So it is handed them, sorted.
    """
    from tokenizers.trainers import WordPieceTrainer

    ordered = sorted(texts)
    tokenizer = _tokenizer({UNKNOWN: 0})
    alphabet = _alphabet(tokenizer, ordered)
    pieces = [_PIECE + character for character in alphabet]
    trainer = WordPieceTrainer(
        vocab_size=max(size, len(SPECIAL) + 2 * len(alphabet)),
        special_tokens=[*SPECIAL, *pieces],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        continuing_subword_prefix=_PIECE,
        min_frequency=_LEAST_FREQUENT,
        show_progress=False,
    )
    tokenizer.train_from_iterator(ordered, trainer)
    numbers = tokenizer.get_vocab()
    return tuple(sorted(numbers, key=numbers.__getitem__))


def read_vocabulary(path: Path) -> tuple[str, ...]:
    """A ``vocab.txt``: one token a line, as BERT's.

    Raises:
        DataError: There is no such file, it lacks a special token or has a token twice, or its
            first line is not [PAD].
    """
    if not path.is_file():
        raise DataError(
            f"data.vocabulary must be the path of a vocab.txt, but there is no {path}."
        )
    tokens = tuple(line.strip() for line in read_text(path).rstrip().split("\n"))
    if missing := [token for token in SPECIAL if token not in tokens]:
        raise DataError(
            f"a vocabulary must hold {', '.join(SPECIAL)}, but {path.name} lacks "
            f"{', '.join(missing)}."
        )
    if tokens[0] != PAD:
        raise DataError(f"{path.name} must begin with {PAD}, but its first line is {tokens[0]!r}.")
    if repeated := [token for token, count in Counter(tokens).items() if count > 1]:
        raise DataError(f"tokens of {path.name} must differ, but got {repeated[0]!r} repeatedly.")
    return tokens


def _tokenizer(numbers: dict[str, int]) -> Tokenizer:
    """Lower-case, split at spaces and punctuation, then into the longest pieces known."""
    # Threads of its own would be lost when a later stage forks, and it warns of that.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    model = models.WordPiece(numbers, unk_token=UNKNOWN, max_input_chars_per_word=_LONGEST_WORD)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _alphabet(tokenizer: Tokenizer, texts: Iterable[str]) -> list[str]:
    """The most frequent characters of texts as the tokenizer sees them, sorted."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(tokenizer.normalizer.normalize_str(text))
    frequent = sorted(counts, key=lambda character: (-counts[character], character))
    return sorted(c for c in frequent[:_ALPHABET] if not c.isspace())
