"""What DVC is told of the stages: ``dvc.yaml`` of the default, and one that is made for a profile.

DVC runs a stage again when one of the deps or parameters of its file changed. What parameters name
(:mod:`tasks.pipeline.named_files`) and what a profile extends can stand there only once it is
known, so a stage that lacks something is refused before it runs for DVC, which would not see that
change. It comes in time: to depend on something else a parameter must change, and then the stage
does run.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from tasks.learning.problem import load_problem
from tasks.pipeline import named_files
from tasks.pipeline.stages import STAGES, stage_named
from tasks.run.params import Params
from tasks.run.params_file import profiles_under
from tasks.run.workspace import Workspace, write_bytes

EFFORTS = ("effort", "efforts")
"""Parameters beside the blocks, which change what is in them."""


class PipelineError(ValueError):
    """A file of DVC that does not say what a stage depends on."""


def file_of(profile: str | None, root: Path) -> Path:
    """Where the file of a profile belongs; None: of the default."""
    return root / "dvc.yaml" if profile is None else Workspace.of(profile, root).root / "dvc.yaml"


def check(name: str, profile: str | None, params: Params, root: Path) -> None:
    """Refuse a stage whose file does not have all that it depends on; without a file all is well.

    Raises:
        PipelineError: The first that is missing, and the cure.
    """
    path = file_of(profile, root)
    stage = _stage(path, name)
    if stage is None:
        return
    folder, named = path.parent / stage.get("wdir", ""), named_files.places(name, params)
    deps = [(folder / dep).resolve() for dep in stage.get("deps") or ()]
    needed = {place: f"{place} (named by {parameter})" for parameter, place in named.items()}
    needed |= {Path(part): f"{part} (code)" for part in stage_named(name).code}
    missing = [
        f"{said} among its deps"
        for place, said in needed.items()
        if not any((root / place).resolve().is_relative_to(dep) for dep in deps)
    ]
    declared = stage.get("params") or ()
    missing += [
        f"{over} among its params" for over in _over(profile, root) if over not in declared
    ]
    if missing:
        cure = "Add it there." if profile is None else f"Make it anew: {_command(profile)}."
        raise PipelineError(
            f"stage {name} of {path.relative_to(root)} must have {missing[0]}, but has not: DVC "
            f"would not see it change. {cure}"
        )


def _over(profile: str | None, root: Path) -> tuple[str, ...]:
    """Parameters that are laid over the blocks."""
    under = () if profile is None else profiles_under(root / "params.yaml", profile)
    return (*EFFORTS, *(f"profiles.{name}" for name in under))


def _stage(path: Path, name: str) -> dict[str, Any] | None:
    """What a file of DVC says of a stage; None where it has none of that name."""
    try:
        tree = yaml.safe_load(path.read_text()) if path.exists() else {}
        return dict(tree["stages"][name])
    except (yaml.YAMLError, KeyError, TypeError):  # DVC itself tells what is wrong with it
        return None


def _command(profile: str) -> str:
    return f"python -m flows dvc --profile {profile}"


def write(profile: str, params: Params, root: Path) -> Path:
    """Write the file of a profile, by which ``dvc repro`` runs its stages; returns where it is.

    Raises:
        PipelineError: DVC cannot name the profile, or one that it extends.
        WorkspaceError: The profile's name cannot be the name of a folder, or the disk is full.
    """
    path = file_of(profile, root)
    if dotted := [name for name in profiles_under(root / "params.yaml", profile) if "." in name]:
        raise PipelineError(
            f"a profile must have a name without dots to be under DVC, but got {dotted[0]!r}: DVC "
            "takes what is behind a dot for a key of what is before it. Call it otherwise."
        )
    text = yaml.safe_dump(pipeline(profile, params, root), sort_keys=False, width=99)
    write_bytes(path, f"# Made by {_command(profile)}\n{text}".encode())
    return path


def pipeline(profile: str, params: Params, root: Path) -> dict[str, Any]:
    """The content of a profile's file.

    Outs persist, that is, DVC does not delete them before their stage runs: another run may be at
    work on them, and what DVC knows of a profile is coarse, so the flow keeps what still holds.
    """
    metric = load_problem(params.problem.name).metric.name
    plot = {"template": "scatter", "x": "latency_ms", "y": metric}
    return {
        "stages": {name: _made(name, profile, params, root) for name in STAGES},
        "metrics": ["selection/metrics.json"],
        "plots": [{f"selection/plots/{name}.json": plot} for name in ("candidates", "front")],
    }


def _made(name: str, profile: str, params: Params, root: Path) -> dict[str, Any]:
    """A stage of a profile's file."""
    stage, place = stage_named(name), Workspace.of(profile).root
    reads = [place / folder for folder in stage.reads]
    reads += named_files.places(name, params).values()
    wrote, kind = place / stage.writes, "outs"
    if name == "report":  # its page tells how long the stages took
        wrote, kind = wrote / "metrics.json", "metrics"
    return {
        "cmd": f"python -m flows run --profile {profile} --stage {name}",
        "wdir": os.path.relpath(".", place),
        "deps": [*stage.code, *(path.as_posix() for path in reads)],
        "params": [*stage.blocks(), *_over(profile, root)],
        kind: [{wrote.as_posix(): {"persist": True}}],
    }
