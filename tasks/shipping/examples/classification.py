"""The class of a picture: ``python run.py picture.jpg``."""

from __future__ import annotations

from tasks.shipping.examples.pictures import prepared
from tasks.shipping.examples.runtime import Model, answered, arguments, lines, reading

SHOWN = 5


def main() -> None:
    """Print the most likely classes."""
    asked = arguments("picture")
    inputs = {"input": prepared(asked.picture, reading())}
    (probabilities,) = answered(Model(asked.model), inputs, asked)["probabilities"]
    labels = lines("labels.txt")
    for number in probabilities.argsort()[::-1][:SHOWN]:
        print(f"{probabilities[number]:7.2%}  {labels[number]}")


if __name__ == "__main__":
    main()
