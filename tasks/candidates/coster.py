"""What the architectures of a space cost, heads included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from hw.columns import FloatArray
from hw.cost_model import COMPILED, OWN, CostModelError, load_cost_model
from hw.device import load_device
from hw.protocols import CostModel
from spaces.graph import OpGraph
from spaces.narrowed import Offers
from spaces.search_support.proposals import CostLimits
from spaces.space import Architecture, TrainableSpace, load_baselines
from spaces.trainable.reach import family_limits
from tasks.candidates.limits import cost_limits
from tasks.candidates.records import Record, costs, describe
from tasks.learning.networks import sized
from tasks.learning.protocols import Head, completed
from tasks.run.manifest import DataManifest
from tasks.run.params import CostParams


@final
class Coster:
    """Cost of architectures from their graphs, remembered.

    Attributes:
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
        device = load_device(cost.device)
        self._model: CostModel = load_cost_model(cost.method, device)
        # A compiler takes a second a network: what is only looked at is costed by the laws.
        quick = OWN if cost.method == COMPILED else cost.method
        self._quick: CostModel = load_cost_model(quick, device)
        self._head = head
        self._known: dict[Architecture, Record] = {}
        self.asked = cost_limits(cost)
        family = family_limits(load_baselines(space_name).values(), self.costs)
        self.limits = self.asked | family

    def graph(self, point: Architecture) -> OpGraph:
        """The whole network, head included."""
        return self._head.complete(self.space.lower(point))

    def costs(self, point: Architecture) -> Record:
        """The numbers that :func:`tasks.candidates.records.describe` and ``costs`` there name."""
        if point not in self._known:
            graph = self.graph(point)
            self._known[point] = describe(graph) | costs(graph, self._model.estimate(graph))
        return self._known[point]

    def columns(
        self, points: Sequence[Architecture], names: Sequence[str]
    ) -> dict[str, FloatArray]:
        """The costs ``names`` of many architectures at once, [n] each.

        As :meth:`costs` but for last digits (where networks are compiled: as the device's laws
        have them), and much faster; what a batch does not tell comes from there. A cost that a
        network does not have is NaN.
        """
        try:
            found = self._quick.estimate_many(completed(self._head, self.space, points))
        except CostModelError:  # a batch does not tell where ops of such networks run
            found = {}
        return {
            name: found[name]
            if name in found
            else np.array([self.costs(point)[name] for point in points], np.float64)
            for name in names
        }

    def within(self) -> CostLimits:
        """Says whether an architecture keeps to ``limits``; anew, since it counts what it saw."""
        return CostLimits(self.limits, self.costs)
