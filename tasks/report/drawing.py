"""A network as a row of boxes over a table of its decisions and of its predicted time."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.report.markup import Html, count, join, number, tag
from tasks.report.records import Block, Finalist

TIMES = "\u00d7"

KIND_LABELS = {
    "stem": "stem, head",
    "conv": "convolution",
    "separable": "separable convolution",
    "ibn_dw": "depthwise IBN",
    "ibn_dw_first": "depthwise, then IBN without one",
    "ibn_extra_dw": "depthwise before IBN and in it",
    "ibn_conv_next": "depthwise before IBN",
    "ibn_ffn": "IBN without a window",
    "conv_pair": "convolution, then a 1x1 one",
    "ibn_fused": "fused IBN",
    "ibn_grouped": "IBN with group convolution",
    "ibn_fused_grouped": "fused IBN with group convolution",
    "tucker": "Tucker convolution",
    "pyramid": "resampling and fusion of levels",
    "embedding": "embedding of tokens",
    "attention": "attention",
    "ffn": "feed-forward",
    "transformer": "attention and feed-forward",
    "labels": "labels from scores",
    "skip": "skipped",
}

SLICED = ("ibn_dw", "ibn_dw_first", "ibn_extra_dw", "ibn_conv_next", "separable")
"""Kinds that work channel by channel."""
_LEFT, _TOP, _FLOOR, _LINE, _TIME = 78, 26, 150, 15, 40
_LETTER = 6.7  # pixels of a letter of a stage's name
_ROWS = ("op", "kernel", "expansion", "groups", "channels", "resolution")
_CALLED_BY_NAME = ("stem", "head", "pyramid", "embedding", "attention", "transformer", "labels")
_SHORT = {
    "separable": "sep",
    "ibn_dw": "dw",
    "ibn_dw_first": "dw-first",
    "ibn_extra_dw": "extra-dw",
    "ibn_conv_next": "conv-next",
    "ibn_ffn": "ffn",
    "conv_pair": "pair",
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
    owners = {op: block.name for block in finalist.blocks for op in (block.name, *block.ops)}
    for op in finalist.cost.per_op:
        name = op.op
        while name and name not in owners:
            name = name.rpartition("/")[0]
        if name:
            times[owners[name]] += op.latency_ms
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
        _row_labels(width, blocks),
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
    if block.kernel:
        parts.append(f"{block.kernel}{TIMES}{block.kernel}")
    if block.expansion is not None:
        parts.append(f"expansion {block.expansion:g}")
    if block.groups > 1:
        parts.append(f"{block.groups} groups")
    parts.append(f"{block.in_channels} to {block.out_channels} channels")
    ends = block.levels or (block.out_size,)
    unit = "tokens" if _is_sequence(block) else "pixels"
    parts.append(f"{_pixels(block.in_size)} to {', '.join(map(_pixels, ends))} {unit}")
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
        *_labels(block, middle, pitch),
        _time_bar(time_ms, middle, pitch, scale),
        class_="block",
    )


def _box(block: Block, middle: float, pitch: float, scale: Scale) -> Html:
    """Height follows resolution, width follows channels, both by their square root."""
    if block.levels:
        return _pyramid(block, middle, pitch, scale)
    width = max(7.0, 0.84 * pitch * math.sqrt(block.out_channels / scale.channels))
    height = max(8.0, 104 * math.sqrt(block.out_size[0] / scale.resolution))
    x, y = middle - width / 2, _FLOOR - height
    box = tag(
        "rect",
        class_=_box_class(block),
        x=_n(x),
        y=_n(y),
        width=_n(width),
        height=_n(height),
        rx=2,
    )
    arc = _residual_arc(middle, y, max(0.34 * pitch, width / 2 + 4)) if block.residual else ""
    return join([box, _texture(block, x, y, width, height), arc])


def _pyramid(block: Block, middle: float, pitch: float, scale: Scale) -> Html:
    """One bar a level, side by side, the finest first."""
    step = 0.84 * pitch / len(block.levels)
    bars = []
    for index, (size, _) in enumerate(block.levels):
        height = max(4.0, 104 * math.sqrt(size / scale.resolution))
        x = middle + step * (index - len(block.levels) / 2)
        place = {"x": _n(x), "y": _n(_FLOOR - height), "height": _n(height)}
        bars.append(tag("rect", class_=_box_class(block), width=_n(step - 1.5), rx=1, **place))
    return join(bars)


def _box_class(block: Block) -> str:
    is_known = block.kind == "head" or block.kind in KIND_LABELS
    return f"box k-{block.kind}" if is_known else "box k-other"


def _texture(block: Block, x: float, y: float, width: float, height: float) -> Html:
    """Lines that cut a grouped box into its groups, and a depthwise box into thin slices."""
    if block.kind in SLICED:
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


def _labels(block: Block, middle: float, pitch: float) -> list[Html]:
    values: Mapping[str, str] = {
        "op": _op_label(block),
        "kernel": f"{block.kernel}{TIMES}{block.kernel}" if block.kernel else "·",
        "expansion": "·" if block.expansion is None else f"{block.expansion:.2g}",
        "groups": "·" if block.groups == 1 else str(block.groups),
        "channels": str(block.out_channels),
        "resolution": _resolution(block),
    }
    return [
        tag(
            "text",
            _shorten(values[row], int(pitch / 5.9)),
            class_=f"l-{row}",
            x=_n(middle),
            y=_row_y(index),
        )
        for index, row in enumerate(_ROWS)
    ]


def _op_label(block: Block) -> str:
    """What is built where that is a choice; elsewhere the block's own name."""
    name = block.name.rpartition("/")[2]
    is_plain = block.kind in _CALLED_BY_NAME
    return name if is_plain else _SHORT.get(block.kind, block.kind)


def _resolution(block: Block) -> str:
    if not block.levels:
        return _pixels(block.out_size)
    return f"{block.levels[0][0]}…{block.levels[-1][0]}"


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


def _row_labels(width: int, blocks: Sequence[Block]) -> Html:
    tokens = any(map(_is_sequence, blocks))
    rows = ["tokens" if tokens and row == "resolution" else row for row in _ROWS]
    names = [tag("text", row, x=0, y=_row_y(index)) for index, row in enumerate(rows)]
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
    labels = stage_labels([block.stage for block in blocks])
    ends = [start for start, _ in labels[1:]] + [len(blocks)]
    for (start, label), end in zip(labels, ends, strict=True):
        x = _LEFT + start * pitch
        if start:
            marks.append(tag("path", class_="stage", d=f"M{_n(x)} 6V{height - 16}"))
        room = max(3, int(((end - start) * pitch - 8) / _LETTER))
        shown = label if len(label) <= room else label[: room - 1] + "…"
        marks.append(tag("text", shown, class_="l-stage", x=_n(x + 6), y=14))
    return join(marks)


def stage_labels(stages: Sequence[str]) -> list[tuple[int, str]]:
    """Where a stage begins, and what to write there; stages of one block each share a label.

    >>> stage_labels(["stem", "stage1", "stage1", "stage2", "block0", "block1", "block2", "head"])
    [(0, 'stem'), (1, 'stage 1'), (3, 'stage 2'), (4, 'block 0 to 2'), (7, 'head')]
    """
    runs = [(stage, len(list(group))) for stage, group in itertools.groupby(stages)]
    labels: list[tuple[int, str]] = []
    start = at = 0
    while at < len(runs):
        stop = at + 1
        while stop < len(runs) and _are_siblings(runs[at], runs[stop]):
            stop += 1
        label = re.sub(r"(?<=[a-z]{2})(?=\d)", " ", runs[at][0], count=1)
        if stop - at < 3:
            stop = at + 1
        else:
            label += " to " + re.sub(r"^[A-Za-z]+", "", runs[stop - 1][0])
        labels.append((start, label))
        start += sum(length for _, length in runs[at:stop])
        at = stop
    return labels


def _are_siblings(one: tuple[str, int], other: tuple[str, int]) -> bool:
    """Whether both are numbered stages of the same name, of one block each."""
    names = [re.sub(r"\d+", "", name) for name, _ in (one, other)]
    return names[0] == names[1] != one[0] and one[1] == other[1] == 1


def _row_y(index: int) -> int:
    return _FLOOR + 20 + _LINE * index


def _is_sequence(block: Block) -> bool:
    return block.out_size[1] == 1 < block.out_size[0]


def _pixels(size: tuple[int, int]) -> str:
    if size[1] == 1 < size[0]:
        return str(size[0])
    return f"{size[0]}{TIMES}{size[1]}"


def _shorten(label: str, most: int) -> str:
    return label if len(label) <= most else label[: most - 1] + "…"


def _n(value: float) -> str:
    """A coordinate with one decimal at most."""
    return f"{value:.1f}".removesuffix(".0")
