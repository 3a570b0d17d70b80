"""Any network: ``python run.py inputs.npz``, arrays by the names of the file's inputs."""

from __future__ import annotations

import numpy as np

from tasks.shipping.examples.runtime import Model, answered, arguments


def main() -> None:
    """Print the outputs."""
    asked = arguments("inputs")
    with np.load(asked.inputs) as arrays:
        outputs = answered(Model(asked.model), dict(arrays), asked)
    for name, values in outputs.items():
        print(name, values)


if __name__ == "__main__":
    main()
