"""Sections on the finalists: the table, and one drawing and one budget of time for each."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hw.report import CostReport
from tasks.report.blocks import whole_name
from tasks.report.drawing import KIND_LABELS, SLICED, Scale, draw_blocks
from tasks.report.markup import NONE, Html, count, join, number, percent, size, tag
from tasks.report.records import Finalist, ReportData

BOUND_LABELS = {
    "compute": "arithmetic on the TPU",
    "movement": "moving activations on chip",
    "streaming": "streaming weights from the host",
    "transfer": "transfer of input and output, fixed cost",
    "host": "operations on the host CPU",
}
LARGE_DROP = 0.01
"""A loss of more than one point between float and int8 is pointed out."""

_TOP_OPS = 12
_MOST_NAMES = 6
_KEY = tag(
    "span",
    tag("i", "\u25cf", class_="float"),
    " float ",
    tag("i", "\u25cb"),
    " PTQ ",
    tag("i", "\u25a0", class_="int8"),
    " int8",
    class_="key",
)


def finalists_table(data: ReportData) -> Html:
    """The sortable table; a sentence where there is nothing to list."""
    if not data.finalists:
        return tag("p", "No candidate was trained to the end, so there is no finalist.")
    label = data.metric.label
    heads = (
        ("network", "text", ""),
        ("float", "num", f"{label} before quantisation"),
        ("PTQ", "num", f"{label}, quantised after training"),
        ("int8", "num", f"{label}, trained for quantisation (QAT) and converted"),
        ("drop", "num", "what int8 loses against float, in points"),
        (_KEY, None, "the three on one scale"),
        *((metric_words(name), "num", "of the int8 file") for name in _more_names(data)),
        (
            "latency, ms",
            "num",
            f"predicted on {data.device}; below, its 90 % interval, a guess where the "
            "network is out of the range that the profile was calibrated on",
        ),
        ("MACs", "num", "multiply-accumulates"),
        ("parameters", "num", "trainable"),
        (".tflite", "num", "size of the int8 file"),
        ("peak memory", "num", "high-water mark of activations"),
        ("streamed", "num", "weights that do not fit on chip, at every inference"),
    )
    span = _span(data.finalists)
    rows = [_row(index, one, data, span) for index, one in enumerate(data.finalists)]
    table = tag(
        "table",
        tag("thead", tag("tr", *(_head(*head) for head in heads))),
        tag("tbody", *rows),
        class_="sortable finalists",
    )
    return tag("div", table, class_="scroll", tabindex=0, role="region", aria_label="Finalists")


def _head(label: str, sort: str | None, hint: str) -> Html:
    inner = tag("button", label, type="button", title=hint or None) if sort else label
    return tag("th", inner, scope="col", data_sort=sort, class_=sort, title=hint or None)


def _row(index: int, one: Finalist, data: ReportData, span: tuple[float, float]) -> Html:
    cost = one.cost
    best = one is data.best
    over = data.target_latency_ms is not None and cost.known_latency_ms > data.target_latency_ms
    star = tag("span", "★", class_="best", title="the best finalist") if best else ""
    name = [tag("a", one.name, href=f"#finalist-{index}"), " ", star]
    if one.is_baseline:
        name.append(tag("span", "baseline", class_="badge", title="designed by people"))
    if one.input_size is not None:
        title = "height and width of the pictures that it takes, pixels"
        name.append(tag("span", _sides(one.input_size), class_="badge", title=title))
    if _trained_longer(one, data):
        title = f"{one.epochs} epochs; it was among the better half after the first training"
        name.append(tag("span", "trained longer", class_="badge", title=title))
    if one.name != one.id:
        name.append(tag("code", one.id))
    streamed = "none" if cost.streamed_bytes == 0 else size(cost.streamed_bytes)
    cells = [
        tag("th", *name, scope="row", data_value=one.name),
        _cell(percent(one.score_float), one.score_float),
        _cell(percent(one.score_ptq), one.score_ptq),
        _cell(tag("strong", percent(one.score_int8)), one.score_int8),
        _drop_cell(data.drop(one)),
        tag("td", _dumbbell(one, span)),
        *(_more_cell(one, name) for name in _more_names(data)),
        _latency_cell(cost, over),
        _cell(count(cost.macs), cost.macs),
        _cell(count(one.parameters), one.parameters),
        _cell(size(one.file_bytes), one.file_bytes),
        _cell(size(cost.peak_memory_bytes), cost.peak_memory_bytes),
        _cell(streamed, cost.streamed_bytes),
    ]
    return tag("tr", *cells)


def _sides(input_size: tuple[int, int]) -> str:
    return f"{input_size[0]}\u00d7{input_size[1]} px"


def _trained_longer(one: Finalist, data: ReportData) -> bool:
    """Whether it was trained longer than others."""
    least = min((other.epochs or 0 for other in data.finalists), default=0)
    return one.equal_score is not None and (one.epochs or 0) > least


def metric_words(name: str) -> str:
    """What people call a further metric.

    >>> metric_words("map"), metric_words("exact_match")
    ('mAP', 'exact match')
    """
    return re.sub(r"^map(?=\d|$)", "mAP", name).replace("_", " ")


def _more_names(data: ReportData) -> list[str]:
    """Further metrics of any finalist, in the order of their first mention."""
    kinds = [kind for one in data.finalists for kind in one.more.values()]
    return list(dict.fromkeys(name for kind in kinds for name in kind))


def _more_cell(one: Finalist, name: str) -> Html:
    value = one.more.get("int8", {}).get(name)
    before = one.more.get("float", {}).get(name)
    hint = None if before is None else f"{percent(before)} in float"
    return tag("td", percent(value), class_="num", data_value=value, title=hint)


def _cell(shown: str, value: float | None, kind: str | None = None) -> Html:
    return tag("td", shown, class_=f"num {kind}" if kind else "num", data_value=value)


def _drop_cell(drop: float | None) -> Html:
    if drop is None:
        return _cell(NONE, None)
    shown = f"{100 * drop:+.1f}".replace("-", "\u2212")
    return _cell(shown, drop, "drop" if drop > LARGE_DROP else "kept")


def _latency_cell(cost: CostReport, over: bool) -> Html:
    """The prediction over its interval; above the target it is marked."""
    below, latency_ms, interval = "no calibration", cost.known_latency_ms, cost.latency_interval_ms
    if interval is not None:
        below = f"{number(interval[0])} {NONE} {number(interval[1])}"
    if cost.out_of_range:
        below += ", out of range"
    shown = tag("span", number(latency_ms), class_="over" if over else None)
    return tag("td", shown, tag("small", below), class_="num", data_value=latency_ms)


def _breakable(path: str) -> Html:
    """A path that may break into lines after its slashes."""
    return join(path.split("/"), "/<wbr>")


def _span(finalists: Sequence[Finalist]) -> tuple[float, float]:
    values = [v for f in finalists for v in (f.score_float, f.score_ptq, f.score_int8)]
    known = [v for v in values if v is not None]
    return (min(known), max(known)) if known else (0.0, 1.0)


def _dumbbell(one: Finalist, span: tuple[float, float]) -> Html:
    """Three marks on a line: float a circle, PTQ a ring, int8 a square."""
    low, high = span
    width = 96.0

    def x(value: float) -> float:
        return round(8 + (width - 16) * (value - low) / ((high - low) or 1.0), 1)

    values = [v for v in (one.score_float, one.score_ptq, one.score_int8) if v is not None]
    if not values:
        return Html(NONE)
    marks = [tag("path", class_="rail", d=f"M{x(min(values))} 8H{x(max(values))}")]
    if one.score_ptq is not None:
        marks.append(tag("circle", class_="ptq", cx=x(one.score_ptq), cy=8, r=3.5))
    if one.score_float is not None:
        marks.append(tag("circle", class_="float", cx=x(one.score_float), cy=8, r=3.5))
    if one.score_int8 is not None:
        place = round(x(one.score_int8) - 4, 1)
        marks.append(tag("rect", class_="int8", x=place, y=4, width=8, height=8))
    return tag(
        "svg",
        tag("title", f"{percent(low)} to {percent(high)}"),
        *marks,
        class_="dumbbell",
        role="img",
        viewBox=f"0 0 {width:g} 16",
        width=f"{width:g}",
        height=16,
        aria_label=f"float {percent(one.score_float)}, PTQ {percent(one.score_ptq)}, "
        f"int8 {percent(one.score_int8)}",
    )


def finalist_articles(data: ReportData) -> Html:
    """For each finalist: blocks, predicted latency by op, host ops; all on the same scales."""
    if not data.finalists:
        return tag("p", "There is no finalist to draw.")
    scale = Scale.of(data.finalists)
    articles = [_article(index, one, scale, data) for index, one in enumerate(data.finalists)]
    return join([_kind_legend(data.finalists), *articles])


def _kind_legend(finalists: Sequence[Finalist]) -> Html:
    present = {block.kind for finalist in finalists for block in finalist.blocks}
    if "head" in present:
        present.add("stem")
    others = sorted(present - KIND_LABELS.keys() - {"head"})
    labels = {**KIND_LABELS, **{kind: kind.replace("_", " ") for kind in others}}
    items = [tag("li", _swatch(kind), label) for kind, label in labels.items() if kind in present]
    return tag("ul", *items, class_="legend", aria_label="Colours of blocks")


def _swatch(kind: str) -> Html:
    thin, halves = (4, 7, 10), (7,)
    lines = {
        **dict.fromkeys(SLICED, thin),
        **dict.fromkeys(("ibn_grouped", "ibn_fused_grouped"), halves),
    }.get(kind, ())
    path = "".join(f"M1 {y}h16" for y in lines)
    known = kind if kind in KIND_LABELS else "other"
    box = tag("rect", class_=f"box k-{known}", x=1, y=1, width=16, height=12, rx=2)
    slices = tag("path", class_="slices", d=path) if path else ""
    return tag("svg", box, slices, width=18, height=14, aria_hidden="true", class_="blocks")


def _article(index: int, one: Finalist, scale: Scale, data: ReportData) -> Html:
    cost = one.cost
    facts = (
        *([] if one.input_size is None else [f"pictures of {_sides(one.input_size)}"]),
        f"{percent(one.score_int8)} {data.metric.label} int8",
        f"{number(cost.latency_ms)} ms",
        f"{count(cost.macs)} MACs",
        f"{count(one.parameters)} parameters",
        f"{size(cost.peak_memory_bytes)} peak memory",
    )
    drawing = tag(
        "div",
        draw_blocks(one, scale) or tag("p", "No drawing: the blocks are not known."),
        class_="scroll",
        tabindex=0,
        role="region",
        aria_label=f"Blocks of {one.name}",
    )
    return tag(
        "article",
        tag(
            "h3",
            one.name,
            tag("code", one.id) if one.name != one.id else "",
            tag("span", "baseline", class_="badge") if one.is_baseline else "",
        ),
        tag("p", " · ".join(facts), class_="facts"),
        tag("p", tag("code", _breakable(one.file)), class_="path facts"),
        drawing,
        _time_budget(one),
        _host_ops(one),
        id=f"finalist-{index}",
    )


def _time_budget(one: Finalist) -> Html:
    """Stacked bar by what bounds the time, then the ops that take most of it."""
    ops = _whole_ops(one)
    total = sum(ms for _, _, _, ms in ops)
    if not total:
        return tag("p", "The cost model gave no latency by op.", class_="faint")
    by_bound = {bound: sum(ms for _, _, b, ms in ops if b == bound) for bound in BOUND_LABELS}
    parts = [(bound, ms) for bound, ms in by_bound.items() if ms > 0]
    stack = [
        tag(
            "span",
            class_=f"b-{bound}",
            style=f"flex-grow:{ms / total:.4f}",
            title=f"{BOUND_LABELS[bound]}: {number(ms)} ms",
        )
        for bound, ms in parts
    ]
    legend = [
        tag("li", tag("i", class_=f"b-{bound}"), BOUND_LABELS[bound], " ", _ms(ms, total))
        for bound, ms in parts
    ]
    return tag(
        "div",
        tag(
            "div",
            tag("h4", "What the time is spent on"),
            tag("div", *stack, class_="stack", aria_hidden="true"),
            tag("ul", *legend, class_="bounds"),
            class_="why",
        ),
        tag("div", tag("h4", "Predicted latency by operation"), _bars(ops, total), class_="ops"),
        class_="budget",
    )


def _ms(ms: float, total: float) -> Html:
    return tag("b", f"{number(ms)} ms, {percent(ms / total, 0)}")


def _whole_ops(one: Finalist) -> list[tuple[str, str, str, float]]:
    """(op, kind, bound, ms), longest first; the parts of a split group convolution are one."""
    whole: dict[str, tuple[str, str, str, float]] = {}
    for op in one.cost.per_op:
        name = whole_name(op.op)
        _, kind, bound, before = whole.get(name, (name, str(op.kind), op.bound, 0.0))
        whole[name] = (name, kind, bound, before + op.latency_ms)
    return sorted(whole.values(), key=lambda row: -row[3])


def _bars(ops: Sequence[tuple[str, str, str, float]], total: float) -> Html:
    shown, rest = ops[:_TOP_OPS], ops[_TOP_OPS:]
    longest = max(shown[0][3], sum(row[3] for row in rest))
    rows = [_bar(name, kind, bound, ms, longest, total) for name, kind, bound, ms in shown]
    if rest:
        left = sum(row[3] for row in rest)
        rows.append(_bar(f"{len(rest)} more", "", "rest", left, longest, total))
    heads = ("operation", "bound by", "share of the time", "ms", "%")
    return tag(
        "table",
        tag("thead", tag("tr", *(tag("th", head, scope="col") for head in heads))),
        tag("tbody", *rows),
        class_="bars",
    )


def _bar(name: str, kind: str, bound: str, ms: float, longest: float, total: float) -> Html:
    width = 100 * ms / longest
    bar = tag("i", class_=f"b-{bound}", style=f"width:{width:.1f}%")
    return tag(
        "tr",
        tag("th", name, scope="row", title=kind or None),
        tag("td", "" if bound == "rest" else bound, class_="faint"),
        tag("td", bar, class_="bar"),
        tag("td", f"{ms:.3f}", class_="num"),
        tag("td", f"{100 * ms / total:.0f}", class_="num faint"),
    )


def _host_ops(one: Finalist) -> Html:
    if not one.cost.host_ops:
        return tag("p", "Every operation is mapped to the TPU.", class_="faint")
    reasons: dict[str, list[str]] = {}
    for name, why in one.cost.host_ops:
        reasons.setdefault(why, []).append(name)
    items = [
        tag(
            "li",
            join([tag("code", name) for name in names[:_MOST_NAMES]], ", "),
            _rest(names),
            why,
        )
        for why, names in reasons.items()
    ]
    title = tag("h4", "Operations that stay on the host")
    return tag("div", title, tag("ul", *items), class_="host")


def _rest(names: Sequence[str]) -> str:
    left = len(names) - _MOST_NAMES
    return f" and {left} more: " if left > 0 else ": "
