import subprocess
import sys
from pathlib import Path

import pytest

from tasks.data.dataset import DataError
from tasks.data.wordpiece import WordPiece, read_vocabulary, trained_vocabulary

TEXTS = [f"{a} the {b} of {c}" for a in ("open", "close") for b in ("gate", "gates", "Tür")
         for c in ("rome", "paris", "köln 7")]  # fmt: skip
SCRIPT = (
    "from tasks.data.wordpiece import trained_vocabulary\n"
    "words = [f'{a}{b}' for a in 'bcdfghjkm' for b in ('ation', 'ing', 'ed', 'er', 'ous', 'ly')]\n"
    "print(' '.join(trained_vocabulary([f'{x} {y}' for x in words for y in words], 100)))"
)


def test_same_vocabulary_in_another_process() -> None:
    root = Path(__file__).parents[2]
    made = {
        subprocess.run([sys.executable, "-c", SCRIPT], cwd=root, capture_output=True, check=True)
        .stdout
        for _ in range(4)
    }  # fmt: skip
    assert len(made) == 1 and len(made.pop().split()) == 100


def test_order_of_texts_does_not_matter() -> None:
    assert trained_vocabulary(TEXTS, 200) == trained_vocabulary(TEXTS[::-1], 200)


def test_special_tokens_first_then_single_characters() -> None:
    vocabulary = trained_vocabulary(TEXTS, 100)
    assert vocabulary[:4] == ("[PAD]", "[UNK]", "[CLS]", "[SEP]") and len(vocabulary) <= 100
    assert "u" in vocabulary and "ü" not in vocabulary and "##o" in vocabulary
    assert len(set(vocabulary)) == len(vocabulary)


def test_words_become_pieces_with_their_place() -> None:
    piece = WordPiece(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "gate", "##s", "tur", "7"))
    (tokens,) = piece.encode(["Gates  7 TÜR [SEP] x"])
    assert tokens.ids == (4, 5, 7, 6, 1, 1, 1, 1)
    assert tokens.offsets[:4] == ((0, 4), (4, 5), (7, 8), (9, 12))


def test_vocabulary_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text("[PAD]\n[unused0]\n[UNK]\n[CLS]\n[SEP]\nhello\n##s\n")
    piece = WordPiece(read_vocabulary(path))
    assert (piece.unknown, piece.start, piece.end) == (2, 3, 4)
    assert piece.encode(["Hellos you"])[0].ids == (5, 6, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "data.vocabulary must be the path of a vocab.txt, but there is no"),
        ("[PAD]\n[UNK]\n[SEP]\n", r"must hold .*, but vocab.txt lacks \[CLS\]"),
        ("[UNK]\n[PAD]\n[CLS]\n[SEP]\n", r"must begin with \[PAD\], but its first line is"),
        ("[PAD]\n[UNK]\n[CLS]\n[SEP]\na\na\n", "must differ, but got 'a' repeatedly"),
    ],
)
def test_bad_vocabulary_is_explained(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "vocab.txt"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_vocabulary(path)
