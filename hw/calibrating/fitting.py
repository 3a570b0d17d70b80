"""Coefficients of laws, fitted to measured latencies.

They are fitted as logarithms, to relative errors that count less the larger they are, and each is
held near the profile one starts from by how uncertain it is (maximum a posteriori). The method is
Levenberg's and Marquardt's. What takes time is the laws: they are evaluated once for each
coefficient and step. So slopes learn from steps (Broyden), and a fit without some of the networks
begins where that with all of them ended, and goes on to its own end.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, final

import numpy as np

from hw.columns import FloatArray
from hw.device import changed
from hw.family import family_of
from hw.protocols import Device, Laws, Networks
from spaces.graph import BoolArray, IntArray

ERROR_SCALE = 0.02
"""Relative error from which on a measurement counts as an outlier."""
STEP = 1e-6
"""Of a logarithm, for slopes."""
STEPS = 200
"""Of a fit, at most; forty are usual."""
TOLERANCE, ROUGH = 1e-9, 1e-5
"""Relative change of what is minimised at which a fit ends; of one without some networks."""
EXACT_EVERY = 6
"""Steps after which slopes are evaluated; those between learn from what the steps did."""
DAMPINGS, INEXACT_DAMPINGS = 12, 4
"""Times that a step is shortened before there is none that helps."""
FIRST_DAMPING, LEAST_DAMPING = 1e-3, 1e-12
MANY = 200
"""Networks from which on leaving out a tenth moves coefficients so little that slopes tell it."""


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


def fit(
    groups: Sequence[Measured],
    shared: str = "chip.",
    expected: Mapping[str, float] | None = None,
    error_scale: float = ERROR_SCALE,
) -> list[Device]:
    """Fit the coefficients of several devices that share those whose path begins with ``shared``.

    Minimises robust relative errors plus squared distances from the profiles' own coefficients,
    each in its standard deviation: that of ``expected``, or of the family.

    Returns:
        The devices, in the order of the groups.
    """
    task = _Task(groups, shared, expected, error_scale)
    return task.devices(minimised(task, np.zeros(len(task.spread))))


@final
class LeavingOut:
    """Fits of one device to some of the networks, quick after that to all of them."""

    def __init__(self, measured: Measured) -> None:
        """Fits to all of them."""
        self._measured = measured
        self._task = _Task([measured], "chip.", None, ERROR_SCALE)
        self._logs = minimised(self._task, np.zeros(len(self._task.spread)))
        self._errors = self._task.errors(self._logs)
        self._slopes = self._task.slopes(self._logs, self._errors)
        self.device = self._task.devices(self._logs)[0]

    def fitted(self, kept: IntArray) -> Device:
        """The device by the networks ``kept`` alone."""
        slopes = self._slopes[kept]
        line = _Line(self._logs, self._errors[kept], slopes, self._task.spread)
        logs = minimised(line, self._logs)
        if len(self._measured) < MANY:
            task = _Task([self._measured.rows(kept)], "chip.", None, ERROR_SCALE)
            task.idle = np.logical_not(self._slopes.any(axis=0))
            logs = minimised(task, logs, ROUGH, slopes)
        return self._task.devices(logs)[0]


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


class _Minimised(Protocol):
    """Errors in numbers of their scale, as they follow from logarithms of coefficients."""

    @property
    def spread(self) -> FloatArray:
        """Standard deviations of the unknowns, ``[u]``."""

    def errors(self, logs: FloatArray) -> FloatArray:
        """``[n]``."""

    def slopes(self, logs: FloatArray, errors: FloatArray) -> FloatArray:
        """Of the errors, ``[n, u]``, where they are ``errors``."""


@final
class _Task:
    """The laws of several devices."""

    def __init__(
        self,
        groups: Sequence[Measured],
        shared: str,
        expected: Mapping[str, float] | None,
        error_scale: float,
    ) -> None:
        self._groups, self._scale = groups, error_scale
        self._laws = laws_of(groups[0].device)
        deviations = self._laws.coefficients if expected is None else expected
        self._common = [path for path in deviations if path.startswith(shared)]
        self._own = [path for path in deviations if not path.startswith(shared)]
        paths = [*self._common, *(self._own * len(groups))]
        self.spread = np.array([deviations[path] for path in paths])
        self.idle: BoolArray = np.zeros(len(paths), np.bool_)
        """Coefficients known to change nothing."""

    def devices(self, logs: FloatArray) -> list[Device]:
        """With coefficients times exp of ``logs``."""
        return [self._device(number, logs) for number in range(len(self._groups))]

    def _device(self, number: int, logs: FloatArray) -> Device:
        start = len(self._common) + len(self._own) * number
        steps = dict(zip(self._common, logs, strict=False))
        steps |= dict(zip(self._own, logs[start : start + len(self._own)], strict=True))
        return scaled(self._groups[number].device, steps)

    def errors(self, logs: FloatArray) -> FloatArray:
        return np.concatenate([self._of(at, logs) for at in range(len(self._groups))])

    def _of(self, number: int, logs: FloatArray) -> FloatArray:
        group = self._groups[number]
        estimated = self._laws.latency_ms(group.placement, self._device(number, logs))
        result: FloatArray = np.log(estimated / group.latency_ms) / self._scale
        return result * np.sqrt(group.weight)

    def slopes(self, logs: FloatArray, errors: FloatArray) -> FloatArray:
        found, begin = np.zeros((len(errors), len(logs))), 0
        for number, group in enumerate(self._groups):
            rows = slice(begin, begin + len(group))
            start = len(self._common) + len(self._own) * number
            # Coefficients of the other devices change nothing here.
            for at in (*range(len(self._common)), *range(start, start + len(self._own))):
                if self.idle[at]:
                    continue
                moved = logs.copy()
                moved[at] += STEP
                found[rows, at] = (self._of(number, moved) - errors[rows]) / STEP
            begin += len(group)
        return found


@dataclass(frozen=True, slots=True)
class _Line:
    """Errors as they would be if slopes did not change."""

    at: FloatArray
    known: FloatArray
    known_slopes: FloatArray
    spread: FloatArray

    def errors(self, logs: FloatArray) -> FloatArray:
        result: FloatArray = self.known + self.known_slopes @ (logs - self.at)
        return result

    def slopes(self, logs: FloatArray, errors: FloatArray) -> FloatArray:
        return self.known_slopes


def minimised(
    task: _Minimised,
    start: FloatArray,
    tolerance: float = TOLERANCE,
    slopes: FloatArray | None = None,
) -> FloatArray:
    """The unknowns of the least sum of robust errors and squared distances from 0.

    ``slopes`` are near those at ``start``, if any are known.
    """
    logs, errors = start, task.errors(start)
    exact = slopes is None
    slopes = task.slopes(logs, errors) if slopes is None else slopes
    least, damping, since = _objective(errors, logs, task.spread), FIRST_DAMPING, 0
    for _ in range(STEPS):
        before = least
        for _ in range(DAMPINGS if exact else INEXACT_DAMPINGS):
            move = _step(slopes, errors, logs, task.spread, damping)
            found = task.errors(logs + move)
            value = _objective(found, logs + move, task.spread)
            if value < least:
                slopes = _taught(slopes, move / task.spread, found - errors, task.spread)
                logs, errors, least = logs + move, found, value
                damping = max(damping / 10, LEAST_DAMPING)
                break
            damping *= 10
        since += 1
        ended = before - least <= tolerance * before
        if ended and exact:
            break
        exact = ended or since >= EXACT_EVERY
        if exact:
            slopes, since = task.slopes(logs, errors), 0
            damping = min(damping, 10 * FIRST_DAMPING)
    return logs


def _step(
    slopes: FloatArray,
    errors: FloatArray,
    logs: FloatArray,
    spread: FloatArray,
    damping: float,
) -> FloatArray:
    residual, factor = _robust(errors)
    weighed = slopes * factor[:, None]
    curvature = weighed.T @ weighed + np.diag(spread**-2.0)
    downhill = -(weighed.T @ residual + logs / spread**2)
    damped = curvature + damping * np.diag(np.diag(curvature))
    return np.asarray(np.linalg.solve(damped, downhill), np.float64)


def _taught(
    slopes: FloatArray, move: FloatArray, change: FloatArray, spread: FloatArray
) -> FloatArray:
    """Slopes that agree with what a step did (Broyden's rule); ``move`` in standard deviations."""
    off = change - slopes @ (move * spread)
    taught: FloatArray = slopes + np.outer(off, move / spread) / float(move @ move)
    return taught


def _robust(errors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Pseudo-Huber: quadratic for small errors, linear for outliers. Residuals, their slopes."""
    root = np.sqrt(1.0 + errors**2)
    residual = np.sign(errors) * np.sqrt(2.0 * (root - 1.0))
    small = np.abs(errors) < 1e-6
    slope = np.where(small, 1.0, errors / (root * np.where(small, 1.0, residual)))
    return residual, slope


def _objective(errors: FloatArray, logs: FloatArray, spread: FloatArray) -> float:
    if not np.isfinite(errors).all():
        return float("inf")
    return float((_robust(errors)[0] ** 2).sum() + ((logs / spread) ** 2).sum())
