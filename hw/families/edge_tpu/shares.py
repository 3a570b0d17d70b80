"""What each op of one network has of its latency and energy, and what it spends them on."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from hw.families.edge_tpu.mapping import Mapped
from hw.families.edge_tpu.parts import Parts, host_slots_ms, laws_of
from hw.families.edge_tpu.placement import Placement
from hw.families.edge_tpu.profile import Device, Energy
from hw.report import Bound, OpCost
from spaces.graph import OpGraph

BOUNDS: tuple[Bound, ...] = ("compute", "movement", "streaming")


def shares(
    graph: OpGraph,
    mapped: Mapped,
    placement: Placement,
    parts: Parts,
    device: Device,
    scale: float,
) -> tuple[OpCost, ...]:
    """Fixed cost, transfers and ops, each times ``scale``; they add up to the latency."""
    link, energy = device.link, device.energy
    arriving = float(placement.arriving[0]) / (link.input_mb_per_s * 1e3)
    leaving = float(placement.leaving[0]) / (link.output_mb_per_s * 1e3)
    call = (
        ("fixed cost", "CALL", float(parts.fixed_ms[0])),
        ("instructions", "TRANSFER", float(parts.instructions_ms[0])),
        ("input transfer", "TRANSFER", arriving),
        ("output transfer", "TRANSFER", leaving),
    )
    made = [
        _share(name, kind, time * scale, energy) for name, kind, time in call if placement.calls[0]
    ]
    ops = _OpTable(device, placement, parts)
    for slot, op in enumerate(graph.ops):
        here = op.name in mapped.subgraph
        made.append(
            _share(
                op.name,
                op.kind.value,
                ops.time_ms[slot] * scale,
                energy,
                "tpu" if here else "host",
                BOUNDS[ops.bound[slot]] if here else "host",
                ops.macs[slot],
                int(ops.streamed_bytes[slot]),
            )
        )
    return tuple(made)


def _share(
    name: str,
    kind: str,
    latency_ms: float,
    table: Energy | None,
    unit: Literal["tpu", "host"] = "tpu",
    bound: Bound = "transfer",
    macs: float = 0.0,
    streamed_bytes: int = 0,
) -> OpCost:
    energy = None
    if table is not None:
        dynamic_pj = macs * table.mac_pj + streamed_bytes * table.streamed_byte_pj
        energy = dynamic_pj * 1e-9 + table.idle_w * latency_ms
    return OpCost(name, kind, unit, latency_ms, energy, streamed_bytes, bound)


class _OpTable:
    """Times, bounds and bytes of the ops of one network, by slot."""

    def __init__(self, device: Device, placement: Placement, parts: Parts) -> None:
        laws = laws_of(placement, device)
        index = placement.batch.index[0]
        works = placement.mapped[0] & ~placement.free[0]
        nothing = np.zeros(len(index))
        exposed = nothing if parts.slot_exposed_ms is None else parts.slot_exposed_ms[0]
        streamed = nothing if parts.slot_streamed_bytes is None else parts.slot_streamed_bytes[0]
        on_tpu = (laws.work_ms + laws.load_ms)[index] + exposed
        host = np.broadcast_to(host_slots_ms(placement, laws, device)[0], on_tpu.shape)
        # A start longer than the work is the machinery of moving tiles, not arithmetic.
        moving = (laws.start_ms + laws.movement_ms + laws.load_ms)[index]
        bodies = np.stack([laws.compute_ms[index], moving, np.maximum(exposed, 0.0)])
        self.time_ms: list[float] = np.where(works, on_tpu, host).tolist()
        self.bound: list[int] = bodies.argmax(axis=0).tolist()
        self.macs: list[float] = laws.macs[index].tolist()
        self.streamed_bytes: list[float] = streamed.tolist()


def total_energy_mj(per_op: tuple[OpCost, ...]) -> float | None:
    """Of all shares; None where the device file has no energy table."""
    energies = [share.energy_mj for share in per_op if share.energy_mj is not None]
    return math.fsum(energies) if len(energies) == len(per_op) else None
