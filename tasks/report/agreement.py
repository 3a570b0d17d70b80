"""How scores that decide a search compare with longer trainings: what the page draws of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.candidates import fidelity
from tasks.candidates.candidate import Candidate
from tasks.candidates.judgement import Bias, Fidelity


@dataclass(frozen=True, slots=True)
class Pair:
    """One network, scored twice; both scores are finite and of one metric, 0..1.

    Attributes:
        id: Twelve hexadecimal digits of the architecture.
        name: What to call it.
        kind: The kind of op that most of its blocks are, or ``"mixed"``.
        before: The cheap score.
        after: After its own, or a longer, training.
    """

    id: str
    name: str
    kind: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Gate:
    """Shared weights against networks trained alone.

    Attributes:
        pairs: The networks.
        tau: Kendall's; None: too few networks could be trained.
        tau_interval: 90 %, by bootstrap.
        tau_macs: That of MACs on the same networks.
        tau_ceiling: What a perfect score would get on so noisy a truth; None: noise unknown.
        biases: By kind of op.
        passed: Shared weights are believed.
        reasons: Why they are not.
    """

    pairs: tuple[Pair, ...]
    tau: float | None
    tau_interval: tuple[float, float] | None
    tau_macs: float | None
    tau_ceiling: float | None
    biases: tuple[Bias, ...]
    passed: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rung:
    """Candidates that were promoted: what a rung found of them, after what the one before did.

    Attributes:
        number: Of the higher rung; the first is 0.
        before, after: How both rungs score, in words.
        pairs: The candidates.
        tau: Kendall's; None: too few candidates.
        tau_macs: That of MACs on the higher rung's scores.
    """

    number: int
    before: str
    after: str
    pairs: tuple[Pair, ...]
    tau: float | None
    tau_macs: float | None


def gate_of(found: Fidelity, candidates: Sequence[Candidate]) -> Gate | None:
    """The gate of ``search/fidelity.json``; None where no supernet was judged.

    Args:
        found: That file.
        candidates: All of the search, for names.
    """
    seen = found.gate
    if seen is None:
        return None
    names = {one.id: one.name for one in candidates}
    pairs = (
        _pair(one.id, names.get(one.id), one.kind, one.score, one.trained) for one in seen.points
    )
    figures = seen.figures
    return Gate(
        pairs=tuple(pair for pair in pairs if pair is not None),
        tau=figures.tau if figures else None,
        tau_interval=figures.tau_interval if figures else None,
        tau_macs=figures.tau_macs if figures else None,
        tau_ceiling=figures.tau_ceiling if figures else None,
        biases=figures.biases if figures else (),
        passed=seen.passed,
        reasons=seen.reasons,
    )


def rungs_of(found: Fidelity, candidates: Sequence[Candidate]) -> tuple[Rung, ...]:
    """The rungs of ``search/fidelity.json``, lowest first; empty where nobody was promoted.

    Args:
        found: That file.
        candidates: All of the search.
    """
    words = _how_scored(found, candidates)
    return tuple(
        Rung(
            number=one.rung,
            before=words.get(one.rung - 1, f"rung {one.rung - 1}"),
            after=words[one.rung],
            pairs=_moved(one.rung, candidates),
            tau=one.tau,
            tau_macs=one.tau_macs,
        )
        for one in found.rungs
    )


def _how_scored(found: Fidelity, candidates: Sequence[Candidate]) -> dict[int, str]:
    """Rung to how its scores came about; the first rung's is told by who stayed there."""
    words = {one.rung: f"trained for {_epochs(one.epochs)}" for one in found.rungs}
    if found.evaluator != "trained":
        words[0] = "by shared weights"
    for one in candidates:
        if one.rung == 0 and one.evaluator == "trained" and one.epochs is not None:
            words[0] = f"trained for {_epochs(one.epochs)}"
    return words


def _epochs(number: int) -> str:
    return "1 epoch" if number == 1 else f"{number} epochs"


def _moved(rung: int, candidates: Sequence[Candidate]) -> tuple[Pair, ...]:
    """Scores of all who reached ``rung``, and theirs of the rung below."""
    pairs = []
    for one in candidates:
        scores = (*one.lower_rungs, one.score)
        if one.is_done and len(scores) > rung:
            kind = fidelity.kind_of(one)
            pairs.append(_pair(one.id, one.name, kind, scores[rung - 1], scores[rung]))
    return tuple(pair for pair in pairs if pair is not None)


def _pair(
    id: str, name: str | None, kind: str, before: float | None, after: float | None
) -> Pair | None:
    """None where one of the scores is unknown: it has no place in a drawing."""
    if before is None or after is None or not math.isfinite(before + after):
        return None
    return Pair(id, name or id[:6], kind, before, after)
