"""Scores against scores of the same networks as inline SVG, a mark and a colour per kind of op."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tasks.report.agreement import Pair
from tasks.report.markup import Html, join, percent, tag

LEAST = 3
"""Fewer networks are no picture."""
WIDTH, HEIGHT = 440, 340
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 28, 46
_PADDING = 0.07  # of the span, on each side
_NARROWEST = 0.02  # the least span of an axis: two points of score

MARKS = {
    "depthwise": ("circle", "k-ibn_dw"),
    "fused": ("square", "k-ibn_fused"),
    "grouped": ("triangle", "k-ibn_grouped"),
    "mixed": ("diamond", "hollow"),
}
_SPARE = (("hexagon", "k-ibn_fused_grouped"), ("flipped", "k-attention"), ("plus", "k-tucker"))
_SHAPES = {
    "circle": "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0Z",
    "square": "M-4.6 -4.6h9.2v9.2h-9.2Z",
    "triangle": "M0 -6.2L5.7 4.2H-5.7Z",
    "diamond": "M0 -6.4L6.4 0L0 6.4L-6.4 0Z",
    "hexagon": "M5.6 0L2.8 4.9H-2.8L-5.6 0L-2.8 -4.9H2.8Z",
    "flipped": "M0 6.2L5.7 -4.2H-5.7Z",
    "plus": "M-2 -6h4v4h4v4h-4v4h-4v-4h-4v-4h4Z",
}


def draw_pairs(pairs: Sequence[Pair], name: str, across: str, up: str) -> Html:
    """The drawing; empty below :data:`LEAST` networks.

    Args:
        pairs: The networks.
        name: What it shows, for those who cannot see it.
        across: Title of the horizontal axis: what ``before`` is.
        up: Title of the vertical axis: what ``after`` is.
    """
    if len(pairs) < LEAST:
        return Html("")
    xs, ys = (_domain([p.before for p in pairs]), _domain([p.after for p in pairs]))
    looks = _looks(pairs)
    marks = [
        tag(
            "path",
            tag("title", _told(p, across, up)),
            class_=f"mark {looks[p.kind][1]}",
            d=_SHAPES[looks[p.kind][0]],
            transform=f"translate({place_x(p.before, xs):.1f} {place_y(p.after, ys):.1f})",
        )
        for p in pairs
    ]
    return tag(
        "svg",
        tag("title", name),
        _axes(xs, ys, across, up),
        _same(xs, ys),
        *marks,
        class_="pairs-plot",
        role="img",
        aria_label=f"{name}, {len(pairs)} networks; the table below has their values",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        width=WIDTH,
        height=HEIGHT,
    )


def _told(pair: Pair, across: str, up: str) -> str:
    """What a mark says when it is pointed at."""
    before, after = percent(pair.before), percent(pair.after)
    return f"{pair.name}, {pair.kind}: {before} {across}; {after} {up}"


def legend_of(pairs: Sequence[Pair]) -> Html:
    """Which mark is which kind, and how many there are of it."""
    items = []
    for kind, (shape, colour) in _looks(pairs).items():
        path = tag("path", class_=f"mark {colour}", d=_SHAPES[shape])
        icon = tag("svg", path, width=16, height=16, viewBox="-8 -8 16 16", aria_hidden="true")
        amount = sum(pair.kind == kind for pair in pairs)
        items.append(tag("li", icon, kind, " ", tag("span", amount, class_="n")))
    return tag("ul", *items, class_="legend kinds")


def place_x(score: float, domain: tuple[float, float]) -> float:
    """Pixels from the left."""
    return LEFT + (score - domain[0]) / (domain[1] - domain[0]) * (WIDTH - LEFT - RIGHT)


def place_y(score: float, domain: tuple[float, float]) -> float:
    """Pixels from the top."""
    low = HEIGHT - BOTTOM
    return low - (score - domain[0]) / (domain[1] - domain[0]) * (low - TOP)


def _looks(pairs: Sequence[Pair]) -> dict[str, tuple[str, str]]:
    """Kind to shape and colour, those of :data:`MARKS` first."""
    kinds = {pair.kind for pair in pairs}
    looks = {kind: look for kind, look in MARKS.items() if kind in kinds}
    others = sorted(kinds - set(MARKS))
    return looks | {kind: _SPARE[at % len(_SPARE)] for at, kind in enumerate(others)}


def _domain(values: Sequence[float]) -> tuple[float, float]:
    """Their range with air around it; never of no width."""
    low, high = min(values), max(values)
    air = max(_PADDING * (high - low), (_NARROWEST - (high - low)) / 2)
    return low - air, high + air


def ticks(domain: tuple[float, float], most: int) -> list[float]:
    """At most ``most`` round scores within the domain and 0..1.

    >>> ticks((0.05, 0.95), 6)
    [0.2, 0.4, 0.6, 0.8]
    """
    low, high = max(0.0, domain[0]), min(1.0, domain[1])
    raw = max(high - low, 1e-6) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * f for f in (1, 2, 5, 10) if power * f >= 0.999 * raw)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 10) for index in range(first, last + 1)]


def _axes(xs: tuple[float, float], ys: tuple[float, float], across: str, up: str) -> Html:
    low, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = []
    for tick in ticks(xs, 6):
        x = f"{place_x(tick, xs):.1f}"
        parts.append(tag("path", class_="grid", d=f"M{x} {TOP}V{low}"))
        parts.append(tag("text", f"{100 * tick:g}", class_="across", x=x, y=low + 17))
    for tick in ticks(ys, 6):
        y = place_y(tick, ys)
        parts.append(tag("path", class_="grid", d=f"M{LEFT} {y:.1f}H{right}"))
        parts.append(tag("text", f"{100 * tick:g}", class_="up", x=LEFT - 8, y=f"{y + 4:.1f}"))
    parts.append(tag("text", f"{across}, % \u2192", class_="title end", x=right, y=HEIGHT - 8))
    parts.append(tag("text", f"\u2191 {up}, %", class_="title", x=0, y=14))
    return join(parts)


def _same(xs: tuple[float, float], ys: tuple[float, float]) -> Html:
    """Where both scores are equal, as far as that is within the drawing."""
    low, high = max(xs[0], ys[0]), min(xs[1], ys[1])
    if low >= high:
        return Html("")
    start = f"{place_x(low, xs):.1f} {place_y(low, ys):.1f}"
    stop = f"{place_x(high, xs):.1f} {place_y(high, ys):.1f}"
    return tag("path", tag("title", "both scores equal"), class_="same", d=f"M{start}L{stop}")
