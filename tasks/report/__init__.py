"""The report of a run as one self-contained HTML page: :func:`render` of :class:`ReportData`.

The page loads nothing: style, script and data are inside, drawings are inline SVG, and a content
security policy forbids every request. Tables and drawings of networks are there without
JavaScript; the interactive front needs it.
"""

from tasks.candidates.candidate import BASELINE, Candidate
from tasks.candidates.judgement import Bias
from tasks.report.agreement import Gate, Pair, Rung, gate_of, rungs_of
from tasks.report.blocks import blocks_of
from tasks.report.page import render
from tasks.report.records import (
    Block,
    Finalist,
    ReportData,
    StageCost,
)

__all__ = [
    "BASELINE",
    "Bias",
    "Block",
    "Candidate",
    "Finalist",
    "Gate",
    "Pair",
    "ReportData",
    "Rung",
    "StageCost",
    "blocks_of",
    "gate_of",
    "render",
    "rungs_of",
]
