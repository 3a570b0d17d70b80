"""The finalists on each chip: who is on which front, and what it costs to carry a front over."""

from __future__ import annotations

import numpy as np

from tasks.candidates.carried import Carried, on_front
from tasks.report.markup import Html, join, number, percent, plural, tag
from tasks.report.records import Finalist, ReportData

_SAID = (
    "Latencies that are estimated for other chips. A front for one chip is no front for another: "
    "the last three rows tell of all candidates, as the search scored them, how alike the chips "
    "order them by latency, how many of the best here are among the best there, and how much of "
    "what the best there dominate these dominate."
)
_FRONTS = (
    "A square marks who is on the front of a chip: no other finalist has a better score, in int8 "
    "on the validation split, at no more latency there."
)


def elsewhere_section(data: ReportData) -> Html:
    """A column a chip; nothing where no other was asked for."""
    if not data.elsewhere or not data.finalists:
        return Html("")
    decided = bool(data.deciding)
    heads = (
        "network",
        _head(data.device, data.target_latency_ms) if decided else data.device,
        *(_head(one.device, one.target_latency_ms) for one in data.elsewhere),
        *(["front of all it was searched for"] if decided else []),
    )
    table = tag(
        "table",
        tag("thead", tag("tr", *(tag("th", head, scope="col") for head in heads))),
        tag(
            "tbody",
            *(_row(place, one, data) for place, one in enumerate(data.finalists)),
            _told("order of latencies, Spearman", [_rank(one) for one in data.elsewhere], decided),
            _told("of the best here, best there", [_kept(one) for one in data.elsewhere], decided),
            _told(
                "dominated by them there",
                [percent(one.share) for one in data.elsewhere],
                decided,
            ),
        ),
    )
    return join(
        [
            tag("h3", "On each chip" if decided else "On another chip"),
            tag("p", _summary(data)) if decided else "",
            tag("p", f"{_FRONTS} {_SAID}" if decided else _SAID, class_="faint"),
            tag("div", table, class_="scroll", tabindex=0, role="region", aria_label="Chips"),
        ]
    )


def _head(device: str, target: float | None) -> str:
    return device if target is None else f"{device}, at most {number(target)} ms"


def _summary(data: ReportData) -> str:
    """Who is on the front of all chips that were searched for, in a sentence or two."""
    chips = 1 + len(data.deciding)
    names = [one.name for place, one in enumerate(data.finalists) if _is_on_all(place, data)]
    said = f"The search was for {plural(chips, 'chip')}. " + (
        f"On the front of each of them {'is' if len(names) == 1 else 'are'} "
        f"{', '.join(names)}, of {plural(len(data.finalists), 'finalist')}."
        if names
        else f"None of {plural(len(data.finalists), 'finalist')} is on the front of each of them."
    )
    done = [one for one in data.candidates if one.is_done and one.score is not None]
    losses = [data.gain(0.0, one.score or 0.0) for one in done]
    costs = ("latency_ms", *(one.latency for one in data.deciding))
    fronts = [on_front(losses, [one.value(cost) for one in done]) for cost in costs]
    devices = (data.device, *(one.device for one in data.deciding))
    counts = ", ".join(f"{sum(one)} on {at}" for one, at in zip(fronts, devices, strict=True))
    both = int(np.all(fronts, axis=0).sum())
    return (
        f"{said} Of {plural(len(done), 'candidate')}, as the search scored them, the front by "
        f"score and latency holds {counts}, and {both} of them on each."
    )


def _is_on_all(place: int, data: ReportData) -> bool:
    """Whether a finalist is on the front of each chip that was searched for."""
    fronts = (data.front_here, *(one.on_front for one in data.deciding))
    return all(front[place] for front in fronts)


def _row(place: int, one: Finalist, data: ReportData) -> Html:
    decided = bool(data.deciding)
    cells = [
        _cell(one.cost.latency_ms, data.target_latency_ms, decided and data.front_here[place])
    ]
    for other in data.elsewhere:
        marked = decided and other.on_front[place]
        cells.append(_cell(other.latency_ms[place], other.target_latency_ms, marked))
    if decided:
        cells.append(tag("td", "yes" if _is_on_all(place, data) else "no", class_="num"))
    return tag("tr", tag("th", one.name, scope="row"), *cells)


def _cell(latency: float | None, target: float | None, marked: bool) -> Html:
    """Milliseconds; with a square where that is on the front, and marked above the limit."""
    if latency is None:
        return tag("td", "does not run there", class_="num")
    shown: object = f"{number(latency)} ms"
    if target is not None and latency > target:
        shown = tag("span", shown, class_="over")
    square = tag("span", "\u25a0", title="on the front of this chip") if marked else ""
    return tag("td", *((square, " ") if marked else ()), shown, class_="num")


def _told(what: str, cells: list[str], decided: bool) -> Html:
    empty = tag("td", "", class_="num")
    return tag(
        "tr",
        tag("th", what, scope="row"),
        empty,
        *(tag("td", one, class_="num") for one in cells),
        *([empty] if decided else []),
    )


def _rank(one: Carried) -> str:
    return "unknown" if one.spearman is None else f"{one.spearman:.2f}"


def _kept(one: Carried) -> str:
    return f"{one.kept} of {one.front} ({one.candidates} candidates)"
