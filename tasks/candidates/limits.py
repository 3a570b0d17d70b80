"""Limits on networks: those of ``cost``, and those of a space's family where it is trained."""

from __future__ import annotations

from collections.abc import Mapping

from hw.cost_model import load_cost_model
from hw.device import load_device
from spaces.graph import OpGraph
from spaces.space import Architecture, TrainableSpace, load_baselines
from spaces.trainable.reach import MACS, PARAMETERS, Reach, family_limits
from tasks.candidates.records import costs as costs_of
from tasks.learning.protocols import Head
from tasks.run.params import CostParams


def cost_limits(cost: CostParams) -> dict[str, float]:
    """What was asked for, by names of :func:`tasks.candidates.records.costs`; empty: nothing."""
    limits = {"latency_ms": cost.target_latency_ms, "weight_bytes": cost.max_weight_bytes}
    return {name: float(limit) for name, limit in limits.items() if limit is not None}


def reach(space: TrainableSpace, cost: CostParams, head: Head) -> Reach:
    """The networks that a supernet is trained for: in the limits of ``cost`` and of the family.

    Args:
        space: Sized for the data.
        cost: The device is asked only where there are limits.
        head: It counts, too.

    Raises:
        DeviceError: There are limits, and no such device.
        CostModelError: There are limits, and no such cost model.
    """

    def graph(point: Architecture) -> OpGraph:
        return head.complete(space.lower(point))

    def sizes(point: Architecture) -> Mapping[str, float]:
        network = graph(point)
        return {MACS: network.macs, PARAMETERS: network.trainable_parameters}

    wanted = cost_limits(cost)
    limits = family_limits(load_baselines(space.name).values(), sizes) | wanted
    if not wanted:
        return Reach(space, sizes, limits)
    model = load_cost_model(cost.method, load_device(cost.device))

    def costs(point: Architecture) -> Mapping[str, float]:
        network = graph(point)
        return costs_of(network, model.estimate(network))

    return Reach(space, costs, limits)
