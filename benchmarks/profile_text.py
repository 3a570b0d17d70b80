"""Changes the text of a profile file in place: leaves, and whole sections, all else as it was."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping


def with_leaf(text: str, section: str | None, name: str, value: str, source: str) -> str:
    """``text`` with value and source of one leaf replaced.

    Args:
        text: Of a profile, or of a chip file, whose leaves stand at the margin.
        section: ``"link"``; None: of a chip file.
        name: Of the leaf.
        value: As it is to stand there.
        source: Without quotes.

    Raises:
        KeyError: There is no such leaf, or it is not written as value, unit, source.
    """
    start, end = _span(text, section)
    margin = "" if section is None else "  "
    pattern = re.compile(
        rf"(?m)^({margin}{name}:\n{margin}  value: )[^\n]*(\n{margin}  unit: [^\n]*\n"
        rf"{margin}  source: )[^\n]*$"
    )
    leaf = pattern.search(text, start, end)
    if leaf is None:
        raise KeyError(f"{section}.{name}")
    changed = f"{leaf[1]}{value}{leaf[2]}{quoted(source)}"
    return text[: leaf.start()] + changed + text[leaf.end() :]


def with_section(text: str, section: str, block: str) -> str:
    """``text`` with the lines of a section replaced, or added at the end."""
    try:
        start, end = _span(text, section)
    except KeyError:
        return f"{text.rstrip()}\n\n{section}:\n{block}"
    rest = text[end:]
    return f"{text[:start]}{block}" + (f"\n{rest}" if rest else "")


def section_text(leaves: Mapping[str, tuple[str, str, str]]) -> str:
    """Lines of a section of leaves, each (value, unit, source)."""
    lines = []
    for name, (value, unit, source) in leaves.items():
        lines += [f"  {name}:", f"    value: {value}", f"    unit: {_plain(unit)}"]
        lines.append(f"    source: {quoted(source)}")
    return "\n".join(lines) + "\n"


def number(value: float) -> str:
    """Four significant digits, without an exponent.

    >>> number(0.09), number(31.8347), number(1634.2)
    ('0.09', '31.83', '1634')
    """
    rounded = float(f"{value:.4g}")
    return str(int(rounded)) if rounded == int(rounded) and abs(rounded) >= 100 else str(rounded)


def numbers(values: tuple[float, ...]) -> str:
    """A list in one line, four digits behind the point.

    >>> numbers((0.0, 1.386294))
    '[0.0, 1.3863]'
    """
    return "[" + ", ".join(str(round(value, 4)) for value in values) + "]"


def quoted(text: str) -> str:
    """A text as YAML has it in double quotes."""
    return json.dumps(text, ensure_ascii=False)


def _plain(text: str) -> str:
    return text if text[0].isalnum() else quoted(text)


def _span(text: str, section: str | None) -> tuple[int, int]:
    """Where the lines of a section begin and end, the empty line behind them not counted."""
    if section is None:
        return 0, len(text)
    head = re.search(rf"(?m)^{section}:\n", text)
    if head is None:
        raise KeyError(section)
    after = re.compile(r"(?m)^(?=[^ \n#])").search(text, head.end())
    end = len(text) if after is None else after.start()
    return head.end(), head.end() + len(text[head.end() : end].rstrip("\n")) + 1
