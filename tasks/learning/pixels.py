"""How pixels enter a network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def normalise(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 pixels [N, H, W, C] to float32 in [-1, 1], as every model here is trained."""
    return images.astype(np.float32) / np.float32(127.5) - np.float32(1.0)
