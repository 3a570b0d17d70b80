"""One fit of the published rows of all hosts: a chip that they share, a link and a host each.

The objective is that of :func:`hw.calibrating.calibration.fit`: robust relative errors, and
squared distances from what is expected. Here it is minimised with derivatives taken group by
group, as the coefficients of one host change the estimates of no other, and from wherever one
wants to start: so that the fit can be repeated without each network in turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from benchmarks.published import PublishedRow
from hw.calibrating.fitting import Measured, scaled
from hw.columns import FloatArray
from hw.families.edge_tpu.analytic import Analytic
from hw.families.edge_tpu.features import FEATURES, features
from hw.families.edge_tpu.placement import place
from hw.families.edge_tpu.profile import Device

SHARED = "chip."
STEP = 1e-6
"""Of a logarithm, for derivatives."""
TOLERANCE = 1e-6
"""Relative change of objective and unknowns at which a fit ends: four digits are written."""


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of one host.

    Attributes:
        name: Of the host.
        measured: Placed, with the device that is expected before the fit.
        rows: The same rows as published.
    """

    name: str
    measured: Measured
    rows: tuple[PublishedRow, ...]


def group_of(
    name: str, device: Device, rows: Sequence[PublishedRow], weights: FloatArray
) -> Group:
    """Rows placed on ``device``; ``weights`` are those of the fit, ``[n]``."""
    graphs = [row.network.graph for row in rows]
    placement, _ = place(graphs, device, [dict(row.network.refused) for row in rows])
    latency = np.array([row.latency_ms for row in rows])
    return Group(name, Measured(device, placement, latency, weights), tuple(rows))


@final
class JointFit:
    """The least-squares problem of some groups.

    Unknown are logarithms of factors on the coefficients of the groups' devices: first those that
    are shared, then those of each group in turn.
    """

    def __init__(
        self, groups: Sequence[Group], expected: Mapping[str, float], error_scale: float
    ) -> None:
        """For ``groups``.

        Args:
            groups: Not empty.
            expected: What is fitted, with the standard deviation of its logarithm.
            error_scale: Relative error from which on a row counts as an outlier.
        """
        self.groups = tuple(groups)
        self._common = [path for path in expected if path.startswith(SHARED)]
        self._own = [path for path in expected if not path.startswith(SHARED)]
        deviations = [expected[path] for path in self._common]
        deviations += [expected[path] for path in self._own] * len(self.groups)
        self._spread = np.array(deviations)
        self._error_scale = error_scale

    def solve(self, start: FloatArray | None = None, out: str | None = None) -> FloatArray:
        """Logarithms that fit best.

        Args:
            start: Near them; None: what is expected.
            out: A network whose rows do not count.
        """
        from scipy.optimize import least_squares

        weights = [self._weights(group, out) for group in self.groups]
        found = least_squares(
            lambda logs: self._residuals(logs, weights),
            np.zeros(len(self._spread)) if start is None else start,
            lambda logs: self._derivatives(logs, weights),
            method="trf",
            ftol=TOLERANCE,
            xtol=TOLERANCE,
        )
        result: FloatArray = found.x
        return result

    def devices(self, logs: FloatArray) -> list[Device]:
        """The groups' devices with their coefficients changed by ``logs``."""
        return [self._device(number, logs) for number in range(len(self.groups))]

    def _device(self, number: int, logs: FloatArray) -> Device:
        paths = (*self._common, *self._own)
        steps = dict(zip(paths, logs[self._columns(number)], strict=True))
        return scaled(self.groups[number].measured.device, steps)

    def _columns(self, number: int) -> list[int]:
        """Where the unknowns of a group stand."""
        shared, own = len(self._common), len(self._own)
        first = shared + own * number
        return [*range(shared), *range(first, first + own)]

    def _weights(self, group: Group, out: str | None) -> FloatArray:
        kept = np.array([row.network.name != out for row in group.rows], np.float64)
        return group.measured.weight * kept

    def _residuals(self, logs: FloatArray, weights: Sequence[FloatArray]) -> FloatArray:
        errors = [self._errors(number, logs, weights[number]) for number in range(len(weights))]
        return np.concatenate([logs / self._spread, *errors])

    def _errors(self, number: int, logs: FloatArray, weights: FloatArray) -> FloatArray:
        measured = self.groups[number].measured
        estimated = estimates(self._device(number, logs), measured)
        error = np.log(estimated / measured.latency_ms) / self._error_scale * np.sqrt(weights)
        # Pseudo-Huber: quadratic for small errors, linear for outliers.
        result: FloatArray = np.sign(error) * np.sqrt(2.0 * (np.sqrt(1.0 + error**2) - 1.0))
        return result

    def _derivatives(self, logs: FloatArray, weights: Sequence[FloatArray]) -> FloatArray:
        rows = [np.diag(1.0 / self._spread)]
        for number in range(len(weights)):
            here = self._errors(number, logs, weights[number])
            table = np.zeros((len(here), len(logs)))
            for column in self._columns(number):
                moved = logs.copy()
                moved[column] += STEP
                table[:, column] = (self._errors(number, moved, weights[number]) - here) / STEP
            rows.append(table)
        return np.concatenate(rows)


def estimates(device: Device, measured: Measured) -> FloatArray:
    """Latency of ``measured`` by the laws with the coefficients of ``device``, ``[n]``."""
    return Analytic(device).parts(measured.placement).latency_ms


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What is said of rows by fits without their network.

    Attributes:
        latency_ms: Estimated, ``[n]``.
        features: Of the networks, ``[n, f]``.
    """

    latency_ms: FloatArray
    features: FloatArray


def leave_out(fit: JointFit, solution: FloatArray, networks: Sequence[str]) -> list[LeftOut]:
    """Each of ``networks`` by a fit without it on any host; NaN in rows of others.

    Returns:
        One record a group.
    """
    found = [_nothing(group) for group in fit.groups]
    for network in networks:
        devices = fit.devices(fit.solve(solution, out=network))
        for group, device, into in zip(fit.groups, devices, found, strict=True):
            here = np.flatnonzero([row.network.name == network for row in group.rows])
            if here.size:
                placement = group.measured.rows(here).placement
                parts = Analytic(device).parts(placement)
                into.latency_ms[here] = parts.latency_ms
                into.features[here] = features(placement, parts)
    return found


def _nothing(group: Group) -> LeftOut:
    count = len(group.rows)
    return LeftOut(np.full(count, np.nan), np.full((count, len(FEATURES)), np.nan))


def networks_of(groups: Sequence[Group], kinds: Sequence[str]) -> list[str]:
    """Names of the networks of rows of these kinds, each once."""
    rows = [row for group in groups for row in group.rows if row.kind in kinds]
    return list(dict.fromkeys(row.network.name for row in rows))
