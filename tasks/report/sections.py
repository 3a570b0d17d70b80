"""The sections in words and small tables: summary, cost of the search, data, notes, how to."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from tasks.candidates.candidate import Candidate
from tasks.candidates.carried import Carried
from tasks.data import remarks
from tasks.report.markup import (
    NONE,
    Html,
    count,
    duration,
    join,
    number,
    percent,
    plural,
    size,
    tag,
)
from tasks.report.records import Finalist, ReportData, StageCost

METHODS = {
    "analytic": "computed by an analytic model of the device: estimated, not measured",
    "lookup": "looked up in a table of the device: estimated, not measured",
    "compiled": "computed from what the compiler reports: estimated, not measured",
    "measured": "measured on the device",
}
SYNTHETIC = "These data are synthetic: the numbers say that the pipeline works, no more."
_SPLITS = ("train", "validation", "test")
_MOST_CLASSES = 30


def lede(data: ReportData) -> Html:
    """The whole report in two or three sentences."""
    return tag("p", join([*_verdict(data), " ", _honesty(data)]), class_="lede")


def _verdict(data: ReportData) -> list[object]:
    best, total = data.best, plural(len(data.candidates), "candidate")
    if best is None:
        return [f"The search tried {total} for {data.device}; none became a finalist."]
    return [
        "Of ",
        tag("strong", total),
        ", the best network, ",
        tag("a", best.name, href=f"#finalist-{data.finalists.index(best)}"),
        ", reaches ",
        tag("strong", percent(best.score_int8)),
        f" {data.metric.label} in int8 on the {best.split} split and should take ",
        tag("strong", f"{number(best.cost.latency_ms)} ms"),
        f" on {data.device}",
        _target(data.target_latency_ms, best.cost.latency_ms),
        *(_there(one, data.finalists.index(best)) for one in data.deciding),
        ".",
    ]


def _target(target: float | None, latency: float | None) -> str:
    if target is None or latency is None:
        return ""
    within = latency <= target
    return f", {'within' if within else 'above'} the target of {number(target)} ms"


def _there(chip: Carried, place: int) -> Html:
    """The best network on another chip that was searched for."""
    latency = chip.latency_ms[place]
    if latency is None:
        return join([f"; on {chip.device} it does not run"])
    took = tag("strong", f"{number(latency)} ms")
    return join(["; ", took, f" on {chip.device}", _target(chip.target_latency_ms, latency)])


def _honesty(data: ReportData) -> Html:
    how = METHODS.get(data.method, f"from the method {data.method}")
    energy = "Energy is modelled, uncalibrated."
    return join(["Latency and memory are ", tag("em", how), f". {energy}"])


def figures(data: ReportData) -> Html:
    """The five numbers at the top."""
    best = data.best
    rows: list[tuple[str, str, str]] = []
    if best is not None:
        kind = "measured" if data.method == "measured" else "estimated"
        rows += [
            (
                percent(best.score_int8),
                f"{data.metric.label}, int8",
                f"on {best.split}" + (", below the linear floor" if data.is_below_floor else ""),
            ),
            (f"{number(best.cost.latency_ms)} ms", "latency", f"{kind}, {data.device}"),
            (size(best.file_bytes), ".tflite file", f"{count(best.parameters)} parameters"),
        ]
    done = sum(candidate.status == "done" for candidate in data.candidates)
    rows.append((f"{len(data.candidates):,}", "candidates", f"{done:,} evaluated"))
    seconds = [stage.seconds for stage in data.stages if stage.seconds is not None]
    if seconds:
        rows.append((duration(math.fsum(seconds)), "wall time", data.machine or "all stages"))
    tiles = [
        tag("div", tag("dt", label), tag("dd", value), tag("dd", note, class_="faint"))
        for value, label, note in rows
    ]
    return tag("dl", *tiles, class_="figures")


def failed_candidates(candidates: Sequence[Candidate]) -> Html:
    """Those without a result, gathered by reason."""
    groups: dict[tuple[str, str], list[str]] = {}
    for one in candidates:
        if one.status != "done":
            key = (one.status, one.reason or "no reason given")
            groups.setdefault(key, []).append(one.name or one.id)
    if not groups:
        said = "Every candidate was evaluated." if candidates else "There was no candidate."
        return tag("p", said, class_="faint")
    total = sum(map(len, groups.values()))
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    rows = [
        tag(
            "tr",
            tag("td", len(ids), class_="num"),
            tag("td", tag("span", status, class_=f"badge s-{status}")),
            tag("td", reason),
            tag("td", _some_ids(ids), class_="path"),
        )
        for (status, reason), ids in ordered
    ]
    heads = [tag("th", head, scope="col") for head in ("", "status", "reason", "candidates")]
    table = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows))
    summary = tag("summary", f"{plural(total, 'candidate')} without a result, and why")
    return tag("details", summary, tag("div", table, class_="scroll"), open="open")


def _some_ids(ids: Sequence[str]) -> Html:
    shown = join([tag("code", one) for one in ids[:4]], " ")
    if len(ids) <= 4:
        return shown
    rest = join([tag("code", one) for one in ids[4:]], " ")
    return join([shown, " ", tag("details", tag("summary", f"{len(ids) - 4} more"), rest)])


def stage_costs(data: ReportData) -> Html:
    """Wall time of each stage, as a table with bars."""
    if not data.stages:
        return tag("p", "No stage was timed.", class_="faint")
    known = [stage.seconds for stage in data.stages if stage.seconds is not None]
    total, longest = math.fsum(known), max(known, default=0.0)
    rows = [_stage_row(stage, total or 1.0, longest or 1.0) for stage in data.stages]
    body = tag("tbody", *rows)
    words = f"{duration(total)} in all" + (f", on {data.machine}" if data.machine else "")
    columns = ("stage", "wall time", "", "share", "what was done")
    heads = tag("thead", tag("tr", *(tag("th", head, scope="col") for head in columns)))
    return join([tag("p", words + "."), tag("table", heads, body, class_="bars stages")])


def _stage_row(stage: StageCost, total: float, longest: float) -> Html:
    bar, took, share = "", "not timed", ""
    if stage.seconds is not None:
        width = f"width:{100 * stage.seconds / longest:.1f}%"
        bar, took = tag("i", class_="b-time", style=width), duration(stage.seconds)
        share = _share(stage.seconds / total)
    return tag(
        "tr",
        tag("th", stage.name.replace("_", " "), scope="row"),
        tag("td", bar, class_="bar"),
        tag("td", took),
        tag("td", share, class_="num faint"),
        tag("td", stage.work, class_="work"),
    )


def _share(value: float) -> str:
    return "< " + percent(0.01, 0) if 0 < value < 0.005 else percent(value, 0)


def manifest_section(data: ReportData) -> Html:
    """What the networks were trained and judged on."""
    counts = _counts(data.manifest.get("counts"))
    shown_apart = ("counts", "counted", "skipped", "lost")
    others = {key: value for key, value in data.manifest.items() if key not in shown_apart}
    notes = [SYNTHETIC] if data.synthetic else []
    notes += remarks.warnings(data.manifest)
    if counts and not sum(counts.get("test", {}).values()):
        notes.append("There is no test split: finalists are judged on data that chose them.")
    warnings = [tag("p", note, class_="warning", role="note") for note in notes]
    skipped = _skipped(data.manifest.get("skipped"))
    return join(
        [
            *warnings,
            _class_chart(counts, data.manifest.get("counted")),
            skipped,
            _pairs(flatten(others), "what"),
        ]
    )


def synthetic_note(data: ReportData) -> Html:
    """A word at the very top where the data was made up."""
    return tag("p", SYNTHETIC, class_="warning", role="note") if data.synthetic else Html("")


def floor_warning(data: ReportData) -> Html:
    """A word at the very top where the best network is no better than a linear model."""
    best, floor = data.best, data.linear_floor
    if best is None or not data.is_below_floor:
        return Html("")
    return tag(
        "p",
        tag("strong", "The best network does not beat a linear model of the same data: "),
        f"{percent(best.score_int8)} against {percent(floor)} on the {best.split} split. ",
        "Do not ship it; ",
        tag("a", "what may help", href="#fidelity"),
        ".",
        class_="warning stop",
        role="alert",
    )


def _skipped(skipped: object) -> Html:
    """What was left out of the data: how many, why, and the first of their names."""
    rows = [(why, *_amount_and_names(value)) for why, value in _reasons(skipped).items()]
    rows = [row for row in rows if row[1]]
    if not rows:
        return Html("")
    total = sum(amount for _, amount, _ in rows)
    heads = [tag("th", head, scope="col") for head in ("", "why", "the first of them")]
    lines = [
        tag(
            "tr",
            tag("td", f"{amount:,}", class_="num"),
            tag("td", why.replace("_", " ")),
            tag("td", _some_ids(names), class_="path"),
        )
        for why, amount, names in rows
    ]
    table = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *lines))
    summary = tag("summary", f"{total:,} left out or mended while reading, and why")
    return tag("details", summary, tag("div", table, class_="scroll"), open="open", id="skipped")


def _reasons(skipped: object) -> Mapping[str, object]:
    """Reason -> how many and which; a record of one rule without reasons is one reason."""
    if not isinstance(skipped, Mapping):
        return {}
    if isinstance(skipped.get("count"), int):
        return {str(skipped.get("reason") or skipped.get("rule") or "skipped"): skipped}
    return {str(why): value for why, value in skipped.items()}


def _amount_and_names(value: object) -> tuple[int, list[str]]:
    """Of a number, of names, or of both together."""
    if isinstance(value, Mapping):
        names = next((list(v) for v in value.values() if isinstance(v, list | tuple)), [])
        amounts = [v for v in value.values() if isinstance(v, int) and not isinstance(v, bool)]
        return (amounts[0] if amounts else len(names)), list(map(str, names))
    if isinstance(value, list | tuple):
        return len(value), list(map(str, value))
    return (value, []) if isinstance(value, int) else (0, [])


def _counts(counts: object) -> dict[str, dict[str, int]]:
    """Split -> class -> number; a plain number is one class without a name."""
    if not isinstance(counts, Mapping):
        return {}
    found: dict[str, dict[str, int]] = {}
    for split, inner in counts.items():
        rows = inner if isinstance(inner, Mapping) else {"all": inner}
        found[str(split)] = {
            str(name): int(value) for name, value in rows.items() if isinstance(value, int)
        }
    order = {name: index for index, name in enumerate(_SPLITS)}
    return dict(sorted(found.items(), key=lambda item: order.get(item[0], len(order))))


def _class_chart(counts: Mapping[str, Mapping[str, int]], counted: object) -> Html:
    """A stacked bar a class, a colour a split; ``counted``: what the numbers are numbers of."""
    if not counts:
        return tag("p", "The manifest has no counts.", class_="faint")
    names = list(dict.fromkeys(name for rows in counts.values() for name in rows))
    totals = {name: sum(rows.get(name, 0) for rows in counts.values()) for name in names}
    longest = max(totals.values(), default=0) or 1
    rows = [_class_row(name, counts, longest) for name in names[:_MOST_CLASSES]]
    unit = tag("th", str(counted or ""), scope="col", class_="faint")
    heads = [tag("th", "class", scope="col"), unit]
    for index, (split, per_class) in enumerate(counts.items()):
        key = tag("i", class_=f"sp-{index % 4}")
        total = tag("span", f"{sum(per_class.values()):,}", class_="faint")
        heads.append(tag("th", key, split, " ", total, scope="col", class_="num"))
    table = tag(
        "table", tag("thead", tag("tr", *heads)), tag("tbody", *rows), class_="bars classes"
    )
    left = len(names) - _MOST_CLASSES
    more = tag("p", f"and {left} more classes", class_="faint") if left > 0 else ""
    return join([tag("div", table, class_="scroll"), more])


def _class_row(name: str, counts: Mapping[str, Mapping[str, int]], longest: int) -> Html:
    bars = [
        tag(
            "i",
            class_=f"sp-{index % 4}",
            style=f"width:{100 * rows.get(name, 0) / longest:.2f}%",
            title=f"{split}: {rows.get(name, 0):,}",
        )
        for index, (split, rows) in enumerate(counts.items())
    ]
    numbers = [tag("td", f"{rows.get(name, 0):,}", class_="num") for rows in counts.values()]
    return tag("tr", tag("th", name, scope="row"), tag("td", *bars, class_="bar"), *numbers)


def notes_section(data: ReportData) -> Html:
    """How far the numbers can be trusted."""
    notes = [*data.notes, *_agreement(data.finalists)]
    if not notes:
        return tag("p", "No notes.", class_="faint")
    return tag("ul", *(tag("li", note) for note in notes), class_="notes")


def _agreement(finalists: Sequence[Finalist]) -> list[str]:
    """How often the search had ordered two finalists as training did."""
    known = [
        (f.supernet_score, f.score_int8)
        for f in finalists
        if f.supernet_score is not None and f.score_int8 is not None
    ]
    pairs = [
        (a[0] - b[0]) * (a[1] - b[1])
        for a, b in itertools.combinations(known, 2)
        if a[0] != b[0] and a[1] != b[1]
    ]
    if not pairs:
        return []
    agreed = sum(product > 0 for product in pairs)
    return [
        f"The search had ordered {agreed} of {plural(len(pairs), 'pair')} of finalists as "
        "their own training, in int8, did; finalists lie close together, so this is a hard test."
    ]


def reproduce_section(data: ReportData) -> Html:
    """Commands, parameters, versions, digest of the code."""
    commands = tag("pre", tag("code", "\n".join(data.commands)), id="commands")
    copy = tag("button", "Copy", type="button", data_copy="commands", class_="copy")
    code = tag("p", "Digest of the code: ", tag("code", data.code_digest))
    parts = [tag("div", copy, commands, class_="commands") if data.commands else ""]
    parts.append(code if data.code_digest else "")
    tables = [
        tag("div", tag("h3", title), _pairs(flatten(values), head))
        for title, head, values in (
            ("Parameters", "parameter", data.params),
            ("Versions", "package", data.versions),
        )
        if values
    ]
    return join([*parts, tag("div", *tables, class_="columns")])


def _pairs(values: Mapping[str, object], head: str) -> Html:
    if not values:
        return Html("")
    rows = [
        tag(
            "tr",
            tag("th", key.replace("_", " ") if head == "what" else key, scope="row"),
            tag("td", _shown(value)),
        )
        for key, value in values.items()
    ]
    return tag("table", tag("tbody", *rows), class_="pairs")


def _shown(value: object) -> str:
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def flatten(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested mappings as dotted names; sequences in one line.

    >>> flatten({"a": {"b": 1}, "c": [1, 2]})
    {'a.b': 1, 'c': '1, 2'}
    """
    flat: dict[str, object] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{name}.")
        elif isinstance(value, list | tuple):
            flat[name] = ", ".join(map(_shown, value))
        else:
            flat[name] = value
    return flat
