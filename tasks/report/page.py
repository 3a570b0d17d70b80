"""The page put together from its template, style, script, data and sections."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from tasks.report import finalists, sections
from tasks.report.baselines import baselines_section
from tasks.report.elsewhere_section import elsewhere_section
from tasks.report.fidelity_section import fidelity_section
from tasks.report.markup import Html, percent, tag, text
from tasks.report.parity_section import parity_section
from tasks.report.payload import payload
from tasks.report.records import ReportData
from tasks.report.sample_section import samples_section


def render(data: ReportData) -> str:
    """The whole page as HTML; the same data give the same text.

    Nothing is loaded from anywhere, and a content security policy that names the digest of the
    one script keeps it so, whatever the data say.
    """
    script = _asset("page.js")
    parts: dict[str, str] = {
        "title": text(data.title),
        "policy": text(_policy(script)),
        "style": _asset("page.css"),
        "script": script,
        "data": payload(data),
        "problem": text(data.problem),
        "device": text(data.device),
        "metric": text(data.metric.label),
        "lede": sections.lede(data),
        "figures": sections.figures(data),
        "failed": sections.failed_candidates(data.candidates),
        "front_note": _front_note(data),
        "synthetic": sections.synthetic_note(data),
        "floor": sections.floor_warning(data),
        "samples": samples_section(data),
        "finalists": finalists.finalists_table(data),
        "baselines": baselines_section(data),
        "elsewhere": elsewhere_section(data),
        "parity": parity_section(data),
        "articles": finalists.finalist_articles(data),
        "cost": sections.stage_costs(data),
        "manifest": sections.manifest_section(data),
        "fidelity": fidelity_section(data),
        "reproduce": sections.reproduce_section(data),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _asset("page.html"))


def _front_note(data: ReportData) -> Html:
    """What is compared with what in the scatter."""
    splits = sorted({finalist.split for finalist in data.finalists})
    dots = "Dots are candidates as the search scored them, on the validation split."
    if not splits:
        return tag("p", dots, class_="faint")
    diamonds = ", large diamonds baselines" if any(f.is_baseline for f in data.finalists) else ""
    stars = (
        f" Stars are finalists{diamonds} after their own training, in int8, on the {splits[0]} "
        "split; a dashed line leads to what the search had seen of them."
    )
    floor = data.linear_floor
    line = (
        ""
        if floor is None
        else f" The dashed line across is what a linear model of the same data reaches on the "
        f"{splits[0]} split, {percent(floor)}: what lies below is not worth its training."
    )
    return tag("p", dots + stars + line, class_="faint")


def _policy(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
