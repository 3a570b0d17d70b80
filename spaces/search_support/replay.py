"""Resuming a search: a new algorithm is told the recorded history and stands where it stopped.

An algorithm's trajectory depends on its generator, on the losses and on what was told before what
was asked, so nothing else need be stored: same space, same seed, same chunk, same history, same
next proposal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from spaces.space import Architecture, Exhausted, SearchAlgorithm, SpaceError, Trial


def ask_many(algorithm: SearchAlgorithm, count: int) -> list[Trial]:
    """The next ``count`` proposals, fewer at the end of the space.

    Raises:
        Exhausted: There is not a single one.
    """
    asked: list[Trial] = []
    for _ in range(count):
        try:
            asked.append(algorithm.ask())
        except Exhausted:
            if not asked:
                raise
            break
    return asked


def replay(
    algorithm: SearchAlgorithm,
    history: Iterable[tuple[Architecture, Mapping[str, float] | None]],
    chunk: int = 1,
) -> list[Trial]:
    """Bring a new algorithm to where the recorded one stood.

    Args:
        algorithm: Made with the space, seed, objectives and constraint of the recorded one.
        history: Architectures in the order of asking with what was told of them; it may be cut
            anywhere.
        chunk: How many were asked before the first was told.

    Returns:
        The trials of a chunk cut through that were asked, but not told; they are next.

    Raises:
        SpaceError: The algorithm proposes something else than the history says.
    """
    pending: list[Trial] = []
    for recorded, losses in history:
        try:
            pending = pending or ask_many(algorithm, chunk)
        except Exhausted:
            pending = []
        if not pending or pending[0].architecture != recorded:
            raise SpaceError(_mismatch(pending, recorded))
        algorithm.tell(pending.pop(0), losses)
    return pending


def _mismatch(pending: list[Trial], recorded: Architecture) -> str:
    proposed = f"{pending[0].architecture.id} as trial {pending[0].number}" if pending else "none"
    return (
        "a history must be replayed with the space, seed, chunk and constraint that made it, but "
        f"got {proposed} where it says {recorded.id}. Begin a new search, or restore the settings."
    )
