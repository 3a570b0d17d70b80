"""Which candidates are trained to the end, or go up a rung: those that keep the front."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spaces.search_support.dominance import hypervolume
from tasks.candidates import objectives
from tasks.candidates.records import Record
from tasks.run.params import SelectParams


class SearchError(ValueError):
    """A search that scored nothing."""


def choose_finalists(records: Sequence[Record], count: int, select: SelectParams) -> list[Record]:
    """At most ``count`` candidates that keep most of the front's hypervolume.

    Greedy: each one adds most to what is already there (within (1 - 1/e) of the best subset,
    Nemhauser et al. 1978); once the front is used up, the next rank follows.

    Raises:
        SearchError: No candidate was scored.
    """
    good = [record for record in records if record["status"] == "done"]
    if not good:
        reason = next((record["reason"] for record in records), "no candidates")
        raise SearchError(
            f"a candidate must have been scored to be trained on, but got {len(records)} that "
            f"failed, the first with: {reason}. Train the supernet longer (supernet.steps), or "
            "read search/candidates.json."
        )
    goals = objectives.parse(select.objectives)
    table = objectives.loss_table(good, goals)
    low, span = table.min(axis=0), np.ptp(table, axis=0)
    scaled = (table - low) / np.where(span > 0, span, 1.0)
    corner = np.full(scaled.shape[1], 1.1)
    order = sorted(range(len(good)), key=lambda index: (good[index]["rank"], good[index]["id"]))
    chosen: list[int] = []
    for rank in sorted({record["rank"] for record in good}):
        pool = [index for index in order if good[index]["rank"] == rank]
        while pool and len(chosen) < count:
            best = max(pool, key=lambda i: hypervolume(scaled[[*chosen, i]], corner))
            chosen.append(best)
            pool.remove(best)
    return sorted((good[index] for index in chosen), key=lambda record: record["latency_ms"])
