"""Samples as a person would look at them: truth, float and int8 side by side."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from tasks.learning.samples import PALETTE, Panel, Sample, Segment
from tasks.report.markup import Html, join, plural, tag
from tasks.report.records import ReportData

MARKS = {
    "truth": "the true part",
    "right": "right",
    "wrong": "wrong",
}
MOST_BYTES = 2_500_000
"""Of all pictures together; a page has to open at once."""

_AT_ONCE = 4  # samples with several pictures that are open from the start
_SYNTHETIC = "synthetic"


def samples_section(data: ReportData) -> Html:
    """All samples that fit, or why there are none."""
    asked = data.samples[: data.most_samples]
    if not asked:
        said = "No samples were asked for." if data.most_samples == 0 else "There are no samples."
        return tag("p", said, class_="faint")
    shown = _affordable(asked)
    cards = [_card(one, data.synthetic) for one in shown]
    is_tall = max(map(_pictures, shown)) > 1
    first, rest = (cards[:_AT_ONCE], cards[_AT_ONCE:]) if is_tall else (cards, [])
    kind = f"samples p-{min(max(map(_pictures, shown)), 3)}"
    more = ""
    if rest:
        summary = tag("summary", f"{plural(len(rest), 'sample')} more")
        more = tag("details", summary, tag("div", *rest, class_=kind))
    left = len(asked) - len(shown)
    parts = [_words(data, asked), _legend(asked), tag("div", *first, class_=kind), more]
    if left:
        note = f"{plural(left, 'sample')} left out: their pictures would make this page too large."
        parts.append(tag("p", note, class_="faint"))
    return join(parts)


def _words(data: ReportData, asked: Sequence[Sample]) -> Html:
    """Whose answers these are, and how to read them."""
    wanted = data.answered_by or (data.best.id if data.best else None)
    named = next((one for one in data.finalists if one.id == wanted), None)
    who = f" as {named.name} sees them" if named else ""
    split = f" of the {named.split} split" if named else ""
    words = [f"{data.things.capitalize()}{split}{who}, in float and after quantisation to int8."]
    used = {mark for one in asked for panel in one.panels for _, mark in panel.text}
    keys = [
        join([" ", _marked("text", mark), f" {MARKS[mark]}"]) for mark in MARKS if mark in used
    ]
    if keys:
        words.append(join([" Marked: ", join(keys, ","), "."]))
    return tag("p", *words, class_="faint")


def _affordable(samples: Sequence[Sample]) -> list[Sample]:
    """The first ones whose pictures stay within the limit together."""
    total = 0
    shown: list[Sample] = []
    for one in samples:
        total += sum(len(panel.picture or b"") for panel in one.panels)
        if shown and total > MOST_BYTES:
            break
        shown.append(one)
    return shown


def _pictures(sample: Sample) -> int:
    return sum(panel.picture is not None for panel in sample.panels)


def _legend(samples: Sequence[Sample]) -> Html:
    """The classes drawn in any sample, once."""
    found = dict.fromkeys(entry for one in samples for entry in one.legend)
    if not found:
        return Html("")
    order = {ink: place for place, ink in enumerate(PALETTE)}
    entries = sorted(found, key=lambda entry: order.get(entry[1], len(order)))
    items = [
        tag("li", tag("i", style=f"background:{ink}" if _is_colour(ink) else None), name)
        for name, ink in entries
    ]
    return tag("ul", *items, class_="classes-key", aria_label="Colours of classes")


def _is_colour(ink: str) -> bool:
    digits = ink.removeprefix("#")
    return len(digits) == 6 and all(digit in "0123456789abcdef" for digit in digits)


def _card(sample: Sample, synthetic: bool) -> Html:
    badge = tag("span", _SYNTHETIC, class_="badge") if synthetic else ""
    name = f"no. {sample.name}" if sample.name.isdecimal() else sample.name
    caption = tag("figcaption", name, " ", badge)
    panels = [_panel(panel) for panel in sample.panels]
    return tag("figure", caption, tag("div", *panels, class_="panels"), class_="sample")


def _panel(panel: Panel) -> Html:
    picture: object = ""
    if panel.picture is not None:
        picture = tag(
            "img",
            src="data:image/png;base64," + base64.b64encode(panel.picture).decode(),
            alt=f"{panel.caption}: {panel.note}" if panel.note else panel.caption,
            loading="lazy",
        )
    return tag(
        "div",
        tag("h4", panel.caption),
        picture,
        tag("p", *(_segment(piece) for piece in panel.text), dir="auto") if panel.text else "",
        tag("p", panel.note, class_="note") if panel.note else "",
        class_="panel",
    )


def _segment(piece: Segment) -> Html:
    words, mark = piece
    return _marked(words, mark) if mark else join([words])


def _marked(words: str, mark: str) -> Html:
    if mark == "question":
        return tag("b", words.strip(), class_="question")
    kind = mark if mark in MARKS else "other"
    return tag("mark", words, class_=f"m-{kind}", title=MARKS.get(mark, mark))
