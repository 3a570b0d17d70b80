"""What Google's ``edgetpu_compiler`` says of a model: versions 2 to 16, called with ``-s``.

Source: logs in issues of google-coral/edgetpu, of compilers 2.0, 2.1, 14.1, 15.0 and 16.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

MAPPED = "Mapped to Edge TPU"
UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}

VERSION = re.compile(r"Edge TPU Compiler version (\S+)")
SUCCESS = re.compile(r"Model compiled successfully in (\d+) ms")
SIZE = re.compile(r"([\d.]+)\s*(B|KiB|MiB|GiB)\b")
HEADER = re.compile(r"\s*Operator\s+Count\s+Status\s*$")
ROW = re.compile(r"\s*(\S+)\s+(\d+)\s+(\S.*?)\s*$")
FAILURE = re.compile(
    r"ERROR: (.+)"
    r"|(Model not quantized|Model could not be parsed|Compilation timeout\b.*"
    r"|Internal compiler error|Compilation failed: .+|Segmentation fault|Aborted"
    r"|terminating with uncaught exception.*)"
)

CACHED = "On-chip memory used for caching model parameters"
LEFT = "On-chip memory remaining for caching model parameters"
AVAILABLE = "On-chip memory available for caching model parameters"  # of compiler 2.0, in all
STREAMED = "Off-chip memory used for streaming uncached model parameters"


@dataclass(frozen=True, slots=True)
class OpRow:
    """A row of the op table.

    Attributes:
        operator: TensorFlow Lite builtin name, or ``CUSTOM``.
        count: Ops of that kind with that status.
        status: ``"Mapped to Edge TPU"``, or why not.
    """

    operator: str
    count: int
    status: str

    @property
    def mapped(self) -> bool:
        """Whether these ops run on the Edge TPU."""
        return self.status == MAPPED


@dataclass(frozen=True, slots=True)
class CompilerLog:
    """One run on one model; what the log does not tell is None.

    Sizes are as exact as the log: two decimals of B, KiB or MiB.

    Attributes:
        version: Of the compiler, ``"16.0.384591198"``.
        error: Why there is no compiled model; None: there is one.
        compile_ms: Time it took.
        input_model: Name of the file that was read.
        input_bytes: Its size.
        output_model: Name of the file that was written.
        output_bytes: Its size.
        cached_bytes: Parameters that stay on the chip.
        cache_left_bytes: Room left for more of them.
        streamed_bytes: Parameters that move at every inference.
        subgraphs: Parts that run on the Edge TPU.
        operations: Ops of the model.
        rows: The op table; empty without ``-s``.
    """

    version: str | None
    error: str | None
    compile_ms: int | None
    input_model: str | None
    input_bytes: int | None
    output_model: str | None
    output_bytes: int | None
    cached_bytes: int | None
    cache_left_bytes: int | None
    streamed_bytes: int | None
    subgraphs: int | None
    operations: int | None
    rows: tuple[OpRow, ...]


def parse_log(text: str) -> CompilerLog:
    """Read what the compiler wrote to standard output and standard error.

    Of several attempts (``-d``) the last one counts. Lines that say nothing known are skipped.
    """
    lines = text.splitlines()
    version, success = _last(VERSION, lines), _last(SUCCESS, lines)
    said = dict(_pairs(lines))
    sizes = {name: _bytes(value) for name, value in said.items()}
    cached, left, available = sizes.get(CACHED), sizes.get(LEFT), sizes.get(AVAILABLE)
    if left is None and available is not None and cached is not None:
        left = max(available - cached, 0)
    return CompilerLog(
        version=version,
        error=None if success else _failure(lines),
        compile_ms=int(success) if success else None,
        input_model=said.get("Input model"),
        input_bytes=sizes.get("Input size"),
        output_model=said.get("Output model"),
        output_bytes=sizes.get("Output size"),
        cached_bytes=cached,
        cache_left_bytes=left,
        streamed_bytes=sizes.get(STREAMED),
        subgraphs=_count(said.get("Number of Edge TPU subgraphs")),
        operations=_count(said.get("Total number of operations")),
        rows=tuple(_rows(lines)),
    )


def _last(pattern: re.Pattern[str], lines: Iterable[str]) -> str | None:
    found = [match[1] for line in lines if (match := pattern.search(line))]
    return found[-1] if found else None


def _pairs(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, colon, value = line.partition(": ")
        if colon:
            yield name.strip(), value.strip()


def _bytes(value: str) -> int | None:
    """A size; None for other values.

    >>> _bytes("3.33MiB"), _bytes("0.00B"), _bytes("model.tflite")
    (3491758, 0, None)
    """
    match = SIZE.fullmatch(value)
    return round(float(match[1]) * UNITS[match[2]]) if match else None


def _count(value: str | None) -> int | None:
    return int(value) if value is not None and value.isdecimal() else None


def _rows(lines: list[str]) -> Iterator[OpRow]:
    """Rows of the last table: all that look like one behind its header, up to other text."""
    headers = [number for number, line in enumerate(lines) if HEADER.match(line)]
    for line in lines[headers[-1] + 1 :] if headers else ():
        match = ROW.match(line)
        if match:
            yield OpRow(match[1], int(match[2]), match[3])
        elif line.strip():
            return


def _failure(lines: list[str]) -> str:
    """All that the log says of what went wrong, in its own words."""
    matches = [match for line in lines if (match := FAILURE.search(line))]
    words = dict.fromkeys((match[1] or match[2]).strip().rstrip(".!") for match in matches)
    if words:
        return "; ".join(words)
    said = [line.strip() for line in lines if line.strip() and not VERSION.search(line)]
    return said[-1].rstrip(".! ") if said else "an empty log"
