"""Samples as a person would look at them: pictures drawn upon, texts with a part marked.

A :class:`Sample` is one sample; its panels stand side by side: what is true, what the float file
says, what the int8 file says. Problems make them with the functions below, which know nothing of
any problem; the report page shows them.
"""

from __future__ import annotations

import colorsys
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # costs of a table need problems, and those the records here, but no pictures
    from PIL import Image, ImageDraw

LEAST_WIDTH, MOST_SIDE = 256, 384
"""Pixels of a drawn picture: narrower ones are enlarged, larger ones reduced."""

PALETTE = (
    *("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#f0e442"),
    *("#332288", "#882255", "#44aa99", "#999933", "#aa4499"),
)
"""Told apart with any kind of colour vision: Okabe and Ito 2008, then Tol 2021, "muted"."""

_UNPAINTED = frozenset({"background", "other", "none", "unlabeled", "unlabelled", "void"})
_MOST_LABELS = 8  # boxes in a picture that still have room for their names
_MOST_BYTES = 48_000  # of a PNG in full colour; above, 256 colours do
_NEAREST_BELOW = 96  # pixels; a picture narrower than this is shown as the squares it is

Area = tuple[int, int, int, int]  # left, top, right, bottom; pixels
Segment = tuple[str, str]
"""A piece of text and its mark: none, ``truth``, ``right``, ``wrong``, ``question``, or other."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One view of a sample.

    Attributes:
        caption: Whose view it is: ``truth``, ``float``, ``int8``.
        picture: PNG bytes; None where there is none to show.
        text: Pieces with their marks, in order.
        note: A line below, for instance the answer and its score.
    """

    caption: str
    picture: bytes | None = None
    text: tuple[Segment, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample.

    Attributes:
        name: What to call it, for instance the number in its split.
        panels: Truth first.
        legend: Names and colours of the classes that are drawn in it, see :func:`legend`.
    """

    name: str
    panels: tuple[Panel, ...]
    legend: tuple[tuple[str, str], ...] = ()


def colour(index: int) -> str:
    """Colour of a class as ``#rrggbb``; beyond the palette, hues a golden angle apart.

    >>> colour(0), colour(1)
    ('#0072b2', '#e69f00')
    """
    if index < len(PALETTE):
        return PALETTE[index]
    lightness = (0.42, 0.62, 0.75)[index % 3]
    rgb = colorsys.hls_to_rgb(index * 0.381966 % 1.0, lightness, 0.65)
    return "#" + "".join(f"{round(255 * part):02x}" for part in rgb)


def legend(classes: Sequence[str], present: Iterable[int]) -> tuple[tuple[str, str], ...]:
    """Names and colours of the classes among ``present``.

    Numbers without a name are left out, and a background, which no drawing paints.
    """
    seen = sorted({int(index) for index in present})
    named = [i for i in seen if 0 <= i < len(classes) and not _is_bare(classes, i)]
    return tuple((classes[i], colour(i)) for i in named)


def label_picture(image: NDArray[np.uint8]) -> bytes:
    """PNG of an image [H, W, 1 or 3] in a size that can be seen."""
    return _png(_enlarged(image))


def draw_boxes(
    image: NDArray[np.uint8],
    boxes: NDArray[np.floating],
    labels: NDArray[np.integer],
    scores: NDArray[np.floating] | None,
    classes: Sequence[str],
) -> bytes:
    """PNG of an image with its boxes in the colours of their classes.

    Up to eight boxes are named where they stand, with their scores; of more the colours must do.

    Args:
        image: uint8 [H, W, 1 or 3].
        boxes: [n, 4], ymin, xmin, ymax, xmax as fractions of the picture.
        labels: [n], from 0; a negative one is padding.
        scores: [n], 0..1; None: there are none.
        classes: Names of the classes.
    """
    from PIL import ImageDraw

    picture = _enlarged(image)
    pen = ImageDraw.Draw(picture)
    real = [n for n in range(len(labels)) if labels[n] >= 0]
    # The smallest last, or it may lie hidden under the edge of another one.
    real.sort(key=lambda n: -float((boxes[n][2] - boxes[n][0]) * (boxes[n][3] - boxes[n][1])))
    places = [_pixels(boxes[n], picture.size) for n in real]
    for n, place in zip(real, places, strict=True):
        _frame(pen, place, colour(int(labels[n])))
    taken: list[Area] = []
    for n, place in zip(real, places, strict=True) if len(real) <= _MOST_LABELS else ():
        name = _class_name(classes, int(labels[n]))
        words = name if scores is None else f"{name} {float(scores[n]):.2f}"
        taken.append(_name_tag(pen, place, words, colour(int(labels[n])), picture.size, taken))
    return _png(picture)


def paint_mask(
    image: NDArray[np.uint8],
    mask: NDArray[np.integer],
    classes: Sequence[str],
    ignore: int = 255,
) -> bytes:
    """PNG of an image under its mask: a colour a class, an edge between classes.

    A first class called background is left bare. Pixels to ignore are hatched in grey.

    Args:
        image: uint8 [H, W, 1 or 3].
        mask: [h, w], class numbers; another size than the picture's is stretched over it.
        classes: Names of the classes.
        ignore: The number that stands for no class.
    """
    from PIL import Image

    picture = _enlarged(image)
    height, width = picture.height, picture.width
    rows = (np.arange(height) * mask.shape[0]) // height
    columns = (np.arange(width) * mask.shape[1]) // width
    painted = np.asarray(mask, np.int64)[rows][:, columns]
    pixels = np.asarray(picture, np.float32)
    for index in np.unique(painted):
        if index == ignore or _is_bare(classes, int(index)):
            continue
        where = painted == index
        pixels[where] = 0.4 * pixels[where] + 0.6 * _rgb(colour(int(index)))
    edges = _edges(painted)
    pixels[edges] = _edge_colours(painted[edges], classes, ignore)
    stripes = (np.add.outer(np.arange(height), np.arange(width)) // 4) % 2 == 0
    hatched = (painted == ignore) & stripes
    pixels[hatched] = 0.35 * pixels[hatched] + 0.65 * 128
    return _png(Image.fromarray(pixels.round().astype(np.uint8)))


def mark_span(
    text: str, start: int, end: int, mark: str, around: int | None = None
) -> tuple[Segment, ...]:
    """``text`` in pieces, its characters from ``start`` to before ``end`` marked.

    Args:
        text: The whole text.
        start: First character of the part; a part outside the text, or empty, marks nothing.
        end: The character behind the part.
        mark: What the part is, see :data:`Segment`.
        around: Characters to keep before and behind the part; None: all.

    >>> mark_span("born in Ulm", 8, 11, "right")
    (('born in ', ''), ('Ulm', 'right'))
    """
    if not 0 <= start < end <= len(text):
        cut = None if around is None else 2 * around
        return ((_head(text, cut), ""),) if text else ()
    pieces = (
        (_tail(text[:start], around), ""),
        (text[start:end], mark),
        (_head(text[end:], around), ""),
    )
    return tuple((piece, kind) for piece, kind in pieces if piece)


def judged(answer: str, is_right: bool) -> tuple[Segment, ...]:
    """An answer marked as right or wrong.

    >>> judged("cat (93%)", True)
    (('cat (93%)', 'right'),)
    """
    return ((answer, "right" if is_right else "wrong"),)


def _head(text: str, length: int | None) -> str:
    if length is None or len(text) <= length:
        return text
    return text[:length].rpartition(" ")[0] + " …"


def _tail(text: str, length: int | None) -> str:
    if length is None or len(text) <= length:
        return text
    return "… " + text[len(text) - length :].partition(" ")[2]


def _enlarged(image: NDArray[np.uint8]) -> Image.Image:
    """RGB, at least ``LEAST_WIDTH`` wide and, where that allows it, at most ``MOST_SIDE``."""
    from PIL import Image

    pixels = image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
    picture = Image.fromarray(np.ascontiguousarray(pixels, np.uint8)).convert("RGB")
    longest = max(picture.size)
    if picture.width < LEAST_WIDTH:
        factor: float = math.ceil(LEAST_WIDTH / picture.width)
        if picture.width >= _NEAREST_BELOW:
            factor = LEAST_WIDTH / picture.width
    else:
        factor = min(1.0, max(MOST_SIDE / longest, LEAST_WIDTH / picture.width))
    size = (max(1, round(factor * picture.width)), max(1, round(factor * picture.height)))
    blocky = picture.width < _NEAREST_BELOW
    how = Image.Resampling.NEAREST if blocky else Image.Resampling.BILINEAR
    return picture if size == picture.size else picture.resize(size, how)


def _pixels(box: NDArray[np.floating], size: tuple[int, int]) -> Area:
    """Left, top, right, bottom within the picture; at least three pixels wide and high."""
    ymin, xmin, ymax, xmax = (float(np.clip(edge, 0, 1)) for edge in box)
    left, right = sorted((xmin * (size[0] - 1), xmax * (size[0] - 1)))
    top, bottom = sorted((ymin * (size[1] - 1), ymax * (size[1] - 1)))
    right, bottom = max(right, left + 3), max(bottom, top + 3)
    return round(left), round(top), round(right), round(bottom)


def _frame(pen: ImageDraw.ImageDraw, place: Area, ink: str) -> None:
    """A coloured line within a thin white one that parts it from any background."""
    left, top, right, bottom = place
    pen.rectangle((left - 2, top - 2, right + 2, bottom + 2), outline="#ffffff")
    pen.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=ink, width=2)


def _name_tag(
    pen: ImageDraw.ImageDraw,
    place: Area,
    words: str,
    ink: str,
    size: tuple[int, int],
    taken: Sequence[Area],
) -> Area:
    """The name at the first edge of the box where it covers no other name; gives its area."""
    from PIL import ImageFont

    font = ImageFont.load_default(12)
    width, height = math.ceil(pen.textlength(words, font)) + 7, 15
    left, top, right, bottom = place
    corners = [(left - 2, top - 17), (left - 2, bottom + 2), (right - width + 2, top - 17)]
    corners += [
        (right - width + 2, bottom + 2),
        (left - 1, top - 1),
        (right + 3, top),
        (left, top),
    ]
    areas = []
    for x, y in corners:
        x = min(max(0, x), max(0, size[0] - width - 1))
        y = min(max(0, y), max(0, size[1] - height - 1))
        areas.append((x, y, x + width, y + height))
    area = next((a for a in areas if not any(_overlap(a, other) for other in taken)), areas[0])
    pen.rectangle(area, fill=ink)
    pen.text((area[0] + 4, area[1] + 1), words, fill=_readable_on(ink), font=font)
    return area


def _overlap(one: Area, other: Area) -> bool:
    across = one[0] < other[2] and other[0] < one[2]
    return across and one[1] < other[3] and other[1] < one[3]


def _readable_on(background: str) -> str:
    red, green, blue = _rgb(background)
    return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "#ffffff"


def _class_name(classes: Sequence[str], index: int) -> str:
    return classes[index] if index < len(classes) else f"class {index}"


def _is_bare(classes: Sequence[str], index: int) -> bool:
    return index == 0 and bool(classes) and classes[0].lower() in _UNPAINTED


def _rgb(ink: str) -> NDArray[np.float32]:
    return np.array([int(ink[at : at + 2], 16) for at in (1, 3, 5)], np.float32)


def _edges(painted: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Pixels whose right or lower neighbour is of another class, and that neighbour."""
    edges = np.zeros(painted.shape, np.bool_)
    down, right = painted[:-1] != painted[1:], painted[:, :-1] != painted[:, 1:]
    edges[:-1] |= down
    edges[1:] |= down
    edges[:, :-1] |= right
    edges[:, 1:] |= right
    return edges


def _edge_colours(
    numbers: NDArray[np.int64], classes: Sequence[str], ignore: int
) -> NDArray[np.float32]:
    """The full colour of a class at its edge; white where the class itself is left bare."""
    inks = {
        int(n): "#ffffff" if n == ignore or _is_bare(classes, int(n)) else colour(int(n))
        for n in np.unique(numbers)
    }
    found = [_rgb(inks[int(n)]) for n in numbers]
    return np.asarray(found, np.float32).reshape(len(found), 3)


def _png(picture: Image.Image) -> bytes:
    """Compressed; a large photograph in 256 colours, which is a third of it."""
    from PIL import Image

    content = _written(picture)
    return (
        content
        if len(content) <= _MOST_BYTES
        else _written(picture.quantize(256, dither=Image.Dither.NONE))
    )


def _written(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
