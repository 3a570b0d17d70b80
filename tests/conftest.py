"""What all tests share: TensorFlow quiet, and set up once for the same bytes each time."""

from __future__ import annotations

import os
from types import ModuleType

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(scope="session")
def tensorflow() -> ModuleType:
    """TensorFlow with two threads and deterministic ops, as runs have it."""
    import tensorflow

    from tasks.training import configure_tensorflow

    configure_tensorflow(2, True)
    return tensorflow
