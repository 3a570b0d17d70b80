"""Layer stacks: latency beyond the sizes that a profile was fitted to, and bytes on the chip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.hosts import HOSTS, starting_device
from benchmarks.networks import Networks
from benchmarks.published import (
    CsvRow,
    PublishedRow,
    layer_stacks_pcie,
    layer_stacks_usb,
    pcie_stack,
    read_csv,
    usb_stack,
)
from benchmarks.validation.section import LATENCY, Cell, Section, latency_row
from hw.calibrating.calibration import fit_macs_line, judge
from hw.calibrating.fitting import Measured, fit
from hw.columns import FloatArray
from hw.device import load_device
from hw.families.edge_tpu.analytic import MIB, Analytic
from hw.families.edge_tpu.laws import op_laws
from hw.families.edge_tpu.placement import Placement, place
from hw.families.edge_tpu.profile import Device
from spaces.graph import OpGraph

MOST_CONVOLUTIONS, MOST_DENSE, MOST_WIDTH = 50, 600, 310
"""Layers, and channels on the PCIe card, up to which stacks are fitted to."""


def sections(folder: Path) -> list[Section]:
    """All tables on stacks."""
    usb = read_csv(folder / "layer_stacks_usb.csv")
    pcie = [
        row for row in read_csv(folder / "layer_stacks_pcie.csv") if "run 2" not in row["model"]
    ]
    if not usb or not pcie:
        return []
    nobody = Networks([])
    rows = [*layer_stacks_usb(usb, nobody), *layer_stacks_pcie(pcie, nobody)]
    hosts = ("Jetson Nano, USB 3", "Jetson Nano, USB 2", "PCIe card")
    latency = Section(
        "Layer stacks larger than those fitted to",
        f"Fitted to stacks of at most {MOST_CONVOLUTIONS} convolutions, {MOST_DENSE} dense "
        f"layers, {MOST_WIDTH} channels, from what is expected of a host before any row is seen; "
        "judged on the larger ones.",
        LATENCY,
        tuple(extrapolated(host, [row for row in rows if row.host == host]) for host in hosts),
    )
    return [latency, memory(usb, pcie)]


# --- latency ---------------------------------------------------------------------------------


def extrapolated(name: str, rows: Sequence[PublishedRow]) -> tuple[Cell, ...]:
    """The larger stacks of a host by a fit to its smaller ones."""
    device = starting_device(next(host for host in HOSTS if host.name == name))
    small = [row for row in rows if is_small(row)]
    large = [row for row in rows if not is_small(row)]
    known, new = (_measured(part, device) for part in (small, large))
    fitted = fit([known])[0]
    analytic = judge(Analytic(fitted).parts(new.placement).latency_ms, new.latency_ms)
    line = fit_macs_line(known)
    macs = np.array([float(row.network.graph.macs) for row in large])
    straight = line.fixed_ms + line.slope_ms_per_gmac * macs / 1e9
    return latency_row(name, len(large), [analytic], [judge(straight, new.latency_ms)])


def is_small(row: PublishedRow) -> bool:
    """Whether a stack is one to fit to."""
    ops = row.network.graph.ops
    if row.host == "PCIe card":
        return ops[1].out_channels <= MOST_WIDTH
    most = MOST_CONVOLUTIONS if row.network.name.startswith("conv") else MOST_DENSE
    return len(ops) - 2 <= most  # an op before the layers and one behind


def _measured(rows: Sequence[PublishedRow], device: Device) -> Measured:
    placement, _ = place([row.network.graph for row in rows], device)
    latency = np.array([row.latency_ms for row in rows])
    return Measured(device, placement, latency, np.ones(len(rows)))


# --- memory ----------------------------------------------------------------------------------


def memory(usb: Sequence[CsvRow], pcie: Sequence[CsvRow]) -> Section:
    """On- and off-chip MiB of the compiler's logs against estimates."""
    told = [
        (usb_stack(row).graph, row["model"], row["onchip_used_mib"], row["offchip_used_mib"])
        for row in usb
    ]
    told += [
        (pcie_stack(row).graph, row["model"], row["onchip_mib"], row["offchip_mib"])
        for row in pcie
    ]
    families = {
        "7x7 convolutions, USB": "conv 7x7",
        "dense layers, USB": "dense units",
        "3x3 convolutions, PCIe": "conv3x3",
        "dense layers, PCIe": "dense, 64",
    }
    rows = []
    for name, start in families.items():
        here = [(graph, on, off) for graph, model, on, off in told if model.startswith(start)]
        rows.append(_memory_row(name, here))
    return Section(
        "Bytes of layer stacks in the compiler's logs",
        "Parameters on the chip and streamed, estimated over told. Spills: stacks of which both "
        "say that something is streamed, or both that nothing is.",
        (
            ("set", 0),
            ("networks", 0),
            ("on chip, error %", 1),
            ("largest", 1),
            ("off chip, error MiB", 3),
            ("largest, MiB", 3),
            ("spills agree", 0),
        ),
        tuple(rows),
    )


def _memory_row(name: str, told: Sequence[tuple[OpGraph, str, str]]) -> tuple[Cell, ...]:
    device = load_device("coral_pcie")
    placement, _ = place([graph for graph, _, _ in told], device)
    on_chip, off_chip = resident_mib(Analytic(device), placement)
    said_on = np.array([float(on) for _, on, _ in told])
    said_off = np.array([float(off) for _, _, off in told])
    on_error = 100 * np.abs(on_chip / said_on - 1)
    off_error = np.abs(off_chip - said_off)
    agree = int(((off_chip > 0) == (said_off > 0)).sum())
    return (
        name,
        len(told),
        float(on_error.mean()),
        float(on_error.max()),
        float(off_error.mean()),
        float(off_error.max()),
        f"{agree} of {len(told)}",
    )


def resident_mib(model: Analytic, placement: Placement) -> tuple[FloatArray, FloatArray]:
    """Parameters on the chip as they lie there, and those that are streamed; ``[n]`` each."""
    parts = model.parts(placement)
    splits = model.device.compiler.grouped_convolution == "split"
    laws = op_laws(placement.batch.distinct, model.device.chip, splits)
    index = placement.batch.index
    lying = np.where(placement.mapped & ~placement.free, laws.chip_bytes[index], 0)
    gone = np.zeros(lying.shape)
    if parts.slot_streamed_bytes is not None:
        fetched = np.maximum((laws.package_bytes * laws.passes)[index], 1)
        gone = parts.slot_streamed_bytes / fetched
    return (lying * (1.0 - gone)).sum(axis=1) / MIB, parts.streamed_bytes / MIB
