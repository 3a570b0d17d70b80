"""What the four numbers of a box say, and the refusal of numbers that cannot say it.

Formats agree on pixels; exporters do not. Fractions of the picture taken for pixels are boxes of
nothing in its corner; corners taken for corner and size are boxes that reach beyond it. Both train
without a word, so a file whose numbers fit another reading than that of its format is refused,
until ``data.boxes`` says which one is meant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from tasks.data.dataset import DataError
from tasks.run.params import BoxForm

Numbers = tuple[float, float, float, float]
Size = tuple[int, int]  # height, width

_MOST_FRACTION: Final = 1.1  # exporters round; a box of pixels is larger or has whole numbers
_PERCENT: Final = (80.0, 100.0)  # where the farthest of many boxes in percent ends
_LARGE_SIDE: Final = 200  # of a picture: no box beyond 100 in any is then no accident
_MANY: Final = 10  # different boxes; fewer may all lie in one corner
_BEYOND: Final = 0.01  # of a side, or a pixel: what rounding makes of a box at the edge
_FEW: Final = 0.05  # of the boxes of a file


class Given(NamedTuple):
    """A box as it stands in its file, and the picture's height and width, None if unknown."""

    numbers: Numbers
    size: Size | None


def edges_of(numbers: Numbers, form: BoxForm) -> Numbers:
    """ymin, xmin, ymax, xmax of four numbers that are no corners counted from one.

    >>> edges_of((1, 2, 10, 20), "xywh"), edges_of((6, 12, 10, 20), "cxcywh")
    ((2, 1, 22, 11), (2.0, 1.0, 22.0, 11.0))
    """
    x, y, third, fourth = numbers
    shape = form.removeprefix("relative_")
    if shape == "xyxy":
        return (y, x, fourth, third)
    if shape == "cxcywh":
        x, y = x - third / 2, y - fourth / 2
    return (y, x, y + fourth, x + third)


def is_relative(form: BoxForm) -> bool:
    """Whether a form counts in fractions of the picture."""
    return form.startswith("relative_")


def are_fractions(numbers: Numbers) -> bool:
    """Whether four numbers are those of a box in fractions, and none of pixels.

    >>> are_fractions((0.2, 0.3, 0.4, 0.2)), are_fractions((0, 0, 1, 1))
    (True, False)
    """
    small = all(-0.1 <= number <= _MOST_FRACTION for number in numbers)
    return small and any(number != round(number) for number in numbers)


def check(file: str, boxes: Sequence[Given], own: BoxForm) -> None:
    """Refuse boxes of a file that fit another form better than that of its format.

    Args:
        file: Its name, for messages.
        boxes: All boxes of it, of finite numbers.
        own: What the format says they are: ``xywh`` or ``xyxy``, in pixels.

    Raises:
        DataError: Most of them lie within 0..1; all of many within 0..100 of large pictures; they
            fit their pictures as corners only; or most reach beyond them.
    """
    relative = f"relative_{own}"
    fractions = sum(are_fractions(box.numbers) for box in boxes)
    if 2 * fractions > len(boxes):
        raise DataError(
            f"boxes must be in pixels, but {fractions} of {len(boxes)} in {file} lie within 0..1, "
            "as fractions of the picture do. Multiply them by its width and height, or set "
            f"data.boxes to {relative} (also {_others(relative)})."
        )
    sized = [(box.numbers, box.size) for box in boxes if box.size is not None]
    if _may_be_percent(sized, own):
        raise DataError(
            f"boxes must be in pixels, but all {len(sized)} in {file} lie within 0..100 of larger "
            "pictures, as percent do. Multiply percent by width and height and divide by 100; if "
            f"they are pixels, set data.boxes to {own}."
        )
    if own == "xywh":
        _refuse_corners(file, sized)
    beyond = sum(_reaches_beyond(edges_of(numbers, own), size) for numbers, size in sized)
    if beyond > 1 and 2 * beyond > len(sized):
        raise DataError(
            f"boxes must lie in their pictures, but {beyond} of {len(sized)} in {file} reach "
            "beyond them, as boxes do that are of pictures of another size, or in percent, or "
            "begin in their middle. Correct them, or set data.boxes to what they are "
            f"({own} if they are right as they are)."
        )


def _others(form: str) -> str:
    """The forms of fractions beside one."""
    return ", ".join(f for f in _FRACTIONS if f != form)


_FRACTIONS: Final = ("relative_xywh", "relative_xyxy", "relative_cxcywh")


def _may_be_percent(boxes: Sequence[tuple[Numbers, Size]], own: BoxForm) -> bool:
    """Whether many different boxes of large pictures end within the first hundred pixels."""
    edges = {edges_of(numbers, own) for numbers, _ in boxes}
    if len(edges) < _MANY or any(min(size) < _LARGE_SIDE for _, size in boxes):
        return False
    least, most = _PERCENT
    farthest = (max(one[2] for one in edges), max(one[3] for one in edges))
    return min(min(one) for one in edges) >= 0 and all(least < end <= most for end in farthest)


def _refuse_corners(file: str, boxes: Sequence[tuple[Numbers, Size]]) -> None:
    """Refuse corners that are given as corner and size.

    Of honest boxes hardly any reaches beyond its picture, and few are wider than they are far from
    the left; of corners all are, and those in the lower right reach beyond.

    Raises:
        DataError: So it is.
    """
    beyond = sum(not _fits(numbers, size, _as_sizes) for numbers, size in boxes)
    corners = sum(_fits(numbers, size, _as_corners) for numbers, size in boxes)
    if beyond and beyond > _FEW * len(boxes) and corners >= (1 - _FEW) * len(boxes):
        raise DataError(
            f"boxes must be [x, y, width, height], but {beyond} of {len(boxes)} in {file} reach "
            f"beyond their pictures so, and {corners} fit them as [x1, y1, x2, y2]. Set "
            "data.boxes to xyxy, or to xywh if they are right as they are."
        )


def _as_sizes(numbers: Numbers) -> Numbers:
    return edges_of(numbers, "xywh")


def _as_corners(numbers: Numbers) -> Numbers:
    return edges_of(numbers, "xyxy")


def _reaches_beyond(edges: Numbers, size: Size) -> bool:
    """Whether a box leaves its picture by more than rounding makes of it."""
    ymin, xmin, ymax, xmax = edges
    room_y, room_x = (max(1.0, _BEYOND * side) for side in size)
    height, width = size
    inside = -room_y <= ymin and ymax <= height + room_y
    return not (inside and -room_x <= xmin and xmax <= width + room_x)


def _fits(numbers: Numbers, size: Size, reading: Callable[[Numbers], Numbers]) -> bool:
    """Whether a box has an area and ends within its picture, so read."""
    ymin, xmin, ymax, xmax = reading(numbers)
    height, width = size
    room_y, room_x = (side + max(1.0, _BEYOND * side) for side in (height, width))
    return ymin < ymax <= room_y and xmin < xmax <= room_x
