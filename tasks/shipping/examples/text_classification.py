"""The class of a text: ``python run.py "a text"``."""

from __future__ import annotations

from tasks.shipping.examples.runtime import Model, answered, arguments, lines, reading
from tasks.shipping.examples.wordpiece import WordPiece, fed

SHOWN = 5


def main() -> None:
    """Print the most likely classes."""
    asked = arguments("text")
    model, piece = Model(asked.model), WordPiece(lines("vocabulary.txt"))
    room = int(reading()["sequence_length"]) - 2
    tokens = [number for number, _, _ in piece.encode(asked.text)][:room]
    inputs = fed([piece.start, *tokens, piece.end], [], model.length("input"))
    (probabilities,) = answered(model, inputs, asked)["probabilities"]
    labels = lines("labels.txt")
    for number in probabilities.argsort()[::-1][:SHOWN]:
        print(f"{probabilities[number]:7.2%}  {labels[number]}")


if __name__ == "__main__":
    main()
