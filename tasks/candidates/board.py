"""All candidates of a search and their order.

A candidate keeps its place when a higher rung scores it anew. Scores of different rungs come from
trainings of different lengths and are never compared: whoever reached a higher rung ranks above.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from spaces.search_support.dominance import pareto_ranks
from tasks.candidates import fidelity
from tasks.candidates.finalists import choose_finalists
from tasks.candidates.objectives import Objective, loss_table
from tasks.candidates.records import Record
from tasks.run.params import SelectParams


@final
class Board:
    """Records, in the order in which they were first told.

    Attributes:
        records: With ``rung``, ``status`` and, where they reached a higher rung than their first,
            ``lower_rungs``: their earlier scores by rung, None where they were not there.
    """

    def __init__(self, metric: str, objectives: Sequence[Objective]) -> None:
        """An empty one; scores are under ``metric``."""
        self._metric, self._objectives = metric, objectives
        self._places: dict[str, int] = {}
        self.records: list[Record] = []

    def add(self, record: Record) -> None:
        """A new record; or in the place of that of a lower rung, unless it failed only now."""
        at = self._places.get(record["id"])
        if at is None:
            self._places[record["id"]] = len(self.records)
            lower = [None] * record["rung"]
            self.records.append({**record, "lower_rungs": lower} if lower else record)
        elif record["status"] == "done":
            before = self.records[at]
            lower = [*before.get("lower_rungs", ()), before[self._metric]]
            self.records[at] = {**record, "lower_rungs": lower}

    @property
    def good(self) -> list[Record]:
        """Those that have a score."""
        return [record for record in self.records if record["status"] == "done"]

    @property
    def failed(self) -> int:
        """How many have none."""
        return len(self.records) - len(self.good)

    @property
    def highest(self) -> list[Record]:
        """Those on the highest rung so far."""
        good = self.good
        top = max((record["rung"] for record in good), default=0)
        return [record for record in good if record["rung"] == top]

    @property
    def front(self) -> list[Record]:
        """Those of the highest rung that none of it dominates."""
        highest = self.highest
        ranks = self._ranks(highest)
        return [record for record, rank in zip(highest, ranks, strict=True) if rank == 0]

    def best(self, count: int) -> list[Record]:
        """Of the highest rung, those that keep most of the front's hypervolume."""
        pool = self.highest
        if not pool:
            return []
        for record, rank in zip(pool, self._ranks(pool), strict=True):
            record["rank"] = int(rank)
        goals = [f"{goal.name}:{goal.goal}" for goal in self._objectives]
        return choose_finalists(pool, count, SelectParams(objectives=tuple(goals)))

    def rank(self) -> None:
        """Give each record its ``rank``, and say who is ``on_pareto``."""
        good, above = self.good, 0
        for record in self.records:
            record.update(rank=None, on_pareto=False)
        for rung in sorted({record["rung"] for record in good}, reverse=True):
            part = [record for record in good if record["rung"] == rung]
            ranks = self._ranks(part) + above
            for record, rank in zip(part, ranks, strict=True):
                record.update(rank=int(rank), on_pareto=bool(rank == 0))
            above = int(ranks.max()) + 1

    def agreement(self, rung: int, epochs: int) -> dict[str, object]:
        """How the rung before had ordered those that were promoted to this one."""
        pairs = [
            (one["lower_rungs"][-1], one[self._metric], one["macs"])
            for one in self.good
            if one["rung"] == rung and one["lower_rungs"][-1] is not None
        ]
        before, after, macs = np.array(pairs, float).reshape(-1, 3).T
        enough = len(pairs) > 2
        return {
            "rung": rung,
            "candidates": len(pairs),
            "epochs": epochs,
            "tau": fidelity.kendall(before, after) if enough else None,
            "tau_macs": fidelity.kendall(macs, after) if enough else None,
        }

    def note(self) -> str:
        """The highest rung in a few words."""
        if not self.highest:
            return "none scored yet"
        best = max(self.highest, key=lambda record: float(record[self._metric]))
        lost = f", {self.failed} failed" if self.failed else ""
        return (
            f"best {best[self._metric]:.3f} at {best['latency_ms']:.2f} ms, "
            f"{len(self.front)} on the front{lost}"
        )

    def _ranks(self, records: Sequence[Record]) -> Any:
        return pareto_ranks(loss_table(records, self._objectives))
