"""Plain text for terminals."""

from __future__ import annotations

from collections.abc import Sequence


def short(name: str, width: int = 48) -> str:
    """The first of the names that a converter joined, its end if it is long.

    >>> short("net/conv;net/bias"), short("abcdefgh", 6)
    ('net/conv', '...fgh')
    """
    first = name.split(";")[0]
    return first if len(first) <= width else "..." + first[-(width - 3) :]


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Columns as wide as their widest cell.

    >>> print(table([("a", "b"), ("long", "c")]))
    a     b
    long  c
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def number(value: int | None, unit: str = "") -> str:
    """A count for people.

    >>> number(1234, " B"), number(None)
    ('1,234 B', 'unknown')
    """
    return "unknown" if value is None else f"{value:,}{unit}"
