"""Processor, cores, memory: what TensorFlow's package and the worker processes need."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from flows.checkup.finding import Finding, bad, good, note
from tasks.run import workers
from tasks.run.disk import said

PROC: Final = Path("/proc")
_INTEL: Final = ("x86_64", "amd64")
LEAST_BYTES: Final = 1_200_000_000
"""What one process that trains a network for small inputs may need."""


def look(root: Path) -> Iterator[Finding]:
    """The machine that this runs on."""
    yield _processor()
    yield _cores()
    if (memory := _memory()) is not None:
        yield memory


def _processor() -> Finding:
    kind = platform.machine().lower()
    flags = _flags()
    if kind in _INTEL and flags and "avx" not in flags:
        return bad(
            "processor",
            f"{kind} must have AVX, but has not: TensorFlow's package ends with an illegal "
            "instruction.",
            "use another machine, or install a TensorFlow built without AVX.",
        )
    more = [name for name in ("avx2", "avx512f") if name in flags]
    return good("processor", " ".join([kind, *more]))


def _flags() -> frozenset[str]:
    """What the kernel says that the processor can; empty: it does not say."""
    try:
        text = (PROC / "cpuinfo").read_text(errors="replace")
    except OSError:
        return frozenset()
    lines = (line for line in text.splitlines() if line.startswith("flags"))
    return frozenset(next(lines, "").partition(":")[2].split())


def _cores() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        used = workers.count(workers.MOST)
    except workers.WorkersError as error:
        return bad("cores", str(error), "set it to a number, or unset it.")
    text = f"{cores}, so at most {used} worker processes"
    if used > (cores or 1):
        return note("cores", f"{text}, more than cores", "unset EDGENAS_WORKERS.")
    return good("cores", text)


def _memory() -> Finding | None:
    """Of what programs may still have; None: the system does not tell."""
    sizes: dict[str, int] = {}
    try:
        for line in (PROC / "meminfo").read_text().splitlines():
            name, _, value = line.partition(":")
            sizes[name] = int(value.split()[0]) * 1024
        free, total = sizes["MemAvailable"], sizes["MemTotal"]
    except (OSError, ValueError, IndexError, KeyError):
        return None
    text = f"{said(free)} of {said(total)} are free"
    if free < LEAST_BYTES:
        return bad(
            "memory",
            f"{said(LEAST_BYTES)} must be free for one process that trains, but {text}.",
            "end other programs, and set EDGENAS_WORKERS=1.",
        )
    wanted = workers.count(workers.MOST) * workers.BYTES_EACH if _is_sane() else 0
    if free < wanted:
        cure = "end other programs, or set EDGENAS_WORKERS=1."
        return note("memory", f"{text}; workers may use {said(wanted)}.", cure)
    return good("memory", text)


def _is_sane() -> bool:
    return os.environ.get("EDGENAS_WORKERS", "1").isdecimal()
