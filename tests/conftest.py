"""What all tests share: TensorFlow quiet, and set up once for the same bytes each time."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType

import pytest

import spaces.trainable  # noqa: F401 - sets TensorFlow up before a test imports it
from tests.postgres import Postgres, running

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def pytest_configure() -> None:
    """Let tests send Ctrl-C where the run itself was started with it ignored, in a background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tensorflow() -> ModuleType:
    """TensorFlow with two threads and deterministic ops, as runs have it."""
    import tensorflow

    from tasks.learning.training import configure_tensorflow

    configure_tensorflow(2, True)
    return tensorflow


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL; tests that ask for it are skipped where there is none."""
    with running() as server:
        yield server


@pytest.fixture(scope="session")
def tiny_tflite() -> Callable[..., bytes]:
    """Makes a ``.tflite`` that LiteRT runs: two inputs of 1x4x4x2, and a chain of ops on both."""

    def make(ops: Sequence[str] = ("MAXIMUM",), dtype: str = "int8") -> bytes:
        """``ops`` are builtins, or custom ones in lower case; op ``n`` is called ``op<n>``."""
        import flatbuffers
        from ai_edge_litert import schema_py_generated as schema

        model, graph = schema.ModelT(), schema.SubGraphT()
        model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT()]
        model.operatorCodes, graph.tensors, graph.operators = [], [], []

        def tensor(name: str) -> int:
            made = schema.TensorT()
            made.name, made.shape, made.buffer = name, [1, 4, 4, 2], 0
            made.type = getattr(schema.TensorType, dtype.upper())
            graph.tensors.append(made)
            return len(graph.tensors) - 1

        graph.inputs = [tensor("x"), tensor("y")]
        last = graph.inputs[0]
        for number, name in enumerate(ops):
            code, op = schema.OperatorCodeT(), schema.OperatorT()
            builtin = name if name.isupper() else "CUSTOM"
            code.builtinCode = getattr(schema.BuiltinOperator, builtin)
            code.deprecatedBuiltinCode = min(code.builtinCode, 127)
            code.customCode = None if name.isupper() else name
            model.operatorCodes.append(code)
            op.opcodeIndex, op.inputs = number, [last, graph.inputs[1]]
            last = tensor(f"op{number}")
            op.outputs = [last]
            graph.operators.append(op)
        graph.outputs = [last]
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    return make
