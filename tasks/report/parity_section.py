"""Whether benches say the same of the best network as LiteRT's own kernels do."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.learning.parity import Parity
from tasks.report.markup import Html, join, percent, tag
from tasks.report.records import ReportData

_HEADS = (
    ("bench", "text"),
    ("samples", "num"),
    ("largest difference", "num"),
    ("mean difference", "num"),
    ("largest, in steps", "num"),
    ("equal labels", "num"),
    ("here", "num"),
    ("LiteRT", "num"),
)


def parity_section(data: ReportData) -> Html:
    """A row a bench that runs a file; nothing where there was none."""
    if not data.parity or data.best is None:
        return Html("")
    heads = (tag("th", label, scope="col", class_=kind) for label, kind in _HEADS)
    table = tag(
        "table",
        tag("thead", tag("tr", *heads)),
        tag("tbody", *(_row(one) for one in data.parity)),
    )
    said = (
        "Outputs of the best network's int8 file beside those of LiteRT's own kernels, without "
        f"any delegate; the last two columns are {data.metric.label} of both on these samples. A "
        "step is one of the output's quantization."
    )
    return join(
        [
            tag("h3", "Whether benches say the same"),
            tag("p", said, class_="faint"),
            tag("div", table, class_="scroll", tabindex=0, role="region", aria_label="Benches"),
        ]
    )


def _row(one: Parity) -> Html:
    name = tag("th", one.bench, scope="row")
    if one.reason:
        return tag("tr", name, tag("td", one.reason, colspan=len(_HEADS) - 1))
    cells = (
        str(one.samples),
        _by_name(one.largest),
        _by_name(one.mean),
        _by_name(one.steps),
        percent(one.equal_labels),
        percent(one.metric),
        percent(one.reference),
    )
    return tag("tr", name, *(tag("td", cell, class_="num") for cell in cells))


def _by_name(values: Mapping[str, float]) -> str:
    """One number, or each by its name."""
    if len(values) == 1:
        return f"{next(iter(values.values())):.3g}"
    return ", ".join(f"{name} {value:.3g}" for name, value in values.items()) or "none"
