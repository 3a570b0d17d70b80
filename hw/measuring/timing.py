"""Times inferences: the first one apart, then warm ones, round by round.

All benches that run a network share this; what differs is the interpreter that they hand in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

ROUNDS = 5
"""Each has an input of its own: where time depends on data, the spread shows it."""

WARM_UP_RUNS = 3
WARM_UP_S = 0.2
"""Long enough for a processor to leave its power-saving clock."""

FEWEST_RUNS = 20
"""For an interval: of fewer, less than one lies beyond a 5 % quantile."""

Clock = Callable[[], float]


class TimingError(ValueError):
    """An input that cannot be made up."""


class Interpreter(Protocol):
    """What is used of LiteRT's interpreter; ``tflite_runtime`` has the same."""

    def allocate_tensors(self) -> None:
        """Make ready to run."""

    def get_input_details(self) -> Sequence[Mapping[str, Any]]:
        """``name``, ``index``, ``shape`` and ``dtype`` of each input."""

    def set_tensor(self, tensor_index: int, value: NDArray[Any]) -> None:
        """Copy an input."""

    def invoke(self) -> None:
        """Run once."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long inferences took.

    Attributes:
        first_ms: The first after the model was made ready.
        runs_ms: Each warm one, in order.
    """

    first_ms: float
    runs_ms: tuple[float, ...]

    @property
    def median_ms(self) -> float:
        """Of the warm ones."""
        return float(np.median(self.runs_ms))

    @property
    def interval_ms(self) -> tuple[float, float] | None:
        """5 % and 95 % quantile of the warm ones; None where they are too few."""
        if len(self.runs_ms) < FEWEST_RUNS:
            return None
        low, high = np.quantile(self.runs_ms, (0.05, 0.95))
        return float(low), float(high)


def time_inferences(
    interpreter: Interpreter,
    rng: np.random.Generator,
    runs: int,
    clock: Clock = time.perf_counter,
) -> Timing:
    """Time ``runs`` warm inferences; setting the input is no part of one, its transfer is.

    Args:
        interpreter: With its model loaded.
        rng: Makes the inputs.
        runs: From 1 up.
        clock: Seconds.

    Raises:
        TimingError: An input is of a type that cannot be made up.
        RuntimeError: The interpreter fails.
    """
    interpreter.allocate_tensors()
    _set_inputs(interpreter, rng)
    first = _timed_ms(interpreter, clock)
    _warm_up(interpreter, clock)
    times: list[float] = []
    for count in _round_sizes(runs):
        _set_inputs(interpreter, rng)
        interpreter.invoke()  # the first on new data is not warm
        times += [_timed_ms(interpreter, clock) for _ in range(count)]
    return Timing(first, tuple(times))


def _timed_ms(interpreter: Interpreter, clock: Clock) -> float:
    start = clock()
    interpreter.invoke()
    return round((clock() - start) * 1e3, 6)  # to the nanosecond, all that the clock tells


def _warm_up(interpreter: Interpreter, clock: Clock) -> None:
    end, done = clock() + WARM_UP_S, 0
    while done < WARM_UP_RUNS or clock() < end:
        interpreter.invoke()
        done += 1


def _round_sizes(runs: int) -> list[int]:
    """Parts of ``runs``, as equal as can be.

    >>> _round_sizes(12), _round_sizes(2)
    ([3, 3, 2, 2, 2], [1, 1])
    """
    each, more = divmod(runs, ROUNDS)
    return [each + (number < more) for number in range(min(ROUNDS, runs))]


def _set_inputs(interpreter: Interpreter, rng: np.random.Generator) -> None:
    for detail in interpreter.get_input_details():
        value = random_input(tuple(detail["shape"]), np.dtype(detail["dtype"]), rng)
        interpreter.set_tensor(detail["index"], value)


def random_input(
    shape: tuple[int, ...], dtype: np.dtype[Any], rng: np.random.Generator
) -> NDArray[Any]:
    """Floats from [0, 1), integers of one or two bytes over their whole range, wider ones 0 or 1.

    Wide integers are mostly indices, of tokens for example, and must stay within their table.

    Raises:
        TimingError: Of text, for example.
    """
    if dtype.kind == "f":
        return rng.random(shape, np.float32).astype(dtype)
    if dtype.kind in "iu" and dtype.itemsize <= 2:
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, shape, dtype.type, endpoint=True)
    if dtype.kind in "iub":
        return rng.integers(0, 2, shape).astype(dtype)
    raise TimingError(f"inputs must be numbers or booleans, but got one of type {dtype}.")
