"""The data set that needs no network: 1,797 handwritten digits of 8x8, inside scikit-learn."""

from __future__ import annotations

import numpy as np

from tasks.data.dataset import RawData, Source, samples_of_arrays


def read(source: Source) -> RawData:
    """Read the digits; ``source`` is not looked at. Grey values 0..16 become 0..255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)
    samples = samples_of_arrays("train", images, digits.target, classes=10)
    return RawData("digits", tuple(str(digit) for digit in range(10)), {"train": samples})
