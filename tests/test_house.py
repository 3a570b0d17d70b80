"""The house itself: what its folders hold, what its stages declare, what it must never say."""

from __future__ import annotations

import importlib
import inspect
import math
import re
import subprocess
import sys
import time
import tokenize
import tomllib
import typing
from pathlib import Path
from token import NAME
from typing import Any

import pytest
import yaml

from tasks.pipeline.stages import STAGES, stage_named
from tasks.run.params import Params

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("spaces", "hw", "tasks", "flows")
README = (ROOT / "README.md").read_text(encoding="utf-8")
# Beside the blocks: what changes the values in them.
EFFORTS = {"effort", "efforts"}
# What each folder of things holds, besides `__init__.py`, and what every one of them exposes.
FOLDERS = {
    "spaces/catalog": (".py", "SPACE"),
    "spaces/search": (".py", "ALGORITHM"),
    "hw/devices": (".yaml", None),
    "hw/cost_models": (".py", None),
    "hw/benches": (".py", None),
    "tasks/problems": (".py", "PROBLEM"),
    "tasks/evaluators": (".py", "EVALUATOR"),
    "tasks/formats": (".py", "read"),
    "tasks/kinds": (".py", "KIND"),
}


def tracked_files() -> list[Path]:
    """What git keeps or would keep; all of an unpacked archive without git."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if listing.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listing.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


@pytest.fixture(scope="module")
def pipeline() -> dict[str, Any]:
    """``dvc.yaml``."""
    return dict(yaml.safe_load((ROOT / "dvc.yaml").read_text()))


def outputs(stage: dict[str, Any]) -> list[str]:
    """Paths of a stage's outs and metrics."""
    entries = [*stage.get("outs", ()), *stage.get("metrics", ())]
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_come_from_this_tree(room: str) -> None:
    module = importlib.import_module(room)
    assert module.__file__ is not None
    assert Path(module.__file__).parent == ROOT / room


def test_stages_of_dvc_are_those_of_the_flow_in_order(pipeline: dict[str, Any]) -> None:
    assert tuple(pipeline["stages"]) == STAGES


@pytest.mark.parametrize("name", STAGES)
def test_each_stage_runs_itself_through_the_flow(pipeline: dict[str, Any], name: str) -> None:
    assert pipeline["stages"][name]["cmd"] == f"python -m flows run --stage {name}"


def test_stages_depend_on_their_code_and_on_earlier_results(pipeline: dict[str, Any]) -> None:
    made: set[str] = set()
    for name, stage in pipeline["stages"].items():
        deps = {path.rstrip("/") for path in stage["deps"]}
        code = {path for path in deps if path.partition("/")[0] in ROOMS}
        assert code == set(stage_named(name).code), name
        assert deps - code <= made, name
        made |= set(outputs(stage))


def test_parameters_of_stages_exist(pipeline: dict[str, Any]) -> None:
    blocks = set(yaml.safe_load((ROOT / "params.yaml").read_text())) - {"profiles", *EFFORTS}
    declared = {key for stage in pipeline["stages"].values() for key in stage["params"]}
    assert declared - EFFORTS == blocks == set(Params.model_fields)


@pytest.mark.parametrize("name", STAGES)
def test_stages_declare_the_parameters_they_take(pipeline: dict[str, Any], name: str) -> None:
    run = stage_named(name).run
    taken = typing.get_type_hints(run).values()
    blocks = {key for key, field in Params.model_fields.items() if field.annotation in taken}
    assert set(pipeline["stages"][name]["params"]) == blocks | EFFORTS, inspect.signature(run)


@pytest.mark.parametrize("room", ["spaces", "hw", "tasks"])
def test_readme_tells_each_folder_of_a_room(room: str) -> None:
    rows = re.findall(rf"^\| `{room}/\w+/`.*$", README, re.MULTILINE)
    told = {name for row in rows for name in re.findall(rf"`(?:{room}/)?(\w+)/`", row)}
    folders = {path.parent.name for path in (ROOT / room).glob("*/*") if path.is_file()}
    assert told == folders - {"__pycache__"}


def test_folders_of_families_say_what_they_are() -> None:
    folders = [path for path in (ROOT / "hw/families").iterdir() if path.name != "__pycache__"]
    names = [path.name for path in folders if path.name != "__init__.py"]
    assert names
    for name in names:
        assert hasattr(importlib.import_module(f"hw.families.{name}.family"), "FAMILY"), name


def test_files_of_tasks_are_named_by_what_they_do() -> None:
    verbs = {"bundle", "calibrate", "check", "cost", "estimate", "finetune", "measure"}
    verbs |= {"prepare", "search", "select", "train", "version", "write"}
    names = [path.stem for path in (ROOT / "tasks").glob("*.py") if path.stem != "__init__"]
    assert {name.split("_")[0] for name in names} == verbs


@pytest.mark.parametrize("folder", FOLDERS)
def test_folders_of_things_hold_nothing_else(folder: str) -> None:
    suffix, exposed = FOLDERS[folder]
    names = [path.name for path in (ROOT / folder).iterdir() if path.name != "__pycache__"]
    assert all(name == "__init__.py" or name.endswith(suffix) for name in names), names
    things = [name.removesuffix(suffix) for name in names if name != "__init__.py"]
    if exposed is not None:
        for thing in things:
            module = importlib.import_module(f"{folder.replace('/', '.')}.{thing}")
            assert hasattr(module, exposed), f"{folder}/{thing}{suffix} must expose {exposed}"


def test_texts_name_files_that_are_there() -> None:
    missing = []
    for page in (path for path in tracked_files() if path.suffix == ".md"):
        text = page.read_text(encoding="utf-8")
        named = re.findall(
            r"`((?:spaces|hw|tasks|flows|tests|docs|benchmarks)/[\w/]+\.\w+)`", text
        )
        linked = re.findall(r"\]\((?!\w+:)([^)#]+)(?:#[^)]*)?\)", text)
        missing += [f"{page.name}: {one}" for one in named if not (ROOT / one).exists()]
        missing += [f"{page.name}: {one}" for one in linked if not (page.parent / one).exists()]
    assert not missing


# Put together here, so that this file does not hold what it looks for.
FORBIDDEN = {
    "a package registry": "py" + r"pi\.org|python" + r"hosted\.|np" + r"mjs\.|deb\." + "debian",
    "a path of one machine": r"(?<![\w.])/(?:" + "ro" + "ot|wo" + "rk|op" + r"t|home/(?!me/)\w+)/",
    "a credential": r"(?i)://[^/\s:@{$]+:[^/\s@{$]+"
    + r"@|AK"
    + r"IA[0-9A-Z]{16}|BEGIN [A-Z ]*PRIV"
    "ATE KEY",
    "an index line": r"(?m)^--(?:extra-)?ind" + r"ex-url|^--find-" + "links",
}


def test_identifiers_use_the_words_of_the_glossary() -> None:
    rows = re.findall(r"^\|.*\|([^|]*)\|$", (ROOT / "docs/words.md").read_text(), re.M)
    refused = [word for row in rows for word in re.findall(r"`(\w+)`", row)]
    assert "exhibit" in refused
    wrong = re.compile("|".join(refused).replace("_", "_?"))
    found = []
    for path in (path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        with path.open("rb") as stream:
            names = {one.string for one in tokenize.tokenize(stream.readline) if one.type == NAME}
        found += [f"{path.name}: {name}" for name in names if wrong.search(name.lower())]
    assert not found


@pytest.mark.parametrize("what", FORBIDDEN)
def test_files_name_no_machine_of_ours(what: str) -> None:
    pattern = re.compile(FORBIDDEN[what].encode())
    found = [
        f"{path.relative_to(ROOT)}: {match[0].decode(errors='replace')}"
        for path in tracked_files()
        if (match := pattern.search(path.read_bytes()))
    ]
    assert not found, f"files must not hold {what}, but got {found}"


def test_the_lock_is_one_that_names_no_host() -> None:
    assert (ROOT / "requirements.lock").exists()
    assert "uv." + "lock" not in {path.name for path in tracked_files()}


def test_everything_locked_has_hashes() -> None:
    many, few = (_pins(name) for name in ("requirements.lock", "requirements-gpu.lock"))
    assert len(many) > 100
    assert 0 < len(few) < 20 and not set(many) & set(few)
    assert all("==" in line and line.endswith("\\") for line in many + few)


def _pins(name: str) -> list[str]:
    lines = (ROOT / name).read_text().splitlines()
    return [line for line in lines if line and line[0] not in " #"]


def fastest_seconds(*arguments: str, enough: float = 0.0) -> float:
    """The best of three runs of Python with these arguments, or the first that is ``enough``."""
    took: list[float] = []
    while len(took) < 3 and min(took, default=math.inf) >= enough:
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True)
        took.append(time.perf_counter() - start)
    return min(took)


COMMANDS = (
    "flows",
    "flows run",
    "flows status",
    "flows schedule",
    "flows bundle",
    "flows cost",
    "flows dvc",
    "flows ui",
    "hw",
    "spaces",
)


@pytest.fixture(scope="module")
def python_seconds() -> float:
    """What Python itself takes to start here and now."""
    return fastest_seconds("-c", "pass")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_answered_in_under_a_second(command: str, python_seconds: float) -> None:
    # A quiet machine starts Python in 0.02 s; on a busy one the second stretches in proportion.
    allowed = max(1.0, 50 * python_seconds)
    assert fastest_seconds("-m", *command.split(), "--help", enough=allowed) < allowed


def test_the_version_is_the_same_wherever_it_stands() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))["version"] == version
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    released = [one.split()[0].strip("[]") for one in headings if one != "Unreleased"]
    assert released[0] == version and headings[0] in ("Unreleased", version)
