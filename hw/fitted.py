"""What is fitted to measurements of a device, whatever its family; records alone."""

from __future__ import annotations

from dataclasses import dataclass

from hw.leaves import DeviceError, leaf


@dataclass(frozen=True, slots=True)
class MacsLine:
    """Latency as a straight line in multiply-accumulates: the baseline to beat.

    Attributes:
        fixed_ms: At no MACs.
        slope_ms_per_gmac: For 1e9 of them.
    """

    fixed_ms: float = leaf("ms")
    slope_ms_per_gmac: float = leaf("ms/GMAC")


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the profile's coefficients were fitted to, and how well.

    Attributes:
        measurements: Which, in words.
        count: How many networks.
        mape_percent: Mean absolute error of latency, cross-validated, as the three that follow.
        within_10_percent: Share of networks estimated within 10 % of what was measured.
        spearman, kendall: Rank correlations.
        error_90: 90 % quantile of the absolute error, as logarithm of a ratio.
        feature_low, feature_high: Range of what the family knows networks by.
        residual_scale: By which features are divided.
        residual_length: Of the kernel, in scaled features.
        residual_centres: Features of the networks that the correction interpolates between.
        residual_weights: Of these networks; empty: no correction.
    """

    measurements: str = leaf("text")
    count: int = leaf("networks")
    mape_percent: float = leaf("%")
    within_10_percent: float = leaf("share")
    spearman: float = leaf("correlation", signed=True)
    kendall: float = leaf("correlation", signed=True)
    error_90: float = leaf("log ratio")
    feature_low: tuple[float, ...] = leaf("features")
    feature_high: tuple[float, ...] = leaf("features")
    residual_scale: tuple[float, ...] = leaf("features")
    residual_length: float = leaf("scaled features", divides=True)
    residual_centres: tuple[tuple[float, ...], ...] = leaf("features")
    residual_weights: tuple[float, ...] = leaf("log ratio")


def check_lists(calibration: Calibration, features: int, where: str) -> None:
    """Check that lists are as long as there are ``features``, and each centre has one weight.

    Raises:
        DeviceError: They are not, or a feature would be divided by nothing.
    """
    centres = calibration.residual_centres
    lists = (calibration.feature_low, calibration.feature_high, calibration.residual_scale)
    lengths = {len(row) for row in (*lists, *centres)}
    if lengths != {features} or len(centres) != len(calibration.residual_weights):
        raise DeviceError(
            f"{where}: calibration: lists of features must have {features} numbers and each "
            f"centre a weight, but got lengths {sorted(lengths)}, {len(centres)} centres and "
            f"{len(calibration.residual_weights)} weights."
        )
    if min(calibration.residual_scale) <= 0:
        raise DeviceError(
            f"{where}: calibration.residual_scale: values must be above 0, but got "
            f"{min(calibration.residual_scale):g}."
        )
