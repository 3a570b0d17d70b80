"""Who does independent pieces of work: processes here, or the workers of a cluster.

Which it is changes how long it takes, and never what comes out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from tasks.run import cluster, scheduler, workers


class Team(Protocol):
    """Does pieces side by side, see :class:`tasks.run.workers.Team`."""

    def run_all(
        self,
        work: Callable[[Any, workers.Report], Any],
        pieces: Sequence[Any],
        advanced: Callable[[int, str], None],
    ) -> list[Any]:
        """What ``work`` returned for each, in the order of the pieces."""

    def close(self) -> None:
        """End; the next work begins it again."""


def kept(pieces: int) -> Team:
    """One for all trainings of a search, whatever their length; as many at once as ``pieces``."""
    return _team(scheduler.given(), workers.count(pieces))


@functools.lru_cache(maxsize=1)
def _team(address: str | None, processes: int) -> Team:
    return workers.Team(processes) if address is None else cluster.Team(address)


def run_all(
    work: Callable[[Any, workers.Report], Any],
    pieces: Sequence[Any],
    advanced: Callable[[int, str], None],
) -> list[Any]:
    """:meth:`Team.run_all` by a team that is there for this only."""
    address = scheduler.given()
    if address is None:
        return workers.run_all(work, pieces, workers.count(len(pieces)), advanced)
    team = cluster.Team(address)
    try:
        return team.run_all(work, pieces, advanced)
    finally:
        team.close()


def count(pieces: int) -> int:
    """How many of so many pieces are done at a time."""
    address = scheduler.given()
    return workers.count(pieces) if address is None else min(pieces, cluster.count(address))
