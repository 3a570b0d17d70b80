"""HTML that cannot be broken by its contents, and numbers for people."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable

NONE = "\u2013"
"""What stands for an unknown number."""

_VOID = frozenset({"meta", "link", "br", "col", "img"})


class Html(str):
    """Text that is markup already; every other string is escaped by :func:`tag`."""

    __slots__ = ()


def text(value: object) -> Html:
    """``value`` as escaped text."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def tag(name: str, *children: object, **attributes: object) -> Html:
    """An element; ``class_`` is class, ``data_value`` is data-value, None and False are left out.

    >>> tag("td", "<b>", class_="x", data_value=1.5)
    '<td class="x" data-value="1.5">&lt;b&gt;</td>'
    """
    opened = name + "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _VOID:
        return Html(f"<{opened}>")
    return Html(f"<{opened}>{join(children)}</{name}>")


def join(parts: Iterable[object], between: str = "") -> Html:
    """Parts one after another, escaped unless they are markup."""
    return Html(between.join(text(part) for part in parts))


def number(value: float | None, digits: int = 3) -> str:
    """``digits`` significant digits without an exponent.

    >>> number(1234.5), number(0.012345), number(None) == NONE
    ('1,234', '0.0123', True)
    """
    if value is None or not math.isfinite(value):
        return NONE
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def scaled(value: float | None, steps: tuple[str, ...], base: float) -> str:
    """A number with the largest step that keeps it at 1 or more."""
    if value is None or not math.isfinite(value):
        return NONE
    power = 0
    while abs(value) >= base and power < len(steps) - 1:
        value, power = value / base, power + 1
    shown = f"{value:,.0f}" if power == 0 else number(value)
    return f"{shown} {steps[power]}".strip()


def count(value: float | None) -> str:
    """A count of things.

    >>> count(38_250_000)
    '38.2 M'
    """
    return scaled(value, ("", "k", "M", "G", "T"), 1000.0)


def size(value: float | None) -> str:
    """Bytes.

    >>> size(1_572_864)
    '1.50 MiB'
    """
    return scaled(value, ("B", "KiB", "MiB", "GiB"), 1024.0)


def percent(value: float | None, digits: int = 1) -> str:
    r"""A share 0..1.

    >>> percent(0.93456)
    '93.5\u202f%'
    """
    if value is None or not math.isfinite(value):
        return NONE
    return f"{100 * value:.{digits}f}\u202f%"


def duration(seconds: float | None) -> str:
    """Wall time.

    >>> duration(4000), duration(75), duration(3.14)
    ('1 h 6 min', '1 min 15 s', '3.1 s')
    """
    if seconds is None or not math.isfinite(seconds):
        return NONE
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"


def plural(amount: int, thing: str) -> str:
    """``amount`` and its noun.

    >>> plural(1, "candidate"), plural(2, "candidate")
    ('1 candidate', '2 candidates')
    """
    return f"{amount:,} {thing}" + ("" if amount == 1 else "s")
