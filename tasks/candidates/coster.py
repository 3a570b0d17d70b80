"""What the architectures of a space cost, heads included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from hw.columns import FloatArray
from hw.cost_model import COMPILED, OWN, CostModelError, load_cost_model
from hw.device import load_device
from hw.protocols import CostModel
from spaces.graph import OpBatch, OpGraph
from spaces.menu import load_baselines
from spaces.narrowed import Offers
from spaces.search_support.proposals import CostLimits
from spaces.space import Architecture, TrainableSpace
from spaces.trainable.reach import family_limits
from tasks.candidates.limits import cost_limits
from tasks.candidates.other_devices import LATENCY, other_devices
from tasks.candidates.records import Record, costs, describe
from tasks.learning.networks import sized
from tasks.learning.protocols import Head, completed
from tasks.run.manifest import DataManifest
from tasks.run.params import CostParams


@dataclass(frozen=True, slots=True)
class _Models:
    """The cost models of one device: what a candidate is costed by, and what many are."""

    exact: CostModel
    quick: CostModel

    @staticmethod
    def of(device_name: str, method: str) -> _Models:
        device = load_device(device_name)
        # A compiler takes a second a network: what is only looked at is costed by the laws.
        quick = OWN if method == COMPILED else method
        return _Models(load_cost_model(method, device), load_cost_model(quick, device))

    def many(self, batch: OpBatch | None) -> Mapping[str, FloatArray]:
        """Costs of many; nothing where a batch does not tell where ops of such networks run."""
        if batch is None:
            return {}
        try:
            return self.quick.estimate_many(batch)
        except CostModelError:
            return {}


@final
class Coster:
    """Cost of architectures from their graphs, remembered.

    Attributes:
        elsewhere: Names of the costs on other devices, see
            :mod:`tasks.candidates.other_devices`.
        asked: Largest allowed values that ``cost`` sets, by names of ``costs``.
        limits: The same, and those of the space's family: see :mod:`spaces.trainable.reach`.
    """

    def __init__(
        self,
        space_name: str,
        manifest: DataManifest,
        cost: CostParams,
        head: Head,
        choices: Offers | None = None,
    ) -> None:
        self.space: TrainableSpace = sized(space_name, manifest, choices)
        self.device, self.method = cost.device, cost.method
        self._models = _Models.of(cost.device, cost.method)
        self._others = {
            one.latency: _Models.of(one.device, cost.method) for one in other_devices(cost)
        }
        self.elsewhere = tuple(self._others)
        self._head = head
        self._known: dict[Architecture, Record] = {}
        self.asked = cost_limits(cost)
        family = family_limits(load_baselines(space_name).values(), self.costs)
        self.limits = self.asked | family

    def graph(self, point: Architecture) -> OpGraph:
        """The whole network, head included."""
        return self._head.complete(self.space.lower(point))

    def costs(self, point: Architecture) -> Record:
        """The numbers that :func:`tasks.candidates.records.describe` and ``costs`` there name.

        And those of ``elsewhere``.
        """
        if point not in self._known:
            graph = self.graph(point)
            here = describe(graph) | costs(graph, self._models.exact.estimate(graph))
            self._known[point] = here | {
                name: one.exact.estimate(graph).known_latency_ms
                for name, one in self._others.items()
            }
        return self._known[point]

    def columns(
        self, points: Sequence[Architecture], names: Sequence[str]
    ) -> dict[str, FloatArray]:
        """The costs ``names`` of many architectures at once, [n] each.

        As :meth:`costs` but for last digits (where networks are compiled: as the device's laws
        have them), and much faster; what a batch does not tell comes from there. A cost that a
        network does not have is NaN.
        """
        batch = self._batch(points)
        there = {name for name in names if name in self._others}
        found = dict(self._models.many(batch)) if set(names) - there else {}
        for name in there:
            columns = self._others[name].many(batch)
            found |= {name: columns[LATENCY]} if columns else {}
        return {
            name: found[name]
            if name in found
            else np.array([self.costs(point)[name] for point in points], np.float64)
            for name in names
        }

    def _batch(self, points: Sequence[Architecture]) -> OpBatch | None:
        """Whole networks as columns, lowered once for all devices."""
        try:
            return completed(self._head, self.space, points)
        except CostModelError:
            return None

    def within(self) -> CostLimits:
        """Says whether an architecture keeps to ``limits``; anew, since it counts what it saw."""
        return CostLimits(self.limits, self.costs)
