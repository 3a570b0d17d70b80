"""What searching has brought: each trained baseline against the best network no slower than it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.report.markup import NONE, Html, join, number, percent, plural, tag
from tasks.report.records import Finalist, ReportData


@dataclass(frozen=True, slots=True)
class Comparison:
    """A baseline and what the search has to say to it.

    Attributes:
        baseline: What people designed.
        searched: The best searched finalist of at most its latency; None: none is as fast.
        gain: By how much it is better, 0..1; None where a score is unknown.
    """

    baseline: Finalist
    searched: Finalist | None
    gain: float | None


def compare(data: ReportData) -> tuple[Comparison, ...]:
    """Baselines in the order of their latency, each with its best rival."""
    searched = [one for one in data.finalists if not one.is_baseline]
    baselines = [one for one in data.finalists if one.is_baseline]
    baselines.sort(key=lambda one: one.cost.known_latency_ms)
    return tuple(_compare(one, searched, data) for one in baselines)


def _compare(baseline: Finalist, searched: Sequence[Finalist], data: ReportData) -> Comparison:
    limit = baseline.cost.known_latency_ms
    scored = [
        (data.gain(one.compared, 0.0), one)
        for one in searched
        if one.compared is not None and one.cost.known_latency_ms <= limit
    ]
    if not scored:
        return Comparison(baseline, None, None)
    _, best = max(scored, key=lambda pair: (pair[0], -pair[1].cost.known_latency_ms))
    if baseline.compared is None or best.compared is None:
        return Comparison(baseline, best, None)
    return Comparison(baseline, best, data.gain(best.compared, baseline.compared))


def baselines_section(data: ReportData) -> Html:
    """A verdict and a small table; nothing where no baseline was trained."""
    found = compare(data)
    if not found:
        return Html("")
    file = "float, same training" if _went_on(data) else "int8"
    heads = ("baseline", "latency, ms", file, "searched, no slower", "latency, ms", file)
    return tag(
        "div",
        tag("h3", "Against the baselines"),
        tag("p", verdict(found, data)),
        tag(
            "div",
            tag(
                "table",
                tag(
                    "thead",
                    tag(
                        "tr",
                        *(_head(head) for head in heads),
                        tag("th", "difference, points", scope="col", class_="num"),
                    ),
                ),
                tag("tbody", *(_row(one, data) for one in found)),
            ),
            class_="scroll",
        ),
        class_="against",
    )


def verdict(found: Sequence[Comparison], data: ReportData) -> Html:
    """One sentence: is the searched front at or above the baselines at equal latency?"""
    gains = [one.gain for one in found if one.gain is not None]
    slow = sum(one.searched is None for one in found)
    if not gains:
        return Html(
            "At equal predicted latency there is nothing to compare: no searched finalist is as "
            "fast as a baseline."
        )
    held = sum(gain >= 0 for gain in gains)
    some = f"at or above {_of(held, len(found))}"
    level = some if held else f"below {_of(len(gains), len(found))}"
    words = f"At equal predicted latency the searched front is {level}"
    low, high = _points(min(gains)), _points(max(gains))
    file = "in int8"
    if _went_on(data):
        file = "on validation, in floating point, after the training that all of them have had"
    tail = f": {low if low == high else f'{low} to {high}'} points of {data.metric.label} {file}"
    rest = f" No searched finalist is as fast as {_of(slow, len(found))}." if slow else ""
    return join([tag("strong", words) if held == len(found) else words, tail, ".", rest])


def _went_on(data: ReportData) -> bool:
    """Whether some finalists were trained longer than others."""
    return any(one.equal_score is not None for one in data.finalists)


def _of(some: int, total: int) -> str:
    """So many of the baselines.

    >>> [_of(2, 2), _of(1, 1), _of(3, 3), _of(1, 3)]
    ['both baselines', 'the baseline', 'all 3 baselines', '1 of 3 baselines']
    """
    if some == total:
        return {1: "the baseline", 2: "both baselines"}.get(total, f"all {total} baselines")
    return f"{some} of {plural(total, 'baseline')}"


def _head(label: str) -> Html:
    is_text = label in ("baseline", "searched, no slower")
    return tag("th", label, scope="col", class_=None if is_text else "num")


def _row(one: Comparison, data: ReportData) -> Html:
    return tag(
        "tr",
        *_network(one.baseline, data),
        *(_network(one.searched, data) if one.searched else _nobody()),
        tag(
            "td",
            NONE if one.gain is None else _points(one.gain),
            class_="num" if one.gain is None else f"num {'gain' if one.gain >= 0 else 'loss'}",
        ),
    )


def _network(one: Finalist, data: ReportData) -> list[Html]:
    link = tag("a", one.name, href=f"#finalist-{data.finalists.index(one)}")
    return [
        tag("th", link, scope="row"),
        tag("td", number(one.cost.known_latency_ms), class_="num"),
        tag("td", percent(one.compared), class_="num"),
    ]


def _nobody() -> list[Html]:
    return [tag("td", "none as fast", colspan=3, class_="faint")]


def _points(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "\u2212")
