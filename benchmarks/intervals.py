"""How far to trust a fitted profile: 90 % intervals from networks left out of the fit."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from benchmarks.joint_fit import Group, LeftOut
from hw.calibrating.calibration import conformal_quantile, judge
from hw.calibrating.residual import WIDENING, outside
from hw.columns import FloatArray
from hw.families.edge_tpu.analytic import Analytic
from hw.families.edge_tpu.features import features
from hw.families.edge_tpu.profile import Device
from hw.fitted import Calibration

LEAST_MODELS = 9
"""From as many on the largest error of all bounds 90 % of new ones."""


def calibration_of(
    group: Group, device: Device, left_out: LeftOut, elsewhere: FloatArray, words: str
) -> Calibration:
    """What a profile says of its fit; no correction beside the laws.

    Args:
        group: Rows of the profile's host.
        device: Fitted to all of them.
        left_out: The rows by fits without their network.
        elsewhere: Errors of whole models on all hosts, as :func:`scaled_errors` tells them. They
            count where the host has fewer than ``LEAST_MODELS`` of them: layer stacks resemble
            each other, so that one of them left out is no hard test.
        words: What was measured.
    """
    known = known_features(group, device)
    errors = scaled_errors(group, device, left_out)
    error_90 = conformal_quantile(errors)
    if sum(row.kind == "whole" for row in group.rows) < LEAST_MODELS:
        error_90 = max(error_90, conformal_quantile(elsewhere))
    scores = judge(left_out.latency_ms, group.measured.latency_ms)
    return dataclasses.replace(
        _range(known),
        measurements=words,
        count=len({row.network.name for row in group.rows}),
        mape_percent=scores.mape_percent,
        within_10_percent=scores.within_10_percent,
        spearman=scores.spearman,
        kendall=scores.kendall,
        error_90=error_90,
    )


def known_features(group: Group, device: Device) -> FloatArray:
    """Features of a group's rows, ``[n, f]``."""
    placement = group.measured.placement
    return features(placement, Analytic(device).parts(placement))


def scaled_errors(group: Group, device: Device, left_out: LeftOut) -> FloatArray:
    """Errors of rows left out as logarithms of a ratio, ``[n]``, in units of the interval's width.

    An interval is the wider the farther a network lies outside of the others' range
    (:mod:`hw.calibrating.residual`). So is the one that a network left out would have got:
    its error counts less by the same factor.
    """
    known = known_features(group, device)
    names = np.array([row.network.name for row in group.rows])
    errors = np.abs(np.log(left_out.latency_ms / group.measured.latency_ms))
    for index, name in enumerate(names):
        others = known[names != name]
        if len(others):
            beyond = outside(left_out.features[index : index + 1], _range(others)).max()
            errors[index] /= 1.0 + WIDENING * beyond
    result: FloatArray = errors
    return result


def whole_model_errors(
    groups: Sequence[Group], devices: Sequence[Device], left_out: Sequence[LeftOut]
) -> FloatArray:
    """:func:`scaled_errors` of the whole models of all hosts."""
    found: list[float] = []
    for group, device, out in zip(groups, devices, left_out, strict=True):
        errors = scaled_errors(group, device, out)
        found += [e for e, row in zip(errors, group.rows, strict=True) if row.kind == "whole"]
    return np.array(found)


def _range(known: FloatArray) -> Calibration:
    """A calibration that knows nothing but the range of features."""
    return Calibration(
        measurements="",
        count=len(known),
        mape_percent=math.nan,
        within_10_percent=math.nan,
        spearman=math.nan,
        kendall=math.nan,
        error_90=math.nan,
        feature_low=tuple(known.min(axis=0).tolist()),
        feature_high=tuple(known.max(axis=0).tolist()),
        residual_scale=(1.0,) * known.shape[1],
        residual_length=1.0,
        residual_centres=(),
        residual_weights=(),
    )
