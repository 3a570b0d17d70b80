"""Limits on networks: those of ``cost``, and those of a space's family where it is trained."""

from __future__ import annotations

from collections.abc import Mapping

from hw.cost_model import load_cost_model
from hw.device import load_device
from spaces.graph import OpGraph
from spaces.menu import load_baselines
from spaces.space import Architecture, TrainableSpace
from spaces.trainable.reach import MACS, PARAMETERS, Reach, family_limits
from tasks.candidates.other_devices import other_devices
from tasks.candidates.records import costs as costs_of
from tasks.learning.protocols import Head
from tasks.run.params import CostParams


def own_limits(cost: CostParams) -> dict[str, float]:
    """What was asked for on ``cost.device``, by names of its costs."""
    limits = {"latency_ms": cost.target_latency_ms, "weight_bytes": cost.max_weight_bytes}
    return {name: float(limit) for name, limit in limits.items() if limit is not None}


def cost_limits(cost: CostParams) -> dict[str, float]:
    """What was asked for on any device, by name of the cost; empty: nothing."""
    there = {one.latency: one.target_latency_ms for one in other_devices(cost)}
    return own_limits(cost) | {name: one for name, one in there.items() if one is not None}


def reach(space: TrainableSpace, cost: CostParams, head: Head) -> Reach:
    """The networks that a supernet is trained for: in the limits of ``cost`` and of the family.

    Args:
        space: Sized for the data.
        cost: Each device is asked only where it has limits.
        head: It counts, too.

    Raises:
        DeviceError: There are limits, and no such device.
        CostModelError: There are limits, and no such cost model.
    """

    def graph(point: Architecture) -> OpGraph:
        return head.complete(space.lower(point))

    def sizes(point: Architecture) -> Mapping[str, float]:
        return _sizes(graph(point))

    wanted = cost_limits(cost)
    limits = family_limits(load_baselines(space.name).values(), sizes) | wanted
    if not wanted:
        return Reach(space, sizes, limits)
    own = load_cost_model(cost.method, load_device(cost.device)) if own_limits(cost) else None
    others = {
        one.latency: load_cost_model(cost.method, load_device(one.device))
        for one in other_devices(cost)
        if one.target_latency_ms is not None
    }

    def costs(point: Architecture) -> Mapping[str, float]:
        network = graph(point)
        there = {name: one.estimate(network).known_latency_ms for name, one in others.items()}
        here = costs_of(network, own.estimate(network)) if own else _sizes(network)
        return here | there

    return Reach(space, costs, limits)


def _sizes(network: OpGraph) -> dict[str, float]:
    return {MACS: network.macs, PARAMETERS: network.trainable_parameters}
