"""From measured latencies to a device profile: coefficients, a small correction, intervals.

1. The coefficients of the laws, which the device's family names (:class:`hw.protocols.Laws`), are
   fitted to relative errors, each held near the profile one starts from by how uncertain it is.
   They are fitted as logarithms: none becomes negative. What the measurements do not tell stays
   as it was, so ten networks can be enough.
2. What is left is interpolated between measured networks, with caution
   (:mod:`hw.calibrating.residual`).
3. All of it is repeated with a part of the networks left out, to say honestly how well it does on
   networks it has not seen, and how wide a 90 % interval must be.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hw.calibrating.correction import LENGTH, Correction
from hw.calibrating.fitting import MANY, CalibrationError, LeavingOut, Measured, laws_of
from hw.columns import FloatArray
from hw.device import changed
from hw.fitted import Calibration, MacsLine
from hw.protocols import Device

LEAST_MEASUREMENTS = 10
ENOUGH_PERCENT = 5.0
"""Mean error, cross-validated, that asks for no more measurements."""
MUCH = 1 / 3
"""Share of the networks that have most of something."""
FOLDS, REPEATS = 10, 3
"""Of the cross-validation; repeated in another order each time, to depend less on it, but for
``MANY`` networks, which it hardly depends on."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Estimated against measured latencies.

    Attributes:
        mape_percent: Mean absolute error.
        within_10_percent: Share of networks.
        spearman, kendall: Rank correlations; 0 where all are equal.
    """

    mape_percent: float
    within_10_percent: float
    spearman: float
    kendall: float


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A profile with what is known of its quality.

    Attributes:
        device: The profile, with a calibration section.
        scores: Of networks left out of the fit.
        macs_only: The same of the straight line in MACs.
        coverage: Share of left-out networks within their interval.
        wanting: What the networks that are off most have much of, in words, where the error is
            large: more of those are to be measured.
        odd: Measurements that are far off the others, in words.
    """

    device: Device
    scores: Scores
    macs_only: Scores
    coverage: float
    wanting: str = ""
    odd: tuple[str, ...] = ()


def calibrate(device: Device, measured: Measured, words: str, corrects: bool = True) -> Calibrated:
    """Fit a profile to measurements.

    Args:
        device: To start from.
        measured: At least ``LEAST_MEASUREMENTS``.
        words: What was measured, for the profile.
        corrects: Interpolate between the networks what the laws leave.

    Raises:
        CalibrationError: Too few measurements, or one that is not a positive number.
    """
    latency = measured.latency_ms
    check(latency)
    laws = laws_of(device)
    fits = LeavingOut(measured)
    repeats = REPEATS if len(measured) < MANY else 1
    trials = [_left_out(measured, fits, corrects, seed) for seed in range(repeats)]
    errors = [np.abs(np.log(latency / predicted)) for predicted, _ in trials]
    error_90 = float(np.mean([conformal_quantile(one) for one in errors]))
    fitted = fits.device
    model = Correction.of(measured, fitted)
    known = laws.features(measured.placement, fitted)
    scores = mean_scores([judge(predicted, latency) for predicted, _ in trials])
    calibration = Calibration(
        measurements=words,
        count=len(measured),
        mape_percent=scores.mape_percent,
        within_10_percent=scores.within_10_percent,
        spearman=scores.spearman,
        kendall=scores.kendall,
        error_90=error_90,
        feature_low=_numbers(known.min(axis=0)),
        feature_high=_numbers(known.max(axis=0)),
        residual_scale=_numbers(model.scale),
        residual_length=LENGTH,
        residual_centres=tuple(_numbers(row) for row in model.centres) if corrects else (),
        residual_weights=_numbers(model.weights) if corrects else (),
    )
    full = changed(fitted, macs_line=fit_macs_line(measured), calibration=calibration)
    source = f"fitted: python -m flows calibrate, {words}"
    return Calibrated(
        device=with_sources(full, device, source),
        scores=scores,
        macs_only=mean_scores([judge(line, latency) for _, line in trials]),
        coverage=float(np.mean(np.stack(errors) <= error_90)),
        wanting=""
        if scores.mape_percent <= ENOUGH_PERCENT
        else wanting(np.mean(errors, axis=0), known, laws.known_by),
    )


def wanting(errors: FloatArray, known: FloatArray, names: Sequence[str]) -> str:
    """What the networks have much of that are off most.

    Args:
        errors: Of networks left out, ``[n]``.
        known: Their features, ``[n, f]``.
        names: Of the features.
    """
    found = []
    for name, column in zip(names, known.T, strict=True):
        many = column >= np.quantile(column, 1 - MUCH)
        if many.mean() <= 2 * MUCH and column.std() > 0:
            found.append((float(errors[many].mean() - errors[~many].mean()), name, many))
    if not found:
        return ""
    _, name, many = max(found, key=lambda one: one[0])
    here, elsewhere = 100 * errors[many].mean(), 100 * errors[~many].mean()
    return (
        f"networks with most {name} are off by {here:.1f} %, the others by {elsewhere:.1f} %"
        if here > elsewhere
        else ""
    )


def check(latency_ms: FloatArray) -> None:
    """Refuse too few measurements, and such as are none.

    Raises:
        CalibrationError: It says what.
    """
    if len(latency_ms) < LEAST_MEASUREMENTS:
        raise CalibrationError(
            f"measurements must be at least {LEAST_MEASUREMENTS}, but got {len(latency_ms)}. "
            "Measure more networks."
        )
    if not (np.isfinite(latency_ms) & (latency_ms > 0)).all():
        wrong = latency_ms[~(np.isfinite(latency_ms) & (latency_ms > 0))][0]
        raise CalibrationError(f"latency_ms must be a positive number, but got {wrong}.")


def judge(estimated: FloatArray, measured: FloatArray) -> Scores:
    """Mean absolute error, share within 10 %, and rank correlations."""
    from scipy import stats

    error = np.abs(estimated / measured - 1.0)
    varied = len(measured) > 1 and np.ptp(estimated) > 0 and np.ptp(measured) > 0
    return Scores(
        mape_percent=100.0 * float(error.mean()),
        within_10_percent=float((error <= 0.1).mean()),
        spearman=float(stats.spearmanr(estimated, measured).statistic) if varied else 0.0,
        kendall=float(stats.kendalltau(estimated, measured).statistic) if varied else 0.0,
    )


def mean_scores(scores: Sequence[Scores]) -> Scores:
    """Each score's mean."""
    names = [item.name for item in dataclasses.fields(Scores)]
    return Scores(**{n: float(np.mean([getattr(one, n) for one in scores])) for n in names})


def conformal_quantile(errors: FloatArray, level: float = 0.9) -> float:
    """The error that a new network exceeds with a chance of at most 1 - ``level``.

    Split conformal prediction on cross-validated errors: the ceil((n + 1) * level)-th smallest.

    >>> conformal_quantile(np.arange(1.0, 20.0))
    18.0
    """
    rank = min(int(np.ceil((len(errors) + 1) * level)), len(errors))
    return float(np.sort(errors)[rank - 1])


# --- what is written ---------------------------------------------------------------------------


def with_sources(fitted: Device, before: Device, source: str) -> Device:
    """Round what was fitted, and say so at every leaf that moved by half a percent or more."""
    sources = dict(before.sources)
    for path in laws_of(before).coefficients:
        section, name = path.split(".")
        old, new = getattr(getattr(before, section), name), getattr(getattr(fitted, section), name)
        kept = old
        if abs(new - old) >= 0.005 * abs(old):
            sources[path] = source
            kept = round(new) if isinstance(old, int) else float(f"{new:.4g}")
        part = dataclasses.replace(getattr(fitted, section), **{name: kept})
        fitted = changed(fitted, **{section: part})
    for section in ("macs_line", "calibration"):
        if getattr(fitted, section) is not None and getattr(fitted, section) != getattr(
            before, section
        ):
            for item in dataclasses.fields(getattr(fitted, section)):
                sources[f"{section}.{item.name}"] = source
    return changed(fitted, sources=tuple(sources.items()))


def fit_macs_line(measured: Measured) -> MacsLine:
    """The straight line in MACs with the least relative error."""
    from scipy.optimize import nnls

    macs = measured.placement.macs
    columns = np.stack([np.ones_like(macs), macs / 1e9], axis=1) / measured.latency_ms[:, None]
    (fixed, slope), _ = nnls(columns, np.ones(len(macs)))
    return MacsLine(fixed_ms=float(f"{fixed:.4g}"), slope_ms_per_gmac=float(f"{slope:.4g}"))


# --- networks left out -----------------------------------------------------------------------


def _left_out(
    measured: Measured, fits: LeavingOut, corrects: bool, seed: int
) -> tuple[FloatArray, FloatArray]:
    """Latency of each network by a fit without it: by all of the model, and by MACs alone."""
    count, laws = len(measured), laws_of(measured.device)
    order = np.random.default_rng(seed).permutation(count)
    folds = min(FOLDS, count)
    predicted, line = np.zeros(count), np.zeros(count)
    for fold in range(folds):
        out = np.sort(order[fold::folds])
        others = np.setdiff1d(order, out)
        kept, tried = measured.rows(others), measured.rows(out)
        fitted = fits.fitted(others)
        predicted[out] = laws.latency_ms(tried.placement, fitted)
        if corrects:
            known = laws.features(tried.placement, fitted)
            predicted[out] *= Correction.of(kept, fitted).factor(known)
        macs_line = fit_macs_line(kept)
        line[out] = macs_line.fixed_ms + macs_line.slope_ms_per_gmac * tried.placement.macs / 1e9
    return predicted, line


def _numbers(values: FloatArray) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values)
