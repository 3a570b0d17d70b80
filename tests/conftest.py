"""What all tests share: TensorFlow quiet, and set up once for the same bytes each time."""

from __future__ import annotations

import os
import signal
from types import ModuleType

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def pytest_configure() -> None:
    """Let tests send Ctrl-C where the run itself was started with it ignored, in a background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tensorflow() -> ModuleType:
    """TensorFlow with two threads and deterministic ops, as runs have it."""
    import tensorflow

    from tasks.training import configure_tensorflow

    configure_tensorflow(2, True)
    return tensorflow
