"""A network as a row of boxes over a table of its decisions and of its predicted time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.report_page.markup import Html, count, join, number, tag
from tasks.report_page.records import Block, Finalist

TIMES = "\u00d7"

KIND_LABELS = {
    "stem": "stem, head",
    "conv": "convolution",
    "ibn_dw": "depthwise IBN",
    "ibn_fused": "fused IBN",
    "ibn_grouped": "IBN with group convolution",
    "ibn_fused_grouped": "fused IBN with group convolution",
    "skip": "skipped",
}

_LEFT, _TOP, _FLOOR, _LINE, _TIME = 78, 26, 150, 15, 40
_ROWS = ("op", "kernel", "expansion", "groups", "channels", "resolution")
_SHORT = {
    "ibn_dw": "dw",
    "ibn_fused": "fused",
    "ibn_grouped": "group",
    "ibn_fused_grouped": "f-group",
}


@dataclass(frozen=True, slots=True)
class Scale:
    """One scale for all drawings of a page, so that they can be compared by eye.

    Attributes:
        channels: The widest box.
        resolution: Height in pixels of the tallest box.
        milliseconds: The longest bar of time.
    """

    channels: int
    resolution: int
    milliseconds: float

    @staticmethod
    def of(finalists: Sequence[Finalist]) -> Scale:
        """The scale that fits all of them."""
        blocks = [block for finalist in finalists for block in finalist.blocks]
        times = [t for finalist in finalists for t in block_times_ms(finalist).values()]
        return Scale(
            channels=max((block.out_channels for block in blocks), default=1),
            resolution=max((max(b.in_size[0], b.out_size[0]) for b in blocks), default=1),
            milliseconds=max(times, default=0.0) or 1.0,
        )


def block_times_ms(finalist: Finalist) -> dict[str, float]:
    """Predicted latency of each block: the sum over its ops."""
    times = {block.name: 0.0 for block in finalist.blocks}
    for op in finalist.cost.per_op:
        name = op.op
        while name and name not in times:
            name = name.rpartition("/")[0]
        if name:
            times[name] += op.latency_ms
    return times


def draw_blocks(finalist: Finalist, scale: Scale) -> Html:
    """The drawing as inline SVG; empty where there are no blocks."""
    blocks = finalist.blocks
    if not blocks:
        return Html("")
    pitch = max(46.0, min(88.0, (1080 - _LEFT) / len(blocks)))
    times = block_times_ms(finalist)
    width = round(_LEFT + pitch * len(blocks) + 8)
    height = _FLOOR + 20 + _LINE * len(_ROWS) + 12 + _TIME + 18
    marks = [
        _column(block, _LEFT + index * pitch, pitch, times[block.name], scale)
        for index, block in enumerate(blocks)
    ]
    return tag(
        "svg",
        tag("title", f"Blocks of {finalist.name}"),
        tag("desc", "; ".join(describe(block, times[block.name]) for block in blocks)),
        _row_labels(width),
        _stages(blocks, pitch, height),
        *marks,
        class_="blocks",
        role="img",
        aria_label=f"Blocks of {finalist.name}: one column per block",
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
    )


def describe(block: Block, time_ms: float) -> str:
    """One block in words."""
    parts = [f"{block.name}: {KIND_LABELS.get(block.kind, block.kind)}"]
    parts.append(f"{block.kernel}{TIMES}{block.kernel}")
    if block.expansion is not None:
        parts.append(f"expansion {block.expansion:g}")
    if block.groups > 1:
        parts.append(f"{block.groups} groups")
    parts.append(f"{block.in_channels} to {block.out_channels} channels")
    parts.append(f"{_pixels(block.in_size)} to {_pixels(block.out_size)} pixels")
    parts.append(f"{count(block.macs)} MACs, {count(block.parameters)} parameters")
    return ", ".join([*parts, f"{number(time_ms)} ms predicted"])


def _column(block: Block, x: float, pitch: float, time_ms: float, scale: Scale) -> Html:
    """Box, labels and bar of time of one block."""
    middle = x + pitch / 2
    return tag(
        "g",
        tag("title", describe(block, time_ms)),
        tag("rect", class_="hit", x=_n(x), y=_TOP, width=_n(pitch), height=_FLOOR + 170 - _TOP),
        _box(block, middle, pitch, scale),
        *_labels(block, middle),
        _time_bar(time_ms, middle, pitch, scale),
        class_="block",
    )


def _box(block: Block, middle: float, pitch: float, scale: Scale) -> Html:
    """Height follows resolution, width follows channels, both by their square root."""
    width = max(7.0, 0.84 * pitch * math.sqrt(block.out_channels / scale.channels))
    height = max(8.0, 104 * math.sqrt(block.out_size[0] / scale.resolution))
    x, y = middle - width / 2, _FLOOR - height
    box = tag(
        "rect",
        class_=f"box k-{block.kind}" if block.kind in KIND_LABELS else "box k-stem",
        x=_n(x),
        y=_n(y),
        width=_n(width),
        height=_n(height),
        rx=2,
    )
    arc = _residual_arc(middle, y, max(0.34 * pitch, width / 2 + 4)) if block.residual else ""
    return join([box, _texture(block, x, y, width, height), arc])


def _texture(block: Block, x: float, y: float, width: float, height: float) -> Html:
    """Lines that cut a grouped box into its groups, and a depthwise box into thin slices."""
    if block.kind == "ibn_dw":
        slices = max(2, int(height // 4))
    elif block.kind in ("ibn_grouped", "ibn_fused_grouped"):
        slices = min(block.groups, max(2, int(height // 6)))
    else:
        return Html("")
    step = height / slices
    path = "".join(f"M{_n(x)} {_n(y + step * i)}h{_n(width)}" for i in range(1, slices))
    return tag("path", class_="slices", d=path)


def _residual_arc(middle: float, y: float, half: float) -> Html:
    """A bridge over the box, from its one side to the other."""
    left, right, foot, top = _n(middle - half), _n(middle + half), _n(y + 12), _n(y - 15)
    path = f"M{left} {foot}C{left} {top} {right} {top} {right} {foot}"
    return tag("path", class_="residual", d=path)


def _labels(block: Block, middle: float) -> list[Html]:
    staged = block.kind not in ("stem", "head")
    name = block.name.rpartition("/")[2]
    skipped = block.kind == "skip"
    values: Mapping[str, str] = {
        "op": _SHORT.get(block.kind, block.kind if staged else name),
        "kernel": "" if skipped else f"{block.kernel}{TIMES}{block.kernel}",
        "expansion": "·" if block.expansion is None else f"{block.expansion:g}",
        "groups": "·" if block.groups == 1 else str(block.groups),
        "channels": str(block.out_channels),
        "resolution": _pixels(block.out_size),
    }
    return [
        tag("text", _shorten(values[row]), class_=f"l-{row}", x=_n(middle), y=_row_y(index))
        for index, row in enumerate(_ROWS)
    ]


def _time_bar(time_ms: float, middle: float, pitch: float, scale: Scale) -> Html:
    top = _row_y(len(_ROWS)) - 2
    height = max(0.75, _TIME * time_ms / scale.milliseconds)
    width = min(26.0, 0.5 * pitch)
    bar = tag(
        "rect",
        class_="time",
        x=_n(middle - width / 2),
        y=top,
        width=_n(width),
        height=_n(height),
    )
    label = tag("text", number(time_ms, 2), class_="l-ms", x=_n(middle), y=_n(top + height + 11))
    return join([bar, label])


def _row_labels(width: int) -> Html:
    names = [tag("text", row, x=0, y=_row_y(index)) for index, row in enumerate(_ROWS)]
    names.append(tag("text", "time, ms", x=0, y=_row_y(len(_ROWS)) + 8))
    floor = tag("path", class_="floor", d=f"M{_LEFT} {_FLOOR + 0.5}H{width}")
    ground = _row_y(len(_ROWS)) - 2.5
    return join(
        [
            tag("g", *names, class_="rows"),
            floor,
            tag("path", class_="floor", d=f"M{_LEFT} {ground}H{width}"),
        ]
    )


def _stages(blocks: Sequence[Block], pitch: float, height: int) -> Html:
    """Name over the first block of each stage, and a line before it."""
    marks: list[Html] = []
    for index, block in enumerate(blocks):
        if index and blocks[index - 1].stage == block.stage:
            continue
        x = _LEFT + index * pitch
        if index:
            marks.append(tag("path", class_="stage", d=f"M{_n(x)} 6V{height - 16}"))
        label = block.stage.replace("stage", "stage ")
        marks.append(tag("text", label, class_="l-stage", x=_n(x + 6), y=14))
    return join(marks)


def _row_y(index: int) -> int:
    return _FLOOR + 20 + _LINE * index


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]}{TIMES}{size[1]}"


def _shorten(label: str) -> str:
    return label if len(label) <= 9 else label[:8] + "…"


def _n(value: float) -> str:
    """A coordinate with one decimal at most."""
    return f"{value:.1f}".removesuffix(".0")
