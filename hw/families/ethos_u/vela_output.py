"""What Vela writes of a network that it compiled: a table of ops, one of totals, warnings."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HOST = "CPU"
OUTER = ("DRAM AC", "OnFlash AC", "OffFlash AC")
_WARNING = re.compile(
    r"^Warning \(supported operators\) operator: \S+, ofm: '(?P<op>.*)'\s*\n"
    r"Reason: (?P<reason>.+)$",
    re.MULTILINE,
)
KIB = 1024


class VelaOutputError(ValueError):
    """Output in a form that is not known."""


@dataclass(frozen=True, slots=True)
class Row:
    """One op as it was made of the file's, in order of execution.

    Attributes:
        name: As the file has it, or with what it was made for behind it.
        operator: Vela's word for what it does.
        on_host: It was left on the processor.
        cycles: The greatest of the three that follow.
        npu_cycles, sram_cycles, outer_cycles: Of the stages and of the two memories.
        macs: Multiply-accumulates.
    """

    name: str
    operator: str
    on_host: bool
    cycles: float
    npu_cycles: float
    sram_cycles: float
    outer_cycles: float
    macs: int


@dataclass(frozen=True, slots=True)
class Compiled:
    """What became of a network.

    Attributes:
        accelerator, system, memory: What it was compiled for, in Vela's words.
        clock_mhz: Of the accelerator.
        latency_ms: Vela's estimate, ops on the host not counted.
        macs: Multiply-accumulates of ops on the accelerator.
        sram_bytes: In use at most.
        outer_bytes: In flash and DRAM.
        fetched_bytes: Of weights and scales, from flash and DRAM in one inference.
        rows: The ops.
        reasons: Of ops on the host, by name.
    """

    accelerator: str
    system: str
    memory: str
    clock_mhz: float
    latency_ms: float
    macs: int
    sram_bytes: int
    outer_bytes: int
    fetched_bytes: int
    rows: tuple[Row, ...]
    reasons: Mapping[str, str]


def read_output(folder: Path, text: str) -> Compiled:
    """What lies in ``folder`` after a compilation with ``--verbose-performance``.

    Args:
        folder: Where Vela wrote its tables; of one network alone.
        text: What it printed.

    Raises:
        VelaOutputError: A table or one of its columns is missing.
    """
    totals = _table(folder, "*_summary_*.csv")[-1:]
    if not totals:
        raise VelaOutputError(f"{folder}: a summary must have a row, but got none.")
    known = totals[0]
    try:
        rows = tuple(_row(each) for each in _table(folder, "*_per-layer.csv"))
        outer = ("dram", "on_chip_flash", "off_chip_flash")
        return Compiled(
            accelerator=known["accelerator_configuration"],
            system=known["system_config"],
            memory=known["memory_mode"],
            clock_mhz=float(known["core_clock"]) / 1e6,
            latency_ms=_number(known["inference_time"]) * 1e3,
            macs=int(_number(known["nn_macs"])),
            sram_bytes=round(KIB * _number(known["sram_memory_used"])),
            outer_bytes=round(
                KIB * math.fsum(_number(known[f"{name}_memory_used"]) for name in outer)
            ),
            fetched_bytes=int(
                math.fsum(_number(known[f"{name}_weight_read_bytes"]) for name in outer)
            ),
            rows=rows,
            reasons={found["op"]: found["reason"].strip() for found in _WARNING.finditer(text)},
        )
    except (KeyError, ValueError) as error:
        raise VelaOutputError(
            f"{folder}: tables must be those of Vela 5.2, but got none with {error}."
        ) from None


def _table(folder: Path, pattern: str) -> list[dict[str, str]]:
    files = sorted(folder.glob(pattern))
    if len(files) != 1:
        raise VelaOutputError(
            f"{folder}: must hold one file {pattern}, but got {len(files)} of them."
        )
    with files[0].open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _row(cells: Mapping[str, str]) -> Row:
    return Row(
        name=cells["Name"].strip(),
        operator=cells["NNG Operator"].strip(),
        on_host=cells["Target"].strip() == HOST,
        cycles=_number(cells["Op Cycles"]),
        npu_cycles=_number(cells["NPU"]),
        sram_cycles=_number(cells["SRAM AC"]),
        outer_cycles=max(_number(cells[name]) for name in OUTER),
        macs=int(_number(cells["MAC Count"])),
    )


def _number(text: str) -> float:
    """A number; Vela's NaN, of a division by nothing, is 0."""
    value = float(text)
    return 0.0 if math.isnan(value) else value
