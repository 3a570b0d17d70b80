"""The code that a stage depends on: what its file imports, and what that imports.

Read from the sources, without running them. A module that is imported inside a function counts,
and where a thing is loaded by its name (``f"tasks.problems.{name}"``) all below that folder does,
whichever is wanted. A data file (YAML, the style of the page) belongs to the nearest folder above
it that has modules, and counts when one of these does.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("spaces", "hw", "tasks")
DATA = (".yaml", ".html", ".css", ".js")


def files_of(module: str, root: Path = ROOT) -> tuple[Path, ...]:
    """Sources and data files below ``root`` that a module depends on, itself too, sorted."""
    found: set[Path] = set()
    seen, wanted = {module}, [module]
    while wanted:
        name = wanted.pop()
        path = _source(name, root)
        if path is None or path in found:
            continue
        found.add(path)
        # Most names are imported many times, and each costs a look at the disk.
        fresh = {name.rpartition(".")[0], *_imported(path, root)} - seen
        seen |= fresh
        wanted += fresh
    folders = {path.parent for path in found}
    data = (path for room in ROOMS for path in (root / room).rglob("*") if path.suffix in DATA)
    found |= {path for path in data if _owner(path) in folders}
    return tuple(sorted(found))


def parts_of(module: str, root: Path = ROOT) -> tuple[str, ...]:
    """The same in few words: rooms, but of the room of the module folders, and itself.

    >>> parts_of("tasks.prepare_dataset")[-3:]
    ('tasks/kinds', 'tasks/prepare_dataset.py', 'tasks/run')
    """
    own = module.partition(".")[0]
    parts = set()
    for path in files_of(module, root):
        room, *rest = path.relative_to(root).parts
        if room != own:
            parts.add(room)
        elif rest != ["__init__.py"]:
            parts.add("/".join((room, rest[0])))
    return tuple(sorted(parts))


def _source(module: str, root: Path) -> Path | None:
    """The file of a module or package of ours; None: it is none."""
    if module.partition(".")[0] not in ROOMS:
        return None
    place = root.joinpath(*module.split("."))
    candidates = (place.with_suffix(".py"), place / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


def _imported(path: Path, root: Path) -> Iterator[str]:
    """Names that may be modules."""
    for name in _names(path, path.stat().st_mtime_ns):
        if not name.endswith("."):
            yield name
        elif (folder := root.joinpath(*name.split("."))).is_dir() and name.count(".") > 1:
            for one in folder.rglob("*.py"):
                yield ".".join(one.relative_to(root).with_suffix("").parts)


@functools.cache
def _names(path: Path, _changed: int) -> tuple[str, ...]:
    """What a source imports; with a dot at the end, a folder that it loads from by name."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        match node:
            case ast.Import(names=aliases):
                names += [alias.name for alias in aliases]
            case ast.ImportFrom(module=str(module), names=aliases, level=0):
                names += [module, *(f"{module}.{alias.name}" for alias in aliases)]
            case ast.JoinedStr(values=[ast.Constant(value=str(start)), *_]):
                names += [start] if start.partition(".")[0] in ROOMS and start[-1] == "." else []
    return tuple(names)


def _owner(path: Path) -> Path:
    """The nearest folder above that has modules."""
    return next(one for one in path.parents if any(one.glob("*.py")))
