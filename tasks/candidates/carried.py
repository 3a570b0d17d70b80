"""What it costs to carry a front over: the candidates of one search, compared on another chip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from hw.columns import FloatArray
from spaces.search_support.dominance import hypervolume, pareto_ranks
from tasks.candidates.other_devices import latency_on


@dataclass(frozen=True, slots=True)
class Carried:
    """One chip beside the one that was searched for; of its latencies all are estimates.

    Attributes:
        device: Of the other chip.
        latency_ms: Of each finalist's file there; None: the chip does not run it.
        candidates: How many were compared by score and latency.
        spearman: Rank correlation of their latencies on both; None where all are equal.
        front: How many of them are the best for the chip searched for.
        kept: How many of these are among the best for the other one.
        share: What they dominate there, as a share of what the best for it do.
        decides: The search was for this chip, too.
        target_latency_ms: The limit there; None: no limit.
        on_front: Which finalists no other beats by score and latency there.
    """

    device: str
    latency_ms: tuple[float | None, ...]
    candidates: int = 0
    spearman: float | None = None
    front: int = 0
    kept: int = 0
    share: float | None = None
    decides: bool = False
    target_latency_ms: float | None = None
    on_front: tuple[bool, ...] = ()

    @property
    def latency(self) -> str:
        """What the latency there is called, as a cost of candidates."""
        return latency_on(self.device)


def carried(
    device: str,
    finalists: tuple[float | None, ...],
    losses: FloatArray,
    here: FloatArray,
    there: FloatArray,
) -> Carried:
    """Compare candidates.

    Args:
        device: Of the other chip.
        finalists: Latencies of the finalists there.
        losses: 1 - score, [n], from 0 to 1.
        here: Latencies on the chip searched for, [n].
        there: On the other one.
    """
    if not len(losses):
        return Carried(device, finalists)
    own, other = (np.stack([losses, one / one.max()], axis=1) for one in (here, there))
    best = pareto_ranks(own) == 0
    best_there = pareto_ranks(other) == 0
    corner = np.ones(2) * (1 + 1e-9)  # the slowest, and a score of nothing, count as well
    whole = hypervolume(other, corner)
    varied = np.ptp(here) > 0 and np.ptp(there) > 0
    return Carried(
        device,
        finalists,
        len(losses),
        float(stats.spearmanr(here, there).statistic) if varied else None,
        int(best.sum()),
        int((best & best_there).sum()),
        float(hypervolume(other[best], corner) / whole) if whole > 0 else None,
    )


def on_front(losses: Sequence[float], latencies: Sequence[float | None]) -> tuple[bool, ...]:
    """Which of several networks no other beats in both; who does not run is not on the front."""
    runs = [at for at, latency in enumerate(latencies) if latency is not None]
    table = np.array([[losses[at], latencies[at]] for at in runs], np.float64).reshape(-1, 2)
    best = {at for at, rank in zip(runs, pareto_ranks(table), strict=True) if rank == 0}
    return tuple(at in best for at in range(len(latencies)))
