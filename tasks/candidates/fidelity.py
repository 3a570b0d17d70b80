"""How well a score orders networks, beside what a perfect one could show on the same truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.candidates.candidate import Candidate
from tasks.candidates.judgement import Bias, Figures, Verdict

Values = NDArray[np.float64]
RESAMPLES = 1000


def kendall(one: Values, other: Values) -> float:
    """Kendall's tau-b; 0 where one of them does not vary.

    >>> round(kendall(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0])), 3)
    0.333
    """
    from scipy.stats import kendalltau

    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(kendalltau(one, other).statistic)


def interval(one: Values, other: Values, seed: int = 0) -> tuple[float, float]:
    """90 % bootstrap interval of tau over networks."""
    rng, count = np.random.default_rng(seed), len(one)
    drawn = [rng.integers(0, count, count) for _ in range(RESAMPLES)]
    taus = [kendall(one[index], other[index]) for index in drawn]
    return float(np.quantile(taus, 0.05)), float(np.quantile(taus, 0.95))


def ceiling(truth: Values, noise: float, seed: int = 0) -> float:
    """The tau that true values would get against ``truth``, which has ``noise`` in it.

    ``noise`` is the standard deviation between trainings that differ in the seed alone. True
    values are taken as normal, with the variance of ``truth`` less that of the noise.
    """
    rng, count = np.random.default_rng(seed), len(truth)
    spread = np.sqrt(max(0.0, float(np.var(truth, ddof=1)) - noise**2))
    if spread == 0:
        return 0.0
    real = rng.normal(0, spread, (RESAMPLES, count))
    seen = real + rng.normal(0, noise, real.shape)
    return float(np.mean([kendall(a, b) for a, b in zip(real, seen, strict=True)]))


def biases(kinds: Sequence[str], score: Values, truth: Values) -> tuple[Bias, ...]:
    """By kind: mean of score less truth, both centred, and its standard error."""
    difference = (score - score.mean()) - (truth - truth.mean())
    found: list[Bias] = []
    spread = float(np.std(difference, ddof=1)) if len(difference) > 1 else 0.0
    for kind in sorted(set(kinds)):
        own = difference[[one == kind for one in kinds]]
        error = spread / np.sqrt(len(own))
        found.append(Bias(kind, float(own.mean()), float(error), len(own)))
    return tuple(found)


def judged(
    score: Values, truth: Values, macs: Values, kinds: Sequence[str], noise: float | None
) -> Verdict:
    """All figures of a score against a truth, and what speaks against believing it.

    ``reasons`` is empty where the score passes: it orders the networks better than their MACs do,
    favours no kind of op by more than two standard errors and the spread of the truth, and does
    spread itself.
    """
    truth_spread, score_spread = (float(np.std(one, ddof=1)) for one in (truth, score))
    tau, plain = kendall(score, truth), kendall(macs, truth)
    by_kind = biases(kinds, score, truth)
    reasons = []
    if score_spread < 0.1 * truth_spread:
        reasons.append(
            f"scores hardly differ: by {100 * score_spread:.1f} points, "
            f"trained networks by {100 * truth_spread:.1f}"
        )
    if tau <= plain:
        reasons.append(f"MACs alone order them as well (tau {plain:.2f}, score {tau:.2f})")
    for one in by_kind:
        if abs(one.bias) > max(2 * one.error, truth_spread):
            reasons.append(
                f"{one.kind} is {'favoured' if one.bias > 0 else 'slighted'} "
                f"by {100 * abs(one.bias):.0f} points"
            )
    figures = Figures(
        tau=tau,
        tau_interval=interval(score, truth),
        tau_macs=plain,
        noise=noise,
        tau_ceiling=None if noise is None else ceiling(truth, noise),
        score_spread=score_spread,
        truth_spread=truth_spread,
        biases=by_kind,
    )
    return Verdict(len(truth), not reasons, tuple(reasons), figures=figures)


def kind_of(candidate: Candidate) -> str:
    """The kind of op that most blocks of a candidate are, or ``mixed``."""
    shares = {
        "depthwise": candidate.share_dw,
        "fused": candidate.share_fused,
        "grouped": candidate.share_grouped,
    }
    return next((kind for kind, share in shares.items() if (share or 0.0) > 0.6), "mixed")
