"""What a calibration found, for a terminal."""

from __future__ import annotations

import math
from pathlib import Path

from hw.calibrating.calibration import Calibrated, Scores
from hw.text import table


def told(found: Calibrated, target: Path) -> str:
    """Scores on networks left out of the fit, the interval, and where the profile is."""
    calibration = found.device.calibration
    assert calibration is not None
    rows = [
        ("cross-validated", "MAPE", "within 10 %", "Spearman", "Kendall"),
        _row("this profile", found.scores),
        _row("line in MACs", found.macs_only),
    ]
    wide = math.expm1(calibration.error_90)
    return "\n".join(
        [
            table(rows),
            f"90 % interval: {-100 * math.expm1(-calibration.error_90):.1f} % below to "
            f"{100 * wide:.1f} % above, wider outside the {calibration.count} networks' range; "
            f"{100 * found.coverage:.0f} % of the left-out networks lie within",
            *([f"to know more: {found.wanting}. Measure more of those"] if found.wanting else []),
            *(f"far off the others, {row}. Measure it again." for row in found.odd),
            f"profile: {target}",
        ]
    )


def _row(name: str, scores: Scores) -> tuple[str, ...]:
    return (
        name,
        f"{scores.mape_percent:.2f} %",
        f"{100 * scores.within_10_percent:.1f} %",
        f"{scores.spearman:.3f}",
        f"{scores.kendall:.3f}",
    )
