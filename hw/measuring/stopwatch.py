"""Times a ``.tflite`` in a process of its own: a file may crash or hang the native interpreter.

``python -m hw.measuring.stopwatch ORDER`` is that process; order and answer are JSON.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from hw.measuring.bench import BenchError, BenchSettings
from hw.measuring.child import run_child
from hw.measuring.timing import Interpreter, Timing, time_inferences

ROOT = Path(__file__).parents[2]
CPU_RUNTIMES = ("ai_edge_litert",)
DELEGATE_RUNTIMES = ("tflite_runtime", "ai_edge_litert")
"""The first one that is installed; a delegate's library is built for the older one."""


@dataclass(frozen=True, slots=True)
class Order:
    """What the process is to do.

    Attributes:
        tflite: Absolute path.
        delegate: Name of the delegate's library; None: on this processor.
        runs, threads, seed: As in :class:`hw.measuring.bench.BenchSettings`.
        plain: By LiteRT's own kernels: without XNNPACK, which it takes by itself.
    """

    tflite: str
    delegate: str | None
    runs: int
    threads: int
    seed: int
    plain: bool = False


def time_file(
    tflite: Path, settings: BenchSettings, cure: str, delegate: str | None = None
) -> Timing:
    """Time a file in a process of its own; ``cure`` closes the message if it does not run.

    Raises:
        BenchError: It does not run, crashes, or takes longer than ``settings.timeout_s``.
    """
    order = Order(str(tflite.absolute()), delegate, settings.runs, settings.threads, settings.seed)
    answer = asked("hw.measuring.stopwatch", tflite, order, settings.timeout_s, cure)
    return Timing(answer["first_ms"], tuple(answer["runs_ms"]))


def asked(
    module: str, tflite: Path, order: Order, timeout_s: float, cure: str, *words: str
) -> Mapping[str, Any]:
    """The answer of a module of this folder, run as a program, to an order for ``tflite``.

    Raises:
        BenchError: The file does not run, crashes, or takes longer than allowed.
    """
    command = [sys.executable, "-m", module, json.dumps(dataclasses.asdict(order)), *words]
    done = run_child(command, ROOT, timeout_s)
    try:
        # Whatever happens while the native libraries are taken down, an answer is an answer.
        answer: Mapping[str, Any] = json.loads(done.output)
    except json.JSONDecodeError:
        answer = {"error": done.ending}
    if done.status is None:
        raise BenchError(
            f"{tflite}: must run within {timeout_s:g} s, but got no end. Ask for fewer runs or "
            "more time."
        )
    if "error" in answer:
        where = f" with {order.delegate}" if order.delegate else ""
        raise BenchError(f"{tflite}: must run in LiteRT{where}, but got {answer['error']}. {cure}")
    return answer


def main(argument: str) -> int:
    """Answer one order on standard output."""
    return answered(argument, _timed)


def answered(argument: str, work: Callable[[Order], dict[str, Any]]) -> int:
    """Answer an order on standard output with what ``work`` makes of it."""
    # Native code writes to file descriptor 1 as it likes; the answer keeps it to itself.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answer:
        os.dup2(2, 1)
        try:
            found = work(Order(**json.loads(argument)))
        except (ValueError, RuntimeError, OSError, MemoryError) as error:
            found = {"error": one_line(str(error) or type(error).__name__)}
        json.dump(found, answer)
    return 0


def _timed(order: Order) -> dict[str, Any]:
    rng = np.random.default_rng(order.seed)
    return dataclasses.asdict(time_inferences(opened(order), rng, order.runs))


def opened(order: Order) -> Interpreter:
    """The interpreter that an order is for.

    Raises:
        ValueError, RuntimeError, OSError: It cannot be made.
    """
    runtime = _runtime(DELEGATE_RUNTIMES if order.delegate else CPU_RUNTIMES)
    delegates = [runtime.load_delegate(order.delegate)] if order.delegate else None
    options = {"experimental_delegates": delegates, "num_threads": order.threads}
    if order.plain:
        kinds = runtime.OpResolverType
        options["experimental_op_resolver_type"] = kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = runtime.Interpreter(order.tflite, **options)
    return cast(Interpreter, interpreter)


def _runtime(names: tuple[str, ...]) -> Any:
    for name in names[:-1]:
        try:
            return importlib.import_module(f"{name}.interpreter")
        except ModuleNotFoundError:
            continue
    return importlib.import_module(f"{names[-1]}.interpreter")


def one_line(text: str) -> str:
    """A native library's message without its line breaks, links and last full stop.

    >>> one_line("Op x is custom. See instructions: https://example.org/ops   Node 0 failed.")
    'Op x is custom. Node 0 failed'
    """
    return " ".join(re.sub(r"See instructions: \S+", "", text).split()).rstrip(".")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
