"""Whole models by host, each by a joint fit without it on any host."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.hosts import ERROR_SCALE, EXPECTED, groups_of
from benchmarks.joint_fit import Group, JointFit, leave_out, networks_of
from benchmarks.networks import Networks
from benchmarks.published import read_rows
from benchmarks.validation.section import Cell, Section
from hw.calibrating.calibration import fit_macs_line
from hw.columns import FloatArray

WHOLE = ("whole",)


def sections(folder: Path, networks: Networks) -> list[Section]:
    """The table."""
    groups = groups_of(read_rows(folder, networks))
    names = networks_of(groups, WHOLE)
    if len(names) < 3:
        return []
    fit = JointFit(groups, EXPECTED, ERROR_SCALE)
    left_out = leave_out(fit, fit.solve(), names)
    rows, everywhere = [], []
    for group, out in zip(groups, left_out, strict=True):
        measured = group.measured.latency_ms
        if group.rows[0].kind in WHOLE:
            errors = np.abs(np.stack([out.latency_ms, line_left_out(group)]) / measured - 1.0)
            rows.append(_row(group.name, errors))
            everywhere.append(errors)
    rows.append(_row("all", np.concatenate(everywhere, axis=1)))
    return [
        Section(
            "Whole models",
            "Each network by a fit of all hosts' rows without it; the line in MACs by one to the "
            "same host's other networks. SSD heads are guessed. Coefficients have not seen the "
            "network; the form of the laws, and which rows are left out as odd, were settled with "
            "all rows in sight.",
            (
                ("host", 0),
                ("rows", 0),
                ("median error, %", 1),
                ("mean", 1),
                ("largest", 1),
                ("within 30 %", 2),
                ("MACs: median, %", 1),
                ("MACs: mean", 1),
                ("MACs: within 30 %", 2),
            ),
            tuple(rows),
        )
    ]


def _row(name: str, errors: FloatArray) -> tuple[Cell, ...]:
    ours, line = 100 * errors
    return (
        name,
        len(ours),
        float(np.median(ours)),
        float(ours.mean()),
        float(ours.max()),
        float((ours <= 30).mean()),
        float(np.median(line)),
        float(line.mean()),
        float((line <= 30).mean()),
    )


def line_left_out(group: Group) -> FloatArray:
    """Latency by a straight line in MACs through the group's other networks, ``[n]``."""
    names = np.array([row.network.name for row in group.rows])
    found = np.full(len(names), np.nan)
    for index, row in enumerate(group.rows):
        line = fit_macs_line(group.measured.rows(np.flatnonzero(names != names[index])))
        found[index] = line.fixed_ms + line.slope_ms_per_gmac * row.network.graph.macs / 1e9
    return found
