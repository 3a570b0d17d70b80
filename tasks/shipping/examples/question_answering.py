"""The words of a text that answer a question: ``python run.py "a question" "a text"``."""

from __future__ import annotations

from typing import Any

import numpy as np

from tasks.shipping.examples.runtime import Model, answered, arguments, lines, reading
from tasks.shipping.examples.wordpiece import WordPiece, fed


def main() -> None:
    """Print the answer."""
    asked = arguments("question", "text")
    model, piece, read = Model(asked.model), WordPiece(lines("vocabulary.txt")), reading()
    length = int(read["sequence_length"])
    question = [number for number, _, _ in piece.encode(asked.question)][: length // 2 - 2]
    text = piece.encode(asked.text)[: length - len(question) - 3]
    head = [piece.start, *question, piece.end]
    tokens = [*head, *(number for number, _, _ in text), piece.end]
    types = [0] * len(head) + [1] * (len(text) + 1)
    inputs = fed(tokens, types, model.length("input"))
    (logits,) = answered(model, inputs, asked)["span_logits"]
    inside = logits[len(head) : len(head) + len(text)].astype(np.float64)
    first, last = best_span(inside, int(read["answer_tokens"]))
    print(asked.text[text[first][1] : text[last][2]])


def best_span(scores: Any, longest: int) -> tuple[int, int]:
    """First and last token of the best span of at most ``longest`` tokens, by scores [T, 2]."""
    sums = scores[:, 0][:, None] + scores[:, 1][None, :]
    distance = np.arange(len(scores))[None, :] - np.arange(len(scores))[:, None]
    sums = np.where((distance >= 0) & (distance < longest), sums, -np.inf)
    first, last = divmod(int(sums.argmax()), len(scores))
    return first, last


if __name__ == "__main__":
    main()
