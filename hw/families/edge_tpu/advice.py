"""What would help a network most on a device: changes with the milliseconds they would save.

Each figure is the difference of two estimates, or the share of the latency that the change takes
away; they overlap, so they do not add up.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from hw.families.edge_tpu.analytic import Analytic
from hw.families.edge_tpu.laws import OpLaws
from hw.families.edge_tpu.mapping import Mapped
from hw.families.edge_tpu.parts import MIB, Parts, laws_of, parts_of
from hw.families.edge_tpu.placement import Placement, place
from hw.families.edge_tpu.profile import Device
from hw.report import CostReport
from hw.text import short
from hw.tflite.reasons import NOT_SUPPORTED
from spaces.graph import Op, OpGraph, OpKind

WORTH = 0.02
"""A change is named if it saves at least this share of the latency."""
MOST = 3
SMALL = 0.25
"""Share of the fixed cost in the latency from which on a network is small."""
NARROWER = 0.75
"""Outputs are not advised to go below this share of what they are."""


@dataclass(frozen=True, slots=True)
class Change:
    """Something to change.

    Attributes:
        saving_ms: Of an inference, at most.
        text: What costs, and the cure.
    """

    saving_ms: float
    text: str


@dataclass(frozen=True, slots=True)
class _Case:
    """A network on a device, with what it takes."""

    graph: OpGraph
    refused: Mapping[str, str]
    device: Device
    lowered: OpGraph
    mapped: Mapped
    placement: Placement
    parts: Parts
    laws: OpLaws
    report: CostReport

    def ops(self) -> Iterator[tuple[Op, int]]:
        """Ops on the TPU that take time, and their rows in ``laws``."""
        for slot, op in enumerate(self.lowered.ops):
            if self.placement.mapped[0, slot] and not self.placement.free[0, slot]:
                yield op, int(self.placement.batch.index[0, slot])


def changes(
    graph: OpGraph, refused: Mapping[str, str], device: Device, report: CostReport
) -> tuple[Change, ...]:
    """The changes that would save most, the best first; none saves less than 2 %.

    ``report`` is the analytic estimate of ``graph`` on ``device``.
    """
    placement, ((lowered, mapped),) = place([graph], device, [refused])
    laws, parts = laws_of(placement, device), parts_of(placement, device)
    case = _Case(graph, refused, device, lowered, mapped, placement, parts, laws, report)
    found = [change for rule in RULES for change in rule(case)]
    least = WORTH * report.known_latency_ms
    worthy = [change for change in found if change.saving_ms >= least]
    return tuple(sorted(worthy, key=lambda change: -change.saving_ms)[:MOST])


def _streaming(case: _Case) -> Iterator[Change]:
    streamed, exposed = float(case.parts.fetched_bytes[0]), float(case.parts.exposed_ms[0])
    if not streamed:
        return
    maps = case.laws.constant_bytes
    sizes = {op.name: int(case.laws.package_bytes[row] + maps[row]) for op, row in case.ops()}
    why = "and constant maps are not kept" if maps.any() else "do not fit"
    heaviest = sorted(sizes, key=lambda name: -sizes[name])[:2]
    kept = float(case.parts.streamed_bytes[0])
    again = f", fetched {streamed / kept:.0f} times as the maps are large" * (
        streamed > 1.5 * kept
    )
    yield Change(
        exposed,
        f"these {kept / MIB:.1f} MiB of weights {why} on chip{again} and cost "
        f"{exposed:.2f} ms an inference; the heaviest layers are "
        f"{' and '.join(f'{short(n, 32)} ({sizes[n] / MIB:.1f} MiB)' for n in heaviest)}. Make "
        "those narrower.",
    )


def _host(case: _Case) -> Iterator[Change]:
    if not case.mapped.host:
        return
    (name, reason), *others = case.mapped.host
    host_ms = float(case.parts.host_ms[0])
    subject = f"{1 + len(others)} ops stay" if others else "one op stays"
    verb, first = ("take", "the first is ") if others else ("takes", "")
    yield Change(
        host_ms,
        f"{subject} on the host and {verb} {host_ms:.2f} ms: {first}{short(name, 40)} ({reason}). "
        "Replace it, and those behind it may map.",
    )
    if case.device.compiler.subgraphs == "one" and case.mapped.subgraphs:
        compiler = dataclasses.replace(case.device.compiler, subgraphs="several")
        other = dataclasses.replace(case.device, compiler=compiler)
        several = Analytic(other).estimate(case.graph, case.refused)
        saving = case.report.known_latency_ms - several.known_latency_ms
        yield Change(
            saving,
            "the compiler's option -a would put more ops on the TPU, in several subgraphs: "
            f"{several.known_latency_ms:.2f} ms instead of {case.report.known_latency_ms:.2f} ms.",
        )


def _host_alone(case: _Case) -> Iterator[Change]:
    """Small networks are done before the TPU is called."""
    everything = {op.name: NOT_SUPPORTED for op in case.graph.ops}
    alone = Analytic(case.device).estimate(case.graph, everything).known_latency_ms
    fixed = float(case.parts.fixed_ms[0])
    if case.mapped.subgraphs and fixed > SMALL * case.report.known_latency_ms:
        yield Change(
            case.report.known_latency_ms - alone,
            f"the host alone would take about {alone:.2f} ms (a guess): the call of the TPU costs "
            f"{fixed:.2f} ms before anything runs. A network this small does not need it.",
        )


def _transfers(case: _Case) -> Iterator[Change]:
    link, placement = case.device.link, case.placement
    arriving = float(placement.arriving[0]) / (link.input_mb_per_s * 1e3)
    leaving = float(placement.leaving[0]) / (link.output_mb_per_s * 1e3)
    yield Change(
        arriving / 2,
        f"the input of {placement.arriving[0] / 1e3:,.0f} kB takes {arriving:.2f} ms to arrive. "
        "Half as many pixels save half of it, and of most layers' time, too.",
    )
    yield Change(
        leaving / 2,
        f"{placement.leaving[0] / 1e3:,.0f} kB come back and take {leaving:.2f} ms. Reduce them "
        "on the TPU: fewer channels, or a smaller map.",
    )


def _call(case: _Case) -> Iterator[Change]:
    starts = float(case.parts.start_ms[0] + case.parts.instructions_ms[0])
    count = sum(1 for _ in case.ops())
    if count > 1:
        yield Change(
            starts / 2,
            f"starting {count} ops takes {starts:.2f} ms, whatever they compute. Half as many, "
            "wider ones (fused instead of depthwise or grouped) would save half of it.",
        )


def _lanes(case: _Case) -> Iterator[Change]:
    """Convolutions that run one more pass over 64 lanes for a few outputs."""
    lanes = case.device.chip.output_lanes
    savings: dict[str, tuple[float, int]] = {}
    for op, row in case.ops():
        full, rest = divmod(op.out_channels, lanes)
        plain = op.kind in (OpKind.CONV_2D, OpKind.FULLY_CONNECTED)
        if plain and rest and full * lanes >= NARROWER * op.out_channels:
            time = float(case.laws.compute_ms[row] + case.laws.load_ms[row])
            savings[op.name] = (time / (full + 1), op.out_channels)
    if savings:
        total = sum(saving for saving, _ in savings.values())
        name = max(savings, key=lambda op: savings[op])
        outputs = savings[name][1]
        yield Change(
            total,
            f"{len(savings)} layers have a few outputs more than a multiple of {lanes} and run a "
            f"pass more for them, {total:.2f} ms in all; {short(name, 32)} has {outputs}, and "
            f"{outputs // lanes * lanes} would do.",
        )


def _depthwise(case: _Case) -> Iterator[Change]:
    rows = [row for op, row in case.ops() if op.kind is OpKind.DEPTHWISE_CONV_2D]
    time = float(case.laws.compute_ms[rows].sum())
    macs = float(case.laws.macs[rows].sum())
    whole = float(np.sum(case.laws.macs[case.placement.batch.index[0]]))
    if rows and whole:
        yield Change(
            time / 2,
            f"depthwise convolutions compute for {time:.2f} ms, though they are "
            f"{100 * macs / whole:.0f} % of the MACs: one of 16 units works. "
            + "Fused blocks where maps are large and channels few are often faster.",
        )


def _groups(case: _Case) -> Iterator[Change]:
    parts = [row for op, row in case.ops() if op.kind in (OpKind.SPLIT, OpKind.CONCATENATION)]
    time = float(case.laws.work_ms[parts].sum())
    yield Change(
        time,
        f"splitting and joining channels takes {time:.2f} ms in {len(parts)} ops. Fewer, wider "
        "groups need fewer of them.",
    )


def _overflow(case: _Case) -> Iterator[Change]:
    chip = dataclasses.replace(case.device.chip, overflow_gb_per_s=1e9)
    without = parts_of(case.placement, dataclasses.replace(case.device, chip=chip))
    saving = float(case.parts.latency_ms[0] - without.latency_ms[0])
    yield Change(
        saving,
        f"maps beyond the {chip.narrow_memory_bytes / MIB:.0f} MiB for activations (at most "
        f"{case.report.peak_memory_bytes or 0:,} B here) cost {saving:.2f} ms. Halve the "
        "resolution earlier.",
    )


RULES: tuple[Callable[[_Case], Iterator[Change]], ...] = (
    _streaming,
    _host,
    _host_alone,
    _transfers,
    _call,
    _lanes,
    _depthwise,
    _groups,
    _overflow,
)
