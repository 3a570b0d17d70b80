"""How far to trust the numbers: notes, the gate as a picture with its figures, and the rungs."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.report.agreement import Gate, Pair, Rung
from tasks.report.markup import NONE, Html, join, percent, plural, tag
from tasks.report.records import ReportData
from tasks.report.scatter import draw_pairs, legend_of
from tasks.report.sections import notes_section

ALONE = "trained alone"
SHARED = "shared weights"
READING = tag(
    "p",
    "A mark is a network. If a score orders networks as training does, they rise from left to "
    "right; a kind of op that it favours lies to the right of the others. On the dashed line both "
    "scores are equal.",
    class_="faint",
)
"""How to read the picture."""


def fidelity_section(data: ReportData) -> Html:
    """The whole section; what the search had no use for is not there."""
    parts = [notes_section(data)]
    if data.gate is not None:
        parts.append(_gate(data.gate, data.metric.label))
    if data.rungs:
        parts.append(_rungs(data.rungs, data.metric.label))
    return join(parts)


def _gate(gate: Gate, metric: str) -> Html:
    title = tag("h3", "The gate: shared weights against the same networks trained alone")
    name = f"{metric} with shared weights against {metric} trained alone"
    plot = draw_pairs(gate.pairs, name, f"{metric}, {SHARED}", f"{metric}, {ALONE}")
    shown = _figure(plot, gate.pairs, SHARED, ALONE) if plot else ""
    beside = tag("div", shown, _verdict(gate), class_="agreement")
    return tag("div", title, READING if plot else "", beside, id="gate")


def _verdict(gate: Gate) -> Html:
    """The figures beside the picture."""
    word = "believed" if gate.passed else "not believed"
    badge = tag("span", word, class_=f"verdict {'yes' if gate.passed else 'no'}")
    said = tag("p", "Shared weights are ", badge, "." if gate.passed else ":")
    reasons = tag("ul", *(tag("li", reason) for reason in gate.reasons), class_="reasons")
    parts = [said, reasons if gate.reasons else ""]
    if gate.tau is not None:
        rows = [
            ("Kendall tau of the score", _tau(gate.tau, gate.tau_interval)),
            ("tau of MACs alone", _tau(gate.tau_macs)),
            ("ceiling: tau of a perfect score", _tau(gate.tau_ceiling)),
        ]
        rows += [
            (
                f"bias, {one.kind} ({plural(one.networks, 'network')})",
                f"{_signed(100 * one.bias, 1)} \u00b1 {100 * one.error:.1f} points",
            )
            for one in gate.biases
        ]
        parts.append(_facts(rows))
        parts.append(
            tag(
                "p",
                "The interval of tau is 90 %. Bias is score less trained, centred over all, with "
                "its standard error; above zero a kind is favoured.",
                class_="faint",
            )
        )
    return tag("div", *parts, class_="verdict-side")


def _rungs(rungs: Sequence[Rung], metric: str) -> Html:
    title = tag("h3", "From rung to rung: the same candidates after longer training")
    parts = tag("div", *(_rung(rung, metric) for rung in rungs), class_="rungs")
    return tag("div", title, parts, id="rungs")


def _rung(rung: Rung, metric: str) -> Html:
    heading = tag("h4", f"Rung {rung.number - 1} to rung {rung.number}")
    name = f"{metric} on rung {rung.number - 1} against {metric} on rung {rung.number}"
    plot = draw_pairs(rung.pairs, name, f"{metric}, {rung.before}", f"{metric}, {rung.after}")
    if not plot:
        few = f"{plural(len(rung.pairs), 'candidate')} with scores on both: too few to compare."
        return tag("div", heading, tag("p", few, class_="faint"))
    figures = tag(
        "p",
        f"Kendall tau {_tau(rung.tau)}; of MACs alone {_tau(rung.tau_macs)}; "
        f"{plural(len(rung.pairs), 'candidate')}.",
    )
    return tag("div", heading, figures, _figure(plot, rung.pairs, rung.before, rung.after))


def _figure(plot: Html, pairs: Sequence[Pair], before: str, after: str) -> Html:
    """The picture, what its marks mean, and its values as a table."""
    return tag("figure", plot, legend_of(pairs), _table(pairs, before, after))


def _table(pairs: Sequence[Pair], before: str, after: str) -> Html:
    heads = [tag("th", "network", scope="col"), tag("th", "kind", scope="col")]
    heads += [tag("th", head, scope="col", class_="num") for head in (before, after)]
    rows = [
        tag(
            "tr",
            tag("th", pair.name, scope="row", title=pair.id),
            tag("td", pair.kind),
            tag("td", percent(pair.before), class_="num"),
            tag("td", percent(pair.after), class_="num"),
        )
        for pair in sorted(pairs, key=lambda pair: -pair.after)
    ]
    table = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows))
    return tag("details", tag("summary", "Values"), tag("div", table, class_="scroll"))


def _facts(rows: Sequence[tuple[str, str]]) -> Html:
    pairs = (join([tag("dt", name), tag("dd", value)]) for name, value in rows)
    return tag("dl", *pairs, class_="facts-list")


def _tau(value: float | None, interval: tuple[float, float] | None = None) -> str:
    if value is None:
        return NONE
    between = "" if interval is None else f" ({_plain(interval[0])} to {_plain(interval[1])})"
    return _plain(value) + between


def _plain(value: float) -> str:
    return f"{value:.2f}".replace("-", "\u2212")


def _signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "\u2212")
