"""Which candidates are trained to the end, or go up a rung: those that keep the front."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spaces.search_support.dominance import hypervolume
from tasks.candidates import objectives
from tasks.candidates.candidate import Candidate
from tasks.run.params import SelectParams


class SearchError(ValueError):
    """A search that scored nothing."""


def choose_finalists(
    candidates: Sequence[Candidate], count: int, select: SelectParams
) -> list[Candidate]:
    """At most ``count`` candidates: the best by score, and others that keep most of the front.

    The best comes first, for it is what one asks of a search under a limit, and the hypervolume of
    a few may do without it. The rest is greedy: each one adds most to the hypervolume of what is
    already there (within (1 - 1/e) of the best subset, Nemhauser et al. 1978); once the front is
    used up, the next rank follows.

    Raises:
        SearchError: No candidate was scored.
    """
    good = [one for one in candidates if one.is_done]
    if not good:
        reason = next((one.reason for one in candidates), "no candidates")
        raise SearchError(
            f"a candidate must have been scored to be trained on, but got {len(candidates)} that "
            f"failed, the first with: {reason}. Train the supernet longer (supernet.steps), or "
            "read search/candidates.json."
        )
    goals = objectives.parse(select.objectives)
    table = objectives.loss_table(good, goals)
    low, span = table.min(axis=0), np.ptp(table, axis=0)
    scaled = (table - low) / np.where(span > 0, span, 1.0)
    corner = np.full(scaled.shape[1], 1.1)
    ranks = [_rank(one) for one in good]
    order = sorted(range(len(good)), key=lambda index: (ranks[index], good[index].id))
    scores = [at for at, goal in enumerate(goals) if not objectives.is_cost(goal.name)]
    leaders = [min(order, key=lambda i: (ranks[i], table[i, at], good[i].id)) for at in scores]
    chosen = list(dict.fromkeys(leaders))[:count]
    for rank in sorted(set(ranks)):
        pool = [index for index in order if ranks[index] == rank and index not in chosen]
        while pool and len(chosen) < count:
            best = max(pool, key=lambda i: hypervolume(scaled[[*chosen, i]], corner))
            chosen.append(best)
            pool.remove(best)
    return sorted((good[index] for index in chosen), key=lambda one: one.latency_ms or 0.0)


def hand_made(
    candidates: Sequence[Candidate], chosen: Sequence[Candidate], count: int
) -> list[Candidate]:
    """Up to ``count`` baselines beside ``chosen``, spread over latency, the best of each part.

    What they reach with equal training is what a search must beat.
    """
    known = {one.id for one in chosen}
    rest = [one for one in candidates if one.is_baseline and one.is_done and one.id not in known]
    rest.sort(key=lambda one: one.latency_ms or 0.0)
    parts = [rest[len(rest) * i // count : len(rest) * (i + 1) // count] for i in range(count)]
    return [min(part, key=lambda one: (_rank(one), one.id)) for part in parts if part]


def _rank(one: Candidate) -> int:
    """Of a candidate that is done, and so has one."""
    if one.rank is None:
        raise SearchError(
            f"candidate {one.id} must have a rank, but got none. Run the search anew: python -m "
            "flows run --stage search."
        )
    return one.rank
