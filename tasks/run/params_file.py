"""``params.yaml``: a profile over the blocks, ``--set`` over both; mistakes in one line."""

from __future__ import annotations

import difflib
import functools
import importlib
import re
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import (
    BaseModel,
    ValidationError,
)

from tasks.run.params import Block, Params, ParamsError, ProblemParams, short
from tasks.run.things import names_in

try:  # in C; ten times as fast
    from yaml import CSafeLoader as _Safe
except ImportError:
    from yaml import SafeLoader as _Safe  # type: ignore[assignment]


def load_params(path: Path, profile: str | None = None, overrides: Sequence[str] = ()) -> Params:
    """Read the parameters, lay a profile over them, then what was given by ``--set``.

    Args:
        path: A YAML file with the blocks of :class:`Params` and, if you like, ``profiles``.
        profile: Name of one of its profiles. Those that it extends are laid under it.
        overrides: ``block.key=value`` each, the value in YAML.

    Raises:
        ParamsError: The file is missing or no YAML; a key, a profile or a value is not allowed.
    """
    tree = _with_whole_values(_read(path))
    profiles, efforts = (tree.pop(key, None) or {} for key in ("profiles", "efforts"))
    where = str(path)
    overlays: list[Mapping[str, Any]] = [{_EFFORT: tree.pop(_EFFORT, None)}]
    if profile is not None:
        overlays += map(_with_whole_values, _chain(profiles, profile, path).values())
        where += f", profile {profile}"
    overlays.append(functools.reduce(merge, map(_override, overrides), {}))
    for overlay in overlays:
        over = dict(overlay)
        effort = over.pop(_EFFORT, None)
        if effort is not None:
            tree = _laid(tree, _with_whole_values(_profile(efforts, effort, path, _EFFORT)))
        tree = _laid(tree, over)
    where += ", --set" if overrides else ""
    tree = {key: {} if value is None else value for key, value in tree.items()}
    tree["problem"] = _with_options(tree.get("problem", {}), where)
    try:
        return Params.model_validate(tree)
    except ValidationError as error:
        raise ParamsError(_explain(error, where, Params)) from error


def profile_names(path: Path) -> tuple[str, ...]:
    """The profiles of a file, sorted.

    Raises:
        ParamsError: The file is missing or no YAML.
    """
    return tuple(sorted(map(str, _read(path).get("profiles") or {})))


def profiles_under(path: Path, profile: str) -> tuple[str, ...]:
    """Names of the profiles that make a profile: those that it extends, and itself last.

    Raises:
        ParamsError: The file is missing or no YAML, or a profile is not there.
    """
    return tuple(_chain(_read(path).get("profiles"), profile, path))


class _Whole(dict[str, Any]):
    """A mapping that is one value: laid over another one it takes its place."""


def _with_whole_values(overlay: Mapping[str, Any]) -> dict[str, Any]:
    """An overlay whose objectives and further devices take the place of those below it."""
    found = dict(overlay)
    for block, key, whole in (
        ("select", "objectives", _whole_goals),
        ("cost", "devices", lambda given: _Whole(given) if isinstance(given, Mapping) else given),
    ):
        values = found.get(block)
        if isinstance(values, Mapping) and key in values:
            found[block] = {**values, key: whole(values[key])}
    return found


def _whole_goals(given: object) -> object:
    """Objectives as a mapping, also where they are a list of ``name:goal``.

    A list is not what the file should hold: DVC writes ``"top1:max"`` back without its quotes.
    What cannot be objectives stays as it is, to be refused.
    """
    if isinstance(given, Mapping):
        return _Whole(given)
    if isinstance(given, list):
        pairs = [one.split(":") for one in given if isinstance(one, str)]
        goals = _Whole(pair for pair in pairs if len(pair) == 2)
        return goals if goals and len(goals) == len(given) else given
    return given


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``over`` laid on ``under``: mappings key by key, everything else replaced, goals too.

    >>> merge({"a": {"b": 1, "c": [2]}}, {"a": {"c": [3]}})
    {'a': {'b': 1, 'c': [3]}}
    """
    merged = _Whole(under) if isinstance(under, _Whole) else dict(under)
    for key, value in over.items():
        below = merged.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        both = both and not isinstance(value, _Whole)
        merged[key] = merge(below, value) if both else value  # type: ignore[arg-type]
    return merged


def _laid(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """As :func:`merge`; under another ``problem.name`` the options of the one below it go.

    They are that problem's own. Were they kept, a profile could not name another problem than the
    one that it is laid over without undoing each of them, and it cannot know which there are.
    """
    below, above = under.get("problem"), over.get("problem")
    if isinstance(below, Mapping) and isinstance(above, Mapping) and "name" in above:
        if above["name"] != below.get("name", _DEFAULT):
            under = {**under, "problem": {}}
    return merge(under, over)


def _with_options(block: Any, where: str) -> Any:
    """The block ``problem``, with all options of its problem; what is no block stays as it is.

    Raises:
        ParamsError: There is no such problem, or a key or a value is none of its options.
    """
    name = block.get("name", _DEFAULT) if isinstance(block, Mapping) else None
    if not isinstance(name, str) or not name:
        return block
    if name not in names_in("problems"):
        known = ", ".join(names_in("problems"))
        raise ParamsError(f"problem.name must be one of {known}, but got {name!r} in {where}.")
    given = {key: value for key, value in block.items() if key != "name"}
    try:
        options = _options(name).model_validate(given)
    except ValidationError as error:
        raise ParamsError(_explain(error, where, _options(name), ("problem",), name)) from error
    return {"name": name, **options.model_dump()}


def _options(problem: str) -> type[Block]:
    """What a problem, a file of ``tasks/problems``, lets stand beside its name."""
    options: type[Block] = importlib.import_module(f"tasks.problems.{problem}").PROBLEM.options
    return options


class _Loader(_Safe):
    """The safe loader, with ``1e-3`` a number (as in YAML 1.2) and repeated keys refused."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    """A mapping whose keys differ."""
    keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
    if repeated := sorted({key for key in keys if keys.count(key) > 1}):
        raise yaml.YAMLError(f"the key {repeated[0]} twice (line {node.start_mark.line + 1})")
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def _parse(text: str) -> Any:
    """YAML to plain objects; raises ``yaml.YAMLError``."""
    return yaml.load(text, Loader=_Loader)


def _read(path: Path) -> dict[str, Any]:
    """The file's mapping."""
    try:
        tree = _parse(path.read_text("utf-8"))
    except OSError as error:
        raise ParamsError(f"{path} must be a readable file, but got: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path} must be YAML, but got {_one_line(error)}.") from error
    if not isinstance(tree, dict):
        raise ParamsError(f"{path} must hold blocks of keys, but got {short(tree)}.")
    return tree


_DEFAULT: str = ProblemParams.model_fields["name"].default
_EFFORT = "effort"
"""The key of a profile that names one of ``efforts``, to be laid right under the profile."""
_EXTENDS = "extends"
"""The key of a profile that names another one, to be laid under it."""


def _chain(profiles: object, name: str, path: Path) -> dict[str, Mapping[str, Any]]:
    """The overlays of a profile and of those that it extends by name, the undermost first."""
    names, overlays = list[str](), list[Mapping[str, Any]]()
    wanted: Any = name
    while wanted is not None:
        if wanted in names:
            raise ParamsError(
                "profiles must not extend themselves, but got "
                f"{' -> '.join([*names, wanted])} in {path}."
            )
        what = f"profiles.{names[-1]}.{_EXTENDS}" if names else "profile"
        overlay = dict(_profile(profiles, wanted, path, what))
        names.append(wanted)
        wanted = overlay.pop(_EXTENDS, None)
        overlays.append(overlay)
    return dict(zip(names[::-1], overlays[::-1], strict=True))


def _profile(profiles: object, name: object, path: Path, what: str) -> Mapping[str, Any]:
    """One overlay of the file, named by ``what``."""
    known = sorted(map(str, profiles)) if isinstance(profiles, Mapping) else []
    if not isinstance(profiles, Mapping) or not isinstance(name, str) or name not in profiles:
        raise ParamsError(
            f"{what} must be one of {', '.join(known) or 'none'}, but got {short(name)} in {path}."
        )
    overlay = profiles[name] or {}
    if not isinstance(overlay, Mapping):
        raise ParamsError(
            f"profiles.{name} must hold blocks of keys, but got {short(overlay)} in {path}."
        )
    return overlay


def _override(text: str) -> dict[str, Any]:
    """``a.b=value`` as nested mappings."""
    key, equals, value = text.partition("=")
    names = key.strip().split(".")
    if not equals or not all(names):
        raise ParamsError(f"--set must be given as block.key=value, but got {text!r}.")
    try:
        tree: Any = _parse(value)
    except yaml.YAMLError as error:
        raise ParamsError(f"--set {key} must be YAML, but got {_one_line(error)}.") from error
    for name in reversed(names):
        tree = {name: tree}
    # One objective alone (select.objectives.macs=min) is laid beside those that there are, and
    # so is one device (cost.devices.tensor_g1.target_latency_ms=1.0).
    return dict(tree) if len(names) > 2 else _with_whole_values(tree)


def _explain(
    error: ValidationError,
    where: str,
    model: type[BaseModel],
    above: Sequence[str] = (),
    problem: str | None = None,
) -> str:
    """The first mistake in one line, and how many there are.

    Args:
        error: What ``model`` said.
        where: The file, and what was laid over it.
        model: The blocks, or one of them.
        above: Names of the blocks that ``model`` stands in.
        problem: Whose options ``model`` has, if it has those of one.
    """
    details = error.errors()
    first = details[0]
    location = [str(part) for part in first["loc"]]
    key, value, context = (
        ".".join([*above, *location]),
        short(first["input"]),
        first.get("ctx", {}),
    )
    if first["type"] == "extra_forbidden":
        near = _nearest(location, model) if problem is None else _own(location[0], problem)
        line = f"unknown key {key} in {where}.{near}"
    elif first["type"] == "value_error":
        line = f"{key}: {context['error']}, in {where}."
    else:
        line = f"{key} must be {_bound(first['type'], context)}, but got {value} in {where}."
    others = len(details) - 1
    return f"{line} ({others} more after that.)" if others else line


_WANTED = {
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "finite",
    "bool_type": "true or false",
    "string_type": "text (in quotes if it looks like something else)",
    "string_too_short": "text that is not empty",
    "string_pattern_mismatch": "a name and its goal, such as top1:max",
    "tuple_type": "names with their goals, such as {{top1: max}}",
    "too_short": "at least {min_length} name with its goal, such as {{top1: max}}",
    "model_type": "a block of keys",
}


def _bound(kind: str, context: Mapping[str, Any]) -> str:
    """What a value must be, by pydantic's name of the mistake."""
    plain = {k: f"{v:.12g}" if isinstance(v, int | float) else v for k, v in context.items()}
    return _WANTED.get(kind, f"valid ({kind})").format(**plain)


def _own(key: str, problem: str) -> str:
    """The keys that a problem has, and whose the unknown one is."""
    owners = [one for one in names_in("problems") if key in _options(one).model_fields]
    theirs = f" That is one of {', '.join(owners)}." if owners else ""
    names = ", ".join(["name", *_options(problem).model_fields])
    return f"{theirs} Of {problem} there {'are' if ',' in names else 'is'} {names}."


def _nearest(location: Sequence[str], block: type[BaseModel]) -> str:
    """The names that an unknown key may have been meant to be."""
    for name in location[:-1]:
        annotation = block.model_fields[name].annotation
        for inner in (annotation, *typing.get_args(annotation)):  # a block, or a block or None
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                block = inner
    names = list(block.model_fields)
    near = difflib.get_close_matches(location[-1], names, n=3, cutoff=0.5)
    return f" Did you mean {' or '.join(near)}?" if near else f" There are {', '.join(names)}."


def _one_line(error: Exception) -> str:
    """A parser's message without its line breaks."""
    return " ".join(str(error).split())
