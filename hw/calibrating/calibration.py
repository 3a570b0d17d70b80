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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hw.calibrating.residual import kernel
from hw.columns import FloatArray
from hw.device import changed
from hw.family import family_of
from hw.fitted import Calibration, MacsLine
from hw.protocols import Device, Laws, Networks
from spaces.graph import IntArray

LEAST_MEASUREMENTS = 10
FOLDS, REPEATS = 10, 3
"""Of the cross-validation; repeated in another order each time, to depend less on it."""
ERROR_SCALE = 0.02
"""Relative error from which on a measurement counts as an outlier."""


class CalibrationError(ValueError):
    """Measurements from which no profile can be made."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Networks and how long a device took for them.

    Attributes:
        device: Its profile before the fit.
        placement: The networks on it, as its family places them.
        latency_ms: Warm, batch 1, ``[n]``, positive.
        weight: Of each measurement in the fit, ``[n]``.
    """

    device: Device
    placement: Networks
    latency_ms: FloatArray
    weight: FloatArray

    def __len__(self) -> int:
        """How many."""
        return len(self.latency_ms)

    def rows(self, which: IntArray) -> Measured:
        """Some of them."""
        return Measured(
            self.device, self.placement.rows(which), self.latency_ms[which], self.weight[which]
        )


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
        odd: Measurements that are far off the others, in words.
    """

    device: Device
    scores: Scores
    macs_only: Scores
    coverage: float
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
    trials = [_left_out(measured, corrects, seed) for seed in range(REPEATS)]
    errors = [np.abs(np.log(latency / predicted)) for predicted, _ in trials]
    error_90 = float(np.mean([conformal_quantile(one) for one in errors]))
    fitted = fit([measured])[0]
    model = _Correction.of(measured, fitted)
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
        residual_centres=tuple(_numbers(row) for row in known) if corrects else (),
        residual_weights=_numbers(model.weights) if corrects else (),
    )
    full = changed(fitted, macs_line=fit_macs_line(measured), calibration=calibration)
    source = f"fitted: python -m flows calibrate, {words}"
    return Calibrated(
        device=with_sources(full, device, source),
        scores=scores,
        macs_only=mean_scores([judge(line, latency) for _, line in trials]),
        coverage=float(np.mean(np.stack(errors) <= error_90)),
    )


def laws_of(device: Device) -> Laws[Any, Any]:
    """What of the device can be fitted.

    Raises:
        CalibrationError: Nothing: its family has no laws.
    """
    laws = family_of(device).laws
    if laws is None:
        raise CalibrationError(
            f"{device.name}: a device must be of a family whose coefficients can be fitted, but "
            f"got one of {device.family}. Correct the numbers in its file by hand."
        )
    return laws


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


# --- coefficients ----------------------------------------------------------------------------


def fit(
    groups: Sequence[Measured],
    shared: str = "chip.",
    expected: Mapping[str, float] | None = None,
    error_scale: float = ERROR_SCALE,
) -> list[Device]:
    """Fit the coefficients of several devices that share those whose path begins with ``shared``.

    Minimises robust relative errors plus squared distances from the profiles' own coefficients,
    each in its standard deviation (maximum a posteriori): that of ``expected``, or of the family.

    Returns:
        The devices, in the order of the groups.
    """
    from scipy.optimize import least_squares

    laws = laws_of(groups[0].device)
    deviations = laws.coefficients if expected is None else expected
    common = [path for path in deviations if path.startswith(shared)]
    own = [path for path in deviations if not path.startswith(shared)]
    width = len(common) + len(own) * len(groups)
    spread = np.array([deviations[p] for p in common] + [deviations[p] for p in own] * len(groups))

    def devices(logs: FloatArray) -> list[Device]:
        made = []
        for number, group in enumerate(groups):
            start = len(common) + len(own) * number
            steps = dict(zip(common, logs, strict=False))
            steps |= dict(zip(own, logs[start : start + len(own)], strict=True))
            made.append(scaled(group.device, steps))
        return made

    def residuals(logs: FloatArray) -> FloatArray:
        rows = [logs / spread]
        for group, device in zip(groups, devices(logs), strict=True):
            estimated = laws.latency_ms(group.placement, device)
            error = np.log(estimated / group.latency_ms) / error_scale * np.sqrt(group.weight)
            # Pseudo-Huber: quadratic for small errors, linear for outliers.
            rows.append(np.sign(error) * np.sqrt(2.0 * (np.sqrt(1.0 + error**2) - 1.0)))
        return np.concatenate(rows)

    found = least_squares(residuals, np.zeros(width), method="lm" if width < 40 else "trf")
    return devices(found.x)


def scaled(device: Device, logs: dict[str, float]) -> Device:
    """``device`` with coefficients multiplied by exp of what ``logs`` has for their path."""
    sections: dict[str, dict[str, float]] = {}
    for path, log in logs.items():
        section, name = path.split(".")
        value = getattr(getattr(device, section), name) * float(np.exp(log))
        sections.setdefault(section, {})[name] = value
    parts: dict[str, Any] = {
        section: dataclasses.replace(getattr(device, section), **values)
        for section, values in sections.items()
    }
    return changed(device, **parts)


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


# --- correction ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Correction:
    """Kernel regression on what the laws leave.

    Attributes:
        scale: By which features are divided, ``[f]``.
        centres: Features of the networks, ``[n, f]``.
        weights: Of the networks, ``[n]``.
    """

    scale: FloatArray
    centres: FloatArray
    weights: FloatArray

    @staticmethod
    def of(measured: Measured, fitted: Device) -> _Correction:
        """The correction learned from networks by what the fitted laws leave of their latency."""
        laws = laws_of(fitted)
        left = np.log(measured.latency_ms / laws.latency_ms(measured.placement, fitted))
        known = laws.features(measured.placement, fitted)
        scale = np.maximum(known.std(axis=0), LEAST_SPREAD)
        near = kernel(known / scale, known / scale, LENGTH)
        weights = np.linalg.solve(near + RIDGE * np.eye(len(left)), left)
        return _Correction(scale, known, np.asarray(weights, np.float64))

    def factor(self, known: FloatArray) -> FloatArray:
        """What the physical latency is multiplied by, ``[n]``."""
        near = kernel(known / self.scale, self.centres / self.scale, LENGTH)
        result: FloatArray = np.exp(near @ self.weights)
        return result


LENGTH = 3.0
"""Of the kernel, in standard deviations of the features."""
RIDGE = 1.0
"""Variance of what no network tells about its neighbours, over that of what it tells.

Length and ridge were chosen once, by cross-validation on 50 NAS-Bench-201 networks of two
laboratories; choosing them anew on so few networks does worse."""
LEAST_SPREAD = 0.1
"""A feature that hardly varies does not tell networks apart."""


# --- networks left out -----------------------------------------------------------------------


def _left_out(measured: Measured, corrects: bool, seed: int) -> tuple[FloatArray, FloatArray]:
    """Latency of each network by a fit without it: by all of the model, and by MACs alone."""
    count, laws = len(measured), laws_of(measured.device)
    order = np.random.default_rng(seed).permutation(count)
    folds = min(FOLDS, count)
    predicted, line = np.zeros(count), np.zeros(count)
    for fold in range(folds):
        out = np.sort(order[fold::folds])
        kept = measured.rows(np.setdiff1d(order, out))
        tried = measured.rows(out)
        fitted = fit([kept])[0]
        predicted[out] = laws.latency_ms(tried.placement, fitted)
        if corrects:
            known = laws.features(tried.placement, fitted)
            predicted[out] *= _Correction.of(kept, fitted).factor(known)
        macs_line = fit_macs_line(kept)
        line[out] = macs_line.fixed_ms + macs_line.slope_ms_per_gmac * tried.placement.macs / 1e9
    return predicted, line


def _numbers(values: FloatArray) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values)
