"""The finalists on other chips, and what it costs to carry the front over."""

from __future__ import annotations

from tasks.candidates.carried import Carried
from tasks.report.markup import Html, join, number, percent, tag
from tasks.report.records import Finalist, ReportData

_SAID = (
    "Latencies that are estimated for other chips. A front for one chip is no front for another: "
    "the last three rows tell of all candidates, as the search scored them, how alike the chips "
    "order them by latency, how many of the best here are among the best there, and how much of "
    "what the best there dominate these dominate."
)


def elsewhere_section(data: ReportData) -> Html:
    """A column a chip; nothing where no other was asked for."""
    if not data.elsewhere or not data.finalists:
        return Html("")
    heads = ("network", data.device, *(one.device for one in data.elsewhere))
    table = tag(
        "table",
        tag("thead", tag("tr", *(tag("th", head, scope="col") for head in heads))),
        tag(
            "tbody",
            *(_row(place, one, data) for place, one in enumerate(data.finalists)),
            _told("order of latencies, Spearman", [_rank(one) for one in data.elsewhere]),
            _told("of the best here, best there", [_kept(one) for one in data.elsewhere]),
            _told("dominated by them there", [percent(one.share) for one in data.elsewhere]),
        ),
    )
    return join(
        [
            tag("h3", "On another chip"),
            tag("p", _SAID, class_="faint"),
            tag("div", table, class_="scroll", tabindex=0, role="region", aria_label="Chips"),
        ]
    )


def _row(place: int, one: Finalist, data: ReportData) -> Html:
    cells = [number(one.cost.latency_ms)]
    for other in data.elsewhere:
        latency = other.latency_ms[place]
        cells.append("does not run there" if latency is None else f"{number(latency)} ms")
    cells[0] += " ms"
    return tag(
        "tr",
        tag("th", one.name, scope="row"),
        *(tag("td", cell, class_="num") for cell in cells),
    )


def _told(what: str, cells: list[str]) -> Html:
    empty = tag("td", "", class_="num")
    return tag(
        "tr", tag("th", what, scope="row"), empty, *(tag("td", one, class_="num") for one in cells)
    )


def _rank(one: Carried) -> str:
    return "unknown" if one.spearman is None else f"{one.spearman:.2f}"


def _kept(one: Carried) -> str:
    return f"{one.kept} of {one.front} ({one.candidates} candidates)"
