"""The class of each pixel: ``python run.py picture.jpg``; the map is ``labels.png`` then."""

from __future__ import annotations

import numpy as np
from PIL import Image

from tasks.shipping.examples.pictures import prepared
from tasks.shipping.examples.runtime import Model, answered, arguments, lines, reading


def main() -> None:
    """Print the share of each class, and write the map: the value of a pixel is its class."""
    asked = arguments("picture")
    inputs = {"input": prepared(asked.picture, reading())}
    (found,) = answered(Model(asked.model), inputs, asked)["labels"]
    for number, label in enumerate(lines("labels.txt")):
        print(f"{np.mean(found == number):7.2%}  {label}")
    Image.fromarray(found.astype(np.uint8)).save("labels.png")


if __name__ == "__main__":
    main()
