"""The gate between training a supernet and believing it.

A few networks, at least one small and one large of each kind of op throughout, are trained alone,
all alike and short. If the supernet's scores do not order them better than their MACs do, or
favour a kind of op, the search does without it. The trainings are not lost: they are scores of the
``trained`` evaluator, which takes over then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from spaces.space import Architecture, Choice, TrainableSpace, Value
from spaces.walk import sample, walk
from tasks.candidates import fidelity
from tasks.candidates.candidate import Candidate
from tasks.candidates.judgement import Point, Verdict
from tasks.candidates.records import Record

OP = "/op"
"""How the names of the choices end that decide the kind of a block."""


def networks(
    space: TrainableSpace,
    count: int,
    seed: int,
    feasible: Callable[[Architecture], bool],
    latency: Callable[[Architecture], float],
) -> list[Architecture]:
    """The networks that the gate looks at: kinds in pairs of small and large, then random ones."""
    found: list[Architecture] = []
    for kind in _kinds(space):
        for large in (False, True):
            found.append(_uniform(space, kind, large))
    found = [one for one in dict.fromkeys(found) if feasible(one)][:count]
    rng = np.random.default_rng([seed, 17])
    drawn = [sample(space, rng) for _ in range(20 * count)]
    pool = sorted({one for one in drawn if feasible(one)} - set(found), key=lambda a: a.id)
    pool.sort(key=latency)
    missing = min(count - len(found), len(pool))
    places = [int((index + 0.5) * len(pool) / missing) for index in range(missing)]
    return found + [pool[place] for place in places]


def _kinds(space: TrainableSpace) -> list[Value]:
    """Values of the choices of ops, as often as places offer them, but ``skip``."""
    offered = [v for choice in space.choices if choice.name.endswith(OP) for v in choice.values]
    return [value for value in dict.fromkeys(offered) if value != "skip"]


def _uniform(space: TrainableSpace, kind: Value, large: bool) -> Architecture:
    """A network of one kind of op wherever it is offered, small or large in all else."""

    def pick(choice: Choice, domain: tuple[Value, ...]) -> Value:
        if choice.name.endswith(OP):
            if not large and "skip" in domain:
                return "skip"
            return kind if kind in domain else domain[0]
        return domain[-1 if large else 0]

    return walk(space, pick)


def verdict(
    candidates: Sequence[Candidate],
    truth: Sequence[Record],
    metric: str,
    repeated: Sequence[Record],
) -> Verdict:
    """What the gate found.

    Args:
        candidates: Scored by shared weights.
        truth: What evaluators said of the same networks, trained alone.
        metric: Name of the metric.
        repeated: The first networks of ``truth`` trained once more with another seed.
    """
    good = [
        (one, other)
        for one, other in zip(candidates, truth, strict=True)
        if one.score is not None and other.get(metric) is not None
    ]
    if len(good) < 4:
        reason = f"too few networks could be trained alone ({len(good)})"
        return Verdict(len(good), False, (reason,))
    score = np.array([one.score for one, _ in good], np.float64)
    alone = np.array([other[metric] for _, other in good])
    macs = np.array([float(one.macs or 0) for one, _ in good])
    kinds = [fidelity.kind_of(one) for one, _ in good]
    pairs = [
        (one[metric], other[metric])
        for one, other in zip(truth, repeated, strict=False)
        if one.get(metric) is not None and other.get(metric) is not None
    ]
    noise = float(np.sqrt(np.mean([(a - b) ** 2 / 2 for a, b in pairs]))) if pairs else None
    found = fidelity.judged(score, alone, macs, kinds, noise)
    points = tuple(
        Point(one.id, kind, one.score, other[metric])
        for (one, other), kind in zip(good, kinds, strict=True)
    )
    return replace(found, points=points)


def told(found: Verdict) -> str:
    """The verdict in one line."""
    if found.figures is None:
        return f"gate: {'; '.join(found.reasons)}"
    low, high = found.figures.tau_interval
    figures = (
        f"tau {found.figures.tau:.2f} ({low:.2f} to {high:.2f}) on {found.networks} networks, "
        f"MACs {found.figures.tau_macs:.2f}"
    )
    if found.figures.tau_ceiling is not None:
        figures += f", ceiling {found.figures.tau_ceiling:.2f}"
    if found.passed:
        return f"gate: shared weights are believed: {figures}"
    return f"gate: shared weights are not believed: {figures}; {'; '.join(found.reasons)}"
