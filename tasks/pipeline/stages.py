"""The stages of a run: their order, what they read and write, and when one need not run again.

A stage is known by a key: a digest of its parameters, of the files it reads and of the code. Its
outcome is kept while the key and the files it wrote stay as they are. Of files that parameters
name the key has the content (:mod:`tasks.pipeline.named_files`); of a person's own data, which may
be large, names, sizes and times: if these changed it is read again, and what follows runs again if
that made a difference. What a stage needs to go on after a kill lies in a state folder of that key
and goes when the stage is done.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import importlib
import os
import shutil
import time
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from tasks.candidates.records import digest
from tasks.data.arrays import check_splits
from tasks.pipeline import named_files
from tasks.pipeline.code import ROOT, files_of, parts_of
from tasks.run.params import Block, Params
from tasks.run.progress import Progress
from tasks.run.workspace import (
    Workspace,
    WorkspaceError,
    read_json,
    sha256_file,
    sha256_folder,
    write_json,
)

Manifest = dict[str, Any]
_held: dict[Path, int] = {}  # run locks of this process, and how often each was taken


class StageError(ValueError):
    """A stage that cannot run now."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A step of the pipeline.

    Attributes:
        name: As on the command line and in ``dvc.yaml``.
        module: The file of ``tasks`` whose ``run`` does it.
        does: In a sentence, for people.
        reads: Folders of the workspace made by stages before it.
        writes: The folder it makes.
    """

    name: str
    module: str
    does: str
    reads: tuple[str, ...]
    writes: str

    @property
    def code(self) -> tuple[str, ...]:
        """Folders and files of code that its outcome depends on."""
        return parts_of(f"tasks.{self.module}")

    @property
    def run(self) -> Callable[..., Manifest]:
        """The plain function, without Prefect, MLflow or DVC."""
        found: Callable[..., Manifest] = importlib.import_module(f"tasks.{self.module}").run
        return found

    def blocks(self) -> tuple[str, ...]:
        """Blocks of ``params.yaml`` that ``run`` takes, in order."""
        hints = typing.get_type_hints(self.run)
        by_type = {field.annotation: name for name, field in Params.model_fields.items()}
        wanted = [hint for hint in hints.values() if isinstance(hint, type)]
        return tuple(by_type[hint] for hint in wanted if issubclass(hint, Block))


_PIPELINE = (
    Stage("prepare", "prepare_dataset", "Reads the data and splits it.", (), "data"),
    Stage(
        "train_supernet",
        "train_supernet",
        "Trains the network that holds all candidates.",
        ("data",),
        "supernet",
    ),
    Stage(
        "search",
        "search_architectures",
        "Proposes candidates, scores and costs them.",
        ("data", "supernet"),
        "search",
    ),
    Stage(
        "finetune",
        "finetune_qat",
        "Trains the best to the end, quantizes, exports.",
        ("data", "supernet", "search"),
        "finalists",
    ),
    Stage(
        "select",
        "select_pareto",
        "Compares the finalists as they run on the device.",
        ("data", "search", "finalists"),
        "selection",
    ),
    Stage(
        "report",
        "write_report",
        "Scores the chosen on the test split, and writes the page.",
        ("data", "supernet", "search", "finalists", "selection"),
        "report",
    ),
)
STAGES = tuple(stage.name for stage in _PIPELINE)
MODULES = tuple(stage.module for stage in _PIPELINE)


def stage_named(name: str) -> Stage:
    """The stage of that name.

    Raises:
        StageError: There is none.
    """
    for stage in _PIPELINE:
        if stage.name == name:
            return stage
    raise StageError(f"a stage must be one of {', '.join(STAGES)}, but got {name!r}.")


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run one stage now.

    Attributes:
        stage: What to run.
        key: Digest of all that its outcome depends on.
        workspace: With a state folder of this stage and key.
        kept: The outcome of an earlier run that still holds, or None.
    """

    stage: Stage
    key: str
    workspace: Workspace
    kept: Manifest | None


@contextmanager
def alone(workspace: Workspace) -> Iterator[None]:
    """Keep other processes out of a workspace; taken again by the same process, it stays taken.

    Raises:
        StageError: Another process has it.
    """
    path = workspace.state.resolve() / "run.lock"
    with contextlib.ExitStack() as stack:
        if not _held.get(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _lock(stack.enter_context(path.open("a+")), workspace)
        _held[path] = _held.get(path, 0) + 1
        try:
            yield
        finally:
            _held[path] -= 1


def _lock(file: TextIO, workspace: Workspace) -> None:
    """Lock an open file and write in it whose it is; the lock goes with the process."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise StageError(
            f"one run at a time must work in {workspace.root}, but got a second one while process "
            f"{file.read().strip() or 'unknown'} is at it. Wait for that one, or end it."
        ) from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()


def is_running(workspace: Workspace) -> bool:
    """Whether a process works in the workspace now."""
    path = workspace.state / "run.lock"
    if not path.exists():
        return False
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextmanager
def claimed(name: str, params: Params, workspace: Workspace) -> Iterator[Claim]:
    """Lock the workspace, find out whether a stage must run, and clear what another key left.

    Raises:
        StageError: Another process works there, or a stage before it has not been run.
    """
    stage = stage_named(name)
    with alone(workspace):
        key = _key(stage, params, workspace)
        own = dataclasses.replace(workspace, state=workspace.state / f"{name}-{key[:16]}")
        kept = _kept(stage, key, workspace)
        if kept is None:
            _clear(stage, own, workspace)
        yield Claim(stage, key, own, kept)


def _clear(stage: Stage, own: Workspace, workspace: Workspace) -> None:
    """Make ready to run: remove states of other keys, and drafts that a killed run left."""
    for old in workspace.state.glob(f"{stage.name}-*"):
        if old != own.state:
            shutil.rmtree(old, ignore_errors=True)
    for folder in (workspace.state, workspace.root / stage.writes):
        for draft in folder.rglob(".*.tmp"):
            draft.unlink(missing_ok=True)
    if not own.state.exists():
        _forget_timing(stage.name, workspace)
    own.state.mkdir(parents=True, exist_ok=True)


def call(claim: Claim, params: Params, progress: Progress) -> Manifest:
    """Run the stage of a claim as one call."""
    values = [getattr(params, block) for block in claim.stage.blocks()]
    return claim.stage.run(*values, claim.workspace, progress)


def complete(claim: Claim, params: Params, workspace: Workspace, manifest: Manifest) -> Manifest:
    """Record that a stage is done and forget its state.

    Raises:
        StageError: The code changed while it ran: nobody could say what made the files.
    """
    if _key(claim.stage, params, workspace) != claim.key:
        raise StageError(
            f"stage {claim.stage.name} must run on one version of code and data, but they "
            "changed meanwhile. Run it again."
        )
    outcome = {
        "key": claim.key,
        "files": sha256_folder(workspace.root / claim.stage.writes),
        "manifest": manifest,
    }
    write_json(workspace.state / f"{claim.stage.name}.json", outcome)
    shutil.rmtree(claim.workspace.state, ignore_errors=True)
    return manifest


@contextmanager
def timed(name: str, workspace: Workspace) -> Iterator[None]:
    """Add the wall seconds of the block to the stage's; they are no part of any outcome."""
    path, began = workspace.state / "timings.json", time.monotonic()
    try:
        yield
    finally:
        seconds = timings(workspace)
        seconds[name] = seconds.get(name, 0.0) + time.monotonic() - began
        write_json(path, seconds)


def timings(workspace: Workspace) -> dict[str, float]:
    """Wall seconds by stage."""
    path = workspace.state / "timings.json"
    return dict(read_json(path)) if path.exists() else {}


def _forget_timing(name: str, workspace: Workspace) -> None:
    """Start counting a stage's seconds anew: this is not the rest of an interrupted one."""
    seconds = timings(workspace)
    if seconds.pop(name, None) is not None:
        write_json(workspace.state / "timings.json", seconds)


def still_holds(name: str, params: Params, workspace: Workspace) -> bool:
    """Whether a stage's outcome is what it would be now, by code, parameters and data."""
    stage = stage_named(name)
    return _kept(stage, _key(stage, params, workspace), workspace) is not None


def code_digest(*modules: str) -> str:
    """SHA-256 over the code that modules of ``tasks`` depend on."""
    files = sorted({path for name in modules for path in files_of(f"tasks.{name}", ROOT)})
    return digest([[str(path.relative_to(ROOT)), sha256_file(path)] for path in files])


def check_reads(name: str, workspace: Workspace) -> None:
    """Refuse a stage whose input is missing, or whose data is damaged.

    Raises:
        StageError: A stage before it has not been run, or a file of what it prepared was cut.
    """
    missing = [read for read in stage_named(name).reads if not (workspace.root / read).is_dir()]
    if missing:
        raise StageError(
            f"stage {name} must find {workspace.root / missing[0]}, but there is none. Run "
            "the stages before it, or all: python -m flows run."
        )
    if "data" in stage_named(name).reads:
        try:
            check_splits(workspace)
        except WorkspaceError as error:
            raise StageError(str(error)) from error


def _key(stage: Stage, params: Params, workspace: Workspace) -> str:
    check_reads(stage.name, workspace)
    blocks = {name: getattr(params, name).model_dump() for name in stage.blocks()}
    reads: dict[str, object] = {n: sha256_folder(workspace.root / n) for n in stage.reads}
    named = named_files.contents(stage.name, params)
    return digest(stage.name, blocks, reads | named, code_digest(stage.module))


def _kept(stage: Stage, key: str, workspace: Workspace) -> Manifest | None:
    path, folder = workspace.state / f"{stage.name}.json", workspace.root / stage.writes
    if not path.exists() or not folder.is_dir():
        return None
    outcome = read_json(path)
    if outcome["key"] != key or outcome["files"] != sha256_folder(folder):
        return None
    manifest: Manifest = outcome["manifest"]
    return manifest
