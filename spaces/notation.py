"""How people write an architecture: as a baseline's name, JSON, or the usual text of its space."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from spaces.menu import load_baselines, load_parser
from spaces.sided import checked
from spaces.space import Architecture, SearchSpace, SpaceError, Value


def parse_architecture(space: SearchSpace, text: str) -> Architecture:
    """An architecture by name of a baseline, from JSON, or in the notation of its space.

    JSON is an object of decisions, alone or under the key ``decisions`` or ``architecture``. A
    notation of its own is what ``parse`` in the catalogue's file reads, if there is one.

    Raises:
        SpaceError: It is none of these, or not in the space.
    """
    return checked(space, parser_of(space)(text).values)


def parser_of(space: SearchSpace) -> Callable[[str], Architecture]:
    """For many texts: as :func:`parse_architecture`, but decisions are not checked.

    Lowering checks them, and faster.
    """
    baselines, parse = load_baselines(space.name), load_parser(space.name)

    def parsed(text: str) -> Architecture:
        if text in baselines:
            return baselines[text]
        if text.lstrip().startswith("{"):
            return Architecture.of(space.name, _decisions(space, text))
        found = parse(text) if parse else None
        if found is None:
            usual = ", the usual text" if parse else ""
            raise SpaceError(
                f"{space.name}: an architecture must be JSON{usual} or one of "
                f"{', '.join(baselines)}, but got {_short(text)!r}."
            )
        return found

    return parsed


def read_architecture(space: SearchSpace, text: str) -> Architecture:
    """One architecture; ``text`` may also be the path of a file that holds it.

    Raises:
        SpaceError: It is none of these, or not in the space.
    """
    if text not in load_baselines(space.name) and os.path.isfile(text):
        text = Path(text).read_text(encoding="utf-8", errors="replace").strip()
    return parse_architecture(space, text)


def _decisions(space: SearchSpace, text: str) -> dict[str, Value]:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpaceError(
            f"an architecture must be JSON, but got {_short(text)!r} ({error})."
        ) from None
    while isinstance(record, dict) and ("decisions" in record or "architecture" in record):
        if record.get("space", space.name) != space.name:
            raise SpaceError(
                f"an architecture must belong to the space {space.name}, "
                f"but got one of {record['space']!r}."
            )
        record = record["decisions"] if "decisions" in record else record["architecture"]
    if not isinstance(record, dict):
        raise SpaceError(f"an architecture must be a JSON object, but got {_short(text)!r}.")
    return record


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."
