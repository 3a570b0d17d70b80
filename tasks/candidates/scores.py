"""Scores of candidates by any evaluator and length of training, each worked out once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, final

from spaces.space import Architecture
from tasks.candidates.evaluator import Bench, Evaluator, load_evaluator
from tasks.candidates.records import Record
from tasks.candidates.score_database import opened

if TYPE_CHECKING:
    from tasks.candidates.score_store import ScoreStore


@final
class Scores:
    """Looked up in the candidate store where they are known, else worked out and remembered.

    A search that was cut off is simply run again: what was evaluated is looked up, and it goes on
    from there.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._opened: dict[tuple[str, int, int], tuple[Evaluator, ScoreStore]] = {}

    def of(
        self, points: Sequence[Architecture], evaluator: str, epochs: int, seed: int = 0
    ) -> list[Record]:
        """A record each, in the order given.

        Args:
            points: Repeated ones are scored once.
            evaluator: A file of ``tasks/evaluators``.
            epochs: Passes over train of a candidate's own training.
            seed: Added to that of the search.
        """
        scorer, store = self._open(evaluator, epochs, seed)
        known = store.get_many(points)
        missing = [point for point in dict.fromkeys(points) if point not in known]
        # A few at a time: a run that is killed loses no more.
        for at in range(0, len(missing), scorer.together):
            part = missing[at : at + scorer.together]
            known |= store.put_many(dict(zip(part, scorer.score_many(part), strict=True)))
        return [dict(known[point]) for point in points]

    def close(self) -> None:
        """End the processes of the evaluators."""
        for evaluator, _ in self._opened.values():
            evaluator.close()

    def _open(self, name: str, epochs: int, seed: int) -> tuple[Evaluator, ScoreStore]:
        from tasks.candidates.score_store import ScoreStore

        key = (name, epochs, seed)
        if key not in self._opened:
            given = self._bench.search
            search = given.model_copy(update={"seed": given.seed + seed})
            evaluator = load_evaluator(name)(replace(self._bench, epochs=epochs, search=search))
            workspace = self._bench.workspace
            database = opened(workspace.candidates)
            store = ScoreStore(database, evaluator.context(), workspace.store)
            self._opened[key] = (evaluator, store)
        return self._opened[key]
